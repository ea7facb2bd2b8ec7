"""Collection: whole episodes, in the order of the tasks, whoever runs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from mql.agent.agent import Agent
from mql.collecting.exploration import EXPLORERS, Explorer, explorer_for, random_actions
from mql.collecting.rollout import collect, collect_each
from mql.config.schema import AgentConfig
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.types import Episode

AGENTS = [("carry", "gru"), ("window", "gru"), ("window", "transformer")]


def episodes(
    family_name: str,
    *,
    workers: int,
    count: int = 5,
    mode: str = "carry",
    encoder: str = "gru",
    steps: int = 50,
    explorer: str | None = None,
    alone: bool = False,
) -> list[Episode]:
    family = replace(registry.load(family_name), episode_length=steps)  # type: ignore[type-var]
    sizes = {"hidden_sizes": (64,), "context_dim": 30}
    config = AgentConfig.model_validate(
        {**sizes, "encoder": encoder, "context_mode": mode, "shared_encoder": mode == "carry"}
    )
    agent = Agent(family.obs_dim, family.action_dim, config, seed=0)
    outcomes = collect_each(
        agent,
        family,
        family.tasks("train")[:count],
        list(range(count)),
        rng=np.random.default_rng(1),
        explorer=explorer_of(family, explorer),
        alone=alone,
        workers=workers,
    )
    return cast("list[Episode]", outcomes)


def assert_equal(first: list[Episode], second: list[Episode]) -> None:
    assert [(e.task, e.seed) for e in first] == [(e.task, e.seed) for e in second]
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action)
        assert np.array_equal(a.reward, b.reward)


def explorer_of(family: TaskFamily, kind: str | None) -> Explorer | None:
    if kind is None:
        return None
    return random_actions(family) if kind == "random" else explorer_for(family, kind, 0.3)


@pytest.mark.parametrize(("mode", "encoder"), AGENTS)
@pytest.mark.parametrize(
    "options", [{}, {"explorer": "random"}, *({"explorer": kind} for kind in EXPLORERS), {"alone": True}], ids=str
)
@pytest.mark.parametrize("workers", [2, 3, 8])
def test_episodes_do_not_depend_on_the_number_of_workers(
    mode: str, encoder: str, options: dict[str, Any], workers: int
) -> None:
    """Bit for bit, also with numbers of episodes for which BLAS takes different ways."""
    for count in (5, 13):
        alone, shared = (
            episodes("reacher-goal", workers=processes, count=count, mode=mode, encoder=encoder, steps=12, **options)
            for processes in (1, workers)
        )
        assert_equal(alone, shared)


@pytest.mark.parametrize(("mode", "encoder"), AGENTS)
def test_an_episode_alone_does_not_depend_on_how_many_others_there_are(mode: str, encoder: str) -> None:
    few, many = (
        episodes("reacher-goal", workers=1, count=n, mode=mode, encoder=encoder, steps=12, alone=True) for n in (3, 19)
    )
    assert_equal(few, many[:3])


def test_a_fall_terminates_an_episode_and_a_time_limit_truncates_it() -> None:
    fallen = episodes("hopper-params", workers=1, steps=400, explorer="random")
    assert all(episode.length < 400 and (episode.terminated, episode.truncated) == (True, False) for episode in fallen)
    ended = episodes("point-robot", workers=1, steps=10)
    assert all(episode.length == 10 and (episode.terminated, episode.truncated) == (False, True) for episode in ended)


def test_equal_arguments_give_equal_episodes() -> None:
    first, second = (episodes("reacher-goal", workers=2, explorer="white") for _ in range(2))
    assert all(
        np.array_equal(a.obs, b.obs) and np.array_equal(a.action, b.action) for a, b in zip(first, second, strict=True)
    )


def test_exploration_needs_a_generator_and_every_task_a_seed() -> None:
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)
    with pytest.raises(ValueError, match="random generator"):
        collect(agent, family, family.tasks("train")[:1], [0], explorer=random_actions(family))
    with pytest.raises(ValueError, match="1 tasks but 2 seeds"):
        collect(agent, family, family.tasks("train")[:1], [0, 1])
    with pytest.raises(ValueError, match="1 episodes but 0 random generators"):
        collect(agent, family, family.tasks("train")[:1], [0], explorer=random_actions(family), rng=[])
