"""n-step returns against a loop over the episodes themselves, and what a target then is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.adaptation.tuning import joined
from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.learning.contexts import Segments, Windows, context_plan
from mql.learning.n_step import NStep
from mql.learning.replay import Replay
from mql.types import Batch, Episode

OBS, ACTION = 2, 1
N, GAMMA = 3, 0.5


def episode(number: int, rewards: list[float], *, terminated: bool, task: int = 0) -> Episode:
    """An episode whose observations are (its number, the step)."""
    steps = np.arange(len(rewards) + 1, dtype=np.float32)
    return Episode(
        obs=np.stack([np.full_like(steps, number), steps], axis=1),
        action=steps[:-1, None].copy(),
        reward=np.array(rewards, dtype=np.float32),
        terminated=terminated,
        truncated=not terminated,
        task=task,
        seed=number,
    )


def filled(episodes: list[Episode], *, capacity: int, scaling_of: Agent | None = None) -> Replay:
    buffer = Replay(
        n_tasks=1,
        obs_dim=OBS,
        action_dim=ACTION,
        capacity=capacity,
        episode_length=10,
        scaling=scaling_of.scaling if scaling_of else None,
    )
    for each in episodes:
        buffer.append(each)
    return buffer


@pytest.mark.parametrize(("terminated", "discount"), [(True, 0.25), (False, 0.25)])
@pytest.mark.parametrize("plan", [Windows(2, NStep(N, GAMMA)), Segments(2, 1, NStep(N, GAMMA))])
def test_returns_by_hand(plan: Windows | Segments, terminated: bool, discount: float) -> None:
    """Rewards 1, 2 and an end: 1 + 2 / 2 = 2 from the first step, and 2 from the second."""
    ended = filled([episode(0, [1.0, 2.0], terminated=terminated)], capacity=20)
    t = ended.gather(ended.all_rows()[:1], plan).transition
    assert t.reward[0] == 2.0
    assert t.terminated[0] == float(terminated)
    assert t.next_obs[0].tolist() == [0.0, 2.0]  # the final observation
    assert t.discount is not None
    assert t.discount[0] == discount  # two steps, of the three that it might have been

    going_on = filled([episode(0, [1.0, 2.0, 4.0, 8.0], terminated=terminated)], capacity=20)
    t = going_on.gather(going_on.all_rows()[:1], plan).transition
    assert t.discount is not None
    assert (t.reward[0], t.discount[0], t.terminated[0]) == (3.0, 0.125, 0.0)  # 1 + 2 / 2 + 4 / 4
    assert t.next_obs[0].tolist() == [0.0, 3.0]


@pytest.mark.parametrize("n", [2, 3, 7])
@pytest.mark.parametrize(
    "plan", [(Windows, {"length": 4}), (Windows, {"length": 0}), (Segments, {"length": 4, "burn_in": 3})]
)
def test_returns_and_their_contexts_are_those_of_a_loop_over_the_episodes(n: int, plan: tuple) -> None:
    kind, sizes = plan
    rng = np.random.default_rng(n)
    episodes = [
        episode(number, rng.standard_normal(int(rng.integers(1, 11))).tolist(), terminated=bool(rng.integers(2)))
        for number in range(19)  # several times round the ring
    ]
    buffer = filled(episodes, capacity=40)
    rows = buffer.sample_rows(200, rng)
    batch = buffer.gather(rows, kind(**sizes, n_step=NStep(n, GAMMA)), rng=rng)
    t = batch.transition
    assert t.discount is not None
    reads = 1 if batch.next_context.read is None else batch.next_context.read.shape[1]
    seen = set()
    for b in range(len(t.obs)):
        if batch.weights[b] == 0:
            continue
        number, step = int(t.obs[b, 0]), int(t.obs[b, 1])
        source = episodes[number]
        expected, factor, at = 0.0, 1.0, step
        while at < source.length and at < step + n:
            expected, factor, at = expected + factor * float(source.reward[at]), factor * GAMMA, at + 1
        assert t.reward[b].item() == pytest.approx(expected, abs=1e-5)
        assert t.discount[b].item() == pytest.approx(factor)
        assert t.terminated[b].item() == float(source.terminated and at == source.length)
        assert t.next_obs[b].tolist() == source.obs[at].tolist()
        assert t.action[b].item() == step
        seen.add(at - step)
        for context, end in ((batch.context, step), (batch.next_context, at)):
            row, column = divmod(b, reads)
            first = 0 if context.start is None else int(context.start[row])
            last = len(context.elements) if context.read is None else int(context.read[row, column])
            elements = context.elements[first:last, row]
            assert elements[:, 1].tolist() == list(range(end - (last - first), end))
            assert (elements[:, 0] == number).all()
            if kind is Windows:
                assert last - first == min(sizes["length"], end)
    assert {1, n} <= seen  # ends of episodes were among them


@pytest.mark.parametrize("changes", [{}, {"use_context": False}, {"context_mode": "window", "context_length": 3}])
def test_one_step_is_what_it_was_without_the_key(changes: dict[str, object]) -> None:
    """The same plan; and a return over one step by way of sums gives the same numbers."""
    config = AgentConfig(**changes)  # type: ignore[arg-type]
    plan = context_plan(config)
    assert plan.n_step is None
    several = context_plan(AgentConfig(n_step=4, discount=0.5, **changes))  # type: ignore[arg-type]
    assert type(several) is type(plan)
    assert several.n_step == NStep(4, 0.5)
    buffer = filled([episode(i, [1.0, -2.0, 3.0], terminated=i == 1) for i in range(3)], capacity=40)
    batches = [
        buffer.sample(64, type(plan)(**{**vars(plan), "n_step": n_step}), np.random.default_rng(0))
        for n_step in (None, NStep(1, 0.5))
    ]
    one, summed = (batch.transition for batch in batches)
    assert one.discount is None
    assert summed.discount is not None
    assert (summed.discount == 0.5).all()
    for name in ("obs", "action", "reward", "next_obs", "terminated"):
        assert torch.equal(getattr(one, name), getattr(summed, name))
    assert torch.equal(batches[0].next_context.elements, batches[1].next_context.elements)


def test_rewards_are_scaled_once() -> None:
    agent = Agent(OBS, ACTION, AgentConfig(reward_scale=10.0), seed=0)
    buffer = filled([episode(0, [1.0, 2.0, 4.0], terminated=False)], capacity=20, scaling_of=agent)
    t = buffer.gather(buffer.all_rows()[:1], Windows(2, NStep(N, GAMMA))).transition
    assert t.reward[0] == 30.0


def test_whole_episodes_have_their_returns_too() -> None:
    buffer = filled([episode(0, [1.0, 2.0, 4.0], terminated=True)], capacity=20)
    starts = buffer.episode_starts(buffer.all_rows())
    for plan in (Windows(2, NStep(2, GAMMA)), Segments(2, 1, NStep(2, GAMMA))):
        assert buffer.whole_episodes(starts, plan).transition.reward.tolist() == [2.0, 4.0, 4.0]


@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_a_target_takes_the_discount_of_the_steps_there_were(algorithm: str) -> None:
    """Without bootstrap a target is the sum; otherwise the value at the end counts gamma^k."""
    goals = []
    for n_step, terminated in ((2, True), (2, False), (1, False)):
        config = AgentConfig(
            algorithm=algorithm,  # type: ignore[arg-type]
            hidden_sizes=(8,), context_dim=4, segment_length=1, burn_in=4, discount=GAMMA, n_step=n_step,
        )  # fmt: skip
        agent = Agent(OBS, ACTION, config, seed=0)
        buffer = filled([episode(0, [1.0, 2.0], terminated=terminated)], capacity=20)
        first = 0 if n_step == 2 else 1  # the same final observation, one or two steps ahead
        batch = buffer.gather(buffer.all_rows()[first : first + 1], context_plan(config))
        learner = agent.learner(lr=1e-3)
        goals.append(learner._target(batch, torch.Generator().manual_seed(0)).values.item())  # type: ignore[attr-defined]
    assert goals[0] == 2.0
    value = (goals[2] - 2.0) / GAMMA
    assert value != 0.0
    assert goals[1] == pytest.approx(2.0 + GAMMA**2 * value, rel=1e-4)


def test_batches_with_returns_are_joined() -> None:
    buffer = filled([episode(0, [1.0, 2.0, 4.0], terminated=True)], capacity=20)
    rows, plan = buffer.all_rows(), Windows(2, NStep(2, GAMMA))
    parts: list[Batch] = [buffer.gather(rows[:1], plan), buffer.gather(rows[2:], plan)]
    both = joined(parts).transition
    assert both.discount is not None
    assert both.discount.tolist() == [0.25, 0.5]
