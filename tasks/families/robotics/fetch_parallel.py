"""The Fetch families as functions of arrays, with the observations and rewards of the package.

Shapes: N tasks, O observation; lengths in m, and displacements of a control step (m and rad), as the package shows
velocities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import mujoco
import numpy as np

from mql.tasks.distributions import Value
from mql.tasks.families.rewards import distance
from mql.tasks.families.robotics.fetch_dynamics import STROKE, FetchDynamics
from mql.tasks.families.robotics.fetch_environment import physics_of
from mql.tasks.families.robotics.fetch_scenes import Scene, started
from mql.tasks.family import Array, Handling, Task
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.fields import Change
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.scenes.source import MjcfFile
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.state import Outcome, State

TOLERANCE = 0.05  # m; nearer is success
# Columns of an observation.
GRIPPER, OBJECT = slice(0, 3), slice(3, 6)
GOAL = ("goal", "goal_height")  # task parameters that say where it is
_SMALLEST_COSINE = 4.0 * np.finfo(np.float64).eps  # of the second angle: with less, the other two are one


@dataclass(frozen=True, kw_only=True, eq=False)
class FetchFamily(ParallelFamily):
    """One of the Fetch families.

    Args:
        scene: where it plays.
        sparse: the reward is -1 beyond the tolerance, else 0; not minus the distance.
        nuisances: what each episode draws of the model's numbers, on top of what the task changes.
    """

    scene: Scene
    sparse: bool = False
    nuisances: tuple[Nuisance, ...] = ()

    @property
    def physics(self) -> EpisodePhysics | None:
        """What tasks and episodes change in the model; None: nothing."""
        return _physics_of(self)

    @property
    def source(self) -> MjcfFile:
        """The file that the model comes from."""
        return self.scene.source

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return what a task changes in the physics: name -> its changes."""
        possible = physics_of(drives=not self.scene.shut, has_object=self.scene.has_object)
        return {name: changes for name, changes in possible.items() if name in self.parameters}

    @property
    def moves_by(self) -> tuple[str, ...]:
        """The task parameters that motion or sight depends on: all but those of the goal, which is in nobody's way."""
        return tuple(name for name in self.parameters if name not in GOAL)

    @property
    def pays_by(self) -> tuple[str, ...]:
        """The task parameters that rewards depend on: those of the goal. (Sparse ones are -1 nearly everywhere.)"""
        return tuple(name for name in self.parameters if name in GOAL)

    @property
    def handling(self) -> Handling | None:
        """Gripper and object; None without an object."""
        if not self.scene.has_object:
            return None
        closing = None if self.scene.shut else -1.0
        return Handling(hand=GRIPPER.start, thing=OBJECT.start, stroke=STROKE, closing=closing)

    def model(self, task: Task) -> mujoco.MjModel:
        """Return a model with the physics of a task."""
        physics, base = self.physics, started(self.scene).model
        return base if physics is None else physics.changes.of_copy(base, task.parameters)

    def randomised(self, nuisances: Sequence[Nuisance]) -> Self:
        """Return this family with further numbers of the model drawn anew for each episode."""
        family = replace(self, nuisances=(*self.nuisances, *nuisances))
        assert family.physics is not None  # which looks their names up
        return family

    def dynamics(self, tasks: Sequence[Task], threads: int) -> FetchDynamics:
        """Build the simulation of `tasks`."""
        return FetchDynamics(self.scene, [task.parameters for task in tasks], self.physics, threads)

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw the place of the object; the arm starts as it always does."""
        return self.scene.draw(rng), started(self.scene).qvel

    def observe(self, state: State) -> Array:
        """Return what the package shows, [N, 10] or with an object [N, 25].

        The gripper's place; with an object, its place, and that seen from the gripper; the fingers' places; with an
        object, how it is turned (three angles, rad), how it moves seen from the gripper, and how it turns; how the
        gripper moves, and the fingers.
        """
        dt = self.control_timestep
        gripper = state.derived["gripper"] + state.derived["offset"]
        velocity = state.derived["velocity"] * dt
        both = started(self.scene).fingers
        fingers, moves = state.qpos[:, both], state.qvel[:, both] * dt
        if not self.scene.has_object:
            return np.concatenate([gripper, fingers, velocity, moves], axis=1)
        place = state.derived["object"]
        rotation = state.derived["rotation"].reshape(-1, 3, 3)
        # A free joint: its first three speeds are along the world's axes, the others around the object's own.
        linear = state.qvel[:, -6:-3] * dt - velocity
        angular = (rotation @ state.qvel[:, -3:, None])[:, :, 0] * dt
        from_gripper = place - state.derived["gripper"] - state.derived["offset"]
        turned = angles(rotation)
        return np.concatenate([gripper, place, from_gripper, fingers, turned, linear, angular, velocity, moves], axis=1)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Judge how far gripper or object is from the goal."""
        moved = after.derived["object" if self.scene.has_object else "gripper"]
        away = distance(moved, self.place_of_goal(parameters))
        reward = np.where(np.isnan(away), np.nan, -(away > TOLERANCE).astype(np.float64)) if self.sparse else -away
        return Outcome(reward, at_goal=away < TOLERANCE)

    def place_of_goal(self, parameters: Mapping[str, Array]) -> Array:
        """Return where goals are, [N, 3]: where the package draws them, with the tasks' offsets."""
        start, offset = started(self.scene), parameters["goal"]
        if not self.scene.has_object:
            reached: Array = start.gripper + offset
            return reached
        place: Array = start.gripper + np.concatenate([offset, np.zeros((len(offset), 1))], axis=1)
        place += np.array([self.scene.target_ahead, 0.0, 0.0])
        place[:, 2] = start.height + np.maximum(0.0, parameters.get("goal_height", np.zeros(len(offset))))
        return place

    def seen_states(self, before: Array, after: Array) -> tuple[State, State] | None:
        """Return where gripper or object is, for `reward`; None where a sensor's hidden offset lies on it."""
        if not self.scene.has_object and "sensor_offset" in self.parameters:
            return None
        return self._seen(before), self._seen(after)

    def _seen(self, obs: Array) -> State:
        none = np.zeros((len(obs), 0))
        return State(none, none, {"object": obs[:, OBJECT]} if self.scene.has_object else {"gripper": obs[:, GRIPPER]})


def angles(rotation: Array) -> Array:
    """Return how rotations [N, 3, 3] turn, as the package writes it: [N, 3] rad.

    They are the angles of turns around x, y and z, with the signs of the inverse rotation: x and z lie in
    [-pi, pi], y in [-pi/2, pi/2]. Where y is a right angle, x is 0.
    """
    # Contiguous copies: numpy's functions may round differently on arrays of another layout.
    columns = {f"{row}{column}": rotation[:, row, column].copy() for row in range(3) for column in range(3)}
    cosine = np.sqrt(columns["22"] * columns["22"] + columns["12"] * columns["12"])
    upright = cosine > _SMALLEST_COSINE
    x = np.where(upright, -np.arctan2(columns["12"], columns["22"]), 0.0)
    y = -np.arctan2(-columns["02"], cosine)
    z = np.where(upright, -np.arctan2(columns["01"], columns["00"]), -np.arctan2(-columns["10"], columns["11"]))
    return np.stack([x, y, z], axis=1)


@lru_cache(maxsize=64)
def _physics_of(family: FetchFamily) -> EpisodePhysics | None:
    """Look up once what a family changes; what it keeps can't be pickled with the family."""
    changes, where = family.changes(), f"family {family.name}"
    if not changes and not family.nuisances:
        return None
    return EpisodePhysics(
        started(family.scene).model,
        changes,
        family.nuisances,
        control_timestep=family.control_timestep,
        where=lambda key: f"{where}: {key}",
        source=family.source,
    )
