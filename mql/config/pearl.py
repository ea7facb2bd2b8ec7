"""The section `pearl` of a configuration."""

from __future__ import annotations

from pydantic import Field

from mql.config.section import Episodes, Rows, Section, Weight, Width


class PearlConfig(Section):
    """What method pearl has of its own."""

    latent_dim: Width = Field(default=5, description="Size of the belief's variable z.")
    kl_weight: Weight = Field(default=0.01, description="Factor of the belief's divergence from the prior (beta).")
    tasks_per_update: Episodes = Field(default=16, description="Tasks per update, which share train.batch_size.")
    context_transitions: Rows = Field(
        default=64, description="Maximum number of a task's transitions from which an update computes its belief."
    )
    recent_episodes: Episodes = Field(default=2, description="Newest episodes of a task that these are drawn from.")
    trial_episodes: Episodes = Field(
        default=2,
        description="Episodes collected in a task at a time: one with z from the prior, the others from the belief.",
    )
