"""Advantages by hand, PPO's loss beside a plain one, and sequences beside whole trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mql.baselines.rl2.agent import RL2Agent
from mql.baselines.rl2.ppo import (
    PPO,
    clipped_loss,
    discounted,
    trial_advantages,
)
from mql.baselines.rl2.sequences import Sequences, Trials, in_sequences
from mql.config.rl2 import RL2Config


def test_advantages_by_hand() -> None:
    """Two trials, of 3 and of 2 steps: nothing follows either's last step, and padding is 0 whatever stands in it."""
    reward = torch.tensor([[1.0, 2.0], [0.0, -1.0], [4.0, 99.0]])
    value = torch.tensor([[0.5, 1.0], [2.0, 3.0], [1.0, 99.0]])
    valid = torch.tensor([[True, True], [True, True], [True, False]])
    found = trial_advantages(reward, value, valid, discount=0.5, decay=0.5)
    # First: errors 1 + 0.5 * 2 - 0.5 = 1.5, 0 + 0.5 * 1 - 2 = -1.5, 4 - 1 = 3; each adds a quarter of what follows it.
    # Second: 2 + 0.5 * 3 - 1 = 2.5, -1 - 3 = -4.
    expected = [[1.5 + 0.25 * (-1.5 + 0.25 * 3.0), 2.5 + 0.25 * -4.0], [-1.5 + 0.25 * 3.0, -4.0], [3.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected))
    to_go = discounted(reward, valid, 0.5)
    torch.testing.assert_close(to_go, torch.tensor([[1.0 + 0.25 * 4.0, 2.0 - 0.5], [2.0, -1.0], [4.0, 0.0]]))


def test_the_clipped_loss_is_the_one_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    now, before, gain = (rng.normal(scale=0.4, size=(4, 3)) for _ in range(3))
    valid = rng.random((4, 3)) < 0.7
    total, held, count = 0.0, 0, 0
    for i, j in zip(*np.nonzero(valid), strict=True):
        ratio = math.exp(now[i, j] - before[i, j])
        bounded = min(max(ratio, 0.8), 1.2)
        total -= min(ratio * gain[i, j], bounded * gain[i, j])
        held += bounded != ratio
        count += 1
    loss, clipped = clipped_loss(*map(torch.tensor, (now, before, gain, valid)), clip=0.2)
    assert float(loss) == pytest.approx(total / count) and float(clipped) == pytest.approx(held / count)


def test_steps_that_the_clipping_holds_back_have_no_gradient() -> None:
    now = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.1], requires_grad=True)
    gain = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    loss, _ = clipped_loss(now, torch.zeros(5), gain, torch.ones(5, dtype=torch.bool), clip=0.2)
    loss.backward()
    assert now.grad is not None and (now.grad != 0).tolist() == [False, True, True, False, True]


def agent_of(state_dim: int = 5) -> RL2Agent:
    agent = RL2Agent(2, 2, RL2Config(state_dim=state_dim), seed=0)
    with torch.no_grad():
        agent.online.actor.weight.mul_(50.0)  # so that actions depend on the state
    return agent


def trials_of(lengths: list[int], seed: int = 0) -> Trials:
    generator = torch.Generator().manual_seed(seed)
    steps = max(lengths)
    valid = torch.arange(steps)[:, None] < torch.tensor(lengths)
    inputs, noise = (torch.randn(steps, len(lengths), n, generator=generator) for n in (6, 2))
    return Trials(inputs, noise, torch.randn(steps, len(lengths), generator=generator), valid)


@pytest.mark.parametrize("length", [3, 4, 7, 100])
def test_sequences_with_the_states_before_them_give_what_whole_trials_give(length: int) -> None:
    agent, trials = agent_of(), trials_of([10, 4, 7])
    whole = agent.online(trials.inputs)
    number = torch.arange(30.0).view(10, 3)  # of every step
    every = Sequences(trials.inputs, whole.mean, whole.value, number, whole.value, trials.valid)
    cut, initial = in_sequences(every, whole.states, length)
    again = agent.online(cut.inputs, initial)
    torch.testing.assert_close(again.mean[cut.valid], cut.taken[cut.valid])
    torch.testing.assert_close(again.value[cut.valid], cut.value[cut.valid])
    assert sorted(cut.advantage[cut.valid].tolist()) == sorted(number[trials.valid].tolist())  # each step once
    assert bool(cut.valid.any(dim=0).all()) and cut.valid.shape[0] == min(length, 10)


def test_an_update_is_a_step_of_adam_down_a_gradient_of_bounded_length() -> None:
    """One pass with one batch beside the same loss, written down at once and differentiated by PyTorch."""
    config = RL2Config(state_dim=5, epochs=1, minibatches=1, entropy_coef=0.1, discount=0.9, gae_lambda=0.8)
    trials, agent, twin = trials_of([6, 6, 4]), agent_of(), agent_of()
    PPO(agent, lr=1e-2).learn(trials, config, generator=torch.Generator().manual_seed(0))

    networks, valid = twin.online, trials.valid
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    outputs = networks(trials.inputs)
    value, std = outputs.value.detach(), networks.log_std.exp()
    to_go = discounted(trials.reward, valid, 0.9)[valid]
    gain = trial_advantages(trials.reward / to_go.std(correction=0), value, valid, discount=0.9, decay=0.8)
    target = (gain + value)[valid]
    standard = (gain[valid] - gain[valid].mean()) / gain[valid].std()
    taken = (outputs.mean + std * trials.noise).detach()
    normal = torch.distributions.Normal(outputs.mean, std)
    ratio = (normal.log_prob(taken).sum(-1) - normal.log_prob(taken).sum(-1).detach()).exp()[valid]
    loss = -(ratio * standard).mean() + 0.25 * (outputs.value[valid] - target).square().mean()
    (loss - 0.1 * normal.entropy()[0, 0].sum()).backward()
    torch.nn.utils.clip_grad_norm_(networks.parameters(), 0.5)
    optimizer.step()
    for (name, one), other in zip(agent.online.named_parameters(), networks.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-3, msg=name)


def test_passes_end_when_the_policy_has_moved_far_enough() -> None:
    def updates(limit: float) -> int:
        config = RL2Config(state_dim=5, epochs=9, minibatches=2, kl_limit=limit)
        ppo = PPO(agent_of(), lr=3e-2)
        ppo.learn(trials_of([6, 6, 4]), config, generator=torch.Generator().manual_seed(0))
        return ppo.updates

    assert updates(1e9) == 18 and 2 <= updates(1e-3) < 18
