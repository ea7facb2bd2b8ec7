"""Values that a definition holds: numbers, names, distributions, and what a task or an episode may say instead."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from mql.config.parts import Mistake, Real, whole
from mql.tasks.distributions import KINDS, Distribution

TASK_NUMBER = r"^task\.[A-Za-z_][A-Za-z0-9_]*$"
MOST_STEPS = 100_000  # control steps of an episode, or physics steps of a control step: more is a slip of the keyboard
MOST_TASKS = 100_000
MOST_COMPONENTS = 1_000  # of a parameter that is a vector


def _text(value: object) -> object:
    """Read ``unit: 1`` and ``expr: 0.5`` as the texts that they look like."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _known_number(value: object) -> object:
    """Refuse a text that is neither a number nor the name of a task parameter."""
    if isinstance(value, str) and not re.fullmatch(TASK_NUMBER, value):
        try:
            float(value)
        except ValueError:
            mend = "give one, or task.NAME for the value of a task parameter"
            raise Mistake(f"{value!r} is no number", mend) from None
    return value


def _identifier(value: str) -> str:
    if not (value.isascii() and value.isidentifier()) or keyword.iskeyword(value) or value.startswith("_"):
        raise Mistake(f"{value!r} is not a name", "use letters, digits and '_', with a letter first")
    return value


def distribution_spec(value: object) -> object:
    """Refuse what no distribution holds; which fields a kind has is checked where it is read."""
    if not isinstance(value, Mapping):
        raise Mistake("the value is not a distribution", "write {dist: uniform, low: 0.0, high: 1.0}, or another kind")
    return {name: _plain(name, inner) for name, inner in value.items()}


def _plain(name: str, value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(name, inner) for inner in value]
    if name == "dist" or (name == "options" and isinstance(value, str) and value.isidentifier()):
        return value  # options may be names: what does not belong together is found where it is read
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        more = ", or a name such as bowl, in quotes where YAML reads it otherwise" if name == "options" else ""
        raise Mistake(f"{name} is {value!r}", f"give a finite number{more}", name)
    if name == "size" and number > MOST_COMPONENTS:
        raise Mistake(f"size is {value!r}", f"a parameter has at most {MOST_COMPONENTS:,} components", name)
    return int(number) if name == "size" and number.is_integer() else number


def distributions_schema() -> dict[str, Any]:
    """Describe every distribution as plain data, for editors: a JSON schema with one alternative for each kind."""
    return {"oneOf": [_kind_schema(kind) for kind in KINDS.values()]}


def _kind_schema(kind: type[Distribution]) -> dict[str, Any]:
    name = kind.__name__.lower()
    properties: dict[str, Any] = {"dist": {"const": name, "description": (kind.__doc__ or "").strip()}}
    needed = ["dist"]
    for field in fields(kind):  # type: ignore[arg-type]
        properties[field.name] = _VALUE_SCHEMAS.get(field.name, _EACH if field.type == "Value" else {"type": "number"})
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
_EACH = {"anyOf": [{"type": "number"}, _NUMBERS], "description": "A number, or one for each component of a vector."}
_VALUE_SCHEMAS: Mapping[str, dict[str, Any]] = {
    "size": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_COMPONENTS,
        "description": "Number of components; without it a draw is a number.",
    },
    "options": {"anyOf": [_NUMBERS, {"type": "array", "items": {"type": "string"}, "minItems": 1}]},
    "value": {"anyOf": [{"type": "number"}, _NUMBERS]},
}

Count = Annotated[int, BeforeValidator(whole), Field(ge=1, le=MOST_TASKS)]
Steps = Annotated[int, BeforeValidator(whole), Field(ge=1, le=MOST_STEPS)]
NotNegative = Annotated[Real, Field(ge=0.0)]
Positive = Annotated[Real, Field(gt=0.0)]
TaskNumber = Annotated[str, Field(pattern=TASK_NUMBER)]  # the value of a task parameter
Disturbance = Annotated[NotNegative | TaskNumber, BeforeValidator(_known_number)]
Gain = Annotated[Real | tuple[Real, ...] | TaskNumber, BeforeValidator(_known_number)]
Limit = Annotated[Positive | tuple[Positive, ...] | TaskNumber, BeforeValidator(_known_number)]
Seed = Annotated[int, BeforeValidator(whole), Field(ge=0, le=2**63 - 1)]
Identifier = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_identifier)]
Line = Annotated[str, BeforeValidator(_text), Field(max_length=2_000)]
Formula = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
DistributionSpec = Annotated[dict[str, Any], BeforeValidator(distribution_spec), WithJsonSchema(distributions_schema())]
