"""arm-push: a 7-joint arm pushes a puck of hidden mass and friction to a visible place.

Description: reward ``-p - 0.2 (1 - exp(-(p / 0.05)^2)) - r / 2`` at each of 50 steps of 0.05 s, with the distance p (m)
between the puck and the goal, and the distance r (m) of the tool's end from the puck's rim; an episode never ends
early. Puck and goal are drawn anew for each episode and seen; the tool's end is not.
Parameters: mass (kg) of the puck, loguniform in [0.2, 2]; friction, the table's coefficient under the puck, uniform in
[0.1, 0.6]; tool_length (m), uniform in [0.1, 0.16]: a short one starts above the puck; gain, a factor on the motors'
stiffness, loguniform in [0.6, 1.8]. Tasks outside: mass in [2.1, 3] and friction in [0.65, 0.8].
Success: the puck is within 0.04 m, its own radius, of the goal in each of the last 10 steps; known at the last step.

The puck does not turn, and the table's friction acts along x and along y apart: a puck that is pushed askew meets up to
1.4 times the friction of one that is pushed along an axis.

Shapes: N tasks; observation [N, 15]: flange (place, velocity, way to where it is asked), puck place and velocity, goal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import gymnasium
import numpy as np

from mql.tasks.distributions import LogUniform, Uniform, Value
from mql.tasks.families.arms.arm import OBSERVED_LENGTH, ArmFamily, arm_splits, closeness, gain, tip, tool_length
from mql.tasks.families.rewards import distance
from mql.tasks.family import Array, FloatArray
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import SMALLEST_SCALE, Change, change
from mql.tasks.stepping.state import Outcome, State

GOAL_TOLERANCE = 0.04  # m
CLOSENESS = 0.05  # m
GRAVITY = 9.81  # m/s2
PUCK_RADIUS, PUCK_HEIGHT = 0.04, 0.05  # m
PUCKS = np.array([[0.43, -0.06], [0.48, 0.06]])  # m; corners of where pucks start
GOALS = np.array([[0.54, -0.10], [0.62, 0.10]])  # m; corners of where goals lie
START = (0.36, 0.0, 0.18)  # m
REACHING_WEIGHT = 0.5  # on the way to the puck; less than moving the puck earns
PROBE_DESCENT = 10  # steps down, until any tool stands at the puck's height
_PUCK, _GOAL = ("puck_x", "puck_y"), ("goal_x", "goal_y")


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmPush(ArmFamily):
    """The arm with a puck."""

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return the puck's mass and the friction of both its slides, too."""
        return {
            **super().changes(),
            "mass": (change("set", "body_mass", body="puck"),),
            "force": (change("set", "dof_frictionloss", joint=_PUCK),),
        }

    def changed_to(self, parameters: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the values of these changes: the table holds the puck with a part of its weight."""
        force = cast(float, parameters["friction"]) * cast(float, parameters["mass"]) * GRAVITY
        return {**super().changed_to(parameters), "force": force}

    def place(self, rng: np.random.Generator) -> Mapping[str, float]:
        """Draw puck and goal."""
        return dict(zip(_PUCK + _GOAL, [*rng.uniform(*PUCKS), *rng.uniform(*GOALS)], strict=True))

    def observe(self, state: State) -> Array:
        """Return flange, puck and goal (dm from the flange's start, dm/s): [N, 15]."""
        origin = np.array(self.start[:2])
        puck, goal = (self.joints(state.qpos, *names) - origin for names in (_PUCK, _GOAL))
        objects = np.concatenate([puck, self.joints(state.qvel, *_PUCK), goal], axis=1) / OBSERVED_LENGTH
        return np.concatenate([self.observe_flange(state), objects], axis=1)

    def seen_joints(self, obs: Array) -> Mapping[str, Array]:
        """Return puck and goal."""
        return self.seen_places(obs, *_PUCK, first=9) | self.seen_places(obs, *_GOAL, first=13)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward a puck near the goal, and a tool near the puck."""
        puck = self.joints(after.qpos, *_PUCK)
        end = tip(after, parameters["tool_length"])
        above = np.maximum(end[:, 2] - PUCK_HEIGHT / 2.0, 0.0)
        beside = np.maximum(distance(end[:, :2], puck) - PUCK_RADIUS, 0.0)
        away = distance(puck, self.joints(after.qpos, *_GOAL))
        reward: Array = closeness(away, width=CLOSENESS) - REACHING_WEIGHT * np.sqrt(above * above + beside * beside)
        return Outcome(reward, at_goal=away <= GOAL_TOLERANCE, info={"distance": away})


def probe(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Go down before the puck and aside to its side of the table, then push it ahead."""
    to_puck = obs[9:11] - obs[:2]
    if t < PROBE_DESCENT:
        return np.array([0.0, np.clip(4.0 * to_puck[1], -1.0, 1.0), -0.6], np.float32)
    return np.array([0.8, np.clip(4.0 * to_puck[1], -1.0, 1.0), 0.0], np.float32)


def arm_push(variant: str = "") -> ArmPush:
    """Build arm-push, or its variant ``oracle``."""
    family = ArmPush(
        name="arm-push",
        summary="a 7-joint arm pushes a puck of hidden mass and friction to a visible place",
        obs_dim=15,
        scene="push",
        start=START,
        probe=probe,
        parameters={
            "mass": Parameter(
                distribution=LogUniform(0.2, 2.0), unit="kg", doc="of the puck", bounds=(SMALLEST_SCALE, 20.0)
            ),
            "friction": Parameter(
                distribution=Uniform(0.1, 0.6), unit="1", doc="coefficient of the table", bounds=(0.0, 2.0)
            ),
            "tool_length": tool_length(0.10, 0.16),
            "gain": gain(),
        },
        splits=arm_splits({"mass": LogUniform(2.1, 3.0), "friction": Uniform(0.65, 0.8)}),
    )
    return {"": family, "oracle": family.as_oracle()}[variant]
