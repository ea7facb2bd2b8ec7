"""What the sections of a configuration are made of: numbers with their limits, and a frozen frame."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

MOST = 10**12  # no count or size may be larger: a slip of the keyboard, not a plan


def whole_number(value: object) -> object:
    """Refuse booleans (they are integers to Python) and read "1e6", which YAML 1.1 calls a string, as 1000000."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    if isinstance(value, str) and any(mark in value for mark in ".eE"):
        number = float(value)
        if not number.is_integer():
            raise ValueError("not a whole number")
        return int(number)
    return value


def _real_number(value: object) -> object:
    """Refuse booleans; a string such as "1e-3" is left to pydantic, which reads it as a number."""
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    return value


# What no plan goes beyond, and no processor: what fits, but not into this machine's memory, is for
# `mql.api.possible` to say, once the family is known.
MOST_UPDATES = 10**6  # of one adaptation
MOST_EPISODES = 10**5  # of one task
MOST_LAYERS = 100
WIDEST = 10**5  # numbers of a vector
LARGEST, SMALLEST = 1e12, 1e-12  # of factors: a float32 tells no smaller change, and squares of larger ones overflow it

Whole = Annotated[int, BeforeValidator(whole_number), Field(ge=0, le=MOST)]
Count = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=MOST)]
Real = Annotated[float, BeforeValidator(_real_number)]
Positive = Annotated[float, BeforeValidator(_real_number), Field(gt=0)]
NotNegative = Annotated[float, BeforeValidator(_real_number), Field(ge=0)]
Updates = Annotated[int, BeforeValidator(whole_number), Field(ge=0, le=MOST_UPDATES)]
Episodes = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=MOST_EPISODES)]
Width = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=WIDEST)]
Rows = Annotated[int, BeforeValidator(whole_number), Field(ge=1, le=10**7)]  # of a batch
Factor = Annotated[float, BeforeValidator(_real_number), Field(ge=SMALLEST, le=LARGEST)]
Weight = Annotated[float, BeforeValidator(_real_number), Field(ge=0, le=LARGEST)]  # 0: off
Value = Annotated[float, BeforeValidator(_real_number), Field(ge=-LARGEST, le=LARGEST)]
StepSize = Annotated[float, BeforeValidator(_real_number), Field(ge=SMALLEST, le=1)]  # of Adam, or of what is like it
# A step size or scale of any size that float32 holds: what it does is found out, and told, as it diverges.
AnySize = Annotated[float, BeforeValidator(_real_number), Field(ge=SMALLEST, le=1e30)]
Delay = Annotated[float, BeforeValidator(_real_number), Field(ge=0, le=1000)]  # s
Noise = Annotated[float, BeforeValidator(_real_number), Field(ge=0, le=100)]  # on actions, which are in [-1, 1]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# What shows: no control character, no half of one, nothing that turns the direction of writing (`mql.plain_text`).
_SHOWS = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
LABEL = rf"^{_SHOWS}{{1,64}}$"
Label = Annotated[str, Field(pattern=LABEL)]  # what a person calls something: one line of text
ADDRESS = r"^(auto|[A-Za-z0-9._-]{1,253}:[0-9]{1,5})$"  # of a Ray cluster
PATH = rf"^{_SHOWS}{{1,4096}}$"
FilePath = Annotated[str, Field(pattern=PATH)]
Files = Annotated[tuple[FilePath, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
Fraction = Annotated[float, BeforeValidator(_real_number), Field(ge=0, le=1)]


class Section(BaseModel):
    """What all parts of a configuration share: frozen, typed, no unknown keys, no nan and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def disagreement(what: str, mend: str, *keys: str) -> PydanticCustomError:
    """Return the error of values that are fine alone but not together: dotted `keys`, the one to change first."""
    return PydanticCustomError("conflict", "{what}: {mend}", {"keys": list(keys), "what": what, "mend": mend})
