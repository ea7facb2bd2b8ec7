"""What every way of commanding a robot has in common: it sees where the robot is, and turns an action into controls.

A `Controller` is looked up once and never changes. What it remembers, such as the places that were asked for, belongs
to an episode, which starts anew at each reset: `Controller.begin` for tasks in parallel, `Controller.drive` for one
simulation.

Shapes: N tasks, Q positions, V velocities, U actuators, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import mujoco

from mql.tasks.control.actuators import Holding
from mql.tasks.family import Array, BoolArray


class Episode(Protocol):
    """What a controller remembers of an episode of N tasks."""

    def see(self, qpos: Array, qvel: Array) -> Mapping[str, Array]:
        """Look at qpos [N, Q], qvel [N, V], at the start and after each step; return what is known: name -> [N, ...].

        The arrays are read until the next look, not copied.
        """
        ...

    def controls(self, action: Array) -> Array:
        """Return the controls [N, U] for an action [N, A] where the robots were last seen: valid until the next."""
        ...

    @property
    def limited(self) -> Mapping[str, BoolArray]:
        """Which stated limits cut the last action: ``limited_velocity``, ``limited_workspace`` -> [N]."""
        ...


class Controller(Protocol):
    """What an action does."""

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        ...

    @property
    def stays(self) -> bool:
        """Whether no action, 0 in all its numbers, asks a robot to stay where an episode starts."""
        ...

    @property
    def holding(self) -> Holding:
        """What holds all that no action moves."""
        ...

    def begin(self, qpos: Array, resting: Array) -> Episode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        ...

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> Drive:
        """Command one simulation."""
        ...


class Drive(Protocol):
    """Commands one simulation."""

    def start(self) -> None:
        """Start an episode from the pose that the simulation has."""
        ...

    def act(self, action: Array) -> None:
        """Write the controls for an action [A]."""
        ...

    @property
    def limited(self) -> Mapping[str, bool]:
        """Which stated limits cut the last action."""
        ...


class EpisodeDrive:
    """Commands one simulation by a controller's episodes of one task.

    Args:
        controller: any but one that needs more than controls.
        model: the simulation's model.
        data: its data.
    """

    def __init__(self, controller: Controller, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._controller, self._model, self._data = controller, model, data
        # Views: each access to an attribute of MjData makes a new one.
        self._qpos, self._qvel, self._controls = data.qpos[None], data.qvel[None], data.ctrl
        self._episode: Episode | None = None

    def start(self) -> None:
        """Start an episode from the pose that the simulation has."""
        resting = self._controller.holding.controls(self._model, self._data)
        self._controls[:] = resting
        self._controller.holding.settle(self._data.act, resting)
        self._episode = self._controller.begin(self._qpos, resting[None])

    def act(self, action: Array) -> None:
        """Write the controls for an action [A]."""
        assert self._episode is not None
        self._episode.see(self._qpos, self._qvel)
        self._controls[:] = self._episode.controls(action[None])[0]

    @property
    def limited(self) -> Mapping[str, bool]:
        """Which stated limits cut the last action."""
        return {} if self._episode is None else {name: bool(cut[0]) for name, cut in self._episode.limited.items()}
