"""Updates beside an independent twin in double precision, and facts about pull, copies and resuming."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from mql.q_learning.learner import QLearner
from mql.q_learning.replay import QBatch, QReplay
from mql.q_learning.settings import DQN, RAINBOW, QSettings

O, A, B = 4, 3, 16  # noqa: E741
SMALL: dict[str, Any] = {
    "hidden_sizes": (12, 9),
    "atoms": 7,
    "value_min": -3.0,
    "value_max": 3.0,
    "lr": 1e-2,
    "adam_eps": 1e-3,
    "batch_size": B,
    "update_every": 4,
    "target_every": 12,
    "random_steps": 0,
    "replay_capacity": 400,
}
METHODS = [method.model_copy(update=SMALL) for method in (DQN, RAINBOW)]


def batch(seed: int) -> QBatch:
    rng = np.random.default_rng(seed)

    def floats(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    return QBatch(
        obs=floats(B, O),
        action=torch.from_numpy(rng.integers(A, size=B)),
        reward=floats(B),
        discount=torch.from_numpy(rng.choice([0.0, 0.9, 0.7], B).astype(np.float32)),
        next_obs=floats(B, O),
        weights=torch.from_numpy(rng.uniform(0.2, 1.0, B).astype(np.float32)),
        rows=np.arange(B),
    )


class Twin:
    """The update in plain operators and float64: layers by hand, Adam by hand, the projection as a loop over atoms."""

    def __init__(self, learner: QLearner, c: float) -> None:
        self.w = [p.detach().double().requires_grad_() for p in learner.online.parameters()]
        self.theta = [p.detach().clone() for p in self.w]
        self.m, self.v = ([torch.zeros_like(p) for p in self.theta] for _ in range(2))
        self.s, self.c, self.t, self.updates = learner.settings, c, 0, 0

    def said(self, w: list[torch.Tensor], obs: torch.Tensor) -> torch.Tensor:
        x = obs.double()
        x = torch.relu(x @ w[0].T + w[1])
        x = torch.relu(x @ w[2].T + w[3])
        x = x @ w[4].T + w[5]
        return x.reshape(B, A, -1) if self.s.head == "c51" else x

    def losses(self, data: QBatch) -> torch.Tensor:
        now, after = self.said(self.w, data.obs), self.said(self.theta, data.next_obs)
        rows = torch.arange(B)
        if self.s.head == "value":
            goal = data.reward.double() + data.discount.double() * after.max(dim=1).values
            return (now[rows, data.action] - goal) ** 2
        z = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)
        p = after.exp() / after.exp().sum(-1, keepdim=True)
        p = p[rows, (p * z).sum(-1).argmax(1)]
        places = (data.reward.double()[:, None] + data.discount.double()[:, None] * z).clamp(-3.0, 3.0)
        goal = torch.stack(
            [(p * (1 - (places - atom).abs()).clamp(min=0)).sum(1) for atom in z], dim=1
        )  # atoms 1 apart
        chosen = now[rows, data.action]
        return -(goal * (chosen - chosen.exp().sum(1, keepdim=True).log())).sum(1)

    def update(self, data: QBatch) -> tuple[torch.Tensor, float | None]:
        each = self.losses(data)
        gradients = torch.autograd.grad((data.weights.double() * each).mean(), self.w)
        self.t += 1
        with torch.no_grad():
            for w, theta, m, v, g in zip(self.w, self.theta, self.m, self.v, gradients, strict=True):
                if self.c:
                    w += self.s.lr / self.c * (theta - w)
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                first, second = m / (1 - 0.9**self.t), v / (1 - 0.999**self.t)
                w -= self.s.lr * first / (second.sqrt() + 1e-3)
        self.updates += 1
        if self.updates % 3:
            return each.detach(), None
        with torch.no_grad():
            moved = math.sqrt(sum(float(((w - t) ** 2).sum()) for w, t in zip(self.w, self.theta, strict=True)))
            for w, theta in zip(self.w, self.theta, strict=True):
                theta.copy_(w)
        if self.s.reset_optimizer:
            self.t = 0
            for moment in (*self.m, *self.v):
                moment.zero_()
        return each.detach(), moved


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("c", [0.0, 0.05])
@pytest.mark.parametrize("reset", [False, True])
def test_updates_are_those_of_the_twin(method: QSettings, c: float, reset: bool) -> None:
    learner = QLearner((O,), A, method.model_copy(update={"c": c, "reset_optimizer": reset}), seed=3)
    twin = Twin(learner, c)
    for seed in range(8):
        learned = learner.update(batch(seed))
        each, moved = twin.update(batch(seed))
        np.testing.assert_allclose(learned.of_each.numpy(), each.numpy(), rtol=0, atol=1e-4)
        assert (moved is None) == ("target_distance" not in learned.losses)
        if moved is not None:
            assert learned.losses["target_distance"].item() == pytest.approx(moved, rel=1e-3)
            assert learned.losses["kappa"].item() == pytest.approx(1e-2 * 3 / c if c else 0.0)
        for ours, theirs in zip(learner.online.parameters(), twin.w, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=1e-4)
        for ours, theirs in zip(learner.target.parameters(), twin.theta, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs.numpy(), rtol=0, atol=1e-4)


def after(updates: int, method: QSettings, **changes: Any) -> QLearner:
    learner = QLearner((O,), A, method.model_copy(update=changes), seed=3)
    for seed in range(updates):
        learner.update(batch(seed))
    return learner


def same(a: QLearner, b: QLearner) -> bool:
    return all(torch.equal(tensor, b.tensors()[name]) for name, tensor in a.tensors().items())


@pytest.mark.parametrize("method", METHODS)
def test_a_pull_without_strength_is_none_bit_for_bit(method: QSettings) -> None:
    plain = after(10, method)
    assert same(plain, after(10, method, c=0.0)) and same(plain, after(10, method, c=math.inf))
    assert not same(plain, after(10, method, c=method.published_c))


@pytest.mark.parametrize("method", METHODS)
def test_right_after_a_copy_the_pull_does_nothing(method: QSettings) -> None:
    assert same(after(1, method), after(1, method, c=0.02)), "the targets begin as the parameters"
    assert not same(after(2, method), after(2, method, c=0.02))
    learner = after(3, method, c=0.02)
    free = after(3, method, c=0.02)
    free.c = 0.0
    for one in (learner, free):
        one.update(batch(7))
    assert same(learner, free)


def test_a_pull_of_the_whole_way_steps_from_the_targets() -> None:
    learner = after(2, METHODS[0], c=1e-2)  # c = lr
    theta = [p.clone() for p in learner.target.parameters()]
    learner.update(batch(2))  # (which copies)
    moved = max(float((p - t).abs().max()) for p, t in zip(learner.target.parameters(), theta, strict=True))
    assert moved < 2e-2, "one step of Adam away, not three"


def filled(method: QSettings, steps: int = 100) -> QReplay:
    replay, rng = QReplay((O,), np.float32, method), np.random.default_rng(0)
    for _ in range(steps):
        obs, following = rng.normal(size=(2, 1, O)).astype(np.float32)
        replay.add(obs, rng.integers(A, size=1), rng.normal(size=1), rng.random(1) < 0.1, [False], following)
    return replay


def test_a_pull_never_changes_priorities() -> None:
    """The losses of transitions, without weights and penalty: those of before the step."""
    method = METHODS[1].model_copy(update={"c": 0.02})
    learner, replay = QLearner((O,), A, method, seed=3), filled(method)
    for _ in range(4):
        learner.learn(replay, env_steps=0)
    before = {name: tensor.clone() for name, tensor in learner.tensors().items()}
    found = []
    for c in (0.02, 0.0):
        learner.restore(before, updates=4)
        learner.c = c
        other = filled(method)
        other.restore(replay.arrays())
        learner.learn(other, env_steps=0)
        found.append((other.arrays()["priority"], {k: v.clone() for k, v in learner.tensors().items()}))
    assert np.array_equal(found[0][0], found[1][0])
    assert not np.array_equal(found[0][0], replay.arrays()["priority"]), "priorities were changed, by losses"
    assert any(not torch.equal(found[0][1][name], found[1][1][name]) for name in before), "the pull has acted"


@pytest.mark.parametrize("method", METHODS)
def test_what_goes_on_ends_as_what_was_never_stopped(method: QSettings) -> None:
    method = method.model_copy(update={"c": method.published_c})
    whole, replay = QLearner((O,), A, method, seed=3), filled(method)
    for step in range(5):
        whole.learn(replay, env_steps=step)
    tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
    resumed, other = QLearner((O,), A, method, seed=3), QReplay((O,), np.float32, method)
    other.restore(replay.arrays())
    resumed.update(batch(9))  # what came before is gone
    resumed.restore(tensors, updates=5)
    for step in range(5, 12):
        losses = [one.learn(stored, env_steps=step) for one, stored in ((whole, replay), (resumed, other))]
        assert losses[0].keys() == losses[1].keys()
        assert all(torch.equal(value, losses[1][name]) for name, value in losses[0].items())
    assert same(whole, resumed) and whole.updates == resumed.updates == 12
    arrays = other.arrays()
    assert all(np.array_equal(array, arrays[name]) for name, array in replay.arrays().items())


def test_what_does_not_fit_is_refused() -> None:
    learner = after(1, METHODS[0])
    tensors = learner.tensors()
    with pytest.raises(ValueError, match=r"online\.output\.weight has shape \(1,\)"):
        learner.restore({**tensors, "online.output.weight": torch.zeros(1)}, updates=1)
    with pytest.raises(KeyError):
        learner.restore({name: t for name, t in tensors.items() if name != "adam.0.step"}, updates=1)
