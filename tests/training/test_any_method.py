"""The loop drives whatever is a `Learning`: here a method that knows no task, no agent and no replay."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from mql.agent.protocols import find
from mql.config.loading import load_config
from mql.config.methods import METHODS
from mql.config.schema import Config, TrainConfig
from mql.evaluation.held_out import TaskResult
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.seeding import generator
from mql.tasks.family import Task
from mql.tasks.fault import EpisodeFault
from mql.training.divergence import Diverged
from mql.training.learning import Iteration, Learning
from mql.training.loop import Interrupted, train
from mql.types import JSON, Episode

STEPS = 10  # of an iteration
SETTINGS = TrainConfig(env_steps=200, random_steps=0, evaluate_every=30, checkpoint_every=40, keep_checkpoints=3)


class Counter:
    """Learns a number, from the last three episodes if it `remembers` any; its state has tensors of every kind."""

    def __init__(self, *, remembers: bool = True) -> None:
        self.env_steps = self.updates = self.iterations = 0
        self.remembers = remembers
        self.live: deque[tuple[int, Episode]] = deque(maxlen=3)
        self.episodes_made = 0
        both = torch.arange(6, dtype=torch.float32)
        self.state = {
            "number": torch.zeros((), dtype=torch.float64),
            "count": torch.zeros(3, dtype=torch.int64),
            "seen": torch.zeros(2, 2, dtype=torch.bool),
            "coarse": torch.zeros(4, dtype=torch.bfloat16),
            "nothing": torch.zeros(0, 5),
            "odd": torch.tensor([float("nan"), float("inf"), -0.0]),
            "left": both[:3],  # two views of one vector
            "right": both[3:],
            "turned": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
        }
        self.fails = False
        self.before_failing: Callable[[], object] = lambda: None
        self.asked: list[tuple[int, bool, bool]] = []

    @property
    def first_live_episode(self) -> int:
        return self.live[0][0] if self.live else self.episodes_made

    @property
    def replay_bytes(self) -> int:
        return 0

    def updates_after(self, env_steps: int) -> int:
        return env_steps // STEPS * 2

    def iterate(self) -> Iteration:
        if self.fails:
            self.before_failing()
            raise EpisodeFault("the world broke")
        drawn = float(generator(3, "counter", self.iterations).normal())
        episodes = []
        if self.remembers:
            episodes = [episode_of(drawn)]
            self.live.append((self.episodes_made, episodes[0]))
            self.episodes_made += 1
        self.state["number"] += drawn + sum(float(episode.reward.sum()) for _, episode in self.live)
        self.state["count"] += self.iterations
        self.state["coarse"] += drawn
        self.state["right"] *= 1.5
        self.state["seen"][self.iterations % 2] ^= True
        self.env_steps, self.updates, self.iterations = self.env_steps + STEPS, self.updates + 2, self.iterations + 1
        return Iteration({"number": float(self.state["number"]), "note": "plain text"}, episodes, 0.5, 0.25)

    def evaluate(
        self, *, final: bool, with_random: bool, on_task: Callable[[int, int], None] | None = None
    ) -> dict[str, JSON]:
        self.asked.append((self.env_steps, final, with_random))
        for done in range(3 if final else 2):
            if on_task:
                on_task(done, 2 if final else 1)
        return {"value": float(self.state["number"]), "final": final}

    def measure(self, tasks: Sequence[Task], **_: Any) -> list[TaskResult]:
        return [TaskResult(task, []) for task in tasks]

    def tensors(self) -> Mapping[str, torch.Tensor]:
        return self.state

    def counters(self) -> Mapping[str, JSON]:
        names = ("env_steps", "updates", "iterations", "episodes_made")
        return {name: getattr(self, name) for name in names}

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        for name, tensor in self.state.items():
            assert tensors[name].dtype == tensor.dtype and tensors[name].shape == tensor.shape
            tensor.copy_(tensors[name])
        for name in ("env_steps", "updates", "iterations", "episodes_made"):
            setattr(self, name, counters[name])
        self.live.extend(episodes)


def episode_of(value: float) -> Episode:
    rewards = np.full(STEPS, value, np.float32)
    steps = np.zeros((STEPS + 1, 1), np.float32)
    return Episode(
        obs=steps, action=steps[1:], reward=rewards, terminated=False, truncated=True, task=0, seed=0, policy_version=0
    )


class Watcher:
    """Calls `act` with the env steps after every iteration; keeps what it is told of evaluations."""

    def __init__(self, act: Callable[[int], object] = lambda env_steps: None) -> None:
        self.act = act
        self.started_at = -1
        self.tasks: list[tuple[int, int]] = []

    def on_start(self, learning: Learning) -> None:
        self.started_at = learning.env_steps

    def on_iteration(self, record: Mapping[str, Any]) -> None:
        self.act(record["env_steps"])

    def on_task(self, done: int, tasks: int) -> None:
        self.tasks.append((done, tasks))

    def on_evaluation(self, record: Mapping[str, Any]) -> None:
        assert record["env_steps"] and record["wall_seconds"] >= 0


def run_config() -> Config:
    return load_config("point-robot").model_copy(update={"train": SETTINGS})


def start(path: Path, learning: Learning, *watchers: Watcher) -> dict[str, Any]:
    with RunDir.create(path, config=run_config(), tasks={}, command=["mql"]) as run:
        return train(learning, SETTINGS, run, watchers=watchers)


def resume(path: Path, learning: Learning, *watchers: Watcher) -> dict[str, Any]:
    with RunDir.open_for_resume(path) as run:
        return train(learning, SETTINGS, run, resume=True, watchers=watchers)


def stop_by(number: signal.Signals, *, at: int) -> Watcher:
    return Watcher(lambda env_steps: signal.raise_signal(number) if env_steps == at else None)


def die_at(env_steps: int) -> Watcher:
    return Watcher(lambda now: 1 / 0 if now == env_steps else None)


def content(path: Path) -> tuple[Any, ...]:
    """All that two equal runs share: records, and the newest checkpoint's tensors (as bytes), state and episodes."""
    run = RunDir.open_readonly(path)
    newest = run.load_checkpoint()
    tensors = {name: (t.dtype, t.shape, t.reshape(-1).view(torch.uint8).tolist()) for name, t in newest.tensors.items()}
    live = {n: e.reward.tobytes() for n, e in newest.episodes if n >= newest.first_live_episode}
    records = [[without_machine_keys(line) for line in part] for part in (run.read_metrics(), run.read_evaluations())]
    return records, tensors, without_machine_keys(newest.state), newest.first_live_episode, live


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Any, ...]]:
    """The content of a run that nothing disturbed, of a counter that remembers and of one that does not."""
    found = {}
    for remembers in (True, False):
        path = tmp_path_factory.mktemp("runs") / "whole"
        start(path, Counter(remembers=remembers))
        found[remembers] = content(path)
    return found


def test_when_it_is_evaluated_and_saved(tmp_path: Path) -> None:
    counter, watcher = Counter(), Watcher()
    last = start(tmp_path / "run", counter, watcher)
    assert counter.asked == [
        *((at, False, at == 30) for at in (30, 60, 90, 120, 150, 180)),  # random actions: the first time and the last
        (200, True, True),
    ]
    assert watcher.tasks == [(0, 1), (1, 1)] * 6 + [(0, 2), (1, 2), (2, 2)]
    run = RunDir.open_readonly(tmp_path / "run")
    assert run.checkpoints() == [120, 160, 200] and run.finished
    assert last["final"] and last["env_steps"] == 200 and last["updates"] == counter.updates_after(200)
    assert without_machine_keys(run.summary) == without_machine_keys(last)
    [line] = run.read_metrics()[4:5]
    assert (line["env_steps"], line["updates"], line["iteration"], line["note"]) == (50, 10, 5, "plain text")
    assert (line["env_steps_per_s"], line["updates_per_s"]) == (STEPS / 0.75, 2 / 0.25)


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize(
    ("watcher", "stops", "goes_on_at"),
    [
        (lambda: stop_by(signal.SIGINT, at=70), Interrupted, 70),
        (lambda: stop_by(signal.SIGTERM, at=70), Interrupted, 70),
        (lambda: stop_by(signal.SIGTERM, at=200), Interrupted, 200),  # before the last evaluation
        (lambda: die_at(70), ZeroDivisionError, 40),
        (lambda: die_at(20), ZeroDivisionError, 0),
    ],
    ids=["ctrl-c", "sigterm", "sigterm at the end", "dead", "dead before a checkpoint"],
)
def test_a_run_that_goes_on_ends_as_one_that_was_never_stopped(
    tmp_path: Path,
    whole: dict[bool, tuple[Any, ...]],
    watcher: Callable[[], Watcher],
    stops: type[Exception],
    goes_on_at: int,
    remembers: bool,
) -> None:
    with pytest.raises(stops):
        start(tmp_path / "run", Counter(remembers=remembers), watcher())
    again = Watcher()
    resume(tmp_path / "run", Counter(remembers=remembers), again)
    assert again.started_at == goes_on_at
    assert content(tmp_path / "run") == whole[remembers]
    assert bool(whole[remembers][-1]) == remembers


def test_sigterm_may_come_twice_and_the_handlers_are_put_back(tmp_path: Path) -> None:
    """What ends a job tells the process and its group: it still saves, where a second Ctrl-C would stop it at once."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def terminate(env_steps: int) -> None:
        if env_steps == 70:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as stop:
        start(tmp_path / "run", Counter(), Watcher(terminate))
    assert stop.value.env_steps == 70 and max(RunDir.open_readonly(tmp_path / "run").checkpoints()) == 70
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def interrupt(env_steps: int) -> None:
        if env_steps == 70:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / "run", Counter(), Watcher(interrupt))
    assert RunDir.open_readonly(tmp_path / "run").checkpoints() == [40]


def test_an_evaluation_stops_between_two_tasks(tmp_path: Path, whole: dict[bool, tuple[Any, ...]]) -> None:
    class Terminating(Counter):
        def evaluate(self, *, final: bool, **more: Any) -> dict[str, JSON]:
            if final:
                signal.raise_signal(signal.SIGTERM)
            return super().evaluate(final=final, **more)

    with pytest.raises(Interrupted):
        start(tmp_path / "run", Terminating())
    run = RunDir.open_readonly(tmp_path / "run")
    assert not run.finished and run.read_evaluations()[-1]["env_steps"] == 180
    resume(tmp_path / "run", Counter())
    assert content(tmp_path / "run") == whole[True]


@pytest.mark.parametrize("asked", [False, True])
def test_the_state_before_an_iteration_that_fails_is_saved(tmp_path: Path, asked: bool) -> None:
    """Where the run was also asked to stop, so were processes of its own: their loss is no fault of a task."""
    counter = Counter()

    def fail(env_steps: int) -> None:
        if env_steps == 70:
            counter.fails = True
            if asked:
                counter.before_failing = lambda: signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted if asked else EpisodeFault):
        start(tmp_path / "run", counter, Watcher(fail))
    assert max(RunDir.open_readonly(tmp_path / "run").checkpoints()) == 70


def test_a_number_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    counter = Counter()

    def spoil(env_steps: int) -> None:
        if env_steps == 70:
            counter.state["number"].fill_(float("nan"))

    with pytest.raises(Diverged, match="number is nan after 80 environment steps"):
        start(tmp_path / "run", counter, Watcher(spoil))
    assert RunDir.open_readonly(tmp_path / "run").read_metrics()[-1]["env_steps"] == 70


def test_every_method_of_the_configuration_can_be_made() -> None:
    assert set(METHODS) == set(get_args(Config.model_fields["method"].annotation))
    for choice in METHODS.values():
        assert callable(find(choice.place).measure)
