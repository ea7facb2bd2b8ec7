"""What disturbs an agent's senses and its actuators, as plain numbers with units.

Each number may also be ``task.NAME``: the value of that task parameter, so another one in each task.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

TASK = "task."  # what a number begins with that is the value of a task parameter
ROBOT = "robot:"  # what `Sensed.keys` begin with that stand in the robot's spec
Number: TypeAlias = float | str
Numbers: TypeAlias = Number | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Sensing:
    """How numbers of an observation are seen. The defaults leave them as they are.

    Args:
        noise: standard deviation of white Gaussian noise, in the unit of what is observed; each number and each step
            has its own.
        bias: largest constant error, in the same unit: each number's is drawn once per episode, uniform within
            +- bias.
        delay_s: age of what is seen, s: whole control steps, the nearest number of them. Until then the first
            observation is seen.
        history: how many observations are seen: the newest one, and those of the steps before.
    """

    noise: Number = 0.0
    bias: Number = 0.0
    delay_s: Number = 0.0
    history: int = 1

    @property
    def off(self) -> bool:
        """Whether nothing is changed."""
        return self == Sensing()


@dataclass(frozen=True, kw_only=True)
class Sensed:
    """How some numbers of an observation are seen.

    Args:
        key: what messages call them.
        columns: their places in the observation.
        sensing: how they are seen.
        per: of each, how much of its unit is observed as 1 (one number for all): the unit is that of `sensing`.
        keys: setting of `sensing` -> what messages call it instead of ``<key>.<setting>``.
    """

    key: str
    columns: tuple[int, ...]
    sensing: Sensing
    per: float | tuple[float, ...] = 1.0
    keys: Mapping[str, str] | None = None

    def where(self, setting: str) -> str:
        """Return the dotted key of a setting."""
        return (self.keys or {}).get(setting, f"{self.key}.{setting}")


@dataclass(frozen=True, kw_only=True)
class Actuation:
    """What becomes of actions, in this order. The defaults leave them as they are.

    Args:
        delay_s: how long an action is on its way, s: whole control steps, the nearest number of them. Until the first
            one arrives, the action is 0.
        gain: factor of an action, for each of its numbers or one for all; the product is clipped to [-1, 1].
        rate_limit: largest change of an action per second, for each of its numbers or one for all; an episode begins at
            the action 0. None: no limit.
    """

    delay_s: Number = 0.0
    gain: Numbers = 1.0
    rate_limit: Numbers | None = None

    @property
    def off(self) -> bool:
        """Whether nothing is changed."""
        gains = self.gain if isinstance(self.gain, tuple) else (self.gain,)
        return self.delay_s == 0.0 and all(gain == 1.0 for gain in gains) and self.rate_limit is None


def parameter_of(number: object) -> str | None:
    """Return the name of the task parameter whose value a number is, or None: it is a number itself."""
    return number.removeprefix(TASK) if isinstance(number, str) else None


def parameters_of(settings: Sensing | Actuation) -> dict[str, str]:
    """Return which settings are values of task parameters: setting -> parameter."""
    found = {field.name: parameter_of(getattr(settings, field.name)) for field in fields(settings)}
    return {setting: name for setting, name in found.items() if name is not None}


def disturbance_lines(sensed: Sequence[Sensed], actuation: Actuation) -> Iterator[str]:
    """Yield what is sensed and moved otherwise than it is, in a line of text each: for `mql tasks show`."""
    for each in sensed:
        number = len(each.columns)
        settings = [
            f"{field.name} {_text(value)}{' (stated by the robot)' if each.where(field.name).startswith(ROBOT) else ''}"
            for field in fields(each.sensing)
            if (value := getattr(each.sensing, field.name)) != field.default
        ]
        yield f"{each.key.replace('.', ' ')} ({number} number{'s' if number > 1 else ''}): {', '.join(settings)}"
    changed = [(field.name, getattr(actuation, field.name)) for field in fields(actuation)]
    settings = [f"{name} {_text(value)}" for name, value in changed if value != getattr(Actuation(), name)]
    if settings:
        yield f"actuation: {', '.join(settings)}"


def _text(value: Numbers) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_text(each) for each in value)}]"
    return value if isinstance(value, str) else f"{value:g}"
