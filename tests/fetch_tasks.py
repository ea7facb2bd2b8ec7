"""Fetch families and actions, for the tests of what they pass on and of what they change."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from mql.tasks import registry
from mql.tasks.families.robotics.fetch import wrapped
from mql.tasks.families.robotics.fetch_parallel import FetchFamily
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

STEPS = 50
Array = np.ndarray[Any, Any]


@lru_cache
def family_of(name: str) -> GymnasiumFamily:
    """Return the family of this name as it is around the package's environment."""
    return wrapped(*name.split("-")[1:])


def stepped(name: str) -> FetchFamily:
    """Return the family of this name, which is stepped as arrays."""
    family = registry.load(name)
    assert isinstance(family, FetchFamily)
    return family


def neutral(name: str, **values: object) -> dict[str, object]:
    """Return parameters of the family that leave physics, actuation and sensing as the package has them."""
    plain: dict[str, object] = {"goal": (0.1, -0.05, 0.08)[: family_of(name).parameters["goal"].width]}
    for parameter in family_of(name).parameters:
        if parameter != "goal":
            plain[parameter] = {"goal_height": 0.2, "action_delay": 0, "sensor_offset": (0, 0, 0)}.get(parameter, 1.0)
    return plain | values


def actions(seed: int = 0, steps: int = STEPS) -> Array:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (steps, 4)).astype(np.float32)
