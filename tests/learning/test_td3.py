"""TD3's targets and losses by hand, and facts about one update."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from naive_td3 import Naive

from mql.agent import networks
from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.learning.td3 import TD3, actor_loss, critic_loss, smooth_target_action, td_target
from mql.types import Batch, Context, Transition

OBS, ACTION = 3, 2


def small_agent(**changes: object) -> Agent:
    config = AgentConfig(hidden_sizes=(16, 16), context_dim=4, precision="float32", **changes)  # type: ignore[arg-type]
    return Agent(OBS, ACTION, config, seed=1)


def random_batch(weights: torch.Tensor | None = None, rows: int = 6, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    reads = 2
    b = rows * reads
    elements = torch.randn(5, rows, OBS + ACTION + 1, generator=g)
    return Batch(
        transition=Transition(
            obs=torch.randn(b, OBS, generator=g),
            action=torch.rand(b, ACTION, generator=g) * 2 - 1,
            reward=torch.randn(b, generator=g),
            next_obs=torch.randn(b, OBS, generator=g),
            terminated=(torch.rand(b, generator=g) < 0.2).float(),
        ),
        context=Context(elements, torch.tensor([[2, 3]]).expand(rows, -1)),
        next_context=Context(elements, torch.tensor([[3, 4]]).expand(rows, -1)),
        weights=torch.ones(b) if weights is None else weights,
    )


def parameters(agent: Agent) -> list[torch.Tensor]:
    return [tensor.clone() for _, tensor in agent.named_tensors()]


def test_target_takes_the_smaller_value_and_stops_only_at_termination() -> None:
    target = td_target(
        torch.tensor([1.0, 1.0, -2.0]),
        torch.tensor([0.0, 1.0, 0.0]),  # the third ended by its time limit: not terminated, so it bootstraps
        torch.tensor([[10.0, 10.0, 4.0], [20.0, 5.0, 3.0]]),
        discount=0.9,
    )
    assert torch.allclose(target, torch.tensor([10.0, 1.0, 0.7]))


def test_critic_loss_sums_over_twins_the_weighted_mean_square() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    loss = critic_loss(values, torch.tensor([0.0, 1.0]), torch.tensor([0.5, 1.5]))
    # first critic: (0.5 * 1 + 1.5 * 1) / 2 = 1; second: (0.5 * 9 + 1.5 * 16) / 2 = 14.25
    assert loss.item() == pytest.approx(15.25)


def test_actor_loss_is_the_weighted_negative_mean() -> None:
    assert actor_loss(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 0.5])).item() == pytest.approx(-2.0)


def test_target_noise_is_clipped_and_actions_stay_in_range() -> None:
    g = torch.Generator().manual_seed(0)
    action = torch.zeros(10_000, 1)
    noisy = smooth_target_action(action, noise=0.4, noise_clip=0.5, generator=g)
    assert noisy.abs().max() <= 0.5
    assert 0.3 < noisy.std() < 0.4  # clipping takes a little off 0.4
    assert smooth_target_action(action + 0.9, noise=0.4, noise_clip=0.5, generator=g).max() <= 1.0


def test_actor_and_targets_move_every_policy_delay_updates_only() -> None:
    agent = small_agent(policy_delay=3, shared_encoder=False)
    learner = TD3(agent, lr=1e-3)
    g = torch.Generator().manual_seed(0)
    actor, target = copy.deepcopy(agent.online.actor), copy.deepcopy(agent.target)

    def moved(now: torch.nn.Module, then: torch.nn.Module) -> bool:
        return any(not torch.equal(p, q) for p, q in zip(now.parameters(), then.parameters(), strict=True))

    for update in (1, 2, 3):
        learner.update(random_batch(seed=update), generator=g)
        assert moved(agent.online.actor, actor) == (update == 3)
        assert moved(agent.target, target) == (update == 3)


def test_the_learning_rate_of_the_next_step_can_be_changed() -> None:
    """Adam's first step moves every parameter that has a gradient by the learning rate."""
    steps = []
    for lr in (1e-2, 1e-4):
        agent = small_agent()
        before = agent.online.critic.weights[-1].detach().clone()
        learner = TD3(agent, lr=1e-3)
        learner.lr = lr
        learner.update(random_batch(), generator=torch.Generator().manual_seed(0))
        steps.append(float((agent.online.critic.weights[-1].detach() - before).abs().max()))
    assert steps == pytest.approx([1e-2, 1e-4], rel=1e-2)


def test_targets_are_a_polyak_average() -> None:
    agent = small_agent(policy_delay=1, tau=0.25)
    before = [p.clone() for p in agent.target.parameters()]
    TD3(agent, lr=1e-2).update(random_batch(), generator=torch.Generator().manual_seed(0))
    for old, new, online in zip(before, agent.target.parameters(), agent.online.parameters(), strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * online, atol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_equal_weights_give_the_unweighted_update(shared: bool) -> None:
    updated = []
    for weights in (None, torch.full((12,), 1.0)):
        agent = small_agent(shared_encoder=shared)
        learner = TD3(agent, lr=1e-3)
        g = torch.Generator().manual_seed(3)
        for _ in range(4):
            learner.update(random_batch(weights), generator=g)
        updated.append(parameters(agent))
    assert all(torch.equal(a, b) for a, b in zip(*updated, strict=True))


def test_zero_weight_hides_a_transition() -> None:
    """What a transition with weight 0 says, however wild, changes nothing."""
    weights = torch.ones(12)
    weights[3] = 0.0
    updated = []
    for reward in (0.0, 1e4):
        agent = small_agent()
        batch = random_batch(weights)
        batch.transition.reward[3] = reward
        TD3(agent, lr=1e-3).update(batch, generator=torch.Generator().manual_seed(3))
        updated.append(parameters(agent))
    assert all(torch.equal(a, b) for a, b in zip(*updated, strict=True))


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "plain"])
@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("proximal_coef", [0.0, 0.7])
def test_updates_are_those_of_a_naive_implementation(
    monkeypatch: pytest.MonkeyPatch, *, kernels: bool, layer_norm: bool, shared: bool, proximal_coef: float
) -> None:
    if not kernels:
        for module in ("mql.kernels.gru", "mql.kernels.layers"):
            monkeypatch.setattr(f"{module}.kernels_for", lambda *_: None)
    meta = small_agent(layer_norm=layer_norm, shared_encoder=shared, tau=0.1)
    agent = meta.copy()
    naive = Naive(agent, lr=1e-3, anchor=meta, proximal_coef=proximal_coef)
    learner = TD3(agent, lr=1e-3, anchor=meta)
    learner.proximal_coef = proximal_coef
    ours, theirs = (torch.Generator().manual_seed(0) for _ in range(2))
    for seed in range(6):
        batch = random_batch(torch.rand(12, generator=torch.Generator().manual_seed(seed)), seed=seed)
        learner.update(batch, generator=ours)
        naive.update(batch, theirs)
    for mine, expected in ((agent.online, naive.online), (agent.target, naive.target)):
        for p, q in zip(mine.parameters(), expected.parameters(), strict=True):
            assert torch.allclose(p, q, atol=2e-5), float((p - q).detach().abs().max())
    for p, q in zip(agent.online.parameters(), meta.online.parameters(), strict=True):
        assert (p - q).detach().abs().max() > 1e-4


def test_a_second_learner_trains_the_same_agent() -> None:
    agent = small_agent(policy_delay=1)
    first, second = TD3(agent, lr=1e-3), TD3(agent, lr=1e-3)
    policy = agent.policy()  # made before any of them learns
    obs = np.ones((1, OBS), dtype=np.float32)
    for seed, learner in enumerate((first, second, first)):
        before = [p.clone() for p in agent.online.parameters()]
        acted = policy.act(obs, policy.begin(1))
        learner.update(random_batch(seed=seed), generator=torch.Generator().manual_seed(0))
        assert all(not torch.equal(p, q) for p, q in zip(agent.online.parameters(), before, strict=True))
        now = policy.act(obs, policy.begin(1))
        assert not np.array_equal(now, acted)
        assert np.array_equal(now, agent.act(obs, agent.begin(1)))


def test_a_copy_has_parameters_of_its_own() -> None:
    agent = small_agent(policy_delay=1)
    before = parameters(agent)
    twin = agent.copy()
    assert all(torch.equal(p, q) for p, q in zip(parameters(twin), before, strict=True))
    TD3(twin, lr=1e-2).update(random_batch(), generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(p, q) for p, q in zip(parameters(agent), before, strict=True))
    assert not any(torch.equal(p, q) for p, q in zip(parameters(twin), before, strict=True))
    for part in twin.parts.values():
        for vector in (part.online, part.target):
            first = vector.parameters[0]
            assert first.untyped_storage().data_ptr() == vector.data.untyped_storage().data_ptr()


def test_an_agent_out_of_a_pickle_learns() -> None:
    agent = small_agent()
    back, twin = pickle.loads(pickle.dumps(agent)), agent.copy()
    for each in (back, twin):
        learner = each.learner(lr=1e-3)
        for seed in range(4):
            learner.update(random_batch(seed=seed), generator=torch.Generator().manual_seed(seed))
    learned = dict(twin.named_tensors())
    assert all(torch.equal(tensor, learned[name]) for name, tensor in back.named_tensors())
    assert not torch.equal(back.online.actor.output.weight, agent.online.actor.output.weight)


def test_parameters_that_were_converted_are_refused_rather_than_not_trained() -> None:
    agent = small_agent()
    agent.online.double().float()
    with pytest.raises(RuntimeError, match="moved or converted"):
        agent.learner(lr=1e-3)


def test_an_update_leaves_no_gradients_behind() -> None:
    agent = small_agent(policy_delay=1)
    TD3(agent, lr=1e-3).update(random_batch(), generator=torch.Generator().manual_seed(0))
    assert all(p.grad is None for p in agent.online.parameters())


def test_shared_encoder_is_trained_by_the_critics_alone() -> None:
    agent = small_agent(shared_encoder=True)
    assert agent.online.actor_encoder is agent.online.critic_encoder
    actor_side = {id(p) for p in agent.online.parts()["actor"]}
    assert actor_side.isdisjoint(id(p) for p in agent.online.actor_encoder.parameters())


def test_optimizer_state_round_trips() -> None:
    first = TD3(small_agent(), lr=1e-3)
    for seed in range(3):
        first.update(random_batch(seed=seed), generator=torch.Generator().manual_seed(seed))
    second = TD3(first.agent.copy(), lr=1e-3)
    second.load_optimizer_tensors({name: t.clone() for name, t in first.optimizer_tensors().items()})
    second.updates = first.updates
    for learner in (first, second):
        learner.update(random_batch(seed=9), generator=torch.Generator().manual_seed(9))
    assert all(torch.equal(a, b) for a, b in zip(parameters(first.agent), parameters(second.agent), strict=True))


def test_targets_stay_outside_the_graph() -> None:
    agent = small_agent(policy_delay=1)
    TD3(agent, lr=1e-3).update(random_batch(), generator=torch.Generator().manual_seed(0))
    assert all(p.grad_fn is None and not p.requires_grad for p in agent.target.parameters())


def test_bfloat16_layers_stay_close_to_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "bfloat16_in_hardware", lambda device: True)  # whatever this machine has
    batch = random_batch(rows=64)
    values = []
    for precision in ("float32", "bfloat16"):
        config = AgentConfig(hidden_sizes=(64, 64), context_dim=4, precision=precision)
        agent = Agent(OBS, ACTION, config, seed=1)
        z = agent.online.critic_encoder(batch.context)
        values.append(agent.online.critic(batch.transition.obs, batch.transition.action, z))
    assert values[1].dtype == torch.float32
    assert not torch.equal(values[0], values[1])
    assert (values[0] - values[1]).norm() / values[0].norm() < 0.02
