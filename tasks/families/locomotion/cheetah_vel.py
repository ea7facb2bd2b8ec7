"""cheetah-vel: the half-cheetah runs at a hidden speed.

Description: reward ``-abs(dx/dt - velocity) - 0.05 sum(a^2)`` at each of 200 steps; an episode never ends early.
Parameters: velocity (m/s), uniform in [0, 3]; tasks outside: uniform in [3.05, 4]. ``cheetah-vel-narrow``: uniform in
[0, 2.5]; outside: [2.5, 3].
Success: none is defined; returns are compared.

Variant: ``cheetah-vel-legacy`` also observes the torso's place, 20 numbers in all, as the published runs did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mql.tasks.distributions import Uniform
from mql.tasks.families.locomotion.half_cheetah import CONTROL_COST_WEIGHT, HalfCheetahFamily
from mql.tasks.families.rewards import control_cost
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.state import Outcome, State

# m/s; far beyond what the body can reach (about 15), but still a sensible number to be judged by.
SPEED_BOUNDS = (-100.0, 100.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CheetahVel(HalfCheetahFamily):
    """The half-cheetah with a target speed."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Punish the distance between the speed and the target speed, and effort."""
        speed = self.forward_speed(before, after)
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        reward: Array = -np.abs(speed - parameters["velocity"]) - effort
        return Outcome(reward, info={"x_velocity": speed, "control_cost": effort})


def cheetah_vel() -> CheetahVel:
    """Build cheetah-vel: training speeds uniform in [0, 3] m/s."""
    return _family("cheetah-vel", Uniform(0.0, 3.0), ood=Uniform(3.05, 4.0))


def cheetah_vel_narrow() -> CheetahVel:
    """Build cheetah-vel-narrow: training speeds uniform in [0, 2.5] m/s."""
    return _family("cheetah-vel-narrow", Uniform(0.0, 2.5), ood=Uniform(2.5, 3.0))


def cheetah_vel_legacy() -> CheetahVel:
    """Build cheetah-vel with the 20 observed numbers of the published runs."""
    return cheetah_vel().as_legacy()


def cheetah_vel_oracle() -> CheetahVel:
    """Build cheetah-vel with the target speed in the observation."""
    return cheetah_vel().as_oracle()


def cheetah_vel_narrow_oracle() -> CheetahVel:
    """Build cheetah-vel-narrow with the target speed in the observation."""
    return cheetah_vel_narrow().as_oracle()


def _family(name: str, train: Uniform, *, ood: Uniform) -> CheetahVel:
    return CheetahVel(
        name=name,
        summary=f"half-cheetah runs at a hidden speed of {train.low:g} to {train.high:g} m/s",
        parameters={
            "velocity": Parameter(distribution=train, unit="m/s", doc="target forward speed", bounds=SPEED_BOUNDS)
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override={"velocity": ood}),
        },
    )
