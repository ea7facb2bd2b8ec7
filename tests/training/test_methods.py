"""The methods to compare with: what each of them draws, sees and records, from starts that no training seed moves."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from tiny_runs import TINY

import mql
from mql.config.loading import load_config
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.tasks import registry
from mql.training.records import evaluation_seed
from mql.types import Episode

OWN = {key: value for key, value in TINY.items() if not key.startswith("adapt.")}
EPISODES, STEPS = 6, 50


def numbered_replay(n_tasks: int) -> Replay:
    """Whose observations name the task, the episode and the step."""
    replay = Replay(n_tasks=n_tasks, obs_dim=3, action_dim=1, capacity=10_000, episode_length=STEPS, context_dim=4)
    for number in range(n_tasks * EPISODES):
        task, episode = number % n_tasks, number // n_tasks
        obs = np.array([[task, episode, step] for step in range(STEPS + 1)], np.float32)
        zeros = np.zeros((STEPS, 1), np.float32)
        replay.append(Episode(obs, zeros, zeros[:, 0], terminated=False, truncated=True, task=task, seed=0))
    return replay


def neighbours(method: str, *, batches: int = 40) -> tuple[float, list[tuple[int, ...]]]:
    """Draw batches as a method's learner gets them: pairs of one episode and batch that are a step apart, per batch."""
    config = load_config("cheetah-vel", method=method)
    replay, plan, rng = numbered_replay(5), context_plan(config.agent), np.random.default_rng(0)
    pairs, drawn = 0, []
    for _ in range(batches):
        batch = replay.sample(256, plan, rng)
        rows = [tuple(map(int, row)) for row in batch.transition.obs.tolist()]
        counts = Counter(rows)
        pairs += sum(n * counts[(*row[:2], row[2] + 1)] for row, n in counts.items())
        drawn += rows
        assert len(rows) == 256
        if method != "td3-context":
            assert batch.context.elements.shape[0] == 0 and bool((batch.weights == 1.0).all())
    return pairs / batches, drawn


@pytest.mark.parametrize("method", ["td3", "oracle"])
def test_a_context_blind_batch_holds_every_transition_drawn_on_its_own(method: str) -> None:
    """Pairs of neighbours are as rare as among independent draws; segments would have them at every step.

    Of M transitions, the second of two draws is the step after the first with probability (1 - 1 / STEPS) / M.
    """
    transitions = 5 * EPISODES * STEPS
    expected = 256 * 255 * (STEPS - 1) / (STEPS * transitions)
    pairs, drawn = neighbours(method)
    spread = np.sqrt(expected / 40)
    assert abs(pairs - expected) < 5 * spread
    for place, size in enumerate((5, EPISODES, STEPS)):  # tasks, episodes and steps: each as often as the others
        counts = np.bincount([row[place] for row in drawn], minlength=size)
        assert len(counts) == size and np.abs(counts / len(drawn) * size - 1.0).max() < 5 * np.sqrt(size / len(drawn))
    shared, _ = neighbours("td3-context")
    assert shared > 4 * expected


def trained(path: Any, method: str, **more: Any) -> mql.Run:
    return mql.train("point-robot", method=method, run_dir=path, settings={**OWN, **more}, seed=more.pop("seed", 1))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, mql.Run]:
    folder = tmp_path_factory.mktemp("methods")
    return {method: trained(folder / method, method) for method in ("td3", "td3-context", "oracle")}


def test_records_name_the_method_and_the_family_that_was_asked_for_and_nothing_that_was_not_done(
    runs: dict[str, mql.Run],
) -> None:
    for method, run in runs.items():
        assert run.result is not None
        for record in (run.result, run.evaluate(tasks=2)):
            assert (record["method"], record["family"]) == (method, "point-robot")
            assert record["summary"]["adapted"] is None and record["summary"]["zero_shot"]["mean"] < 0
            for row in record["tasks"]:
                assert row["zero_shot_return"] is not None and row["random_return"] is not None
                assert row["adapted_return"] is None and row["episodes_charged"] is None


def test_what_an_agent_sees(runs: dict[str, mql.Run]) -> None:
    sizes = {method: (run.agent().obs_dim, run.agent().elements.dim) for method, run in runs.items()}
    assert sizes == {"td3": (2, 0), "td3-context": (2, 5), "oracle": (4, 0)}
    oracle = mql.open_run(runs["oracle"].path)
    assert oracle.family.oracle and oracle.config.family == "point-robot"
    assert oracle.policy().act([0.0, 0.0, 0.3, -0.4]).shape == (2,)
    goals = [task.to_json() for task in registry.load("point-robot").tasks("test")]
    assert [task.to_json() for task in oracle.family.tasks("test")] == goals
    with pytest.raises(mql.UserError, match="the agent of point-robot-oracle sees the task anyway"):
        mql.train("point-robot-oracle", method="oracle", settings=OWN)


def test_what_does_not_adapt_says_so(runs: dict[str, mql.Run]) -> None:
    for method, run in runs.items():
        with pytest.raises(mql.UserError, match=f"mql adapt does nothing: the method {method} does not adapt"):
            run.adapt(task={"goal": [0.5, 0.5]})
        with pytest.raises(mql.UserError, match=r"adapt\.adaptation_episodes does nothing"):
            run.evaluate(tasks=1, settings={"adapt.adaptation_episodes": 2})


def test_a_run_of_another_method_is_not_gone_on_with(runs: dict[str, mql.Run]) -> None:
    with pytest.raises(mql.UserError, match="method is td3, but the run was started with oracle"):
        mql.train("point-robot", method="td3", run_dir=runs["oracle"].path, resume=True)


def test_every_training_seed_and_method_is_evaluated_from_the_same_starts(
    runs: dict[str, mql.Run], tmp_path: Any
) -> None:
    """Random actions do not look at the agent: equal returns mean equal resets and draws."""

    def by_chance(run: mql.Run, **settings: Any) -> list[float]:
        return [row["random_return"] for row in run.evaluate(tasks=3, settings=settings)["tasks"]]

    other = mql.train("point-robot", method="td3", run_dir=tmp_path / "run", settings=OWN, seed=2)
    returns = by_chance(runs["td3"])
    assert by_chance(other) == by_chance(runs["td3-context"]) == by_chance(runs["oracle"]) == returns
    assert other.evaluate(tasks=1)["evaluation_seed"] == 0 and other.evaluate(tasks=1)["seed"] == 2
    assert by_chance(other, **{"evaluate.seed": 7}) != returns
    # As it was before: a run's own seed. (Seed 0 means the same either way.)
    own = {"evaluate.seed": None}
    assert by_chance(other, **own) != by_chance(runs["td3"], **own)
    unfixed = load_config("point-robot", seed=4, overrides=own)
    fixed = load_config("point-robot", overrides={"evaluate.seed": 4})
    assert evaluation_seed(unfixed, "test") == evaluation_seed(fixed, "test")
