"""Environments that answer anything: the episode is lost and says why, the other episodes and the worker go on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hostile_environments import FINE, IN_A_RESET, IN_A_STEP, NO_FAULT, STEPS, hostile_family

from mql.agent.agent import Agent
from mql.collecting import rollout
from mql.collecting.lanes import MOST_FAULTS, Lanes
from mql.collecting.rollout import collect_each
from mql.collecting.workers import Workers
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.runs.run_dir import RunDir
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.training.methods import meta_train
from mql.types import Episode

# These end or hang the process that plays them: see test_workers_end.py.
OF_THE_PROCESS = tuple(IN_A_STEP)[tuple(IN_A_STEP).index("ends the process") :]
ANSWERS = (
    *(kind for kind in IN_A_STEP if kind not in OF_THE_PROCESS),
    *(kind for kind in IN_A_RESET if kind not in ("reset sleeps", "reset ends the process")),
)


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    made = Workers(1)
    monkeypatch.setattr(rollout, "worker_processes", lambda count: made)
    yield made
    made.close()


def outcomes_of(family: GymnasiumFamily) -> list[Episode | EpisodeFault]:
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    tasks = family.tasks("train")
    return collect_each(agent, family, tasks, range(len(tasks)))


def pid_of(workers: Workers) -> int:
    return int(workers.bound(os.getpid, timeout=60.0)())


def test_whatever_is_answered_loses_its_own_episode_alone(one_worker: Workers) -> None:
    kinds = [kind for answer in ANSWERS for kind in (answer, FINE)]
    before = pid_of(one_worker)
    for kind, outcome in zip(kinds, outcomes_of(hostile_family(*kinds)), strict=True):
        if kind == FINE:
            assert isinstance(outcome, Episode) and outcome.length == STEPS
            continue
        assert isinstance(outcome, EpisodeFault), kind
        text = str(outcome)
        assert len(text) < 900 and text.isprintable() and "\n" not in text, kind
        if "KeyboardInterrupt" not in kind:  # which nobody can tell from Ctrl-C where there is no worker
            where = "step 3" if not kind.startswith("reset") else "spaces" if "spaces are not" in text else "reset"
            assert where in text, text
    assert pid_of(one_worker) == before  # nothing of it costs a process


def test_what_is_only_odd_costs_no_episode(one_worker: Workers, capfd: pytest.CaptureFixture[str]) -> None:
    before = pid_of(one_worker)
    for kind, outcome in zip(NO_FAULT, outcomes_of(hostile_family(*NO_FAULT)), strict=True):
        assert isinstance(outcome, Episode) and outcome.length == STEPS, kind
        assert np.isfinite(outcome.obs).all() and np.isfinite(outcome.reward).all(), kind
    assert pid_of(one_worker) == before
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "kind", ["raises", "gives more than float32 holds", "tells what raises", "raises a BaseException"]
)
def test_lanes_cut_an_episode_that_fails(kind: str) -> None:
    family = hostile_family(kind, FINE)
    lanes, ended, faults = Lanes(family, 1, seed=0), 0, 0
    for _ in range(4 * STEPS):
        step = lanes.step(np.zeros((1, 1), np.float32))
        assert np.isfinite(step.after).all() and np.isfinite(step.reward).all()
        ended, faults = ended + len(step.ended), faults + len(step.faults)
    lanes.close()
    assert ended == 2 and faults == 3


def test_lanes_of_which_every_episode_fails_end() -> None:
    lanes, faults = Lanes(hostile_family("sees NaN"), 1, seed=0), 0
    with pytest.raises(EpisodeFault, match="nan at place 0"):
        for _ in range(3 * MOST_FAULTS):
            faults += len(lanes.step(np.zeros((1, 1), np.float32)).faults)
    assert faults == MOST_FAULTS - 1


def test_a_lane_whose_running_episode_fails_as_it_is_played_again_goes_on() -> None:
    lanes = Lanes(hostile_family(FINE), 1, seed=0)
    for _ in range(4):
        lanes.step(np.zeros((1, 1), np.float32))
    arrays = lanes.arrays()
    again = Lanes(hostile_family("raises"), 1, seed=0)  # today the gearbox is jammed
    again.restore(arrays)
    step = again.step(np.zeros((1, 1), np.float32))
    assert len(step.faults) == 1 and "gearbox" in str(step.faults[0]) and not step.truncated.any()


def test_a_run_counts_what_it_lost_and_its_replay_is_finite(tmp_path: Path) -> None:
    family = hostile_family(
        "raises with megabytes of text", "answers None", "tells what raises", "tells NaN", "gives NaN", FINE, FINE
    )
    config = load_config("hostile", overrides=RUN)
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        meta_train(config, family, run)
        lines = run.read_metrics()
        stored = [episode for _, episode in run.load_checkpoint(None).episodes]
    assert lines[-1]["env_steps"] == 84
    assert sum(len(line.get("faults", ())) for line in lines) == 35
    assert max(len(json.dumps(line)) for line in lines) < 10_000
    assert all(np.isfinite(part).all() for episode in stored for part in (episode.obs, episode.reward))
    assert len(stored) == 14


RUN = [
    "train.env_steps=84",
    "train.random_steps=24",
    "train.episodes_per_iteration=7",
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
]
