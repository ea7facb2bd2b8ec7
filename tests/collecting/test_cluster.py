"""Workers on a Ray cluster of two nodes: the same episodes as here, and what is lost with a worker or a node."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray_nodes import Two
from tiny_runs import TINY

import mql
from mql.agent.agent import Agent
from mql.collecting import workforce
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect, collect_each
from mql.collecting.workers import WorkerLost
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.p3o.learning import P3OLearning
from mql.runs.run_dir import without_machine_keys
from mql.stopping import GivenUp, give_up, go_on
from mql.tasks import registry
from mql.tasks.definitions.family import load_definition
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import OnCluster

pytest.importorskip("ray", reason="the extra cluster is not installed")

import ray
from ray.exceptions import RayActorError

from mql.collecting.cluster import workers as cluster_workers
from mql.collecting.cluster.connection import connect
from mql.collecting.cluster.sameness import check_same, versions
from mql.collecting.cluster.workers import ClusterWorkers

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def pool(two: Two) -> Iterator[ClusterWorkers]:
    made = ClusterWorkers(OnCluster(2, two.address))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _own_pools() -> Iterator[None]:
    """Processes that the program keeps for its next call end with each test: a node has few cores."""
    made: list[Any] = []
    keeping = workforce.workers

    def keep(wanted: Any) -> Any:
        made.append(keeping(wanted))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mql.collecting.rollout.worker_processes", keep)
        yield
    for each in made:
        each.close()
    keeping.cache_clear()


# Sent by value, as functions of this file would make a worker import it.
add = lambda first, second, *, third=0: first + second + third  # noqa: E731


def test_a_call_returns_and_raises_what_the_function_does(pool: ClusterWorkers) -> None:
    call = pool.bound(add, 10, timeout=60.0)
    assert [call(1), call(2, third=100)] == [11, 112]
    with pytest.raises(ZeroDivisionError) as caught:
        pool.bound(lambda x: 1 // x, timeout=60.0)(0)
    assert "in a worker process" in caught.value.__notes__[0]
    assert pool.seconds > 0.0


def test_a_worker_that_dies_or_hangs_costs_its_job_and_not_its_relay(pool: ClusterWorkers) -> None:
    relay = pool.bound(os.getppid, timeout=60.0)
    relay()
    places = [place._relay for place in pool._all]
    lost = pool.bound(lambda: os._exit(7), timeout=60.0)()
    assert isinstance(lost, WorkerLost) and str(lost) == "its process died (exit status 7)" and not lost.late
    late = pool.bound(lambda: time.sleep(3600), timeout=1.0)()
    assert isinstance(late, WorkerLost) and late.late
    assert pool.bound(add, 1, timeout=60.0)(1) == 2
    assert [place._relay for place in pool._all] == places


def test_a_value_is_put_into_the_store_once(pool: ClusterWorkers) -> None:
    policy = np.zeros(1000)
    first, second = (pool.bound(lambda values, x: len(values) + x, policy, timeout=60.0) for _ in range(2))
    assert (first(1), second(2)) == (1001, 1002)
    assert sum(len(ray.get(sent.reference)) > 8000 for sent in pool._put.values()) == 1


def test_waiting_ends_where_the_program_is_asked_to_stop(pool: ClusterWorkers) -> None:
    assert pool.bound(add, 1, timeout=60.0)(1) == 2
    timer = threading.Timer(1.0, give_up)
    timer.start()
    try:
        with pytest.raises(GivenUp):
            pool.bound(lambda: time.sleep(3600), timeout=7200.0)()
    finally:
        timer.join()
        go_on()
    assert pool.bound(add, 1, timeout=60.0)(2) == 3, "what was given up leaves no answer behind"


def test_a_node_with_other_versions_is_refused_by_name(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ClusterWorkers(OnCluster(1, two.address))
    monkeypatch.setattr(cluster_workers, "check_same", lambda node, there: check_same(node, {**there, "mujoco": "2.1"}))
    with pytest.raises(UserError, match=r"^node .* has mujoco 2\.1, and this machine has 3\..*: install the same"):
        pool.bound(add, 1, timeout=60.0)(1)
    pool.close()


def test_versions_cover_every_file_that_makes_an_episode() -> None:
    assert set(versions()) == {"Python", "torch", "mujoco", "numpy", "gymnasium", "mql"}
    check_same("n", versions())
    with pytest.raises(UserError, match="node n has mql 0, and"):
        check_same("n", {**versions(), "mql": "0"})


def test_one_program_uses_one_cluster(two: Two) -> None:
    with pytest.raises(UserError, match=f"this program uses the Ray cluster {two.address}, and a Ray of its own is"):
        connect(None)


def trained(path: Path, settings: Mapping[str, object]) -> list[dict[str, Any]]:
    """Train, and return the lines of metrics and evaluations without what depends on the machine."""
    run = mql.train("point-robot", run_dir=path, settings=settings)
    lines = []
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        text = (run.path / name).read_text(encoding="utf-8")
        lines += [without_machine_keys(json.loads(line)) for line in text.splitlines()]
    return lines


def test_a_training_is_the_same_whoever_plays_its_episodes(two: Two, tmp_path: Path) -> None:
    settings = {**TINY, "train.env_steps": 1500, "evaluate.final_tasks": 4, "evaluate.tasks": 2}
    here = trained(tmp_path / "local", {**settings, "collect.workers": 1})
    assert len(here) > 10
    for workers in (1, 2, 3):
        wanted = {"collect.workers": workers, "collect.engine": "ray", "collect.address": two.address}
        there = trained(tmp_path / f"ray-{workers}", {**settings, **wanted})
        assert there == here, f"{workers} workers"


@pytest.mark.parametrize(
    ("folder", "file", "native"), [("lab-drawer", "lab-drawer.yaml", False), ("desk_arm", "desk-reach.yaml", True)]
)
def test_a_definition_travels_with_its_files(
    pool: ClusterWorkers, two: Two, tmp_path: Path, folder: str, file: str, native: bool
) -> None:
    home = Path(shutil.copytree(EXAMPLES / folder, tmp_path / "home"))
    with (home / file).open("a", encoding="utf-8") as written:  # a digest of its own: nothing of it is there yet
        written.write(f"# {tmp_path}\n")
    family = load_definition(home / file, trust=True)
    assert family.native == native and family.definition is not None
    here = short(family, workers=1)
    other = tmp_path / "elsewhere"
    begin = lambda family: family.make(family.tasks("train")[0]).reset(seed=0)[0].tolist()  # noqa: E731
    call = pool.bound(begin, family, timeout=120.0)
    expected = begin(family)
    home.rename(other)  # as on a node that has never seen it
    assert call() == expected
    other.rename(home)
    there = short(family, workers=OnCluster(2, two.address))
    for one, same in zip(here, there, strict=True):
        np.testing.assert_array_equal(one.obs, same.obs)
        np.testing.assert_array_equal(one.reward, same.reward)
        assert same.obs.flags.writeable


def short(family: TaskFamily, *, workers: Any) -> list[mql.types.Episode]:
    tasks = family.tasks("train")[:3]
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    return collect(
        agent,
        family,
        tasks,
        [5, 6, 7],
        explorer=random_actions(family),
        rng=np.random.default_rng(0),
        workers=workers,
    )


def test_lanes_play_the_same_on_the_cluster(two: Two) -> None:
    small = ["p3o.lanes=5", "p3o.steps=6", "p3o.segments=8", "p3o.off_policy_after=30", "p3o.hidden_sizes=[8]"]
    found = []
    for more in (["collect.workers=1"], ["collect.workers=2", "collect.engine=ray", f"collect.address={two.address}"]):
        config = load_config("Pendulum-v1", overrides=[*small, *more, "train.env_steps=1000"], method="p3o")
        learning = P3OLearning(config, registry.load("Pendulum-v1"))
        try:
            metrics = [learning.iterate().metrics for _ in range(3)]
            found.append((metrics, learning.tensors()))
        finally:
            learning.lanes.close()
    (here, expected), (there, tensors) = found
    assert there == here
    assert all(torch.equal(tensor, expected[key]) for key, tensor in tensors.items())


def test_a_lost_node_costs_its_episodes_and_the_others_go_on(two: Two) -> None:
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    tasks = family.tasks("train")[:4]
    pool = workforce.workers(OnCluster(4, two.address))
    assert isinstance(pool, ClusterWorkers)

    def play() -> list[Any]:
        return collect_each(agent, family, tasks, range(4), workers=OnCluster(4, two.address))

    before = play()
    nodes = [place._node_id for place in pool._all]
    there = nodes.count(two.second.node_id)
    assert 0 < there < 4, "some on each node"
    gone = [place._relay for place in pool._all if place._node_id == two.second.node_id]
    two.lose()
    for relay in gone:  # a relay may answer for a moment more
        with pytest.raises(RayActorError):
            for _ in range(600):
                ray.get(relay.facts.remote())
                time.sleep(0.1)
    lost = play()
    faults = [outcome for outcome in lost if isinstance(outcome, EpisodeFault)]
    assert len(faults) == there and "was lost" in str(faults[0])
    after = play()
    assert not any(isinstance(outcome, EpisodeFault) for outcome in after)
    for one, same, left in zip(before, after, lost, strict=True):
        np.testing.assert_array_equal(one.obs, same.obs)
        if not isinstance(left, EpisodeFault):
            np.testing.assert_array_equal(one.obs, left.obs)
    two.find()


def test_a_config_says_where_workers_are() -> None:
    config = load_config("point-robot", overrides=["collect.engine=ray", "collect.workers=3", "collect.address=a:1"])
    assert config.workforce == OnCluster(3, "a:1") and config.resolved().workforce == OnCluster(3, "a:1")
    assert replace(config.workforce, count=1) == OnCluster(1, "a:1")
