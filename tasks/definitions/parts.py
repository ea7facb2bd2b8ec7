"""The parts of a task definition that stand on their own: numbers, names, distributions and changes of the physics."""

from __future__ import annotations

import keyword
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from mql.errors import nearest
from mql.tasks.distributions import Angle, Choice, Disc, Distribution, Fixed, LogUniform, Normal, Uniform
from mql.tasks.physics.fields import FIELDS, ChangeField

MOST_STEPS = 100_000  # control steps of an episode, or physics steps of a control step: more is a slip of the keyboard
MOST_TASKS = 100_000
TARGETS = ("body", "joint", "geom", "actuator", "site")
DISTRIBUTIONS = (Uniform, LogUniform, Normal, Choice, Angle, Disc, Fixed)


class Mistake(PydanticCustomError):
    """What a person can mend. `key` is the dotted key below the part that refuses, or "" for the part itself."""

    def __new__(cls, what: str, mend: str, key: str = "") -> Mistake:
        """Build one; pydantic fills the template with the three texts."""
        return super().__new__(cls, "mistake", "{what}: {mend}", {"what": what, "mend": mend, "key": key})


def _number(value: object) -> object:
    """Refuse booleans (they are integers to Python); a string such as "1e-3" is left to pydantic."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    return value


def _whole(value: object) -> object:
    """Refuse booleans, and read "1e3" and 1000.0 as 1000."""
    if isinstance(value, str):
        value = float(value)
    return _number(value)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _text(value: object) -> object:
    """Read ``unit: 1`` and ``expr: 0.5`` as the texts that they look like."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _identifier(value: str) -> str:
    if not (value.isascii() and value.isidentifier()) or keyword.iskeyword(value) or value.startswith("_"):
        raise Mistake(f"{value!r} is not a name", "use letters, digits and '_', with a letter first")
    return value


def _field(value: str) -> str:
    if value not in FIELDS:
        raise Mistake(f"unknown field {value!r}", nearest(value, FIELDS))
    return value


def _distribution(value: object) -> object:
    """Refuse what no distribution holds; which fields a kind has is checked where it is read."""
    if not isinstance(value, Mapping):
        raise Mistake("the value is not a distribution", "write {dist: uniform, low: 0.0, high: 1.0}, or another kind")
    return {name: _plain(name, inner) for name, inner in value.items()}


def _plain(name: str, value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(name, inner) for inner in value]
    if name == "dist":
        return value
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Mistake(f"{name} is {value!r}", "give a finite number", name)
    return int(number) if name == "size" and number.is_integer() else number


def distributions_schema() -> dict[str, Any]:
    """Describe every distribution as plain data, for editors: a JSON schema with one alternative for each kind."""
    return {"oneOf": [_kind_schema(kind) for kind in DISTRIBUTIONS]}


def _kind_schema(kind: type[Distribution]) -> dict[str, Any]:
    name = kind.__name__.lower()
    properties: dict[str, Any] = {"dist": {"const": name, "description": (kind.__doc__ or "").strip()}}
    needed = ["dist"]
    for field in fields(kind):  # type: ignore[arg-type]
        properties[field.name] = _VALUE_SCHEMAS.get(field.name, {"type": "number"})
        if field.default is MISSING:
            needed.append(field.name)
    return {
        "title": name,
        "type": "object",
        "properties": properties,
        "required": needed,
        "additionalProperties": False,
    }


_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1}
_VALUE_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "size": {"type": "integer", "minimum": 1, "description": "Number of components; without it a draw is a number."},
    "options": _NUMBERS,
    "value": {"anyOf": [{"type": "number"}, _NUMBERS]},
}
_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

FieldName = Annotated[str, AfterValidator(_field), WithJsonSchema({"enum": list(FIELDS)})]
Real = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_TASKS)]
Steps = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MOST_STEPS)]
Seed = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=2**63 - 1)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1), WithJsonSchema(_NAMES_SCHEMA)]
Identifier = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_identifier)]
Line = Annotated[str, BeforeValidator(_text), Field(max_length=2_000)]
Formula = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
DistributionSpec = Annotated[dict[str, Any], BeforeValidator(_distribution), WithJsonSchema(distributions_schema())]


class Part(BaseModel):
    """What all parts of a definition share: frozen, typed, no unknown keys, no nan and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Change(Part):
    """One number of the compiled model that a task parameter changes, always from the model's own value."""

    field: FieldName = Field(description="What changes; body_mass takes the inertia along.")
    body: Names | None = Field(default=None, description="The body, or a list of bodies.")
    joint: Names | None = Field(default=None, description="The joint, or a list; for an actuator, the joint it drives.")
    geom: Names | None = Field(default=None, description="The geom, or a list of geoms.")
    actuator: Names | None = Field(default=None, description="The actuator, or a list of actuators.")
    site: Names | None = Field(default=None, description="The site, or a list of sites.")
    index: Annotated[int, BeforeValidator(_whole), Field(ge=0)] | None = Field(
        default=None, description="Which component of the field, from 0 (geom_friction: 0 is sliding, the default)."
    )
    op: Literal["set", "scale", "add"] = Field(description="Set the value, multiply the model's own, or add to it.")

    @model_validator(mode="after")
    def _fits(self) -> Change:
        kind = FIELDS[self.field]
        if self.field == "geom_size":
            mend = "a size is compiled into the model; write the sizes you need as geoms of their own, or as files"
            raise Mistake("geom_size can't be changed by a parameter", mend, "field")
        given = [target for target in TARGETS if getattr(self, target) is not None]
        allowed = " or ".join(kind.targets)
        for target in given:
            if target not in kind.targets:
                mend = f"name the {allowed}" if allowed else f"{self.field} belongs to the whole model; delete the line"
                raise Mistake(f"{self.field} has no {target}", mend, target)
        if len(given) != min(len(kind.targets), 1):
            what = (
                f"{self.field} doesn't say which {allowed}" if not given else f"{self.field} names {len(given)} kinds"
            )
            raise Mistake(what, f"give one of {allowed}, such as '{kind.targets[0]}: NAME'")
        if self.index is not None and not self.index < kind.width:
            mend = f"give 0 to {kind.width - 1}" if kind.width > 1 else f"{self.field} is one number; delete the line"
            raise Mistake(f"{self.field} has no component {self.index}", mend, "index")
        return self

    @property
    def kind(self) -> ChangeField:
        """What is known about the field."""
        return FIELDS[self.field]

    @property
    def target(self) -> tuple[str, tuple[str, ...]]:
        """Which key names what is changed, and the names; ("", ()) for an option of the whole model."""
        for target in TARGETS:
            names = getattr(self, target)
            if names is not None:
                return target, names
        return "", ()

    def components(self, size: int | None) -> tuple[int, ...]:
        """Say which components of the field a parameter of `size` numbers (None: a plain one) changes, in order.

        Raises:
            Mistake: they don't fit.
        """
        return _components(self, self.kind, size)


def _components(change: Change, kind: ChangeField, size: int | None) -> tuple[int, ...]:
    names = change.target[1]
    if size is None:
        if change.index is not None:
            return (change.index,)
        if kind.width == 1 or kind.default_index is not None:
            return (kind.default_index or 0,)
        if change.op == "scale":
            return tuple(range(kind.width))
        mend = f"add 'index: 0' to 'index: {kind.width - 1}', or give the parameter a size of {kind.width}"
        raise Mistake(f"{change.field} has {kind.width} components, the parameter is one number", mend)
    if change.index is not None:
        raise Mistake("an index and a parameter with a size", "leave one of them out", "index")
    if kind.width == 1:
        if len(names) == size:
            return (0,)
        mend = f"name {size} of them, one for each component, or leave the size out"
        raise Mistake(f"a parameter of size {size} for {max(len(names), 1)} x {change.field}", mend)
    if size > kind.width:
        raise Mistake(f"a parameter of size {size} for {change.field}", f"it has {kind.width} components")
    return tuple(range(size))
