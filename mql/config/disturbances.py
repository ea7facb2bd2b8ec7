"""The section ``env``: what makes any task family harder, in every episode of a run.

Each number may be ``task.NAME`` instead: the value of that task parameter, so another one in each task. What the
numbers do stands in `mql.tasks.disturbances.settings`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mql.config.section import Count, Delay, Factor, NotNegative, Section, Value, Weight

TASK_NUMBER = r"^task\.[A-Za-z_][A-Za-z0-9_]*$"

TaskNumber = Annotated[str, Field(pattern=TASK_NUMBER)]


class SensingConfig(Section):
    """What the agent sees of every observation; rewards and success stay those of the true state."""

    noise: Weight | TaskNumber = Field(
        default=0.0, description="Standard deviation of white noise on every number, in the observation's own units."
    )
    bias: Weight | TaskNumber = Field(
        default=0.0,
        description="Largest constant error, in the same units: drawn once per episode, uniform within +- bias.",
    )
    delay_s: Delay | TaskNumber = Field(
        default=0.0, description="Delay of observations, s; rounded to whole control steps."
    )
    history: Annotated[Count, Field(le=10_000)] = Field(
        default=1, description="Number of observations given at once, the newest first."
    )


class ActuationConfig(Section):
    """What becomes of every action on its way to the simulation; the context keeps what was commanded."""

    delay_s: Delay | TaskNumber = Field(default=0.0, description="Delay of actions, s; rounded to whole control steps.")
    gain: Value | tuple[Value, ...] | TaskNumber = Field(
        default=1.0, description="Factor on actions: one number, or one per component."
    )
    rate_limit: Factor | tuple[Factor, ...] | TaskNumber | None = Field(
        default=None, description="Largest change of an action per second; null: none."
    )


def _range(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not low < high:
        raise ValueError("give the lowest and the highest factor, such as [0.8, 1.2]")
    return value


Factors = Annotated[tuple[NotNegative, NotNegative], AfterValidator(_range)]


class RandomiseConfig(Section):
    """Factors on numbers of the MuJoCo model, drawn for each episode from its seed, uniform in [low, high], hidden."""

    body_mass: Factors | None = Field(default=None, description="On each body's mass and inertia, one factor each.")
    geom_friction: Factors | None = Field(default=None, description="On the sliding friction of all geoms alike.")
    dof_damping: Factors | None = Field(default=None, description="On each joint's damping, one factor each.")
    dof_frictionloss: Factors | None = Field(default=None, description="On each joint's dry friction, one factor each.")
    position_gain: Factors | None = Field(default=None, description="On each position servo's stiffness, one each.")
    actuator_gear: Factors | None = Field(
        default=None, description="On each actuator's gear, one factor each: how strong a motor is."
    )

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Field of the model -> its range, those that are given."""
        return {name: value for name, value in self if value is not None}


class EnvConfig(Section):
    """What makes the family harder."""

    sensing: SensingConfig = Field(
        default=SensingConfig(), description="Noise, bias, delay and history of observations."
    )
    actuation: ActuationConfig = Field(default=ActuationConfig(), description="Delay, gain and rate limit of actions.")
    randomise: RandomiseConfig = Field(
        default=RandomiseConfig(),
        description="What differs between episodes in the model without being a task parameter.",
    )
