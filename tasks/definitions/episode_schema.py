"""What a definition may say of single episodes: where they start, what differs beside the task, what changes within."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from mql.config.parts import Mistake, Part, Real
from mql.tasks.definitions.values import (
    TASK_NUMBER,
    DistributionSpec,
    Disturbance,
    Identifier,
    NotNegative,
    distribution_spec,
    distributions_schema,
)
from mql.tasks.physics.fields import Change

ROBOT = "robot"  # the name of what a robot's spec states


def _drawable(value: object) -> object:
    """Refuse what is neither a number, nor a distribution, nor the value of a task parameter."""
    if isinstance(value, Mapping):
        return distribution_spec(value)
    if isinstance(value, str) and re.fullmatch(TASK_NUMBER, value):
        return value
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not abs(number) < float("inf"):
        mend = "give a number, a distribution such as {dist: uniform, low: 0.0, high: 0.1}, or task.NAME"
        raise Mistake(f"{value!r} can't be drawn", mend)
    return number


def _drawables(value: object) -> object:
    return [_drawable(each) for each in value] if isinstance(value, list | tuple) else _drawable(value)


_DRAWABLE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": TASK_NUMBER}, *distributions_schema()["oneOf"]],
    "description": "A number, a distribution, or task.NAME for the value of a task parameter.",
}
Drawable = Annotated[Any, BeforeValidator(_drawable), WithJsonSchema(_DRAWABLE_SCHEMA)]
Drawables = Annotated[
    Any,
    BeforeValidator(_drawables),
    WithJsonSchema({"anyOf": [_DRAWABLE_SCHEMA, {"type": "array", "items": _DRAWABLE_SCHEMA, "minItems": 1}]}),
]


class BodyStart(Part):
    """Where a free body or a mocap body starts."""

    pos: Drawables | None = Field(
        default=None, description="x, y, z in m from `around`: one vector, or a list such as [0.4, task.y, 0.02]."
    )
    around: tuple[Real, Real, Real] = Field(default=(0.0, 0.0, 0.0), description="Added to `pos`, m.")
    yaw: Drawable | None = Field(default=None, description="Turn about the world's z axis from how it stands, rad.")
    turn: Literal["any"] | None = Field(default=None, description="any: every orientation is equally likely.")

    @model_validator(mode="after")
    def _fits(self) -> BodyStart:
        if self.pos is None and self.yaw is None and self.turn is None:
            raise Mistake("nothing is drawn", "give pos, yaw or turn")
        if self.pos is None and any(self.around):
            raise Mistake("around without pos", "add 'pos: [x, y, z]'", "around")
        if self.yaw is not None and self.turn is not None:
            raise Mistake("yaw and turn: any", "leave one of them out", "turn")
        return self


class StartSpec(Part):
    """Where an episode starts; what is not named is where the keyframe home, or the model, has it."""

    home_noise: NotNegative | dict[str, NotNegative] | None = Field(
        default=None,
        description="Largest displacement of each driven hinge or slide, rad or m, or joint -> its own; 0.01 "
        "(with a Python class 0).",
    )
    joints: dict[str, Drawable] = Field(default={}, description="Hinge or slide -> its position, rad or m.")
    bodies: dict[str, BodyStart] = Field(default={}, description="Free body or mocap body -> {pos, around, yaw, turn}.")


class NuisanceSpec(Part):
    """A number of the model that is drawn for each episode and is no task parameter."""

    value: DistributionSpec | None = Field(default=None, description="What each episode draws it from.")
    each: bool = Field(default=False, strict=True, description="Each body, joint, ... draws a number of its own.")
    apply: tuple[Change, ...] = Field(default=(), description="What it changes, as for a parameter.")


class ScheduleSpec(Part):
    """When, within an episode, a parameter has its value."""

    at_s: Disturbance = Field(description="s after the episode's start, or task.NAME.")
    before: Real | tuple[Real, ...] | None = Field(
        default=None, description="Its value until then; without it, the model's own numbers hold."
    )
    ramp_s: NotNegative = Field(default=0.0, description="s that it takes from there to its value; 0: it jumps.")


def _nuisances(value: object) -> object:
    """Read ``randomise: robot`` and ``randomise: {robot: true, ...}``."""
    if value == ROBOT:
        return {ROBOT: {}}
    if not isinstance(value, Mapping):
        return value
    if ROBOT in value and value[ROBOT] is not True:
        raise Mistake("robot is not true", "write 'robot: true' for what the robot's spec states", ROBOT)
    return {name: {} if name == ROBOT else each for name, each in value.items()}


def _check_nuisances(value: dict[str, NuisanceSpec]) -> dict[str, NuisanceSpec]:
    for name, each in value.items():
        if name == ROBOT:
            continue
        if each.value is None:
            raise Mistake(f"{name} has no value", "add 'value: {dist: uniform, low: 0.8, high: 1.2}'", name)
        if not each.apply:
            raise Mistake(f"{name} changes nothing", "add 'apply: [{field: ..., op: scale}]'", name)
    return value


def randomise_schema(own: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of ``randomise`` from the one that pydantic writes."""
    named = {**own, "properties": {ROBOT: {"const": True, "description": "All that the robot's spec states."}}}
    text = named.pop("description")
    named.pop("default", None)
    return {"description": text, "anyOf": [{"const": ROBOT}, named], "default": {}}


Nuisances = Annotated[dict[Identifier, NuisanceSpec], BeforeValidator(_nuisances), AfterValidator(_check_nuisances)]
