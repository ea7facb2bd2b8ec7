"""Episodes in an environment of the caller's own are those that collecting gives in the family's."""

from __future__ import annotations

import numpy as np
import pytest

from mql.agent.agent import Agent
from mql.collecting.exploration import explorer_for
from mql.collecting.one_environment import collect_from
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks import registry

FAMILY = registry.load("point-robot")
AGENT = Agent(FAMILY.obs_dim, FAMILY.action_dim, AgentConfig(hidden_sizes=(32,), context_dim=6), seed=2)


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_they_are_those_of_the_family(scale: float) -> None:
    task, explorer = FAMILY.tasks("test")[0], explorer_for(FAMILY, "white", scale)

    def streams() -> list[np.random.Generator]:
        return np.random.default_rng(1).spawn(2)

    with FAMILY.make(task) as environment:
        begun = [explorer.begin(1, rng) for rng in streams()] if explorer else None
        own = collect_from(AGENT, environment, [4, 5], most_steps=FAMILY.episode_length, explorations=begun)
    theirs = collect(AGENT, FAMILY, [task] * 2, [4, 5], explorer=explorer, rng=streams())
    for mine, its in zip(own, theirs, strict=True):
        for name in ("obs", "action", "reward"):
            np.testing.assert_allclose(getattr(mine, name), getattr(its, name), atol=1e-5)
            assert getattr(mine, name).dtype == np.float32
        assert (mine.seed, mine.terminated, mine.truncated) == (its.seed, its.terminated, its.truncated)
        assert mine.final_info == pytest.approx(its.final_info, abs=1e-5) and mine.success == its.success


def test_an_episode_that_does_not_end_is_cut_off() -> None:
    with FAMILY.make(FAMILY.tasks("test")[0]) as environment:
        [short] = collect_from(AGENT, environment, [4], most_steps=3)
    assert (short.length, short.truncated, short.terminated) == (3, True, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [("reacher-goal", "the agent sees 2 numbers in one row"), ("point-robot-oracle", "the environment's observations")],
)
def test_other_spaces_are_refused(name: str, message: str) -> None:
    family = registry.load(name)
    with family.make(family.tasks("test")[0]) as environment, pytest.raises(UserError, match=message):
        collect_from(AGENT, environment, [0], most_steps=5)
