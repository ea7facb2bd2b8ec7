"""ant-goal: the ant walks to a hidden place and stays there.

Description: reward ``-(abs(x - goal x) + abs(y - goal y)) - 0.1 sum(a^2)`` at each of 200 steps, in m; an episode
never ends early. The ant sees its own x and y. Contact forces are neither observed nor punished, unlike in Gymnasium's
Ant v5.
Parameters: goal (m), uniform on the disc of radius 3 m around the start; tasks outside: the ring from 3.05 to 4 m.
Success: none is defined. Standing still costs about 509 over an episode, on average over tasks.

Variants: ``-contact`` observes Gymnasium's contact forces (107 numbers in all) and subtracts ``5e-4 sum(f^2)``, f
clipped to [-1, 1]. ``ant-goal-legacy`` has the 113 numbers of the published runs: the 29 of ant-goal and 84 zeros,
where contact forces were always 0; its rewards are equal.

Shapes: N tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mql.tasks.distributions import Disc
from mql.tasks.families.locomotion.ant import AntFamily
from mql.tasks.families.rewards import control_cost, manhattan_distance
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.state import Outcome, State

GOAL_RADIUS = 3.0  # m; a walk of some 4 s for a good agent, of the 10 s of an episode
OUTSIDE_RING = (3.05, 4.0)  # m
CONTROL_COST_WEIGHT = 0.1  # full torque on all eight joints costs 0.8 a step, as much as standing 0.8 m away
LEGACY_ZEROS = 84  # forces and torques on 14 bodies


@dataclass(frozen=True, kw_only=True, eq=False)
class AntGoal(AntFamily):
    """The ant with a place to go to."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Punish the torso's distance to the goal, effort and contact."""
        away = manhattan_distance(after.qpos[:, :2], parameters["goal"])
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        contact = self.contact_cost(after)
        reward: Array = -away - effort - contact
        return Outcome(reward, info={"distance": away, "control_cost": effort, "contact_cost": contact})


def ant_goal(variant: str = "") -> AntGoal:
    """Build ant-goal, or its variant ``oracle``, ``contact`` or ``legacy``."""
    inner, outer = OUTSIDE_RING
    family = AntGoal(
        name="ant-goal",
        summary="ant walks to a hidden place",
        obs_dim=29,
        sees_place=True,
        parameters={"goal": Parameter(distribution=Disc(GOAL_RADIUS), unit="m", doc="goal's x and y")},
        splits={
            "train": Split(n=150, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override={"goal": Disc(radius=outer, inner_radius=inner)}),
        },
    )
    legacy = family.variant(
        "legacy", "with 84 zeros for contact forces", obs_dim=family.obs_dim + LEGACY_ZEROS, zeros=LEGACY_ZEROS
    )
    return {"": family, "oracle": family.as_oracle(), "contact": family.with_contact(), "legacy": legacy}[variant]
