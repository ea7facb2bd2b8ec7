"""Updates of critics that learn histograms, against plain PyTorch; and the range of values that their bins lie over."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from naive_td3 import Naive
from scipy.stats import norm

from mql.agent.agent import Agent
from mql.agent.histogram import MARGIN
from mql.agent.networks import HistogramCritic, Networks
from mql.config.loading import override
from mql.config.schema import AgentConfig, Config
from mql.learning.replay import Replay
from mql.learning.td3 import TD3, Goal, goal_of, histogram_loss, learned_from
from mql.learning.trainer import Trainer
from mql.learning.value_range import CLIPPED, clipping_remark, fit_value_range, return_range
from mql.tasks import registry
from mql.types import Batch, Context, Episode, Transition

OBS, ACTION, BINS = 3, 2, 31
LOW, HIGH = -2.0, 6.0


def agent_of(critic: str, **changes: object) -> Agent:
    config = AgentConfig(
        critic=critic,  # type: ignore[arg-type]
        value_bins=BINS, hidden_sizes=(16, 16), context_dim=4, **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    agent = Agent(OBS, ACTION, config, seed=1)
    for networks in (agent.online, agent.target):
        networks.critic.place_bins(LOW, HIGH, afresh=True)
    return agent


def random_batch(seed: int = 0, *, discount: torch.Tensor | None = None) -> Batch:
    g = torch.Generator().manual_seed(seed)
    elements = torch.randn(5, 6, OBS + ACTION + 1, generator=g)
    return Batch(
        transition=Transition(
            obs=torch.randn(12, OBS, generator=g),
            action=torch.rand(12, ACTION, generator=g) * 2 - 1,
            reward=torch.randn(12, generator=g) * 2.0,
            next_obs=torch.randn(12, OBS, generator=g),
            terminated=(torch.rand(12, generator=g) < 0.3).float(),
            discount=discount,
        ),
        context=Context(elements, torch.tensor([[2, 3]]).expand(6, -1)),
        next_context=Context(elements, torch.tensor([[3, 4]]).expand(6, -1)),
        weights=torch.rand(12, generator=g) + 0.5,
    )


class NaiveHistograms(Naive):
    """The same with cross-entropy: bins from the configuration's numbers, Gaussians from scipy."""

    width = (HIGH - LOW) / (BINS - 2 * MARGIN)
    edges = LOW + width * np.arange(-MARGIN, BINS + 1 - MARGIN)
    middles = torch.from_numpy((edges[1:] + edges[:-1]) / 2).float()

    def logits(self, nets: Networks, k: int, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = torch.cat([obs, action, z], dim=1)
        *between, (weight, bias) = zip(nets.critic.weights, nets.critic.biases, strict=True)
        for w, b in between:
            x = torch.relu(torch.nn.functional.layer_norm(x @ w[k] + b[k], (w.shape[2],)))
        return x @ weight[k] + bias[k]

    def q(self, nets: Networks, k: int, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return (torch.softmax(self.logits(nets, k, obs, action, z), 1) * self.middles).sum(1)

    def gaussians(self, values: torch.Tensor) -> torch.Tensor:
        at = values.clamp(LOW, HIGH).numpy()[:, None]
        below = norm.cdf(self.edges[None], loc=at, scale=0.75 * self.width)
        return torch.from_numpy(np.diff(below) / (below[:, -1:] - below[:, :1])).float()

    def update(self, batch: Batch, generator: torch.Generator) -> None:
        t, c = batch.transition, self.config
        with torch.no_grad():
            z = self.encode(self.target.critic_encoder, batch.next_context)
            action = self.act(self.target, t.next_obs, z)
            noise = c.target_policy_noise * torch.randn(action.shape, generator=generator)
            action = (action + noise.clamp(-c.target_noise_clip, c.target_noise_clip)).clamp(-1, 1)
            value = torch.minimum(*(self.q(self.target, k, t.next_obs, action, z) for k in range(2)))
            goal = self.gaussians(t.reward + c.discount * (1 - t.terminated) * value)
        z = self.encode(self.online.critic_encoder, batch.context)
        logits = [self.logits(self.online, k, t.obs, t.action, z) for k in range(2)]
        losses = [torch.nn.functional.cross_entropy(each, goal, reduction="none") for each in logits]
        self.step(self.adam[1], sum((batch.weights * each).mean() for each in losses), self.critic)  # type: ignore[arg-type]
        self.updates += 1
        if self.updates % c.policy_delay:
            return
        action = self.act(self.online, t.obs, z.detach())
        self.step(self.adam[0], -(batch.weights * self.q(self.online, 0, t.obs, action, z.detach())).mean(), self.actor)
        with torch.no_grad():
            for p, q in zip(self.target.parameters(), self.online.parameters(), strict=True):
                p.copy_((1 - c.tau) * p + c.tau * q)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "plain"])
def test_updates_of_hl_gauss_are_those_of_a_naive_implementation(
    monkeypatch: pytest.MonkeyPatch, *, kernels: bool
) -> None:
    if not kernels:
        for module in ("mql.kernels.gru", "mql.kernels.layers"):
            monkeypatch.setattr(f"{module}.kernels_for", lambda *_: None)
    agent = agent_of("hl_gauss", tau=0.1)
    before = [p.clone() for p in agent.online.parameters()]
    naive, learner = NaiveHistograms(agent, lr=1e-3), TD3(agent, lr=1e-3)
    ours, theirs = (torch.Generator().manual_seed(0) for _ in range(2))
    for seed in range(6):
        batch = random_batch(seed)
        learner.update(batch, generator=ours)
        naive.update(batch, theirs)
    for mine, expected in ((agent.online, naive.online), (agent.target, naive.target)):
        for p, q in zip(mine.parameters(), expected.parameters(), strict=True):
            assert torch.allclose(p, q, atol=2e-5), float((p - q).detach().abs().max())
    assert all((p - q).detach().abs().max() > 1e-4 for p, q in zip(agent.online.parameters(), before, strict=True))


def test_the_target_of_c51_is_the_shifted_distribution_of_the_critic_with_the_smaller_mean() -> None:
    agent = agent_of("c51")
    discount = torch.linspace(0.3, 0.99, 12)
    t = random_batch(discount=discount).transition
    g = torch.Generator().manual_seed(1)
    critic, action, z = agent.target.critic, torch.rand(12, ACTION, generator=g), torch.randn(12, 4, generator=g)
    critic.weights[-1].normal_(generator=g)  # distributions that differ
    goal = goal_of(critic, t, action, z, discount=0.5)
    assert goal.histograms is not None
    probabilities = torch.softmax(critic.logits(t.next_obs, action, z), -1)
    places = critic.bins.worth
    means = probabilities @ places
    assert (means[0] < means[1]).unique().tolist() == [False, True]
    for b in range(12):
        worse = probabilities[int(means[1, b] < means[0, b]), b]
        expected = torch.zeros(BINS)
        for place, probability in zip(places, worse, strict=True):
            atom = float(t.reward[b] + discount[b] * (1 - t.terminated[b]) * place)
            position = (min(max(atom, float(places[0])), float(places[-1])) - float(places[0])) / float(
                places.diff()[0]
            )
            lower = min(math.floor(position), BINS - 2)
            expected[lower] += probability * (1 - (position - lower))
            expected[lower + 1] += probability * (position - lower)
        assert torch.allclose(goal.histograms[b], expected, atol=1e-4)
        assert goal.values[b] == pytest.approx(
            float(t.reward[b] + discount[b] * (1 - t.terminated[b]) * means[:, b].min()), abs=1e-4
        )


@pytest.mark.parametrize("critic", ["hl_gauss", "c51"])
def test_an_entropy_is_taken_off_the_next_value(critic: str) -> None:
    """As SAC does; after a termination there is none."""
    agent = agent_of(critic)
    t = random_batch().transition
    action, z = torch.zeros(12, ACTION), torch.zeros(12, 4)
    plain, with_entropy = (
        goal_of(agent.target.critic, t, action, z, discount=0.5, entropy=entropy) for entropy in (None, torch.ones(12))
    )
    assert torch.allclose(plain.values - with_entropy.values, 0.5 * (1 - t.terminated), atol=1e-6)
    assert plain.histograms is not None and with_entropy.histograms is not None
    inside = (plain.values > LOW + 2.0) & (plain.values < HIGH - 2.0)
    worth = agent.target.critic.bins.worth
    moved = (plain.histograms @ worth - with_entropy.histograms @ worth)[inside]
    assert torch.allclose(moved, (0.5 * (1 - t.terminated))[inside], atol=1e-2)


def test_the_loss_is_the_weighted_cross_entropy_summed_over_twins() -> None:
    logits = torch.tensor([[[0.0, 0.0]], [[math.log(3.0), 0.0]]])
    loss = histogram_loss(logits, torch.tensor([[0.5, 0.5]]), torch.tensor([2.0]))
    assert loss.item() == pytest.approx(2.0 * (math.log(2.0) - 0.5 * math.log(0.75) - 0.5 * math.log(0.25)))


def test_clipped_targets_are_counted() -> None:
    agent = agent_of("hl_gauss")
    t, critic = random_batch().transition, agent.online.critic
    values = torch.tensor([HIGH + 1.0] * 3 + [LOW - 1.0] * 2 + [1.0] * 7)
    goal = Goal(values, critic.bins.around(values))
    _, said = learned_from(critic, t, torch.zeros(12, 4), goal, torch.ones(12))
    assert said["targets_clipped"] == pytest.approx(5 / 12)


@pytest.mark.parametrize(("critic", "algorithm"), [("hl_gauss", "td3"), ("c51", "sac")])
def test_critics_learn_the_value_of_a_reward(critic: str, algorithm: str) -> None:
    """Of a last step, whose reward is its first observation."""
    agent = agent_of(critic, algorithm=algorithm, use_context=False)
    learner = agent.learner(lr=1e-2)
    g = torch.Generator().manual_seed(0)
    empty = Context(torch.zeros(0, 64, OBS + ACTION + 1))
    for _ in range(150):
        obs, action = torch.randn(64, OBS, generator=g), torch.rand(64, ACTION, generator=g) * 2 - 1
        transition = Transition(obs, action, obs[:, 0].clamp(-1.5, 1.5), obs, torch.ones(64))
        learner.update(Batch(transition, empty, empty, torch.ones(64)), generator=g)
    with torch.no_grad():
        values = agent.online.critic(obs, action, torch.zeros(64, 0))
    assert (values - obs[:, 0].clamp(-1.5, 1.5)).abs().mean() < 0.3


def test_returns_go_on_after_a_time_limit_and_not_after_a_termination() -> None:
    reward = np.array([1.0, 2.0, 3.0], dtype=np.float32)
    assert return_range([(reward, True)], discount=0.5) == (0.0, 3.5)
    # 2 on average, so 4 from the end on: 3 + 4 / 2, 2 + 5 / 2, 1 + 4.5 / 2
    assert return_range([(reward, False)], discount=0.5) == (0.0, 5.0)
    assert return_range([(-reward, True), (reward, True)], discount=0.0) == (-3.0, 3.0)
    assert return_range([(reward, False)], discount=1.0) == (0.0, 6.0)
    assert return_range([], discount=0.9) == (0.0, 0.0)


def episode(rewards: list[float], *, terminated: bool = True) -> Episode:
    n = len(rewards)
    zeros = np.zeros((n + 1, max(OBS, ACTION)), dtype=np.float32)
    return Episode(
        obs=zeros[:, :OBS], action=zeros[:n, :ACTION], reward=np.array(rewards, dtype=np.float32),
        terminated=terminated, truncated=not terminated, task=0, seed=0,
    )  # fmt: skip


def placed(episodes: list[Episode], **changes: object) -> tuple[Agent, Replay]:
    config = AgentConfig(critic="hl_gauss", hidden_sizes=(8,), discount=0.5, **changes)  # type: ignore[arg-type]
    agent = Agent(OBS, ACTION, config, seed=0)
    replay = Replay(
        n_tasks=1, obs_dim=OBS, action_dim=ACTION, capacity=50, episode_length=10, context_dim=30, scaling=agent.scaling
    )
    for each in episodes:
        replay.append(each)
    fit_value_range(agent, replay, [])
    return agent, replay


def ends(agent: Agent) -> tuple[float, float]:
    assert torch.equal(agent.online.critic.bins.ends, agent.target.critic.bins.ends)
    return agent.online.critic.bins.low, agent.online.critic.bins.high


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (-3.0, 6.0)),  # one and a half times the range of returns
        ({"reward_scale": 0.5}, (-1.5, 3.0)),
        ({"value_max": 100.0, "reward_scale": 0.5}, (-1.5, 50.0)),
        ({"value_min": -5.0, "value_max": 7.0}, (-5.0, 7.0)),
        ({"value_min": 50.0}, (50.0, 51.0)),  # which is beyond all that was seen
    ],
)
def test_bins_lie_over_the_returns_of_the_stored_episodes(
    changes: dict[str, object], expected: tuple[float, float]
) -> None:
    agent, _ = placed([episode([2.0, 4.0]), episode([-2.0])], **changes)
    assert ends(agent) == pytest.approx(expected)


def test_rewards_that_are_all_zero_leave_room_for_one() -> None:
    agent, _ = placed([episode([0.0, 0.0])])
    low, high = ends(agent)
    assert low < high


def test_an_end_moves_on_when_an_episode_goes_beyond_it() -> None:
    agent, replay = placed([episode([2.0, 4.0]), episode([-2.0])])
    fit_value_range(agent, replay, [episode([5.9]), episode([-2.9])])
    assert ends(agent) == (-3.0, 6.0)
    fit_value_range(agent, replay, [episode([6.5])])
    assert ends(agent) == (-3.0, 12.0)  # twice what it was, which is more than 9.75
    fit_value_range(agent, replay, [episode([-20.0])])
    assert ends(agent) == (-30.0, 12.0)
    given, replay = placed([episode([2.0])], value_min=-1.0, value_max=4.0)
    fit_value_range(given, replay, [episode([50.0])])
    assert ends(given) == (-1.0, 4.0)


SMALL = [
    "agent.hidden_sizes=[8]", "agent.context_dim=4", "train.batch_size=32", "train.episodes_per_iteration=5",
    "train.random_steps=150", "train.env_steps=600", "agent.critic=hl_gauss",
]  # fmt: skip


def test_a_training_finds_its_range_and_carries_it_on() -> None:
    config = override(Config(family="point-robot"), SMALL)
    trainer = Trainer(config, registry.load("point-robot"))
    for _ in range(3):
        losses = trainer.iterate().losses
    assert "targets_clipped" in losses
    low, high = ends(trainer.agent)
    assert low < -5.0 and high == 0.0  # rewards are distances, below 0
    other = Trainer(config, registry.load("point-robot"))
    other.restore({k: v.clone() for k, v in trainer.tensors().items()}, trainer.counters())
    assert ends(other.agent) == (low, high)
    assert bool(other.agent.online.critic.bins.fitted)
    twin = trainer.agent.copy()
    assert isinstance(twin.online.critic, HistogramCritic)
    assert ends(twin) == (low, high)


def test_much_clipping_is_remarked_once() -> None:
    config = override(Config(family="point-robot"), [*SMALL, "agent.value_min=-1", "agent.value_max=0"])
    trainer = Trainer(config, registry.load("point-robot"))
    remarks = [trainer.iterate().remark for _ in range(3)]
    other = Trainer(config, registry.load("point-robot"))
    other.restore({k: v.clone() for k, v in trainer.tensors().items()}, trainer.counters())
    said = [remark for remark in remarks if remark]
    assert len(said) == 1
    assert "beyond what they can tell, -1 to 0: give a wider range by agent.value_min" in said[0]
    assert other._clipping_said
    assert clipping_remark(CLIPPED, trainer.agent) is None
