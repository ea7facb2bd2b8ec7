"""The hopper: a planar one-legged jumper of four bodies and three motors (Gymnasium's Hopper v5 model)."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-1.0, 1.0)
_GEAR = 200.0  # N m at full control, in every joint

HOPPER = Robot(
    name="hopper",
    source="gymnasium 1.4.0, envs/mujoco/assets/hopper.xml; frame skip from envs/mujoco/hopper_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/hopper.xml",
    physics_timestep=0.002,
    frame_skip=4,
    joints=("rootx", "rootz", "rooty", "thigh_joint", "leg_joint", "foot_joint"),
    rest=(0.0, 1.25, 0.0, 0.0, 0.0, 0.0),
    actuators=tuple(
        Actuator(joint=joint, control_range=_CONTROL_RANGE, gear=_GEAR)
        for joint in ("thigh_joint", "leg_joint", "foot_joint")
    ),
    # Read from the compiled model, which computes them from the geoms.
    masses={"torso": 3.6652, "thigh": 4.0579, "leg": 2.7814, "foot": 5.3156},
    view=View(body="torso", distance=3.5, azimuth=90.0, elevation=-10.0),
)
