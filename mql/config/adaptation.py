"""The section ``adapt``: what is done for a new task. Which keys act follows from its ``method`` (`idle_keys.py`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mql.config.section import (
    MOST_EPISODES,
    AnySize,
    Count,
    Factor,
    Fraction,
    Noise,
    Real,
    Rows,
    Section,
    Updates,
    Weight,
    Whole,
)


class AdaptConfig(Section):
    """Adaptation to a new task, by one of several methods (docs/adaptation.md)."""

    method: Literal["auto", "context", "search", "finetune", "continue", "relabel", "simulate", "paper"] = Field(
        default="auto",
        description="How; auto: relabel where rewards identify the task, else finetune. paper: Meta-Q-Learning as "
        "published; context: only the context; continue: more training on stored data, as a control.",
    )
    adaptation_episodes: Annotated[Whole, Field(le=MOST_EPISODES)] = Field(
        default=5, description="The budget: episodes that may be played in the new task, for any purpose."
    )
    carry_episodes: bool = Field(
        default=False,
        description="The context persists across the budget's episodes; evaluation episodes start from it (context).",
    )
    exploration_noise: Noise = Field(
        default=0.2, description="Standard deviation of the action noise in episodes played to learn from."
    )
    reward: Literal["hidden", "known"] = Field(
        default="hidden",
        description="Whether the new task's reward may be used as a function of its true parameters (relabel, auto).",
    )
    round_updates: Annotated[Updates, Field(ge=1)] = Field(
        default=100, description="Updates per round of finetune, relabel and simulate; 400 where dynamics differ."
    )
    round_batch_size: Rows = Field(default=256, description="Transitions per update of a round.")
    round_lr: AnySize = Field(
        default=1e-4,
        description="Initial learning rate of a round, which falls to 0; halved after a round that is rolled back.",
    )
    old_fraction: Fraction = Field(default=0.0, description="Share of stored data in finetune's batches.")
    old: Literal["uniform", "propensity", "permuted"] = Field(
        default="uniform",
        description="How finetune draws stored data; permuted: by the propensity's weights, shuffled.",
    )
    gate: bool = Field(
        default=True,
        description="Try out what a round has learned, and keep it only if it is better; false: keep it untested.",
    )
    gate_margin: Weight = Field(
        default=0.3, description="Standard errors by which a new agent has to beat the previous one to be kept."
    )
    rollback: Literal["round", "end"] = Field(
        default="round",
        description="Roll back an agent that did no better after every round; or only at the end, to the best of all: "
        "where improvement takes many rounds.",
    )
    accept_unseen: bool = Field(
        default=False,
        description="Keep what was learned if the budget leaves no episode to try it out, despite the gate.",
    )
    step1_updates: Updates = Field(default=10, description="Updates of the paper's step 1, on the new task's data.")
    step1_batch_size: Annotated[Whole, Field(le=10_000_000)] = Field(
        default=0, description="Transitions per update of step 1; 0: all of the new task's data at once."
    )
    step2_updates: Updates = Field(
        default=100, description="Updates of the paper's step 2, on weighted meta-training data."
    )
    batch_size: Rows = Field(default=512, description="Transitions per update of step 2.")
    lr: AnySize = Field(default=3e-4, description="Learning rate of the paper's fresh Adam.")
    proximal_coef: Literal["auto"] | Fraction = Field(
        default="auto",
        description="Pull towards the meta-trained parameters; auto: 1 - normalised effective sample size.",
    )
    step1_penalty: bool = Field(default=True, description="Whether the pull also acts in step 1.")
    pull: Literal["loss", "step"] = Field(
        default="loss",
        description="How the paper's updates are pulled: by a penalty in the loss, as published; or by projecting each "
        "step into a ball around the meta-trained parameters, whose size is measured first (twice the time).",
    )
    pull_radius: Weight = Field(
        default=0.5,
        description="Radius of that ball, relative to the distance that the same updates go without a pull; 1: none.",
    )
    max_log_weight: Annotated[Real, Field(ge=-80, le=80)] = Field(
        default=1.0, description="Largest logarithm of an importance weight."
    )
    min_weight: Weight = Field(default=0.1, description="Importance weights below this one count as zero.")
    inverse_regularization: Factor = Field(default=0.1, description="C of scikit-learn's logistic regression.")
    features: Literal["context", "obs_context", "dynamics"] = Field(
        default="context",
        description="Inputs of the propensity: z; the observation and z; or observation, action and what changes.",
    )
    weigh_by: Literal["row", "episode", "task"] = Field(
        default="row", description="What gets a weight of its own: log weights are averaged over it."
    )
    relative_weights: Fraction = Field(
        default=0.0,
        description="g of the relative ratio s / (g s + 1 - g), which is at most 1 / g; 0: off.",
    )
    prior: Literal["corrected", "uncorrected"] = Field(
        default="corrected", description="Whether the odds are corrected for the unequal numbers of new and old rows."
    )
    weighting: Literal["loss", "sample"] = Field(
        default="sample", description="Weights multiply the losses, or set the probability of being sampled."
    )
    weights: Literal["propensity", "uniform"] = Field(
        default="propensity", description="Uniform: all old data count the same in the paper's step 2, for comparison."
    )
    scored_transitions: Count = Field(
        default=100_000, description="Maximum number of stored transitions that get a weight."
    )
