"""What networks read is scaled in one way, in learning, context, acting and propensity; what is stored keeps its units.

Independent reference: numbers standardised by numpy before an unscaled agent sees them.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.paper import prepare
from mql.agent.agent import Agent
from mql.agent.elements import ContextElements
from mql.agent.scaling import Scaling
from mql.config.schema import AdaptConfig, AgentConfig
from mql.learning.contexts import Segments, Windows
from mql.learning.replay import Replay
from mql.types import Context, Episode, FloatArray

OBS, ACTION, STEPS = 3, 2, 12


def episodes(count: int, *, reward_factor: float = 1.0, seed: int = 0) -> list[Episode]:
    """Episodes whose observations lie far from 0 and vary by 100, 0.01 and not at all."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        obs = rng.normal([500.0, -2.0, 7.0], [100.0, 0.01, 0.0], size=(STEPS + 1, OBS)).astype(np.float32)
        action = rng.uniform(-1, 1, size=(STEPS, ACTION)).astype(np.float32)
        reward = (reward_factor * rng.normal(3.0, 2.0, size=STEPS)).astype(np.float32)
        made.append(Episode(obs, action, reward, terminated=index % 2 == 0, truncated=False, task=index % 2, seed=0))
    return made


def agent_of(*, normalize: bool = True, mode: str = "carry", reward_scale: float = 1.0) -> Agent:
    config = AgentConfig.model_validate(
        {
            "hidden_sizes": (8,),
            "context_dim": 5,
            "context_mode": mode,
            "context_length": 4,
            "normalize": normalize,
            "reward_scale": reward_scale,
        }
    )
    return Agent(OBS, ACTION, config, seed=1)


def replay_of(agent: Agent, data: list[Episode]) -> Replay:
    replay = Replay(
        n_tasks=2,
        obs_dim=OBS,
        action_dim=ACTION,
        capacity=1000,
        episode_length=STEPS,
        context_dim=agent.state_dim,
        scaling=agent.scaling,
    )
    for episode in data:
        replay.append(episode)
    return replay


def fitted(data: list[Episode], **settings: object) -> tuple[Agent, Replay]:
    agent = agent_of(**settings)  # type: ignore[arg-type]
    replay = replay_of(agent, data)
    agent.scaling.fit(*replay.observations_and_rewards())
    return agent, replay


def by_numpy(data: list[Episode]) -> list[Episode]:
    """The same episodes, standardised by numpy's mean and spread of what was seen before each action."""
    obs = np.concatenate([episode.obs[:-1] for episode in data]).astype(np.float64)
    reward = np.concatenate([episode.reward for episode in data]).astype(np.float64)
    spread = np.array([obs[:, 0].std(), obs[:, 1].std(), 1.0])
    return [
        Episode(
            ((e.obs - obs.mean(0)) / spread).astype(np.float32),
            e.action,
            ((e.reward - reward.mean()) / reward.std()).astype(np.float32),
            terminated=e.terminated,
            truncated=e.truncated,
            task=e.task,
            seed=e.seed,
        )
        for e in data
    ]


@pytest.mark.parametrize("plan", [Windows(4), Segments(length=4, burn_in=2)], ids=["window", "carry"])
def test_batches_equal_those_of_data_standardised_by_numpy(plan: Windows | Segments) -> None:
    data = episodes(6)
    mode = "window" if isinstance(plan, Windows) else "carry"
    agent, replay = fitted(data, mode=mode)
    plain = agent_of(normalize=False, mode=mode)
    reference = replay_of(plain, by_numpy(data))
    if agent.state_dim:
        replay.refresh_states(agent.online.critic_encoder)
        reference.refresh_states(plain.online.critic_encoder)
    ours, theirs = (each.sample(16, plan, np.random.default_rng(3)) for each in (replay, reference))
    close = {"rtol": 1e-4, "atol": 2e-4}  # observations of 500 in float32
    torch.testing.assert_close(ours.context.elements, theirs.context.elements, **close)
    torch.testing.assert_close(ours.transition.obs, theirs.transition.obs, **close)
    torch.testing.assert_close(ours.transition.next_obs, theirs.transition.next_obs, **close)
    if ours.context.initial is not None:
        assert theirs.context.initial is not None
        torch.testing.assert_close(ours.context.initial, theirs.context.initial, rtol=0, atol=2e-3)
    torch.testing.assert_close(ours.transition.action, theirs.transition.action, rtol=0, atol=0)


def test_a_losss_reward_is_multiplied_but_not_shifted() -> None:
    data = episodes(4)
    _, replay = fitted(data, reward_scale=3.0)
    raw = np.concatenate([episode.reward for episode in data])
    starts = replay.episode_starts(replay.all_rows())
    batch = replay.whole_episodes(starts, Windows(4))
    np.testing.assert_allclose(np.sort(batch.transition.reward), np.sort(raw) / raw.std() * 3.0, rtol=1e-5)


def test_rewards_a_thousand_times_as_large_are_learned_from_alike() -> None:
    """The field case: without it, most of the context's units saturate."""

    def share_saturated(agent: Agent, replay: Replay) -> float:
        states = agent.online.actor_encoder.states(agent.scaling.elements(replay.table[:STEPS, None]))
        return float((states[1:].abs() > 0.99).float().mean())

    plain = agent_of(normalize=False)
    small, large = (fitted(episodes(6, reward_factor=factor)) for factor in (1.0, 1000.0))
    batches = [
        replay.sample(16, Segments(length=4, burn_in=2), np.random.default_rng(0)) for _, replay in (small, large)
    ]
    torch.testing.assert_close(batches[0].context.elements, batches[1].context.elements, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(batches[0].transition.reward, batches[1].transition.reward, rtol=1e-5, atol=1e-5)
    assert share_saturated(*large) < 0.05
    assert share_saturated(plain, replay_of(plain, episodes(6, reward_factor=1000.0))) > 0.5


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_acting_meets_the_same_numbers_as_learning(mode: str) -> None:
    data = episodes(4)
    agent, _ = fitted(data, mode=mode)
    policy = pickle.loads(pickle.dumps(agent.policy()))
    context = policy.begin(1)
    episode = data[0]
    for t in range(STEPS):
        policy.observe(context, episode.obs[t : t + 1], episode.action[t : t + 1], episode.reward[t : t + 1])
    elements = torch.from_numpy(np.concatenate([episode.obs[:-1], episode.action, episode.reward[:, None]], axis=1))
    seen = agent.scaling.elements(elements)[:, None]
    seen = seen[-4:] if mode == "window" else seen
    with torch.no_grad():
        z = agent.online.actor_encoder(Context(seen))
        action = agent.online.actor.act(agent.scaling.obs(torch.from_numpy(episode.obs[-1:])), z)
    np.testing.assert_allclose(policy.act(episode.obs[-1:], context), action.numpy(), rtol=1e-5, atol=1e-6)


def test_a_policy_made_before_stays_current() -> None:
    agent = agent_of()
    early = agent.policy()
    replay = replay_of(agent, episodes(4))
    agent.scaling.fit(*replay.observations_and_rewards())
    obs: FloatArray = np.full((1, OBS), 400.0, dtype=np.float32)
    late = agent.policy()
    np.testing.assert_array_equal(early.act(obs, early.begin(1)), late.act(obs, late.begin(1)))


def test_it_is_saved_and_copied_with_the_agent() -> None:
    agent, _ = fitted(episodes(4))
    other = agent_of()
    other.load_tensors({name: tensor.clone() for name, tensor in agent.named_tensors()})
    twin = agent.copy()
    for each in (other, twin):
        assert bool(each.scaling.fitted)
        assert torch.equal(each.scaling.scale, agent.scaling.scale)
    twin.scaling.scale.zero_()
    assert not torch.equal(twin.scaling.scale, agent.scaling.scale)
    assert not [name for name, _ in agent_of(normalize=False).named_tensors() if name.startswith("scaling")]


def test_the_propensity_sees_scaled_contexts() -> None:
    data = episodes(6)
    agent, replay = fitted(data)
    plain = agent_of(normalize=False)
    config = AdaptConfig(features="obs_context")
    ours, theirs = (
        prepare(MetaTraining(agent, replay), config),
        prepare(MetaTraining(plain, replay_of(plain, by_numpy(data))), config),
    )
    np.testing.assert_allclose(ours.features, theirs.features, rtol=0, atol=3e-3)


def test_reward_scale_reaches_the_context_without_normalisation() -> None:
    agent = agent_of(normalize=False, reward_scale=0.1)
    element = torch.tensor([[1.0, 2.0, 3.0, 0.5, -0.5, 10.0]])
    torch.testing.assert_close(agent.scaling.elements(element), torch.tensor([[1.0, 2.0, 3.0, 0.5, -0.5, 1.0]]))
    assert agent_of(normalize=False).scaling.elements(element) is element, "nothing is computed where nothing is to be"


@pytest.mark.parametrize("noise", [1e-42, 1e-17, 1e-8])
def test_a_body_at_rest_is_not_measured_by_its_rounding_noise(noise: float) -> None:
    """Once it is pushed, its velocity is a number that networks can read, not 1e16."""
    scaling = Scaling(ContextElements(1, 1), reward_scale=1.0, normalize=True, device="cpu")
    rng = np.random.default_rng(0)
    at_rest = torch.from_numpy((noise * rng.standard_normal((200, 1))).astype(np.float32))
    scaling.fit(at_rest, at_rest[:, 0])
    assert scaling.scale.tolist() == [1.0, 1.0, 1.0]
    torch.testing.assert_close(scaling.obs(torch.tensor([[0.3]])), torch.tensor([[0.3]]))


def test_it_is_fitted_once_and_only_if_asked() -> None:
    scaling = Scaling(ContextElements(1, 1), reward_scale=1.0, normalize=True, device="cpu")
    scaling.fit(torch.tensor([[1.0], [3.0]]), torch.tensor([5.0, 5.0]))
    assert scaling.shift.tolist() == [2.0, 0.0, 5.0] and scaling.scale.tolist() == [1.0, 1.0, 1.0]
    for each in (scaling, Scaling(ContextElements(1, 1), reward_scale=1.0, normalize=False, device="cpu")):
        with pytest.raises(RuntimeError, match="once"):
            each.fit(torch.zeros(2, 1), torch.zeros(2))
