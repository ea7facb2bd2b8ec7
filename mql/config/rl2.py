"""The section ``rl2``: the method of that name (docs/baselines.md)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mql.config.section import Count, Episodes, Factor, Fraction, Section, StepSize, Weight, Width


class RL2Config(Section):
    """Method rl2: PPO with a memory over trials of several episodes of one task."""

    trial_episodes: Episodes = Field(default=3, description="Episodes of a trial, across which the memory is kept.")
    state_dim: Width = Field(default=128, description="Size of the GRU's state.")
    steps_per_iteration: Count = Field(
        default=6000, description="Minimum number of environment steps collected between updates, in whole trials."
    )
    epochs: Annotated[Count, Field(le=10_000)] = Field(default=8, description="Passes over the steps of an iteration.")
    minibatches: Annotated[Count, Field(le=1_000_000)] = Field(
        default=4, description="Updates per pass, each on a part of the sequences."
    )
    sequence_length: Annotated[Count, Field(le=1_000_000)] = Field(
        default=100, description="Steps that gradients go back through; the state before them is carried over."
    )
    lr: StepSize = Field(default=1e-3, description="Learning rate of Adam.")
    discount: Fraction = Field(default=0.99, description="Discount of later rewards, across the episodes of a trial.")
    gae_lambda: Fraction = Field(default=0.95, description="Lambda of the generalised advantage estimates.")
    clip: Factor = Field(default=0.2, description="How far an update may move the probability ratio from 1.")
    kl_limit: Factor = Field(
        default=0.03, description="Passes end when the KL divergence from the policy that acted exceeds this."
    )
    entropy_coef: Weight = Field(default=0.0, description="Factor of the entropy in the loss.")
