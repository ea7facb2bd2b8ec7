"""The section ``env``: what makes any task family harder, in every episode of a run.

Each number may be ``task.NAME`` instead: the value of that task parameter, so another one in each task. What the
numbers do stands in `mql.tasks.disturbances.settings`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mql.config.section import Count, NotNegative, Positive, Real, Section

TASK_NUMBER = r"^task\.[A-Za-z_][A-Za-z0-9_]*$"

TaskNumber = Annotated[str, Field(pattern=TASK_NUMBER)]


class SensingConfig(Section):
    """What the agent sees of every observation; rewards and success stay those of the true state."""

    noise: NotNegative | TaskNumber = Field(
        default=0.0, description="Standard deviation of white noise on every number, in the observation's own units."
    )
    bias: NotNegative | TaskNumber = Field(
        default=0.0,
        description="Largest constant error, in the same units: drawn once per episode, uniform within +- bias.",
    )
    delay_s: NotNegative | TaskNumber = Field(
        default=0.0, description="Age of what is seen, s; the nearest whole number of control steps."
    )
    history: Count = Field(default=1, description="Observations that are seen at once, the newest first.")


class ActuationConfig(Section):
    """What becomes of every action on its way to the simulation; the context keeps what was commanded."""

    delay_s: NotNegative | TaskNumber = Field(
        default=0.0, description="How long an action is on its way, s; the nearest whole number of control steps."
    )
    gain: Real | tuple[Real, ...] | TaskNumber = Field(
        default=1.0, description="Factor of an action: one number, or one for each of the action's."
    )
    rate_limit: Positive | tuple[Positive, ...] | TaskNumber | None = Field(
        default=None, description="Largest change of an action per second; null: none."
    )


class EnvConfig(Section):
    """What makes the family harder."""

    sensing: SensingConfig = Field(default=SensingConfig(), description="How observations are seen.")
    actuation: ActuationConfig = Field(default=ActuationConfig(), description="What becomes of actions.")
