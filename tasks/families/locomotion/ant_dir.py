"""ant-dir and ant-dir-angles: the ant walks in a hidden direction.

Description: reward ``v . (cos angle, sin angle) - 0.5 sum(a^2) + 1`` at each of 200 steps, with the torso's velocity v
in m/s; the episode ends early when the torso's height leaves [0.2, 1.0] m. Contact forces are neither observed nor
punished, unlike in Gymnasium's Ant v5.
Parameters: angle (rad), 0 being along x. ant-dir: 0 or pi; these two are all its tasks, train and test share them.
ant-dir-angles: uniform on the circle.
Success: none is defined. For ant-dir look at the worse task: walking one way always gets about 0 for speed on average.

Variants: ``-contact`` observes Gymnasium's contact forces (105 numbers in all) and subtracts ``5e-4 sum(f^2)``, f
clipped to [-1, 1]. ``ant-dir-legacy`` is ant-dir itself: its 27 numbers are those of the published runs, where contact
forces were always 0. The reward of 1 is also given at the step that ends an episode early, where Ant v5 gives none.

Shapes: N tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mql.tasks.distributions import Angle, Choice
from mql.tasks.families.locomotion.ant import AntFamily
from mql.tasks.families.rewards import control_cost, outside, speed_along
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.state import Outcome, State

ALIVE_REWARD = 1.0  # per step; more than the 0.5 m/s that a beginner reaches, so staying up is worth more at first
CONTROL_COST_WEIGHT = 0.5  # per step and squared unit of action; full torque on all eight joints costs 4
HEIGHTS = (0.2, 1.0)  # m; a torso outside lies on its back or has been thrown up
DIRECTIONS = (0.0, math.pi)  # rad


@dataclass(frozen=True, kw_only=True, eq=False)
class AntDir(AntFamily):
    """The ant with a direction."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward speed in the wanted direction and being up, and punish effort and contact."""
        speed = speed_along(self.velocity(before, after), parameters["angle"])
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        contact = self.contact_cost(after)
        reward: Array = speed - effort - contact + ALIVE_REWARD
        return Outcome(
            reward,
            terminated=outside(after.qpos[:, 2], *HEIGHTS),
            info={"speed": speed, "control_cost": effort, "contact_cost": contact},
        )


def ant_dir(variant: str = "") -> AntDir:
    """Build ant-dir, or its variant ``oracle``, ``contact`` or ``legacy``."""
    both = Split(listed=tuple({"angle": angle} for angle in DIRECTIONS))
    family = AntDir(
        name="ant-dir",
        summary="ant walks in a hidden direction, forward or backward",
        parameters={"angle": Parameter(distribution=Choice(DIRECTIONS), unit="rad", doc="direction, 0 is along x")},
        splits={"train": both, "test": both},
        shared_splits=True,
    )
    if variant == "legacy":
        return family.variant("legacy", "equal to ant-dir: contact forces were 0 there")
    return _variant(family, variant)


def ant_dir_angles(variant: str = "") -> AntDir:
    """Build ant-dir-angles, or its variant ``oracle`` or ``contact``."""
    family = AntDir(
        name="ant-dir-angles",
        summary="ant walks in a hidden direction, any of the circle",
        parameters={"angle": Parameter(distribution=Angle(), unit="rad", doc="direction, 0 is along x")},
        splits={"train": Split(n=100, seed=1), "test": Split(n=30, seed=2)},
    )
    return _variant(family, variant)


def _variant(family: AntDir, variant: str) -> AntDir:
    return {"": family, "oracle": family.as_oracle(), "contact": family.with_contact()}[variant]
