"""What the ant families share: the body, its reset, its observation and its costs. Rewards are in their own files.

The model is Gymnasium's Ant v5; a seed gives the same first state as there. The side-by-side simulation returns no
contact forces, so a family drops them from the observation and the contact cost with them; its ``-contact`` variant has
both, as Gymnasium has them, and is stepped task by task.

Shapes: N tasks; qpos [N, 15]: x, y, z, quaternion, then eight joints; qvel [N, 14]; observation [N, 27], 29 with x and
y, and 78 more with contact forces (force and torque, clipped to [-1, 1], on each of 13 bodies).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mql.robots.description import Robot
from mql.robots.models.ant import ANT
from mql.tasks.distributions import Value
from mql.tasks.family import Array
from mql.tasks.stepping.rollout import MujocoFamily
from mql.tasks.stepping.state import State

EPISODE_LENGTH = 200  # control steps: 10 s
RESET_NOISE = 0.1  # m or rad, uniform, for positions; m/s or rad/s, standard deviation, for velocities
CONTACT_COST_WEIGHT = 5e-4  # per step and squared unit of clipped force: all 84 numbers at their limits cost 0.042
CONTACT_LIMIT = 1.0  # N or N m; forces beyond count as this
CONTACT_NUMBERS = 78  # three torques and three forces on each of 13 bodies


@dataclass(frozen=True, kw_only=True, eq=False)
class AntFamily(MujocoFamily):
    """A family on the ant; a subclass adds the reward.

    Args:
        sees_place: show x and y, where the task is about a place.
        zeros: numbers at the observation's end that are always 0, for the layout of older releases.
    """

    obs_dim: int = 27
    action_dim: int = 8
    episode_length: int = EPISODE_LENGTH
    control_timestep: float = ANT.control_timestep
    robot: Robot = ANT
    sees_place: bool = False
    zeros: int = 0

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose near the one with bent legs, and small velocities."""
        rest = np.array(self.robot.rest)
        qpos = rest + rng.uniform(-RESET_NOISE, RESET_NOISE, size=15)
        qvel = RESET_NOISE * rng.standard_normal(14)
        return qpos, qvel

    def observe(self, state: State) -> Array:
        """Return positions (x and y only where they matter), velocities, and contact forces where there are any."""
        seen = [state.qpos if self.sees_place else state.qpos[:, 2:], state.qvel]
        rows = len(state.qpos)
        if "cfrc_ext" in state.derived:
            seen.append(_clipped(state)[:, 1:].reshape(rows, CONTACT_NUMBERS))  # all bodies but the world
        if self.zeros:
            seen.append(np.zeros((rows, self.zeros)))
        return np.concatenate(seen, axis=1)

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the states that observations tell, with contact forces where there are any, for `reward`.

        Without x and y, the way of the torso is estimated from its velocities before and after the step.
        """
        first, second = self._seen_state(before), self._seen_state(after)
        if not self.sees_place:
            second.qpos[:, :2] = self.displacement(first.qvel[:, :2], second.qvel[:, :2])
        return first, second

    def _seen_state(self, obs: Array) -> State:
        rows, places = len(obs), 15 if self.sees_place else 13
        qpos = np.zeros((rows, 15))
        qpos[:, 15 - places :] = obs[:, :places]
        derived = {}
        if "cfrc_ext" in self.derived:
            forces = np.zeros((rows, 1 + CONTACT_NUMBERS // 6, 6))  # the world feels none
            forces[:, 1:] = obs[:, places + 14 : places + 14 + CONTACT_NUMBERS].reshape(rows, -1, 6)
            derived["cfrc_ext"] = forces
        return State(qpos, obs[:, places : places + 14], derived)

    def velocity(self, before: State, after: State) -> Array:
        """Return the torso's mean velocity along x and y during the step, [N, 2], in m/s."""
        velocity: Array = (after.qpos[:, :2] - before.qpos[:, :2]) / self.control_timestep
        return velocity

    def contact_cost(self, after: State) -> Array:
        """Return the cost of contact forces, [N]; 0 where the family does without them."""
        if "cfrc_ext" not in after.derived:
            return np.zeros(len(after.qpos))
        forces = _clipped(after).reshape(len(after.qpos), -1)
        cost: Array = CONTACT_COST_WEIGHT * (forces * forces).sum(axis=1)
        return cost

    def with_contact(self) -> Self:
        """Return the ``-contact`` variant: Gymnasium's contact forces in the observation and in the reward."""
        return self.variant(
            "contact",
            "contact forces observed and penalised; stepped task by task",
            obs_dim=self.obs_dim + CONTACT_NUMBERS,
            derived=("cfrc_ext",),
        )


def _clipped(state: State) -> Array:
    forces: Array = np.clip(state.derived["cfrc_ext"], -CONTACT_LIMIT, CONTACT_LIMIT)
    return forces
