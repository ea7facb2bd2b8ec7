"""The section ``p3o``: the method of that name (docs/p3o.md)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mql.config.section import (
    MOST_LAYERS,
    Count,
    Episodes,
    Factor,
    Fraction,
    NotNegative,
    Section,
    StepSize,
    Weight,
    Whole,
    Width,
    disagreement,
)


class P3OConfig(Section):
    """Method p3o: an on-policy step, then off-policy steps as far as their effective sample size allows."""

    lr: StepSize = Field(default=7e-4, description="Learning rate of RMSProp, which falls linearly to 0 over the run.")
    rms_decay: Fraction = Field(default=0.99, description="Decay of RMSProp's mean of squares.")
    rms_eps: Factor = Field(default=1e-5, description="What RMSProp adds to the root of that mean.")
    max_norm: Factor = Field(default=0.5, description="Gradients are clipped to this norm.")
    value_coef: Weight = Field(default=0.5, description="Factor of the values' squared error in every loss.")
    entropy_coef: Literal["auto"] | Weight = Field(
        default="auto", description="Factor of the entropy in the on-policy loss; auto: 0, for discrete actions 0.01."
    )
    discount: Fraction = Field(default=0.99, description="Discount of later rewards.")
    gae_lambda: Fraction = Field(default=0.95, description="Lambda of the generalised advantage estimates.")
    lanes: Episodes = Field(default=16, description="Environments that are stepped in parallel.")
    steps: Annotated[Count, Field(le=1_000_000)] = Field(
        default=16, description="Steps of each of them in an iteration, and of a stored segment."
    )
    replay_ratio: Annotated[NotNegative, Field(le=10_000)] = Field(
        default=2.0,
        description="Mean number of off-policy steps in an iteration (Poisson); 0: A2C, which stores nothing.",
    )
    segments: Episodes = Field(default=96, description="Stored segments that an off-policy step learns from.")
    replay_capacity: Count = Field(default=50_000, description="Transitions that are stored.")
    off_policy_after: Whole = Field(
        default=5_000, description="Transitions that are stored before the first off-policy step."
    )
    ratio_cap: Literal["auto"] | Factor = Field(
        default="auto", description="Upper bound of the probability ratio; auto: the effective sample size."
    )
    kl: Literal["policy_behavior", "behavior_policy"] = Field(
        default="policy_behavior",
        description="Which divergence holds the policy back: KL(policy || behaviour) or KL(behaviour || policy).",
    )
    hidden_sizes: Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LAYERS)] = Field(
        default=(64, 64), description="Tanh layers of the actor, and of the critic."
    )
    normalize: bool = Field(
        default=True, description="Standardise observations by the running mean and standard deviation."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        iteration, held = self.lanes * self.steps, self.replay_capacity // self.steps * self.steps
        if self.replay_ratio and held < iteration:
            what = f"p3o.replay_capacity is {self.replay_capacity}, less than the {iteration} steps of an iteration"
            mend = "raise it, or lower p3o.lanes or p3o.steps"
            raise disagreement(what, mend, "p3o.replay_capacity", "p3o.lanes", "p3o.steps")
        if self.replay_ratio and held < self.off_policy_after:
            what = f"p3o.off_policy_after is {self.off_policy_after}, but at most {held} transitions are stored"
            mend = "lower it, or raise p3o.replay_capacity"
            raise disagreement(what, mend, "p3o.off_policy_after", "p3o.replay_capacity")
        return self
