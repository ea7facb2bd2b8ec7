"""The MuJoCo simulation inside an environment, for those who draw it or show it in a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import gymnasium
import mujoco

from mql.robots.description import View


@dataclass(frozen=True)
class Simulation:
    """One task's simulation as it is now. Whoever looks at it changes neither.

    Args:
        model: the task's own.
        data: its whole state; places of bodies may be those of a moment ago, until ``mj_forward``.
        view: from where it is looked at; None: nobody says.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    view: View | None = None


@runtime_checkable
class Simulating(Protocol):
    """Laws of motion that are MuJoCo's."""

    def simulation(self, row: int) -> Simulation:
        """Return one task's simulation."""
        ...


def simulation_of(env: gymnasium.Env[Any, Any]) -> Simulation | None:
    """Return the simulation of an environment that a family made; None where it is not one of MuJoCo."""
    while isinstance(env, gymnasium.Wrapper):
        env = env.env
    own: Callable[[], Simulation | None] | None = getattr(env, "simulation", None)
    if own is not None:
        return own()
    simulated = getattr(env, "inner", env).unwrapped
    model, data = getattr(simulated, "model", None), getattr(simulated, "data", None)
    if not (isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)):
        return None
    return Simulation(model, data, getattr(simulated, "view", None))
