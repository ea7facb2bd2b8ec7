"""Standardised observations: the arithmetic, and that acting, learning, saving and adapting all see the same numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from mql.agent import Agent
from mql.config import AgentConfig
from mql.config_file import load_config
from mql.errors import UserError
from mql.obs_scaler import LIMIT, ObsScaler
from mql.replay import Replay
from mql.tasks import registry
from mql.trainer import Trainer
from mql.types import Episode

SHORT = [
    "train.env_steps=2000",
    "train.random_steps=200",
    "train.episodes_per_iteration=5",
    "train.batch_size=32",
    "train.env_steps_per_update=50",
    "agent.hidden_sizes=[16]",
    "agent.context_dim=4",
    "agent.segment_length=8",
    "agent.burn_in=4",
    "agent.normalize_obs=true",
]


def test_numbers_pass_unchanged_until_statistics_are_there() -> None:
    obs = np.array([[1e6, -3.0]], np.float32)
    assert np.array_equal(ObsScaler(2)(obs), obs)


def test_mean_and_spread_by_hand() -> None:
    scaler = ObsScaler(4)
    # Spreads 1, 2, 0.001 and 0: the median of those that move is 1, and smaller ones are not enlarged more than by 1.
    scaler.fit(np.array([[4.0, 10.0, 0.000, 7.0], [6.0, 14.0, 0.002, 7.0]], np.float32))
    assert np.allclose(scaler(np.array([[6.0, 14.0, 0.002, 8.0]], np.float32)), [[1.0, 1.0, 0.001, 1.0]], atol=1e-6)
    assert scaler(np.array([[1e6, -1e6, 0.0, 0.0]], np.float32))[0, :2].tolist() == [LIMIT, -LIMIT]


def episode(rng: np.random.Generator, length: int = 6) -> Episode:
    return Episode(
        obs=(5.0 + 0.1 * rng.standard_normal((length + 1, 3))).astype(np.float32),
        action=rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        reward=rng.standard_normal(length).astype(np.float32),
        terminated=False,
        truncated=True,
        task=0,
        seed=0,
    )


def test_what_was_stored_before_and_after_is_scaled_alike() -> None:
    rng = np.random.default_rng(0)
    episodes = [episode(rng) for _ in range(4)]
    scaler = ObsScaler(3)
    replay = Replay(n_tasks=1, obs_dim=3, action_dim=2, capacity=100, episode_length=6, obs_scaler=scaler)
    for one in episodes[:3]:
        replay.append(one)
    replay.fit_scaler()
    replay.append(episodes[3])
    again = Replay(n_tasks=1, obs_dim=3, action_dim=2, capacity=100, episode_length=6, obs_scaler=scaler)
    for one in episodes:
        again.append(one)
    assert torch.equal(replay.table, again.table)
    stored = replay.table[:21, :3].numpy()
    assert np.allclose(stored.mean(axis=0), 0.0, atol=1e-3) and (stored.std(axis=0) < 1.001).all()


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_the_policy_sees_what_the_networks_learned_from(mode: str) -> None:
    config = AgentConfig.model_validate(
        {"hidden_sizes": (16,), "context_dim": 4, "normalize_obs": True, "context_mode": mode, "shared_encoder": False}
        if mode == "window"
        else {"hidden_sizes": (16,), "context_dim": 4, "normalize_obs": True}
    )
    scaled = Agent(3, 2, config, seed=0)
    plain = Agent(3, 2, config.model_copy(update={"normalize_obs": False}), seed=0)
    assert scaled.obs_scaler is not None
    scaled.obs_scaler.fit((5.0 + 0.1 * np.random.default_rng(0).standard_normal((50, 3))).astype(np.float32))
    raw = (5.0 + 0.1 * np.random.default_rng(1).standard_normal((4, 2, 3))).astype(np.float32)
    one, other = scaled.begin(2), plain.begin(2)
    for obs in raw:
        action = scaled.act(obs, one)
        assert np.array_equal(action, plain.act(scaled.obs_scaler(obs), other))
        scaled.observe(one, obs, action, np.ones(2, np.float32))
        plain.observe(other, scaled.obs_scaler(obs), action, np.ones(2, np.float32))
    again = pickle.loads(pickle.dumps(scaled.policy()))
    assert np.array_equal(again.act(raw[0], one.state), scaled.act(raw[0], one))


def test_statistics_are_those_of_the_random_steps_and_stay() -> None:
    family = registry.load("point-robot")
    trainer = Trainer(load_config("point-robot", overrides=SHORT), family)
    scaler = trainer.agent.obs_scaler
    assert scaler is not None
    while trainer.updates == 0:
        assert not scaler.arrays["mean"].any()
        trainer.iterate()
    fitted = {name: values.copy() for name, values in scaler.arrays.items()}
    assert fitted["limit"] == LIMIT and fitted["mean"].any()
    trainer.iterate()
    assert all(np.array_equal(scaler.arrays[name], values) for name, values in fitted.items())
    tensors = {name: tensor.clone() for name, tensor in trainer.tensors().items()}
    again = Trainer(load_config("point-robot", overrides=SHORT), family)
    again.restore(tensors, trainer.counters())
    assert again.agent.obs_scaler is not None
    assert all(np.array_equal(again.agent.obs_scaler.arrays[name], values) for name, values in fitted.items())


def test_without_random_steps_there_are_no_statistics() -> None:
    with pytest.raises(UserError, match=r"agent.normalize_obs .* raise train.random_steps above 0"):
        load_config("point-robot", overrides=["agent.normalize_obs=true", "train.random_steps=0"])
