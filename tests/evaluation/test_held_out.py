"""Evaluation on held-out tasks: what a task's result depends on, and what is kept of it."""

from __future__ import annotations

import gc
import weakref
from threading import Barrier
from typing import Any

import numpy as np
import pytest

from mql.adaptation import playing
from mql.adaptation.adapters import prepare
from mql.adaptation.playing import Request, carry_out, simulated
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.config.loading import load_config
from mql.evaluation import held_out
from mql.evaluation.held_out import TaskResult, evaluate
from mql.learning.trainer import Trainer
from mql.runs.run_dir import without_machine_keys
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.training.meta_q_learning import meta_training
from mql.types import Episode

SETTINGS = {
    "train.episodes_per_iteration": 4,
    "train.random_steps": 100,
    "train.batch_size": 16,
    "train.env_steps_per_update": 50,
    "agent.hidden_sizes": [64, 64],
    "agent.context_dim": 30,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.method": "paper",
    "adapt.adaptation_episodes": 2,
    "adapt.exploration_noise": 0.3,
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 1,
    "adapt.batch_size": 16,
}


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    config = load_config("point-robot", overrides=[f"{key}={value}" for key, value in SETTINGS.items()])
    made = Trainer(config, registry.load("point-robot"))
    for _ in range(5):
        made.iterate()
    return made


def results_of(trainer: Trainer, tasks: int, family: TaskFamily | None = None, **options: Any) -> list[TaskResult]:
    return evaluate(
        trainer.agent,
        family or trainer.family,
        trainer.family.tasks("test")[:tasks],
        evaluation_episodes=2,
        seed=5,
        adaptation=prepare(meta_training(trainer), trainer.config.adapt),
        **options,
    )


def assert_equal(first: TaskResult, second: TaskResult) -> None:
    """Every episode and every number is the same, bit for bit."""
    assert without_machine_keys(first.to_json()) == without_machine_keys(second.to_json())
    for one, other in ((first.zero_shot, second.zero_shot), (first.adapted, second.adapted)):
        assert one and other
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action)


@pytest.mark.parametrize("few", [1, 4])
def test_a_task_s_result_does_not_depend_on_how_many_others_are_evaluated(trainer: Trainer, few: int) -> None:
    some, all_of_them = results_of(trainer, few), results_of(trainer, 11)
    for one, other in zip(some, all_of_them[:few], strict=True):
        assert_equal(one, other)


def test_a_new_task_s_episodes_depend_on_their_start_and_agent_alone(trainer: Trainer) -> None:
    def data(starts: list[int], noise: float, place: int = 0) -> list[Episode]:
        play = simulated(trainer.family, trainer.family.tasks("test")[0], seed=1, place=place)
        return list(play(Request(trainer.agent, starts, noise)))

    two, five = data([0, 1], 0.3), data([0, 3, 1, 2, 4], 0.3)
    for a, b in zip(two, [five[0], five[2]], strict=True):
        assert np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action)
    assert not np.array_equal(two[0].action, two[1].action)
    quiet = data([0], 0.0)[0]
    assert np.array_equal(quiet.obs[0], two[0].obs[0]) and not np.array_equal(quiet.action, two[0].action)
    assert not np.array_equal(data([0], 0.0, place=1)[0].obs[0], quiet.obs[0])


@pytest.mark.parametrize(("threads", "workers"), [(2, 1), (1, 3)])
def test_results_depend_on_neither_threads_nor_workers(trainer: Trainer, threads: int, workers: int) -> None:
    plain = results_of(trainer, 5)
    for one, other in zip(plain, results_of(trainer, 5, threads=threads, workers=workers), strict=True):
        assert_equal(one, other)


def test_adapted_agents_are_kept_only_if_asked(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Agent]] = []

    def adapt(*args: Any, **kwargs: Any) -> AdaptationResult:
        adapted = carry_out(*args, **kwargs)
        made.append(weakref.ref(adapted.agent))
        return adapted

    monkeypatch.setattr(held_out, "carry_out", adapt)
    results = results_of(trainer, 3)
    gc.collect()
    assert len(made) == 3 and not any(reference() for reference in made)
    assert all(result.agent is None and result.adapted for result in results)
    assert all(result.agent for result in results_of(trainer, 2, keep_agents=True))


@pytest.mark.parametrize("native", [True, False])
def test_adapted_agents_play_at_the_same_time_on_all_workers(
    trainer: Trainer, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plays of adapted agents meet: neither waits for the other's end."""
    meeting, counts = Barrier(2), []
    real = held_out.collect_each

    def collect_each_here(agent: Agent, family: Any, tasks: Any, seeds: Any, **options: Any) -> Any:
        return real(agent, trainer.family, tasks, seeds, **options)

    def collect_each(agent: Agent, family: Any, tasks: Any, seeds: Any, *, workers: int, **options: Any) -> Any:
        counts.append(workers)
        if agent is not trainer.agent:
            meeting.wait(timeout=30.0)
        return real(agent, trainer.family, tasks, seeds, workers=1, **options)

    monkeypatch.setattr(held_out, "collect_each", collect_each)
    monkeypatch.setattr(playing, "collect_each", lambda *args, workers, **options: collect_each_here(*args, **options))
    family: Any = trainer.family if native else OnWorkers(trainer.family)
    results = results_of(trainer, 4, family=family, threads=1, workers=2)
    assert [result.fault for result in results] == [None] * 4
    assert counts == [2] + [1 if native else 2] * 4


class OnWorkers:
    """A family that says that it needs worker processes."""

    native = False

    def __init__(self, family: Any) -> None:
        self._family = family

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)
