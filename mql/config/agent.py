"""The section ``agent``: what is learned, and how; and the choices of encoders and algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from mql.config.section import (
    MOST_LAYERS,
    AnySize,
    Count,
    Factor,
    Fraction,
    Noise,
    Positive,
    Section,
    StepSize,
    Value,
    Weight,
    Whole,
    Width,
    disagreement,
)
from mql.types import CONTEXT_PARTS, ContextPart


class EncoderChoice(NamedTuple):
    """Where a context encoder's class stands, and whether its state can be carried from step to step.

    One that can't looks at windows of the last steps only.
    """

    place: str
    carries: bool


# The choices of `agent.encoder` and `agent.algorithm` (protocols.py): a new one is a new file, a row here and its name
# in the field's Literal.
ENCODERS: Mapping[str, EncoderChoice] = MappingProxyType(
    {
        "gru": EncoderChoice("mql.agent.encoders:GRUEncoder", carries=True),
        "transformer": EncoderChoice("mql.agent.transformer:TransformerEncoder", carries=False),
    }
)
ALGORITHMS: Mapping[str, str] = MappingProxyType({"td3": "mql.learning.td3:TD3", "sac": "mql.learning.sac:SAC"})


def _context_parts(parts: tuple[ContextPart, ...]) -> tuple[ContextPart, ...]:
    """Return the parts in their order; refuse one that is named twice, and those that can't tell a task."""
    twice = [part for place, part in enumerate(parts) if part in parts[:place]]
    mend = "name it once"
    if not {"obs", "reward"} & set(parts):
        what = f"is [{', '.join(parts)}], and nothing in it tells the task"
        mend = "add obs or reward, or set agent.use_context to false"
    elif twice:
        what = f"names {twice[0]} twice"
    else:
        return tuple(part for part in CONTEXT_PARTS if part in parts)
    raise disagreement(f"agent.context_elements {what}", mend, "agent.context_elements")


class AgentConfig(Section):
    """What is learned, and how."""

    algorithm: Literal["td3", "sac"] = Field(default="td3", description="How actor and critics learn.")
    encoder: Literal["gru", "transformer"] = Field(default="gru", description="What computes the context variable z.")
    hidden_sizes: tuple[Width, ...] = Field(
        default=(256, 256),
        min_length=1,
        max_length=MOST_LAYERS,
        description="Units per hidden layer of actor and critics.",
    )
    context_dim: Width = Field(default=30, description="Size of the context variable z, and its encoder's width.")
    context_length: Annotated[Count, Field(le=100_000)] = Field(
        default=20, description="Number of last steps that z is computed from (context_mode window)."
    )
    use_context: bool = Field(default=True, description="False: a context-blind agent, for comparison.")
    context_mode: Literal["carry", "window"] = Field(
        default="carry",
        description="z from the encoder's state carried since the reset, or from a window of the last steps.",
    )
    context_elements: Annotated[tuple[ContextPart, ...], AfterValidator(_context_parts)] = Field(
        default=CONTEXT_PARTS,
        description="What z is computed from at every step; without reward, the policy can act where none is measured.",
    )
    segment_length: Annotated[Count, Field(le=100_000)] = Field(
        default=16, description="Transitions learned from per encoder pass (context_mode carry)."
    )
    burn_in: Annotated[Whole, Field(le=100_000)] = Field(
        default=16, description="Steps that warm up the encoder's state before a segment (context_mode carry)."
    )
    shared_encoder: bool = Field(
        default=True, description="One context encoder for actor and critics, or one for each."
    )
    layer_norm: bool = Field(default=True, description="Layer normalisation in the critics.")
    critic: Literal["squared", "hl_gauss", "c51"] = Field(
        default="squared",
        description="Output of a critic: a number (squared error), or a histogram of values (cross-entropy; HL-Gauss "
        "or C51).",
    )
    value_min: Value | None = Field(
        default=None,
        description="Lowest value of a histogram, a discounted sum of the family's own rewards; null: from episodes.",
    )
    value_max: Value | None = Field(default=None, description="Highest value of a histogram; null: from episodes.")
    value_bins: Annotated[Count, Field(ge=11, le=10_000)] = Field(default=101, description="Bins of a histogram.")
    value_spacing: Literal["even", "fine"] = Field(
        default="even",
        description="Widths of the bins: equal, or narrow near 0, to resolve small values as well as large ones.",
    )
    lr: StepSize = Field(default=1e-3, description="Learning rate of Adam in meta-training.")
    discount: Fraction = Field(default=0.99, description="Discount of later rewards.")
    n_step: Annotated[Count, Field(le=1000)] = Field(
        default=1, description="Rewards that a critic's target sums up before it bootstraps from the target critics."
    )
    tau: Annotated[Positive, Field(le=1)] = Field(default=0.005, description="Polyak step of the target networks.")
    policy_delay: Annotated[Count, Field(le=10_000)] = Field(default=2, description="Critic updates per actor update.")
    exploration: Literal["white", "pink"] = Field(
        default="white", description="Noise on collected actions: independent at each step, or correlated in time."
    )
    exploration_noise: Noise = Field(default=0.3, description="Standard deviation of the noise on collected actions.")
    exploration_spread: Annotated[Factor, Field(ge=1, le=1000)] = Field(
        default=1.0, description="An episode's noise is up to this many times smaller or larger, log-uniform."
    )
    target_policy_noise: Noise = Field(
        default=0.3, description="Standard deviation of the noise on target actions (algorithm td3)."
    )
    target_noise_clip: Noise = Field(
        default=0.5, description="Largest size of the noise on target actions (algorithm td3)."
    )
    proximal_c: Literal["auto"] | Weight = Field(
        default=0.0,
        description="Pull to the targets by lr / this before each step of training (td3, dqn, rainbow); 0: none; "
        "auto: as much as published for dqn and rainbow.",
    )
    reward_scale: AnySize = Field(default=1.0, description="Factor on rewards, in the context and in the losses.")
    normalize: bool = Field(
        default=False,
        description="Standardise observations and rewards by their mean and standard deviation over the random steps.",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="Type of the products between hidden layers; bfloat16 is faster on processors that support it.",
    )
