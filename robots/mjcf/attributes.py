"""Attributes that no model should have: NaN, which MuJoCo takes for one left out, and sizes that fill the memory."""

from __future__ import annotations

import math

from mql.config.findings import shown
from mql.errors import UserError
from mql.robots.mjcf.xml_tree import Element

_WORDS = ("name", "class", "childclass", "file", "model")  # in which "nan" is a word
# What makes MuJoCo reserve memory before anything else is known, and the most that a model has use for. What is not
# in here is found where the model is tried out (mql.robots.mjcf.trial).
_MOST = {
    "nuser_": 1_000,  # numbers for each body, geom, ...
    "nuserdata": 1_000_000,
    "nkey": 10_000,
    "njmax": 1_000_000,
    "nconmax": 1_000_000,
    "nstack": 100_000_000,
    "nrow": 5_000,  # of a height field
    "ncol": 5_000,
    "width": 16_384,  # pixels of a texture
    "height": 100_000,  # six squares on top of each other make a cube
    "offwidth": 16_384,
    "offheight": 16_384,
    "actdim": 1_000,
    "dim": 100_000,  # of a user sensor
    "nsample": 100_000,
    # Of a solver: with a tolerance of 0 it makes them all, at every step.
    "iterations": 100_000,
    "ls_iterations": 100_000,
    "noslip_iterations": 100_000,
    "ccd_iterations": 100_000,
    "mpr_iterations": 100_000,
    "sdf_iterations": 100_000,
    "sdf_initpoints": 100_000,
}
_NUMERIC = 1_000_000  # size of a <numeric>
_MEMORY = 1e9  # bytes of <size memory>
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}


def check_attributes(root: Element) -> None:
    """Refuse NaN, and sizes of more than any model has use for.

    Raises:
        UserError: one line with file and line.
    """
    for element in root.walk():
        for key, value in element.attributes.items():
            words = value.lower().split()
            if key not in _WORDS and any(word.lstrip("+-") == "nan" for word in words) and _numbers(words):
                mend = "write a number, or leave the attribute out"
                raise UserError(f"{key} of <{element.tag}> is {shown(value)}", where=element.where, mend=mend)
            most = _NUMERIC if (element.tag, key) == ("numeric", "size") else _most_of(key)
            if most is not None and len(words) == 1 and _number(words[0]) > most:
                raise UserError(f"{key} is {shown(value)}", where=element.where, mend=f"at most {most:,}")
            if (element.tag, key) == ("size", "memory") and _bytes(value) > _MEMORY:
                raise UserError(f"memory is {shown(value)}", where=element.where, mend="at most 1G, or leave it out")


def _most_of(key: str) -> int | None:
    return _MOST["nuser_"] if key.startswith("nuser_") else _MOST.get(key)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:  # MuJoCo has a line for that
        return -math.inf


def _numbers(words: list[str]) -> bool:
    return all(_number(word) != -math.inf for word in words)


def _bytes(value: str) -> float:
    value = value.strip().upper()
    return _number(value[:-1]) * _UNITS[value[-1]] if value and value[-1] in _UNITS else _number(value)
