"""What each profile says where it differs from the defaults of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mql.types import CONTEXT_PARTS

# What the `paper` profile says where it differs from the defaults above: what the published experiments have in common
# (those of one family stand in its file). `weighting` is eq. 19 as written.
PROFILES: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "fast": {},
        "paper": {
            "agent": {
                "algorithm": "td3",
                "encoder": "gru",
                "hidden_sizes": (300, 300),
                "context_mode": "window",
                "context_elements": CONTEXT_PARTS,
                "shared_encoder": False,
                "layer_norm": False,
                "lr": 3e-4,
                "discount": 0.99,
                "tau": 0.005,
                "target_noise_clip": 0.5,
                "exploration": "white",
                "reward_scale": 1.0,
                "normalize": False,
            },
            "train": {
                "env_steps": 1_000_000,
                "random_steps": 10_000,
                "episodes_per_iteration": 1,
                "batch_size": 256,
                "env_steps_per_update": 1.0,
                "anneal_steps": 0,
                "replay_capacity": 1_000_000,
                "evaluate_every": 50_000,
                "checkpoint_every": 50_000,
                "keep_checkpoints": 30,
            },
            "adapt": {
                "method": "paper",
                "adaptation_episodes": 1,
                "exploration_noise": 0.0,
                "step1_batch_size": 0,
                "step1_penalty": True,
                "batch_size": 1280,
                "lr": 1e-3,
                "proximal_coef": "auto",
                "pull": "loss",
                "weights": "propensity",
                "weighting": "loss",
            },
        },
    }
)
