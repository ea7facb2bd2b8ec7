"""TD3's targets and losses by hand, and facts about one update."""

from __future__ import annotations

import copy

import pytest
import torch

from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.learning.td3 import (
    Learner,
    actor_loss,
    actor_loss_gradient,
    critic_loss,
    critic_loss_gradient,
    smooth_target_action,
    td_target,
)
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


def test_gradients_of_the_losses() -> None:
    torch.manual_seed(0)
    values = torch.randn(2, 7, requires_grad=True)
    target, weights = torch.randn(7), torch.rand(7)
    (expected,) = torch.autograd.grad(critic_loss(values, target, weights), values)
    assert torch.allclose(critic_loss_gradient(values.detach(), target, weights), expected)
    (expected,) = torch.autograd.grad(actor_loss(values[0], weights), values)
    assert torch.allclose(actor_loss_gradient(weights), expected[0])


def test_target_noise_is_clipped_and_actions_stay_in_range() -> None:
    g = torch.Generator().manual_seed(0)
    action = torch.zeros(10_000, 1)
    noisy = smooth_target_action(action, noise=0.4, noise_clip=0.5, generator=g)
    assert noisy.abs().max() <= 0.5
    assert 0.3 < noisy.std() < 0.4  # clipping takes a little off 0.4
    assert smooth_target_action(action + 0.9, noise=0.4, noise_clip=0.5, generator=g).max() <= 1.0


def test_actor_and_targets_move_every_policy_delay_updates_only() -> None:
    agent = small_agent(policy_delay=3, shared_encoder=False)
    learner = Learner(agent, lr=1e-3)
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
        learner = Learner(agent, lr=1e-3)
        learner.lr = lr
        learner.update(random_batch(), generator=torch.Generator().manual_seed(0))
        steps.append(float((agent.online.critic.weights[-1].detach() - before).abs().max()))
    assert steps == pytest.approx([1e-2, 1e-4], rel=1e-2)


def test_targets_are_a_polyak_average() -> None:
    agent = small_agent(policy_delay=1, tau=0.25)
    before = [p.clone() for p in agent.target.parameters()]
    Learner(agent, lr=1e-2).update(random_batch(), generator=torch.Generator().manual_seed(0))
    for old, new, online in zip(before, agent.target.parameters(), agent.online.parameters(), strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * online, atol=1e-7)


@pytest.mark.parametrize("shared", [True, False])
def test_equal_weights_give_the_unweighted_update(shared: bool) -> None:
    updated = []
    for weights in (None, torch.full((12,), 1.0)):
        agent = small_agent(shared_encoder=shared)
        learner = Learner(agent, lr=1e-3)
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
        Learner(agent, lr=1e-3).update(batch, generator=torch.Generator().manual_seed(3))
        updated.append(parameters(agent))
    assert all(torch.equal(a, b) for a, b in zip(*updated, strict=True))


def test_proximal_pull_is_the_gradient_of_the_penalty() -> None:
    meta = small_agent(shared_encoder=False)
    batch = random_batch()
    gradients = {}
    for coef in (0.0, 0.5):
        agent = meta.copy()
        with torch.no_grad():
            for p in agent.online.parameters():
                p.add_(0.1)
        learner = Learner(agent, lr=0.0, anchor=meta)
        learner.proximal_coef = coef
        learner.updates = 1  # so that the next update moves the actor, too
        learner.update(batch, generator=torch.Generator().manual_seed(0))
        gradients[coef] = [p.grad.clone() for p in agent.online.parameters() if p.grad is not None]
    penalty = sum(
        ((p - q.detach()) ** 2).sum() for p, q in zip(agent.online.parameters(), meta.online.parameters(), strict=True)
    )
    expected = torch.autograd.grad(0.5 / 2 * penalty, list(agent.online.parameters()))
    assert len(gradients[0.0]) == len(expected)
    for without, with_pull, pull in zip(gradients[0.0], gradients[0.5], expected, strict=True):
        assert torch.allclose(with_pull - without, pull, atol=1e-6)


def test_shared_encoder_is_trained_by_the_critics_alone() -> None:
    agent = small_agent(shared_encoder=True)
    assert agent.online.actor_encoder is agent.online.critic_encoder
    actor_side = {id(p) for p in agent.online.actor_parameters()}
    assert actor_side.isdisjoint(id(p) for p in agent.online.actor_encoder.parameters())


def test_optimizer_state_round_trips() -> None:
    first = Learner(small_agent(), lr=1e-3)
    for seed in range(3):
        first.update(random_batch(seed=seed), generator=torch.Generator().manual_seed(seed))
    second = Learner(first.agent.copy(), lr=1e-3)
    second.load_optimizer_tensors({name: t.clone() for name, t in first.optimizer_tensors().items()})
    second.updates = first.updates
    for learner in (first, second):
        learner.update(random_batch(seed=9), generator=torch.Generator().manual_seed(9))
    assert all(torch.equal(a, b) for a, b in zip(parameters(first.agent), parameters(second.agent), strict=True))


def test_targets_stay_outside_the_graph() -> None:
    agent = small_agent(policy_delay=1)
    Learner(agent, lr=1e-3).update(random_batch(), generator=torch.Generator().manual_seed(0))
    assert all(p.grad_fn is None and not p.requires_grad for p in agent.target.parameters())


def test_bfloat16_layers_stay_close_to_float32() -> None:
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


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_compiled_kernels_give_the_plain_gradients(
    monkeypatch: pytest.MonkeyPatch, *, shared: bool, layer_norm: bool
) -> None:
    """The whole of two updates with the compiled kernels, against the same in PyTorch's own operators."""
    found: list[list[torch.Tensor]] = []
    for plain in (False, True):
        if plain:
            for module in ("mql.kernels.gru", "mql.agent.networks"):
                monkeypatch.setattr(f"{module}.kernels_for", lambda dtype: None)
        agent = small_agent(shared_encoder=shared, layer_norm=layer_norm, policy_delay=1)
        Learner(agent, lr=0.0).update(random_batch(rows=40), generator=torch.Generator().manual_seed(0))
        found.append([p.grad.clone() for p in agent.online.parameters() if p.grad is not None])
    assert len(found[0]) == len(list(agent.online.parameters()))
    for ours, expected in zip(*found, strict=True):
        assert (ours - expected).norm() <= 1e-5 * expected.norm()
