"""How numbers and intervals are written, on the page and in a paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mql.evaluation.statistics import Estimate
from mql.plain_text import counted

MINUS, DASH, TIMES = "\u2212", "\u2013", "\u00d7"


def number(value: float | None) -> str:
    """Return about three or four digits of a number; a dash for none."""
    if value is None:
        return DASH
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-3:
        text = f"{value:.{3 if size > 1 else 2}g}"
    elif size == 0.0:
        text = "0"
    elif size >= 1000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{0 if size >= 500 else 1 if size >= 10 else 2 if size >= 1 else 3}f}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """Return a number with its sign."""
    return number(value) if value <= 0 else f"+{number(value)}"


def share(value: float | None) -> str:
    """Return a share in [0, 1] as percent."""
    return DASH if value is None else f"{100 * value:.0f} %"


def interval(estimate: Estimate, *, form: Any = number) -> str:
    """Return a figure with its interval, or without where the values are too few for one."""
    text = form(estimate["value"])
    if estimate["ci95"] is None:
        return str(text)
    low, high = estimate["ci95"]
    return f"{text} [{form(low)}, {form(high)}]"


def values_of(estimate: Estimate) -> str:
    """Say how many values a figure is of."""
    return f"{counted(estimate['runs'], 'run')} {TIMES} {counted(estimate['tasks'], 'task')}".replace(" ", "\u00a0")


def size_of(runs: int, tasks: int) -> str:
    """Say briefly how many values a figure is of: runs times tasks."""
    return f"n = {runs}\u00a0{TIMES}\u00a0{tasks}"


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def listed(names: Sequence[str], at_most: int = 4) -> str:
    """Return names as a list in a sentence, the first ones of many."""
    shown = list(names[:at_most]) + ([f"{len(names) - at_most} more"] if len(names) > at_most else [])
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + f" and {shown[-1]}" if shown else ""


def values_text(parameters: Mapping[str, Any]) -> str:
    """Return a task's parameters in one line."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in parameters.items())


def value_text(value: Any) -> str:
    """Return a parameter's value."""
    if isinstance(value, list | tuple):
        return "(" + ", ".join(map(value_text, value)) + ")"
    return f"{value:.3g}".replace("-", MINUS) if isinstance(value, float) else str(value)
