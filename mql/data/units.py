"""The units that a log may be kept in, and the factor that leads from each to the SI unit."""

from __future__ import annotations

import math

from mql.errors import UserError, nearest

# A unit's name -> what one of it is in SI units (radians, metres, seconds, kilograms, newtons, newton metres).
PLAIN = {
    "1": 1.0,
    "%": 0.01,
    "rad": 1.0,
    "mrad": 1e-3,
    "deg": math.pi / 180,
    "rev": 2 * math.pi,
    "m": 1.0,
    "dm": 0.1,
    "cm": 1e-2,
    "mm": 1e-3,
    "um": 1e-6,
    "in": 0.0254,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
    "kg": 1.0,
    "g": 1e-3,
    "N": 1.0,
    "mN": 1e-3,
    "kN": 1e3,
    "Nm": 1.0,
    "mNm": 1e-3,
    "Ncm": 1e-2,
    "A": 1.0,
    "mA": 1e-3,
    "V": 1.0,
    "mV": 1e-3,
    "W": 1.0,
    "Hz": 1.0,
    "rpm": 2 * math.pi / 60,
}
TIMES = ("s", "ms", "us", "ns", "min", "h")


def factor(unit: str) -> float:
    """Return what one `unit` is in SI units: a name, or two with a slash and a power, such as ``deg/s`` or ``mm/s^2``.

    Raises:
        ValueError: there is no such unit; the text says which ones are near.
    """
    above, slash, below = unit.replace(" ", "").partition("/")
    if not slash:
        return _power(above)
    return _power(above) / _power(below)


def _power(text: str) -> float:
    name, _, power = text.replace("**", "^").partition("^")
    if not power and len(name) > 1 and name[-1] in "23" and name[:-1] in PLAIN:
        name, power = name[:-1], name[-1]
    if name not in PLAIN or power not in ("", "1", "2", "3"):
        raise ValueError(f"there is no unit {text!r}; {nearest(name, PLAIN)}")
    return float(PLAIN[name] ** int(power or 1))


def unit_factor(unit: str, *, where: str) -> float:
    """Return `factor`. Raises UserError, which names the place, where there is no such unit."""
    try:
        return factor(unit)
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        raise UserError(what, where=where, mend=mend) from None
