"""The section ``wandb``: how a run stands in Weights & Biases."""

from __future__ import annotations

from pydantic import Field

from mql.config.section import NAME, Label, Section


class WandbConfig(Section):
    """How a run stands in Weights & Biases (`tracking: wandb`)."""

    project: str = Field(default="mql", pattern=NAME, description="The project that the run belongs to.")
    entity: str | None = Field(
        default=None, pattern=NAME, description="The team or user that the project belongs to; null: your own."
    )
    group: Label | None = Field(default=None, description="The group of runs that it is shown in.")
    tags: tuple[Label, ...] = Field(default=(), description="Its tags.")
    name: Label | None = Field(default=None, description="Its name; null: that of the run directory.")
    checkpoints: bool = Field(
        default=False,
        description="Upload the agent of each checkpoint as an artifact, without the replay; its size is reported.",
    )
