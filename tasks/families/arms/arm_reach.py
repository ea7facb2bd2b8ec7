"""arm-reach: a 7-joint arm touches a visible point with the end of a tool whose length it can't see.

Description: reward ``-d - 0.2 (1 - exp(-(d / 0.03)^2))`` at each of 50 steps of 0.05 s, with the distance d (m)
between the tool's end and the target after the step; an episode never ends early. The target is drawn anew for each
episode, in a box over the table, and seen; the flange is seen, the tool's end is not.
Parameters: tool_length (m), uniform in [0.08, 0.18]; payload (kg) at the flange, loguniform in [0.1, 2]: the servos
carry it where the arm starts, and it is not reckoned with as the arm moves; damping, a factor on the joints' own,
loguniform in [1, 30]; gain, a factor on the motors' stiffness, loguniform in [0.6, 1.8]. Tasks outside: tool_length in
[0.19, 0.22] and payload in [2.1, 3].
Success: the tool's end is within 0.02 m of the target in each of the last 10 steps; known at the last step.

Shapes: N tasks; observation [N, 12]: flange (place, velocity, way to where it is asked), target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mql.tasks.distributions import LogUniform, Uniform
from mql.tasks.families.arms.arm import OBSERVED_LENGTH, ArmFamily, arm_splits, closeness, gain, tip, tool_length
from mql.tasks.families.rewards import distance
from mql.tasks.family import Array
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import SMALLEST_SCALE, Change, change
from mql.tasks.stepping.state import Outcome, State

GOAL_TOLERANCE = 0.02  # m
TARGETS = np.array([[0.40, -0.20, 0.05], [0.60, 0.20, 0.22]])  # m; corners of the box in which targets lie
START = (0.5, 0.0, 0.28)  # m; over the middle of that box
HEAVIEST = 5.0  # kg; the shoulder's motor holds no more at arm's length
_TARGET = ("target_x", "target_y", "target_z")


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmReach(ArmFamily):
    """The arm with a point to touch."""

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return the payload's mass and the arm's damping, too."""
        return {
            **super().changes(),
            "payload": (change("set", "body_mass", body="payload"),),
            "damping": (change("scale", "dof_damping", joint="*"),),
        }

    def place(self, rng: np.random.Generator) -> Mapping[str, float]:
        """Draw the target."""
        return dict(zip(_TARGET, rng.uniform(*TARGETS), strict=True))

    def observe(self, state: State) -> Array:
        """Return the flange, and the target (dm, from where the flange starts): [N, 12]."""
        target = (self.joints(state.qpos, *_TARGET) - np.array(self.start)) / OBSERVED_LENGTH
        return np.concatenate([self.observe_flange(state), target], axis=1)

    def seen_joints(self, obs: Array) -> Mapping[str, Array]:
        """Return the target."""
        return self.seen_places(obs, *_TARGET, first=9)

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward being close to the target, most of all in the last centimetres."""
        away = distance(tip(after, parameters["tool_length"]), self.joints(after.qpos, *_TARGET))
        return Outcome(closeness(away), at_goal=away <= GOAL_TOLERANCE, info={"distance": away})


def arm_reach(variant: str = "") -> ArmReach:
    """Build arm-reach, or its variant ``oracle``."""
    family = ArmReach(
        name="arm-reach",
        summary="a 7-joint arm touches a visible point with a tool of hidden length",
        obs_dim=12,
        scene="reach",
        start=START,
        parameters={
            "tool_length": tool_length(0.08, 0.18),
            "payload": Parameter(
                distribution=LogUniform(0.1, 2.0),
                unit="kg",
                doc="mass at the flange that is not reckoned with as the arm moves",
                bounds=(SMALLEST_SCALE, HEAVIEST),
            ),
            "damping": Parameter(
                distribution=LogUniform(1.0, 30.0),
                unit="1",
                doc="factor on the damping of all joints",
                bounds=(0.0, math.inf),
            ),
            "gain": gain(),
        },
        splits=arm_splits({"tool_length": Uniform(0.19, 0.22), "payload": LogUniform(2.1, 3.0)}),
    )
    return {"": family, "oracle": family.as_oracle()}[variant]
