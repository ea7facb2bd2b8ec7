"""cheetah-faults: the half-cheetah runs as fast as it can with a joint that fails and a load that it can't see.

Description: reward ``dx/dt - 0.1 sum(a^2)`` at each of 200 steps, as in Gymnasium's HalfCheetah v5; an episode never
ends early.
Parameters: faulty_joint, one of the six by its number; strength, the part of that joint's torque that is left, uniform
in [0, 1]; locked, 1 where that joint also sticks at its rest angle (a stiff spring, bent by less than 0.05 rad when
running); torso_mass, a factor on the torso's mass and inertia, uniform in [0.7, 1.5]; torso_shift (m), how far
forward the torso's centre of mass lies of where it was, uniform in [-0.1, 0.1]. Tasks outside: strength in [0, 0.3],
torso_mass in [1.55, 2] and torso_shift in [-0.2, -0.11], a heavy load at the back.
Success: none is defined; returns are compared.

Shapes: N tasks; qpos [N, 9], qvel [N, 9]; observation [N, 17].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from mql.robots.models.half_cheetah import HALF_CHEETAH
from mql.tasks.distributions import Choice, Uniform, Value
from mql.tasks.families.locomotion.half_cheetah import HalfCheetahFamily
from mql.tasks.families.rewards import control_cost
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import SMALLEST_SCALE, Change, change
from mql.tasks.stepping.state import Outcome, State

CONTROL_COST_WEIGHT = 0.1  # per step and squared unit of action; full torque on all six joints costs 0.6
LOCK_STIFFNESS = 10000.0  # N m/rad; the strongest motor, 120 N m, bends it by 0.012 rad
LOCK_DAMPING = 200.0  # N m s/rad; keeps so stiff a spring steady at physics steps of 0.01 s
LONGEST_SHIFT = 0.5  # m; the torso's own half length: a centre of mass beyond would lie outside the body
JOINTS = tuple(float(index) for index in range(6))
_NAMES = HALF_CHEETAH.joints[3:]  # three root joints come first; each of the others has its actuator


@dataclass(frozen=True, kw_only=True, eq=False)
class CheetahFaults(HalfCheetahFamily):
    """The half-cheetah with a faulty joint and a hidden load."""

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return what a fault and a load change, with an own strength and lock for each joint."""
        joints: dict[str, Sequence[Change]] = {}
        for name in _NAMES:
            joints[f"strength of {name}"] = (change("scale", "actuator_gear", joint=name),)
            joints[f"lock of {name}"] = (change("add", "jnt_stiffness", joint=name),)
            joints[f"friction of {name}"] = (change("add", "dof_damping", joint=name),)
        return joints | {
            "torso_mass": (change("scale", "body_mass", body="torso"),),
            "torso_shift": (change("add", "body_ipos", body="torso", index=0),),
        }

    def changed_to(self, parameters: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the values of these changes: only the faulty joint's differ from the model's own."""
        values = cast(Mapping[str, float], parameters)
        found: dict[str, Value] = {name: values[name] for name in ("torso_mass", "torso_shift")}
        for index, name in enumerate(_NAMES):
            faulty = index == int(values["faulty_joint"])
            locked = float(faulty and bool(values["locked"]))
            found[f"strength of {name}"] = values["strength"] if faulty else 1.0
            found[f"lock of {name}"] = locked * LOCK_STIFFNESS
            found[f"friction of {name}"] = locked * LOCK_DAMPING
        return found

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward forward speed, and punish effort."""
        speed = self.forward_speed(before, after)
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        reward: Array = speed - effort
        return Outcome(reward, info={"x_velocity": speed, "control_cost": effort})


def cheetah_faults(variant: str = "") -> CheetahFaults:
    """Build cheetah-faults, or its variant ``oracle``."""
    joints = "back thigh, shin, foot, front thigh, shin, foot"
    family = CheetahFaults(
        name="cheetah-faults",
        summary="half-cheetah runs forward with a hidden faulty joint and load",
        parameters={
            "faulty_joint": Parameter(
                distribution=Choice(JOINTS), unit="1", doc=f"number of the joint: {joints}", allowed=JOINTS
            ),
            "strength": Parameter(
                distribution=Uniform(0.0, 1.0), unit="1", doc="part of its torque that is left", bounds=(0.0, math.inf)
            ),
            "locked": Parameter(
                distribution=Choice((0.0, 1.0)), unit="1", doc="1: it sticks at its rest angle", allowed=(0.0, 1.0)
            ),
            "torso_mass": Parameter(
                distribution=Uniform(0.7, 1.5),
                unit="1",
                doc="factor on the torso's mass and inertia",
                bounds=(SMALLEST_SCALE, math.inf),
            ),
            "torso_shift": Parameter(
                distribution=Uniform(-0.1, 0.1),
                unit="m",
                doc="how far forward the torso's centre of mass is moved",
                bounds=(-LONGEST_SHIFT, LONGEST_SHIFT),
            ),
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(
                n=20,
                seed=3,
                override={
                    "strength": Uniform(0.0, 0.3),
                    "torso_mass": Uniform(1.55, 2.0),
                    "torso_shift": Uniform(-0.2, -0.11),
                },
            ),
        },
    )
    return {"": family, "oracle": family.as_oracle()}[variant]
