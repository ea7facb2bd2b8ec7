"""What the half-cheetah families share: the body, its reset and its observation. Their rewards are in their own files.

The model is Gymnasium's HalfCheetah v5; a seed gives the same first state as there.

A ``-legacy`` variant has the observation of the published runs, which ends in the torso's place; nothing else differs.

Shapes: N tasks; qpos [N, 9] and qvel [N, 9]: x, z, pitch, then six joints; observation [N, 17], legacy [N, 20].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from mql.robots.description import Robot
from mql.robots.models.half_cheetah import HALF_CHEETAH, TORSO_HEIGHT
from mql.tasks.distributions import Value
from mql.tasks.family import Array
from mql.tasks.stepping.rollout import MujocoFamily
from mql.tasks.stepping.state import State

EPISODE_LENGTH = 200  # control steps: 10 s
CONTROL_COST_WEIGHT = 0.05  # per step and squared unit of action; full torque on all six joints costs 0.3
RESET_NOISE = 0.1  # m or rad, uniform, for positions; m/s or rad/s, standard deviation, for velocities
_SPEED, _PLACE = 8, 17  # of the torso along x, in an observation


@dataclass(frozen=True, kw_only=True, eq=False)
class HalfCheetahFamily(MujocoFamily):
    """A family on the half-cheetah; a subclass adds the reward.

    Args:
        sees_place: end the observation with the torso's x, y and z.
    """

    obs_dim: int = 17
    action_dim: int = 6
    episode_length: int = EPISODE_LENGTH
    control_timestep: float = HALF_CHEETAH.control_timestep
    robot: Robot = HALF_CHEETAH
    sees_place: bool = False

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose near the upright one, and small velocities."""
        qpos = rng.uniform(-RESET_NOISE, RESET_NOISE, size=9)
        qvel = RESET_NOISE * rng.standard_normal(9)
        return qpos, qvel

    def observe(self, state: State) -> Array:
        """Return all positions but x, and all velocities: [N, 17]; legacy: and the torso's place in m, [N, 20]."""
        seen = [state.qpos[:, 1:], state.qvel]
        if self.sees_place:
            x, z = state.qpos[:, 0], state.qpos[:, 1] + TORSO_HEIGHT
            seen.append(np.stack([x, np.zeros_like(x), z], axis=1))
        return np.concatenate(seen, axis=1)

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the states [N, 9] that observations tell, for `reward`.

        Rewards follow from the mean speed during the step. Where the torso's place is seen, it tells it; else it is
        estimated from the speeds before and after, right within 0.1 m/s or so (root mean square, random actions).
        """
        first, second = (np.zeros((len(obs), 9)) for obs in (before, after))
        for qpos, obs in ((first, before), (second, after)):
            qpos[:, 1:] = obs[:, :8]
        if self.sees_place:
            first[:, 0], second[:, 0] = before[:, _PLACE], after[:, _PLACE]
        else:
            second[:, 0] = self.displacement(before[:, _SPEED], after[:, _SPEED])
        return State(first, before[:, _SPEED:_PLACE]), State(second, after[:, _SPEED:_PLACE])

    def forward_speed(self, before: State, after: State) -> Array:
        """Return the mean speed along x during the step, [N], in m/s."""
        speed: Array = (after.qpos[:, 0] - before.qpos[:, 0]) / self.control_timestep
        return speed

    def as_legacy(self) -> Self:
        """Return the ``-legacy`` variant: 20 numbers are observed."""
        return self.variant("legacy", "torso position observed, too", obs_dim=self.obs_dim + 3, sees_place=True)
