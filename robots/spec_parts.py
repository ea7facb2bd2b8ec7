"""The parts of a robot's spec: frozen, typed, a line of text and a unit for each field, unknown keys refused.

Positions and ranges of a joint are in rad where it is a hinge, in m where it is a slide; efforts in N m or N.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mql.config.parts import Part, Real, number


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the lowest value comes first")
    return value


def _unit_length(value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    if abs(math.hypot(*value) - 1.0) > 1e-3:
        raise ValueError("a rotation is a quaternion of length 1")
    return value


Positive = Annotated[float, BeforeValidator(number), Field(gt=0)]
NotNegative = Annotated[float, BeforeValidator(number), Field(ge=0)]
Range = Annotated[tuple[Real, Real], AfterValidator(_rising)]
Vector = tuple[Real, Real, Real]
Quaternion = Annotated[tuple[Real, Real, Real, Real], AfterValidator(_unit_length)]
Name = Annotated[str, Field(min_length=1)]


class Base(Part):
    """What the robot stands on."""

    body: Name = Field(description="The robot's first body; all bodies below it are the robot's.")
    kind: Literal["fixed", "planar", "free"] = Field(
        description="fixed to the world, planar (two slides and a hinge), or free (one free joint)."
    )
    joints: tuple[Name, ...] = Field(
        default=(), description="Joints that place the base; a fixed base has them only to be put somewhere."
    )


class Mount(Part):
    """Where the base attaches in a scene, from the scene's point of attachment."""

    pos: Vector = Field(default=(0.0, 0.0, 0.0), description="x, y, z in m.")
    quat: Quaternion = Field(default=(1.0, 0.0, 0.0, 0.0), description="Rotation as a quaternion w, x, y, z.")


class EndEffector(Part):
    """The point that does the work."""

    site: Name = Field(description="A site of the model, such as the point between the fingers.")


class Gripper(Part):
    """How the hand is opened and closed."""

    actuators: tuple[Name, ...] = Field(min_length=1, description="The actuators that move the fingers.")
    open: tuple[Real, ...] = Field(description="Their controls when open: rad or m (position), N m or N (motor).")
    close: tuple[Real, ...] = Field(description="Their controls when closed, in the same units.")


class Joint(Part):
    """One joint's limits; what is left out is not stated."""

    kind: Literal["hinge", "slide", "ball", "free"] | None = Field(default=None, description="The joint's type.")
    position_range: Range | None = Field(default=None, description="Lowest and highest position, rad or m.")
    unlimited: bool = Field(default=False, description="True where the position has no limits.")
    velocity_limit: NotNegative | None = Field(default=None, description="Highest speed, rad/s or m/s.")
    effort_limit: NotNegative | None = Field(default=None, description="Highest torque (N m) or force (N).")
    armature: NotNegative | None = Field(
        default=None, description="Inertia of the motor as the joint feels it, kg m2 or kg; a URDF's joint gets it."
    )


class Actuator(Part):
    """One actuator; its key is its name, or the joint it drives where the model gives it none."""

    joint: Name | None = Field(default=None, description="The joint it drives; none: a tendon, a site, a body.")
    kind: Literal["motor", "position", "velocity", "general"] | None = Field(
        default=None, description="What a control means: effort, target position, target speed, or something else."
    )
    control_range: Range | None = Field(
        default=None, description="Lowest and highest control: rad or m (position), rad/s or m/s (velocity), else none."
    )
    gain: Real | None = Field(
        default=None, description="Force for a control of 1: N m or N (motor), per rad or m, per rad/s or m/s."
    )
    damping: NotNegative | None = Field(
        default=None, description="position only: force taken off per speed, N m s/rad or N s/m."
    )
    gear: Real | None = Field(default=None, description="Joint effort for an actuator force of 1, no unit.")
    force_range: Range | None = Field(default=None, description="Lowest and highest force, N m or N.")


class ControlMode(Part):
    """A way to command the robot by actions in [-1, 1]."""

    kind: Literal["joint_position", "around_home", "position_delta", "velocity", "torque", "ee_delta"] = Field(
        description="What an action means: joint targets over the whole range, around home, or from the last ones; "
        "joint speeds; joint efforts; a displacement of the end effector."
    )
    scale: Positive | Mapping[Name, Positive] | tuple[Positive, ...] = Field(
        description="What an action of 1 means: rad or m (around_home, position_delta), rad/s or m/s (velocity), N m "
        "or N (torque), m (ee_delta); with joint_position the share of the joint's range, no unit. For modes of "
        "joints also joint -> number, or a list in the order of the actuators."
    )
    rate_hz: Positive = Field(description="Actions per second, Hz.")
    by: Literal["mocap", "ik"] | None = Field(
        default=None, description="ee_delta only: pull by a mocap body, or solve the inverse kinematics."
    )
    mocap_body: Name | None = Field(default=None, description="ee_delta by mocap: the body that pulls.")
    rotation_scale: Positive | None = Field(
        default=None,
        description="ee_delta only: three more numbers of an action turn the end effector about the world's axes; what "
        "1 means, rad. Without it the orientation stays.",
    )


class Sensor(Part):
    """Something the real robot measures."""

    kind: Literal["joint_position", "joint_velocity", "joint_effort", "end_effector_pose", "mjcf"] = Field(
        description="What is measured; mjcf: the model's sensor of this name."
    )
    of: Name | None = Field(
        default=None, description="The joint, or the model's sensor, where it has another name than this key."
    )
    noise: NotNegative = Field(default=0.0, description="Standard deviation, in the unit of what is measured.")
    delay_s: NotNegative = Field(default=0.0, description="Age of a reading, s.")


class Bounds(Part):
    """How far a number of the model may be varied."""

    op: Literal["scale", "set", "add"] = Field(default="scale", description="How the value changes the model's.")
    low: Real = Field(description="Lowest value: a factor (scale, no unit), or in the field's unit.")
    high: Real = Field(description="Highest value, in the same unit.")
    of: tuple[Name, ...] = Field(default=(), description="Names of bodies, joints, geoms or actuators; none: all.")


class AttachPoint(Part):
    """A place where a gripper, a tool or a sensor is attached: one of the two."""

    site: Name | None = Field(default=None, description="A site of the model.")
    body: Name | None = Field(default=None, description="A body of the model.")


class Safety(Part):
    """Limits that the real robot must keep, tighter than what it could do."""

    joint_speed_fraction: Annotated[Positive, Field(le=1)] | None = Field(
        default=None, description="Share of each joint's velocity limit that may be used, no unit."
    )
    end_effector_speed_m_s: Positive | None = Field(default=None, description="Highest speed of the end effector, m/s.")
    contact_force_n: Positive | None = Field(default=None, description="Highest force of a contact, N.")
    payload_kg: NotNegative | None = Field(default=None, description="Heaviest load, kg.")
    workspace_low_m: Vector | None = Field(default=None, description="Lowest x, y, z of the end effector, m.")
    workspace_high_m: Vector | None = Field(default=None, description="Highest x, y, z of the end effector, m.")


class CameraView(Part):
    """From where pictures are taken."""

    body: Name | None = Field(default=None, description="The body looked at; none: the origin.")
    distance: Positive = Field(description="Distance from it, m.")
    azimuth: Real = Field(description="Angle around the vertical, degrees.")
    elevation: Real = Field(description="Angle above the horizon, degrees; negative looks down.")
