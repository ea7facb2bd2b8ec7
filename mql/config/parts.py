"""What a file that a person writes in YAML is made of: frozen parts, numbers, names, and mistakes with their key."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError


class Part(BaseModel):
    """What all parts share: frozen, typed, no unknown keys, no nan and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class Mistake(PydanticCustomError):
    """What a person can fix. `key` is the dotted key below the part that refuses, or "" for the part itself."""

    def __new__(cls, what: str, mend: str, key: str = "") -> Mistake:
        """Build one; pydantic fills the template with the three texts."""
        return super().__new__(cls, "mistake", "{what}: {mend}", {"what": what, "mend": mend, "key": key})


def number(value: object) -> object:
    """Refuse booleans (they are integers to Python); a text such as "1e-3" is left to pydantic."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    return value


def whole(value: object) -> object:
    """Refuse booleans, and read "1e3" and 1000.0 as 1000."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Mistake(f"{value!r} is no number", "give a whole number, without a unit") from None
    return number(value)


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise Mistake(f"{name!r} is named twice", "name it once")
    return names


_NAMES_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}

Real = Annotated[float, BeforeValidator(number)]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    AfterValidator(_different),
    WithJsonSchema(_NAMES_SCHEMA),
]
