"""What networks say, beside numpy in double precision, and which actions follow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.errors import UserError
from mql.q_learning.acting import epsilon_greedy, greedy, values_of
from mql.q_learning.networks import QNetwork, make_network
from mql.q_learning.settings import DQN, RAINBOW, QSettings

SMALL = {"hidden_sizes": (8, 5), "filters": 3, "conv_units": 7, "atoms": 4}
METHODS = [method.model_copy(update=SMALL) for method in (DQN, RAINBOW)]
SHAPES: list[tuple[int, ...]] = [(5,), (2, 6, 4)]


def by_hand(network: QNetwork, obs: np.ndarray) -> np.ndarray:
    """Values [B, A] in float64; the filters as loops."""
    tensors = [p.detach().numpy().astype(np.float64) for p in network.parameters()]
    layers = [(tensors[k], tensors[k + 1]) for k in range(0, len(tensors), 2)]
    x = obs.astype(np.float64)
    if x.ndim == 4:
        weight, bias = layers.pop(0)
        b, _, height, width = x.shape
        maps = np.zeros((b, len(weight), height - 2, width - 2))
        for i in range(height - 2):
            for j in range(width - 2):
                maps[:, :, i, j] = np.einsum("bchw,fchw->bf", x[:, :, i : i + 3, j : j + 3], weight) + bias
        x = np.maximum(maps, 0.0).reshape(b, -1)
    for weight, bias in layers[:-1]:
        x = np.maximum(x @ weight.T + bias, 0.0)
    x = x @ layers[-1][0].T + layers[-1][1]
    if network.distributional:
        logits = x.reshape(len(x), network.actions, -1)
        p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
        x = p @ np.linspace(-10.0, 10.0, p.shape[2])
    return x


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_by_hand(method: QSettings, shape: tuple[int, ...]) -> None:
    network = make_network(shape, 3, method, seed=4)
    rng = np.random.default_rng(0)
    for obs in (
        rng.normal(size=(6, *shape)).astype(np.float32),
        rng.random((6, *shape)) < 0.3,
        rng.integers(4, size=(6, *shape)).astype(np.uint8),
    ):
        values = network(torch.from_numpy(obs)).detach().numpy()
        assert values.shape == (6, 3) and values.dtype == np.float32
        np.testing.assert_allclose(values, by_hand(network, obs), rtol=0, atol=2e-5)
        np.testing.assert_allclose(values_of(network)(obs), values, rtol=0, atol=2e-5)
        assert greedy(values_of(network), obs).tolist() == values.argmax(axis=1).tolist()


def test_the_sizes_are_those_of_minatar() -> None:
    sizes = [tuple(p.shape) for p in make_network((4, 10, 10), 6, DQN, seed=0).parameters()]
    assert sizes == [(16, 4, 3, 3), (16,), (128, 1024), (128,), (6, 128), (6,)]
    assert make_network((4, 10, 10), 6, RAINBOW, seed=0).output.weight.shape == (6 * 51, 128)


def test_first_parameters_depend_on_the_seed_alone() -> None:
    first, other = make_network((4,), 2, DQN, seed=1), make_network((4,), 2, DQN, seed=2)
    state = torch.random.get_rng_state()
    again = make_network((4,), 2, DQN, seed=1)
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's numbers are used up"
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.output.weight, other.output.weight)


@pytest.mark.parametrize("shape", [(), (3, 4), (2, 2, 9), (1, 2, 3, 4)])
def test_other_observations_are_refused_in_a_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="neither vectors nor planes") as refused:
        make_network(shape, 2, DQN, seed=0)
    assert "\n" not in str(refused.value)


def test_a_share_of_actions_is_random_and_each_step_has_its_own_numbers() -> None:
    network = make_network((3,), 4, DQN, seed=0)
    obs = np.random.default_rng(0).normal(size=(1, 3)).astype(np.float32)
    values = values_of(network)
    best = int(greedy(values, obs)[0])

    def actions(epsilon: float, seed: int = 0) -> list[int]:
        steps = range(1000)
        return [int(epsilon_greedy(values, obs, epsilon=epsilon, seed=seed, env_steps=t)[0]) for t in steps]

    assert set(actions(0.0)) == {best}
    others = sum(action != best for action in actions(0.4))
    assert others == pytest.approx(300, abs=5 * np.sqrt(1000 * 0.3 * 0.7))
    assert np.bincount(actions(1.0), minlength=4) == pytest.approx([250] * 4, abs=70)
    assert actions(0.4) == actions(0.4) != actions(0.4, seed=1)
