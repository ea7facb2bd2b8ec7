"""humanoid-dir: the humanoid runs in a hidden direction.

Description: reward ``1.25 v . (cos angle, sin angle) - 0.1 sum(u^2) + 5`` at each of 200 steps of 0.015 s, with v the
velocity of the whole body's centre of mass in m/s and u = 0.4 a the control signal; the episode ends early when the
torso's height leaves [1.0, 2.0] m. Inertias, contact and motor forces are not observed and contact is not punished,
unlike in Gymnasium's Humanoid v5.
Parameters: angle (rad), 0 being along x, uniform on the circle.
Success: none is defined; returns are compared.

Variants: ``-contact`` observes all 348 numbers of Humanoid v5 and subtracts ``min(5e-7 sum(f^2), 10)`` with f the
forces and torques of contact on all bodies. ``humanoid-dir-legacy`` has the 376 numbers of the published runs:
positions, velocities, each body's inertia and velocity (the world's too), motor forces, and 84 zeros for contact
forces; its rewards are equal to humanoid-dir's. The reward of 5 is also given at the step that ends an episode early,
where Humanoid v5 gives none.

Shapes: N tasks; qpos [N, 24]: x, y, z, quaternion, then 17 joints; qvel [N, 23]; observation [N, 45].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mql.robots.description import Robot
from mql.robots.models.humanoid import HUMANOID
from mql.tasks.distributions import Angle, Value
from mql.tasks.families.rewards import control_cost, outside, speed_along
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.physics.centre_of_mass import centre_of_mass
from mql.tasks.stepping.rollout import MujocoFamily
from mql.tasks.stepping.state import Outcome, State

EPISODE_LENGTH = 200  # control steps: 3 s
RESET_NOISE = 0.01  # m or rad for positions, m/s or rad/s for velocities; uniform
SPEED_WEIGHT = 1.25  # per m/s
ALIVE_REWARD = 5.0  # per step, as much as running at 4 m/s: staying up is worth more at first
CONTROL_LIMIT = 0.4  # control signal of an action of 1
CONTROL_COST_WEIGHT = 0.1  # per step and squared unit of control; full torque on all joints costs 0.27
CONTACT_COST_WEIGHT = 5e-7  # per step and squared N or N m
CONTACT_COST_LIMIT = 10.0  # per step; twice what being up is worth
HEIGHTS = (1.0, 2.0)  # m; the torso is at 1.4 m when upright, and below 1 m it has fallen

# What Gymnasium shows besides positions and velocities; the published runs saw zeros for the last.
SHOWN = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
CONTACT_OBS_DIM = 348
CONTACT_NUMBERS = 78  # three torques and three forces on each of 13 bodies, at the observation's end
LEGACY_OBS_DIM = 376
LEGACY_ZEROS = 84  # forces and torques of contact on 14 bodies


@dataclass(frozen=True, kw_only=True, eq=False)
class HumanoidDir(MujocoFamily):
    """The humanoid with a direction.

    Args:
        world_too: show inertias, velocities and forces also for the world and the root, where they are always 0.
        zeros: numbers at the observation's end that are always 0, for the layout of older releases.
    """

    obs_dim: int = 45
    action_dim: int = 17
    episode_length: int = EPISODE_LENGTH
    control_timestep: float = HUMANOID.control_timestep
    robot: Robot = HUMANOID
    derived: tuple[str, ...] = ("subtree_com",)
    world_too: bool = False
    zeros: int = 0

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose next to the upright one, all but at rest."""
        qpos = np.array(self.robot.rest) + rng.uniform(-RESET_NOISE, RESET_NOISE, size=24)
        qvel = rng.uniform(-RESET_NOISE, RESET_NOISE, size=23)
        return qpos, qvel

    def observe(self, state: State) -> Array:
        """Return all positions but x and y, all velocities, and what a variant adds."""
        rows = len(state.qpos)
        seen = [state.qpos[:, 2:], state.qvel]
        for name in SHOWN:
            if name in state.derived:
                # The first entry is the world's; of the motor forces, the first six are the free root's.
                first = 0 if self.world_too else 6 if name == "qfrc_actuator" else 1
                seen.append(state.derived[name][:, first:].reshape(rows, -1))
        if self.zeros:
            seen.append(np.zeros((rows, self.zeros)))
        return np.concatenate(seen, axis=1)

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the states that observations tell, for `reward`, seen from where the torso was before the step.

        The torso's way is estimated from its velocities before and after; where the body's centre of mass lies as
        seen from the torso, its pose tells.
        """
        first, second = self._seen_state(before), self._seen_state(after)
        second.qpos[:, :2] = self.displacement(first.qvel[:, :2], second.qvel[:, :2])
        poses = np.concatenate([first.qpos, second.qpos])
        centres = np.split(centre_of_mass(self.base(), poses), 2)
        for state, centre in zip((first, second), centres, strict=True):
            state.derived["subtree_com"][:, 0] = centre
        return first, second

    def _seen_state(self, obs: Array) -> State:
        rows = len(obs)
        derived = {"subtree_com": np.zeros((rows, 1, 3))}  # of all bodies
        if "cfrc_ext" in self.derived:
            derived["cfrc_ext"] = obs[:, -CONTACT_NUMBERS:]  # of all bodies but the world, which feels none
        return State(np.concatenate([np.zeros((rows, 2)), obs[:, :22]], axis=1), obs[:, 22:45], derived)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward speed in the wanted direction and being up, and punish effort and contact."""
        start, end = (state.derived["subtree_com"][:, 0, :2] for state in (before, after))
        speed = speed_along((end - start) / self.control_timestep, parameters["angle"])
        effort = control_cost(CONTROL_LIMIT * action, weight=CONTROL_COST_WEIGHT)
        contact = _contact_cost(after)
        reward: Array = SPEED_WEIGHT * speed - effort - contact + ALIVE_REWARD
        return Outcome(
            reward,
            terminated=outside(after.qpos[:, 2], *HEIGHTS),
            info={"speed": speed, "control_cost": effort, "contact_cost": contact},
        )


def _contact_cost(after: State) -> Array:
    rows = len(after.qpos)
    if "cfrc_ext" not in after.derived:
        return np.zeros(rows)
    forces = after.derived["cfrc_ext"].reshape(rows, -1)
    cost: Array = np.minimum(CONTACT_COST_WEIGHT * (forces * forces).sum(axis=1), CONTACT_COST_LIMIT)
    return cost


def humanoid_dir(variant: str = "") -> HumanoidDir:
    """Build humanoid-dir, or its variant ``oracle``, ``contact`` or ``legacy``."""
    family = HumanoidDir(
        name="humanoid-dir",
        summary="humanoid runs in a hidden direction",
        parameters={"angle": Parameter(distribution=Angle(), unit="rad", doc="direction, 0 is along x")},
        splits={"train": Split(n=100, seed=1), "test": Split(n=30, seed=2)},
    )
    contact = family.variant(
        "contact",
        "contact forces observed and penalised; stepped task by task",
        obs_dim=CONTACT_OBS_DIM,
        derived=("subtree_com", *SHOWN),
    )
    legacy = family.variant(
        "legacy",
        "inertias and forces observed, 84 zeros for contact forces",
        obs_dim=LEGACY_OBS_DIM,
        derived=("subtree_com", *SHOWN[:-1]),
        world_too=True,
        zeros=LEGACY_ZEROS,
    )
    return {"": family, "oracle": family.as_oracle(), "contact": contact, "legacy": legacy}[variant]
