"""More training on chosen data: batches of several sources, Adam's moments carried on, states computed afresh."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mql.adaptation.new_data import replay_of
from mql.adaptation.tuning import Candidate, Source, Tuner, joined, tune
from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig, AgentConfig
from mql.learning.contexts import context_plan
from mql.types import Episode

OBS, ACTIONS, STEPS = 3, 2, 12
CONFIGS = [
    {"context_mode": "carry", "segment_length": 4, "burn_in": 3},
    {"context_mode": "window", "context_length": 5},
]


def agent(**config: object) -> Agent:
    return Agent(OBS, ACTIONS, AgentConfig.model_validate({"hidden_sizes": (16,), "context_dim": 4, **config}), seed=0)


def episodes(seed: int, count: int = 3) -> list[Episode]:
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return rng.uniform(-1.0, 1.0, shape).astype(np.float32)

    return [Episode(some(STEPS + 1, OBS), some(STEPS, ACTIONS), some(STEPS), False, True, 0, 0) for _ in range(count)]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_joined_batch_gives_every_part_s_own_contexts(config: dict[str, object]) -> None:
    own = agent(**config)
    plan, rng = context_plan(own.config), np.random.default_rng(0)
    parts = [replay_of(own, episodes(seed)).sample(16, plan, rng) for seed in (1, 2)]
    whole = joined(parts)
    encoder = own.online.critic_encoder
    with torch.no_grad():
        apart = torch.cat([encoder(part.context) for part in parts])
        assert torch.allclose(encoder(whole.context), apart, atol=1e-6)
        after = torch.cat([encoder(part.next_context) for part in parts])
        assert torch.allclose(encoder(whole.next_context), after, atol=1e-6)
    assert torch.equal(whole.transition.reward, torch.cat([part.transition.reward for part in parts]))
    assert len(whole.weights) == len(whole.transition.obs) == 32


def test_rounds_go_on_with_the_moments_of_the_one_before() -> None:
    """The second of two rounds differs from one that forgets, and says so in Adam's count of steps."""
    own, settings = agent(), AdaptConfig(round_updates=4, round_batch_size=16)
    store = replay_of(own, episodes(1))
    first = tune(Candidate(own, {}), [Source(store, 1.0, store)], settings, lr=1e-3, seed=0, turn=0)
    on, anew = (
        tune(Candidate(first.agent, moments), [Source(store, 1.0, store)], settings, lr=1e-3, seed=0, turn=1)
        for moments in (first.moments, {})
    )
    assert float(on.moments["adam.critic.0.step"]) == 8 and float(anew.moments["adam.critic.0.step"]) == 4
    assert not torch.equal(on.agent.parts["critic"].online.data, anew.agent.parts["critic"].online.data)


def test_what_it_starts_from_stays_and_another_turn_draws_other_batches() -> None:
    own, settings = agent(), AdaptConfig(round_updates=3, round_batch_size=16)
    before = own.parts["critic"].online.data.clone()
    store = replay_of(own, episodes(1))
    found = [
        tune(Candidate(own, {}), [Source(store, 1.0, store)], settings, lr=1e-3, seed=0, turn=turn)
        .agent.parts["critic"]
        .online.data
        for turn in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert torch.equal(own.parts["critic"].online.data, before) and not torch.equal(found[0], before)


def test_shares_say_how_much_of_a_batch_comes_from_where() -> None:
    """Rewards of one source are all 5, of the other all -5: the mean of what is learned from tells the shares."""
    own, plan, rng = agent(), context_plan(agent().config), np.random.default_rng(0)
    [old] = episodes(1, count=1)
    stores = [replay_of(own, [replace(old, reward=np.full(STEPS, value, np.float32))]) for value in (5.0, -5.0)]
    batch = joined([store.sample(size, plan, rng) for store, size in zip(stores, (48, 16), strict=True)])
    assert float(batch.transition.reward.mean()) == pytest.approx(2.5 * own.config.reward_scale)


def test_the_rate_falls_to_nothing_within_a_round_and_is_halved_after_a_roll_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, rates = agent(), []
    learner = type(own.learner(lr=1.0))
    update = learner.update

    def noted(self: Any, *arguments: Any, **named: Any) -> Any:
        rates.append(self.lr)
        return update(self, *arguments, **named)

    monkeypatch.setattr(learner, "update", noted)
    store = replay_of(own, episodes(1))
    settings = AdaptConfig(round_updates=4, round_batch_size=16, round_lr=0.004)
    tuner, best, sources = Tuner(settings, seed=0), Candidate(own, {}), [Source(store, 1.0, store)]
    kept = tuner.propose(best, sources, 0)
    assert rates == pytest.approx([0.004, 0.003, 0.002, 0.001])
    tuner.propose(kept, sources, 1)  # the first one was kept, the second was not, the third was not
    tuner.propose(kept, sources, 2)
    tuner.propose(kept, sources, 3)
    assert rates[4::4] == pytest.approx([0.004, 0.002, 0.001])


@pytest.mark.parametrize(("size", "share"), [(4, 1.0), (16, 0.99), (1, 0.5)])
def test_a_share_that_would_round_to_nothing_is_one_segment(size: int, share: float) -> None:
    own = agent()
    stores = [replay_of(own, episodes(seed)) for seed in (1, 2)]
    sources = [Source(stores[0], share, stores[0]), Source(stores[1], 1.0 - share, stores[1])]
    moved = tune(
        Candidate(own, {}), sources, AdaptConfig(round_updates=2, round_batch_size=size), lr=1e-3, seed=0, turn=0
    )
    assert not torch.equal(moved.agent.parts["critic"].online.data, own.parts["critic"].online.data)
