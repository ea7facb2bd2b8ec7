"""The section ``q_learning``: the methods dqn and rainbow (docs/proximal.md)."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from mql.config.section import (
    MOST_LAYERS,
    Count,
    Factor,
    Fraction,
    NotNegative,
    Rows,
    Section,
    StepSize,
    Value,
    Whole,
    Width,
    disagreement,
)

PUBLISHED_KAPPA = 2.5  # lr K / c of DQN Pro and Rainbow Pro (Asadi et al. 2022, arXiv 2112.05848)


class QLearningConfig(Section):
    """Methods dqn and rainbow: values of a few choices. The pull to the targets is ``agent.proximal_c``."""

    hidden_sizes: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LAYERS)] = Field(
        default=(128, 128), description="Units per hidden layer, for observations that are numbers."
    )
    filters: Width = Field(default=16, description="3x3 filters, for observations that are planes.")
    conv_units: Width = Field(default=128, description="Units of the layer after them.")
    n_step: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="Rewards of a return before it bootstraps from the target network; rainbow: 3."
    )
    discount: Fraction = Field(default=0.99, description="Discount of later rewards.")
    lr: StepSize = Field(default=2.5e-4, description="Learning rate of Adam.")
    adam_eps: Factor = Field(default=3.125e-4, description="What Adam adds to the root of its second moment.")
    batch_size: Rows = Field(default=32, description="Transitions of an update.")
    update_every: Count = Field(default=4, description="Environment steps for each update.")
    target_every: Count = Field(
        default=1000, description="Environment steps between copies of the parameters to the targets."
    )
    random_steps: Whole = Field(default=5000, description="Environment steps before the first update.")
    replay_capacity: Count = Field(default=100_000, description="Steps that are kept.")
    epsilon_start: Fraction = Field(default=1.0, description="Initial share of random actions.")
    epsilon_end: Fraction = Field(default=0.1, description="And from `epsilon_steps` on.")
    epsilon_steps: Count = Field(default=100_000, description="Environment steps over which it falls linearly.")
    priority_alpha: Annotated[NotNegative, Field(le=100)] = Field(
        default=0.5, description="Exponent of losses, by which transitions are drawn (rainbow)."
    )
    beta_start: Fraction = Field(default=0.4, description="Initial exponent of importance weights (rainbow).")
    beta_steps: Count = Field(default=1_000_000, description="Environment steps over which it grows to 1 (rainbow).")
    atoms: Annotated[Count, Field(ge=2, le=10_000)] = Field(
        default=51, description="Values of a distribution (rainbow)."
    )
    value_min: Value = Field(default=-10.0, description="The lowest of them, a discounted return (rainbow).")
    value_max: Value = Field(default=10.0, description="The highest of them (rainbow).")
    reset_optimizer: bool = Field(default=False, description="Reset Adam's moments at each copy to the targets.")

    @property
    def updates_per_copy(self) -> int:
        """K: gradient steps between copies of the parameters to the targets."""
        return self.target_every // self.update_every

    @property
    def published_c(self) -> float:
        """C of the pull to the targets that is felt as much as the published ones are, whatever lr and K."""
        return self.lr * self.updates_per_copy / PUBLISHED_KAPPA

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.target_every % self.update_every:
            what = (
                f"q_learning.target_every is {self.target_every}, not a multiple of update_every = {self.update_every}"
            )
            raise disagreement(what, "give a multiple", "q_learning.target_every", "q_learning.update_every")
        if self.replay_capacity < self.n_step + 2:
            what = f"q_learning.replay_capacity is {self.replay_capacity}, no room for returns of {self.n_step} steps"
            mend = f"give {self.n_step + 2} or more"
            raise disagreement(what, mend, "q_learning.replay_capacity", "q_learning.n_step")
        if self.random_steps + self.update_every <= self.n_step:
            first = self.random_steps + self.update_every
            what = f"the first update comes after {first} env steps, before a return of {self.n_step} steps is known"
            mend = "raise q_learning.random_steps, or lower q_learning.n_step"
            raise disagreement(what, mend, "q_learning.random_steps", "q_learning.update_every", "q_learning.n_step")
        if not self.value_min < self.value_max:
            what = f"q_learning.value_min is {self.value_min:g}, not below value_max = {self.value_max:g}"
            mend = "give the lowest and the highest discounted return"
            raise disagreement(what, mend, "q_learning.value_min", "q_learning.value_max")
        return self
