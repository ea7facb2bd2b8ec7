"""reacher-goal: a planar arm finds a hidden target and stays there.

Description: reward ``-distance - 0.1 sum(a^2)`` at each of 50 steps, with the fingertip's distance to the target in m;
an episode never ends early. The agent sees neither target nor distance: it must infer the target from rewards.
Parameters: target (m), uniform on the disc of radius 0.2 m around the shoulder; tasks outside: the ring from 0.201 to
0.21 m, which the arm reaches only when it is all but straight. ``reacher-goal-narrow``: the disc of radius 0.12 m;
outside: the ring from 0.14 to 0.2 m.
Success: the fingertip is within 0.02 m of the target in each of the last 10 steps; known at the last step.

Differences from Gymnasium's Reacher v5: target and distance are not observed but the fingertip's place is, effort costs
a tenth, and distances are those after the step.

Shapes: N tasks; qpos [N, 4]: two joint angles, target x and y; qvel [N, 4] likewise; observation [N, 8].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mql.robots.description import Robot
from mql.robots.models.reacher import FOREARM_LENGTH, REACH, REACHER, TARGET_LIMIT, UPPER_ARM_LENGTH
from mql.tasks.distributions import Disc, Value
from mql.tasks.families.rewards import control_cost, distance
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.rollout import MujocoFamily
from mql.tasks.stepping.state import Outcome, State

EPISODE_LENGTH = 50  # control steps: 1 s
TARGET_RADIUS = 0.2  # m; targets lie within, 0.01 m short of the arm's reach
CONTROL_COST_WEIGHT = 0.1  # full torque on both joints costs 0.2 a step, as much as standing 0.2 m away
GOAL_TOLERANCE = 0.02  # m; within this distance the fingertip counts as being at the target
HOLD_STEPS = 10  # the last 0.2 s
ANGLE_NOISE = 0.1  # rad, uniform
VELOCITY_NOISE = 0.005  # rad/s, uniform


@dataclass(frozen=True, kw_only=True, eq=False)
class ReacherGoal(MujocoFamily):
    """The arm with a target."""

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw an all but straight arm that all but rests; the target stands where the task says."""
        angles = rng.uniform(-ANGLE_NOISE, ANGLE_NOISE, size=2)
        speeds = rng.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, size=2)
        return np.concatenate([angles, parameters["target"]]), np.concatenate([speeds, np.zeros(2)])

    def observe(self, state: State) -> Array:
        """Return cos and sin of both angles, both speeds (rad/s), and the fingertip's x and y (m): [N, 8]."""
        # A contiguous copy: numpy's cos and sin may round differently on arrays of another layout.
        angles = np.ascontiguousarray(state.qpos[:, :2])
        return np.concatenate([np.cos(angles), np.sin(angles), state.qvel[:, :2], fingertip(state)], axis=1)

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the arm's angles and speeds; where the target stands, the task says, so it is left at 0."""
        return _seen_state(before), _seen_state(after)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Punish the fingertip's distance to the target, and effort."""
        away = distance(fingertip(after), parameters["target"])
        reward: Array = -away - control_cost(action, weight=CONTROL_COST_WEIGHT)
        return Outcome(reward, at_goal=away <= GOAL_TOLERANCE, info={"distance": away})


def fingertip(state: State) -> Array:
    """Return the fingertip's x and y, [N, 2] in m, from the joint angles."""
    shoulder = np.ascontiguousarray(state.qpos[:, 0])
    forearm = shoulder + state.qpos[:, 1]
    x = UPPER_ARM_LENGTH * np.cos(shoulder) + FOREARM_LENGTH * np.cos(forearm)
    y = UPPER_ARM_LENGTH * np.sin(shoulder) + FOREARM_LENGTH * np.sin(forearm)
    return np.stack([x, y], axis=1)


def _seen_state(obs: Array) -> State:
    still = np.zeros((len(obs), 2))
    angles = np.arctan2(obs[:, 2:4], obs[:, :2])
    return State(np.concatenate([angles, still], axis=1), np.concatenate([obs[:, 4:6], still], axis=1))


def reacher_goal() -> ReacherGoal:
    """Build reacher-goal: training targets on a disc of 0.2 m."""
    return _family("reacher-goal", Disc(TARGET_RADIUS), ood=Disc(radius=REACH, inner_radius=0.201))


def reacher_goal_narrow() -> ReacherGoal:
    """Build reacher-goal-narrow: training targets on a disc of 0.12 m, and others well outside it."""
    return _family("reacher-goal-narrow", Disc(0.12), ood=Disc(radius=TARGET_RADIUS, inner_radius=0.14))


def reacher_goal_oracle() -> ReacherGoal:
    """Build reacher-goal with the target in the observation."""
    return reacher_goal().as_oracle()


def _family(name: str, train: Disc, *, ood: Disc) -> ReacherGoal:
    robot: Robot = REACHER
    near = " near it" if train.radius < TARGET_RADIUS else ""
    return ReacherGoal(
        name=name,
        summary=f"a planar arm finds a hidden target{near} and stays there",
        obs_dim=8,
        action_dim=2,
        episode_length=EPISODE_LENGTH,
        control_timestep=robot.control_timestep,
        robot=robot,
        parameters={
            "target": Parameter(
                distribution=train,
                unit="m",
                doc="target x and y, seen from the shoulder",
                bounds=(-TARGET_LIMIT, TARGET_LIMIT),
            )
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=20, seed=2),
            "ood": Split(n=20, seed=3, override={"target": ood}),
        },
        has_success=True,
        hold_steps=HOLD_STEPS,
        success_at="end",
    )
