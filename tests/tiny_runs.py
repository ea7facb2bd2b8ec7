"""Settings of a training that ends in seconds: what the tests of whole runs share."""

from __future__ import annotations

TINY: dict[str, object] = {
    "train.env_steps": 600,
    "train.random_steps": 200,
    "train.episodes_per_iteration": 5,
    "train.batch_size": 32,
    "train.env_steps_per_update": 50,
    "train.replay_capacity": 2000,
    "train.evaluate_every": 300,
    "train.checkpoint_every": 200,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.method": "paper",
    "adapt.adaptation_episodes": 1,
    "adapt.exploration_noise": 0.0,
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 2,
    "adapt.batch_size": 32,
    "evaluate.tasks": 2,
    "evaluate.final_tasks": 3,
}
