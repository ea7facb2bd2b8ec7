"""A run whose environment hangs is stopped soon; environments are closed when nobody needs them any more."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from hostile_environments import FINE, Hostile, be_of_kind, child_processes, hostile_family

from mql.agent.agent import Agent
from mql.collecting import rollout
from mql.collecting.lanes import Lanes
from mql.collecting.rollout import collect_each
from mql.collecting.workers import Workers
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.runs.run_dir import RunDir
from mql.tasks.distributions import Choice
from mql.tasks.family import Split
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.training import stopping
from mql.training.loop import Interrupted
from mql.training.methods import meta_train

RUN = [
    "train.env_steps=600",
    "train.random_steps=60",
    "train.episodes_per_iteration=2",
    "train.batch_size=8",
    "train.env_steps_per_update=20",
    "train.evaluate_every=1000",
    "agent.hidden_sizes=[8]",
    "agent.context_dim=2",
    "agent.segment_length=4",
    "agent.burn_in=2",
    "adapt.method=context",
    "evaluate.final_tasks=1",
    "threads=1",
    "collect.workers=2",
]


@pytest.fixture
def others() -> set[int]:
    """The processes that earlier tests have left for later ones: workers are kept until a program ends."""
    return child_processes()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    made = Workers(2)
    monkeypatch.setattr(rollout, "worker_processes", lambda count: made)
    yield made
    made.close()


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[int], None]]:
    """Presses Ctrl-C so many times when an environment hangs: its process says so by ``SIGUSR1``."""
    presses = [0]

    def hanging(number: int, frame: object) -> None:
        for press in range(presses[0]):
            threading.Timer(0.3 * (press + 1), os.kill, (os.getpid(), signal.SIGINT)).start()
        presses[0] = 0

    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGUSR1, hanging)
    yield lambda times: presses.__setitem__(0, times)
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGUSR1, before[1])


class HangsLater(Hostile):
    """Its episode of a task that is not fine hangs, and says so to the process `told`."""

    def __init__(self, told: int, **more: Any) -> None:
        super().__init__(**more)
        self.told = told

    def step(self, action: Any) -> Any:
        if self.kind == "sleeps":
            os.kill(self.told, signal.SIGUSR1)
            signal.pause()
        return super().step(action)


def family_that_hangs(*kinds: str) -> GymnasiumFamily:
    return hostile_family(*kinds, timeout=3600.0, make_env=partial(HangsLater, os.getpid()))


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_is_answered_while_an_environment_hangs(
    others: set[int],
    pair: Workers,
    ctrl_c: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    times: int,
) -> None:
    """The first one gives the episodes some time, and saves what was before them; the second one stops at once."""
    monkeypatch.setattr(stopping, "WAITING", 1.0 if times == 1 else 3600.0)
    family = family_that_hangs("sleeps", FINE)
    config = load_config("hostile", overrides=RUN)
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        ctrl_c(times)
        with pytest.raises(Interrupted if times == 1 else KeyboardInterrupt):
            meta_train(config, family, run)
        assert run.checkpoints() == ([0] if times == 1 else [])
    pair.close()
    assert child_processes() <= others


def test_ctrl_c_in_an_evaluation_whose_environment_hangs(
    pair: Workers, ctrl_c: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stopping, "WAITING", 1.0)
    family = hostile_family(FINE, FINE, timeout=3600.0, make_env=partial(HangsLater, os.getpid()), test="sleeps")
    config = load_config("hostile", overrides=[*RUN, "train.env_steps=72"])
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        ctrl_c(1)
        with pytest.raises(Interrupted):
            meta_train(config, family, run)
        assert run.checkpoints() == [72]


class Closes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Leaves a file for each environment that was opened, and takes it away as it is closed."""

    def __init__(self, folder: str) -> None:
        super().__init__(Hostile())
        self.file = Path(folder) / f"{os.getpid()}-{id(self)}"
        self.file.touch()

    def close(self) -> None:
        self.file.unlink()
        raise SystemExit("closed")  # whatever comes of it


def closing(folder: Path, *kinds: str) -> GymnasiumFamily:
    from hostile_environments import KINDS

    listed = tuple({"kind": float(KINDS.index(kind))} for kind in kinds)
    return from_gymnasium(
        partial(Closes, str(folder)),
        {"kind": Choice(tuple(range(len(KINDS))))},
        name="closing",
        set_task=be_of_kind,
        splits={"train": Split(listed=listed), "test": Split(listed=({"kind": 0.0},))},
        episode_length=6,
        shared_splits=True,
    )


def test_environments_are_closed_also_after_faults(pair: Workers, tmp_path: Path) -> None:
    family = closing(tmp_path, FINE, "raises", FINE, "sees NaN", "raises SystemExit", FINE)
    assert not list(tmp_path.iterdir())  # the one that was looked at
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    outcomes = collect_each(agent, family, family.tasks("train"), range(6), workers=2)
    assert sum(isinstance(outcome, EpisodeFault) for outcome in outcomes) == 3
    assert 1 <= len(list(tmp_path.iterdir())) <= 2  # one in each process is kept for later tasks
    pair.close()
    assert not list(tmp_path.iterdir())


def test_environments_of_this_process_are_closed_with_their_family(tmp_path: Path) -> None:
    family = closing(tmp_path, FINE)
    lanes = Lanes(family, 3, seed=0)
    assert len(list(tmp_path.iterdir())) == 3
    del lanes, family
    gc.collect()  # lanes refer to each other
    assert not list(tmp_path.iterdir())
