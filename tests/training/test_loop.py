"""The meta-training loop: equal seeds give equal runs, however a run is evaluated, stopped, killed or made longer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mql.config.loading import load_config
from mql.config.schema import ALGORITHMS, Config
from mql.errors import UserError
from mql.learning.contexts import context_plan
from mql.learning.trainer import Trainer, annealed_rate
from mql.runs.checkpoint import Checkpoint
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.tasks import registry
from mql.training.divergence import Diverged
from mql.training.learning import Learning
from mql.training.loop import Interrupted
from mql.training.meta_q_learning import MetaQLearning
from mql.training.methods import load_learning, meta_train

# 100 steps an iteration; the replay holds one episode per task, so that old ones are forgotten.
TINY = {
    "train.env_steps": 1600,
    "train.random_steps": 200,
    "train.episodes_per_iteration": 5,
    "train.batch_size": 32,
    "train.env_steps_per_update": 25,
    "train.replay_capacity": 800,
    "train.refresh_rows_per_update": 10,  # of 40 stored episodes, an iteration refreshes two old ones
    "train.evaluate_every": 300,
    "train.checkpoint_every": 400,
    "train.keep_checkpoints": 2,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.method": "paper",
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 2,
    "adapt.batch_size": 32,
    "evaluate.tasks": 2,
    "evaluate.final_tasks": 3,
}


def config_of(*settings: str) -> Config:
    return load_config("point-robot", overrides=[*(f"{key}={value}" for key, value in TINY.items()), *settings])


class Watcher:
    """Calls `act` with the env steps after every iteration; keeps where the run began and what evaluations say."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self.act = act
        self.started_at = -1
        self.evaluating: list[tuple[int, int]] = []

    def on_start(self, learning: Learning) -> None:
        self.started_at = learning.env_steps

    def on_iteration(self, record: Mapping[str, Any]) -> None:
        self.act(record["env_steps"])

    def on_task(self, done: int, tasks: int) -> None:
        self.evaluating.append((done, tasks))

    def on_evaluation(self, record: Mapping[str, Any]) -> None:
        pass


def start(path: Path, config: Config, *watchers: Watcher) -> dict[str, Any]:
    with RunDir.create(path, config=config, tasks={}, command=["mql"]) as run:
        return meta_train(config, registry.load(config.family), run, watchers=watchers)


def resume(
    path: Path, *watchers: Watcher, config: Config | None = None, checkpoint: int | None = None
) -> dict[str, Any]:
    with RunDir.open_for_resume(path) as run:
        config = config or run.config
        return meta_train(
            config, registry.load(config.family), run, resume=True, checkpoint=checkpoint, watchers=watchers
        )


def at(env_steps: int, act: Callable[[], object]) -> Watcher:
    return Watcher(lambda now: act() if now == env_steps else None)  # type: ignore[arg-type, return-value]


def interrupt_at(env_steps: int) -> Watcher:
    return at(env_steps, lambda: signal.raise_signal(signal.SIGINT))


def lines(path: Path) -> list[list[dict[str, Any]]]:
    """Both jsonl files, without what may differ between equal runs."""
    run = RunDir.open_readonly(path)
    return [[without_machine_keys(line) for line in part] for part in (run.read_metrics(), run.read_evaluations())]


def last_checkpoint(path: Path) -> Checkpoint:
    return RunDir.open_readonly(path).load_checkpoint()


def assert_equal_runs(path: Path, other: Path) -> None:
    """Same records, and a last checkpoint of the same tensors, counters and episodes, bit for bit."""
    assert lines(path) == lines(other)
    one, two = last_checkpoint(path), last_checkpoint(other)
    assert one.tensors.keys() == two.tensors.keys()
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, two.tensors[name]), name
    assert without_machine_keys(one.state) == without_machine_keys(two.state)
    live = [
        {number: episode for number, episode in checkpoint.episodes if number >= checkpoint.first_live_episode}
        for checkpoint in (one, two)
    ]
    assert live[0].keys() == live[1].keys() and live[0]
    for number, episode in live[0].items():
        for name in ("obs", "action", "reward"):
            assert getattr(episode, name).tobytes() == getattr(live[1][number], name).tobytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    start(path, config_of())
    return path


def test_the_records_of_a_run(whole: Path) -> None:
    run = RunDir.open_readonly(whole)
    metrics, evaluations = run.read_metrics(), run.read_evaluations()
    assert [line["env_steps"] for line in metrics] == list(range(100, 1700, 100))
    assert [line["updates"] for line in metrics] == [0, 0, *range(4, 60, 4)]
    assert [line["env_steps"] for line in evaluations] == [300, 600, 900, 1200, 1500, 1600]
    assert [len(line["tasks"]) for line in evaluations] == [2, 2, 2, 2, 2, 3]
    family = registry.load("point-robot")
    for line, split in zip(evaluations, [*["validation"] * 5, "test"], strict=True):
        assert line["split"] == split and line["shared_splits"] is False
        listed = [task.to_json() for task in family.tasks(split)]
        assert [row["parameters"] for row in line["tasks"]] == listed[: len(line["tasks"])]
    assert run.checkpoints() == [1200, 1600]
    assert run.finished and without_machine_keys(run.summary) == without_machine_keys(evaluations[-1])
    assert {"critic_loss", "actor_loss", "q_mean", "collected_return"} <= set(metrics[-1])
    assert all(np.isfinite(value) for line in metrics for value in line.values())


def test_same_seed_same_run(whole: Path, tmp_path: Path) -> None:
    start(tmp_path / "again", config_of())
    assert_equal_runs(whole, tmp_path / "again")


def test_another_seed_is_another_run(whole: Path, tmp_path: Path) -> None:
    start(tmp_path / "other", config_of("seed=1", "train.env_steps=300"))
    assert lines(tmp_path / "other")[0][0] != lines(whole)[0][0]


def test_evaluations_do_not_change_what_is_learned(whole: Path, tmp_path: Path) -> None:
    start(tmp_path / "seldom", config_of("train.evaluate_every=10000", "evaluate.final_tasks=1"))
    assert lines(tmp_path / "seldom")[0] == lines(whole)[0]
    for name, tensor in last_checkpoint(whole).tensors.items():
        assert torch.equal(tensor, last_checkpoint(tmp_path / "seldom").tensors[name]), name


@pytest.mark.parametrize("when", [500, 700, 800])  # with later lines, with a later evaluation, at a checkpoint
def test_ctrl_c_saves_and_the_run_goes_on_as_if_nothing_had_happened(whole: Path, tmp_path: Path, when: int) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        start(tmp_path / "run", config_of(), interrupt_at(when))
    assert stop.value.env_steps == when and max(RunDir.open_readonly(tmp_path / "run").checkpoints()) == when
    assert signal.getsignal(signal.SIGINT) is handler
    watcher = at(-1, lambda: None)
    resume(tmp_path / "run", watcher)
    assert watcher.started_at == when
    assert_equal_runs(whole, tmp_path / "run")


def test_an_agent_with_a_transformer_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    """With an encoder each for actor and critics, inputs standardised, and an adaptation before and after."""
    settings = ["encoder=transformer", "context_mode=window", "shared_encoder=false", "normalize=true"]
    config = config_of("train.env_steps=800", *(f"agent.{setting}" for setting in settings))
    start(tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", config, interrupt_at(500))
    resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    "settings",
    [
        *([f"agent.algorithm={algorithm}"] for algorithm in sorted(ALGORITHMS.keys() - {"td3"})),
        ["train.random_actions=held", "agent.exploration_spread=3"],
        ["train.random_actions=waypoints", "train.episode_priority=return", "train.task_sampling=worst"],
        ["train.relabel_share=0.7", "train.relabel_to=best", "train.episode_priority=return"],
        ["train.collection_lag=1", "train.task_sampling=worst"],
    ],
    ids=lambda settings: settings[0],
)
def test_a_run_with_other_settings_goes_on_bit_for_bit_too(tmp_path: Path, settings: list[str]) -> None:
    config = config_of("train.env_steps=800", "train.evaluate_every=800", *settings)
    start(tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", config, interrupt_at(500))
    resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_a_run_without_the_reward_in_its_context_goes_on_bit_for_bit_too(tmp_path: Path, mode: str) -> None:
    settings = ["agent.context_elements=[obs,action]", f"agent.context_mode={mode}", "agent.normalize=true"]
    config = config_of(*settings, "train.env_steps=800", "train.evaluate_every=800")
    start(tmp_path / "whole", config)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", config, interrupt_at(500))
    resume(tmp_path / "run")
    assert_equal_runs(tmp_path / "whole", tmp_path / "run")
    assert last_checkpoint(tmp_path / "run").tensors["online.actor_encoder.gru.weight_ih_l0"].shape == (12, 4)


def test_watchers_are_told_how_far_each_evaluation_is(tmp_path: Path) -> None:
    watcher = at(-1, lambda: None)
    config = config_of("train.env_steps=400", "evaluate.tasks=2", "evaluate.final_tasks=100000")
    start(tmp_path / "run", config, watcher)
    tasks = [len(row["tasks"]) for row in lines(tmp_path / "run")[1]]
    assert len(tasks) == 2 and 2 == tasks[0] < tasks[1] < 100_000  # a split has as many as it has
    assert watcher.evaluating == [(done, n) for n in tasks for done in range(n + 1)]


def test_ctrl_c_during_an_evaluation(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The evaluation is cut short, and made again on the way on."""
    import mql.evaluation.held_out

    collect_each = mql.evaluation.held_out.collect_each

    def interrupted(*arguments: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return collect_each(*arguments, **more)

    monkeypatch.setattr(mql.evaluation.held_out, "collect_each", interrupted)
    with pytest.raises(Interrupted) as stop:
        start(tmp_path / "run", config_of())
    assert stop.value.env_steps == 300 and lines(tmp_path / "run")[1] == []
    monkeypatch.undo()
    resume(tmp_path / "run")
    assert_equal_runs(whole, tmp_path / "run")


def test_kill_in_mid_run(whole: Path, tmp_path: Path) -> None:
    """SIGKILL with metrics and an evaluation beyond the last checkpoint: the resumed run equals the undisturbed one."""
    path = tmp_path / "run"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_loop as t\n"
        "kill = t.at(1100, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        f"t.start(Path({str(path)!r}), t.config_of(), kill)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = RunDir.open_readonly(path)
    assert run.checkpoints() == [400, 800] and run.read_metrics()[-1]["env_steps"] == 1100
    assert run.read_evaluations()[-1]["env_steps"] == 900
    watcher = at(-1, lambda: None)
    resume(path, watcher)
    assert watcher.started_at == 800
    assert_equal_runs(whole, path)


def test_without_a_checkpoint_a_run_starts_over(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        start(tmp_path / "run", config_of(), at(300, lambda: 1 / 0))
    assert RunDir.open_readonly(tmp_path / "run").checkpoints() == []
    watcher = at(-1, lambda: None)
    resume(tmp_path / "run", watcher)
    assert watcher.started_at == 0
    assert_equal_runs(whole, tmp_path / "run")


@pytest.mark.parametrize("length", [600, 800])  # both are evaluated, 800 is a checkpoint of the long run, too
def test_a_run_made_longer_equals_the_long_run(whole: Path, tmp_path: Path, length: int) -> None:
    start(tmp_path / "run", config_of(f"train.env_steps={length}"))
    assert RunDir.open_readonly(tmp_path / "run").finished
    resume(tmp_path / "run", config=config_of())
    assert RunDir.open_readonly(tmp_path / "run").finished
    assert_equal_runs(whole, tmp_path / "run")


def test_the_learning_rate_falls_to_a_tenth_over_the_last_steps() -> None:
    config = config_of("train.anneal_steps=600", "agent.lr=0.01")  # of 1,600
    rates = [annealed_rate(0.01, config.train, steps) for steps in (0, 1000, 1300, 1600, 1700)]
    assert rates == pytest.approx([0.01, 0.01, 0.0055, 0.001, 0.001])
    longer = config_of("train.anneal_steps=5000", "agent.lr=0.01")  # than the run: half of it
    assert [annealed_rate(0.01, longer.train, steps) for steps in (0, 800, 1200)] == pytest.approx([0.01, 0.01, 0.0055])
    assert [annealed_rate(0.01, config_of().train, steps) for steps in (1599, 1600, 1700)] == [0.01] * 3
    trainer = Trainer(config, registry.load("point-robot"))
    while trainer.env_steps < 1600:
        trainer.iterate()
    assert trainer.learner.lr == pytest.approx(0.001)


ANNEALED = ("train.anneal_steps=600", "train.keep_checkpoints=4")


@pytest.fixture(scope="module")
def annealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 1,600 steps whose learning rate fell over the last 600, with a checkpoint every 400."""
    path = tmp_path_factory.mktemp("runs") / "annealed"
    start(path, config_of(*ANNEALED))
    return path


def test_a_run_whose_learning_rate_has_fallen_is_not_made_longer_from_its_end(annealed: Path) -> None:
    """It would learn on with a rate ten times as large, and not be a run of that length."""
    before = {file: file.read_bytes() for file in annealed.rglob("*") if file.is_file() and file.name != "lock"}
    message = r"has fallen since 1000 env steps .*: add --checkpoint 800 to continue from before that, which deletes"
    with pytest.raises(UserError, match=message):
        resume(annealed, config=config_of(*ANNEALED, "train.env_steps=2400"))
    assert all(file.read_bytes() == data for file, data in before.items())


def test_from_a_checkpoint_before_it_fell_it_becomes_a_run_of_that_length(annealed: Path, tmp_path: Path) -> None:
    longer = config_of(*ANNEALED, "train.env_steps=2000")  # it falls from 1,400 on
    start(tmp_path / "long", longer)
    path = Path(shutil.copytree(annealed, tmp_path / "run"))
    watcher = at(-1, lambda: None)
    resume(path, watcher, config=longer, checkpoint=800)
    assert watcher.started_at == 800 and RunDir.open_readonly(path).config == longer
    assert_equal_runs(path, tmp_path / "long")


def test_a_checkpoint_in_a_fall_fits_a_run_of_its_own_length_only(annealed: Path, tmp_path: Path) -> None:
    """Longer or shorter, its rate has been another; up to where the fall begins in both, a run can have either."""
    with RunDir.open_for_resume(Path(shutil.copytree(annealed, tmp_path / "run"))) as run:
        run.check_config(config_of(*ANNEALED), checkpoint=1200)
        run.check_config(config_of(*ANNEALED, "train.env_steps=1400"), checkpoint=800)  # falls from 800 on
        for steps in (1599, 1601):
            with pytest.raises(UserError, match="has fallen since 1000 env steps"):
                run.check_config(config_of(*ANNEALED, f"train.env_steps={steps}"), checkpoint=1200)
        with pytest.raises(UserError, match=r"would fall from 799 env steps on.*give at least 1400"):
            run.check_config(config_of(*ANNEALED, "train.env_steps=1399"), checkpoint=800)
        for steps in (400, 800):
            shutil.rmtree(run.path / "checkpoints" / str(steps))
        with pytest.raises(UserError, match="start a new run of this length: no checkpoint from before that is kept"):
            run.check_config(config_of(*ANNEALED, "train.env_steps=2000"))


@pytest.mark.parametrize("profile", ["fast", "paper"])
def test_a_context_blind_agent_trains_and_adapts(tmp_path: Path, profile: str) -> None:
    config = config_of(f"profile={profile}", "agent.use_context=false", "train.env_steps=600")
    last = start(tmp_path / "run", config)
    assert [row["fault"] for row in last["tasks"] if "fault" in row] == []
    assert all(np.isfinite(row["adapted_return"]) and row["tasks_covered"] > 20 for row in last["tasks"])
    assert len(lines(tmp_path / "run")[1]) == 2


def test_a_context_blind_agent_learns_from_independent_transitions() -> None:
    trainer = Trainer(config_of("agent.use_context=false"), registry.load("point-robot"))
    for _ in range(4):
        trainer.iterate()
    batch = trainer.replay.sample(512, context_plan(trainer.config.agent), np.random.default_rng(0))
    assert len(batch.transition.obs) == 512 and (batch.weights == 1.0).all()
    follows = (batch.transition.obs[1:] == batch.transition.next_obs[:-1]).all(dim=1)
    assert follows.float().mean() < 0.05  # in segments of 16: nearly always
    assert trainer.agent.online.actor_encoder(batch.context).shape == (512, 0)


def test_divergence_says_so_and_keeps_the_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"critic_loss is .* after 600 environment steps"):
        start(tmp_path / "run", config_of("agent.reward_scale=1e30", "train.random_steps=500"))
    run = RunDir.open_readonly(tmp_path / "run")
    assert run.checkpoints() == [400] and not run.finished
    numbers = [value for line in run.read_metrics() for value in line.values() if not isinstance(value, str)]
    assert np.isfinite(numbers).all()


def test_a_checkpoint_gives_agent_and_replay(whole: Path) -> None:
    run = RunDir.open_readonly(whole)
    family = registry.load("point-robot")
    learning = load_learning(run, family, run.config)
    assert isinstance(learning, MetaQLearning)
    trainer = learning.trainer
    assert (trainer.env_steps, trainer.updates) == (1600, 56)
    assert trainer.replay.transitions == 800
    for name, tensor in trainer.agent.named_tensors():
        assert torch.equal(tensor, last_checkpoint(whole).tensors[name])
    assert load_learning(run, family, run.config, env_steps=1200).env_steps == 1200
