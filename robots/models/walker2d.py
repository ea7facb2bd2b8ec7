"""The walker: a planar biped of seven bodies and six motors (Gymnasium's Walker2d v5 model, and the older one)."""

from __future__ import annotations

from dataclasses import replace

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-1.0, 1.0)
_GEAR = 100.0  # N m at full control, in every joint

# Read from the compiled model, which computes them from the geoms: the whole walker weighs 23.68 kg.
_THIGH_MASS = 4.0579  # kg
_LEG_MASS = 2.7814  # kg
_FOOT_MASS = 3.1667  # kg

WALKER2D = Robot(
    name="walker2d",
    source="gymnasium 1.4.0, envs/mujoco/assets/walker2d_v5.xml; frame skip from envs/mujoco/walker2d_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/walker2d_v5.xml",
    physics_timestep=0.002,
    frame_skip=4,
    joints=(
        "rootx",
        "rootz",
        "rooty",
        "thigh_joint",
        "leg_joint",
        "foot_joint",
        "thigh_left_joint",
        "leg_left_joint",
        "foot_left_joint",
    ),
    rest=(0.0, 1.25, *(0.0,) * 7),
    actuators=tuple(
        Actuator(joint=f"{part}{side}_joint", control_range=_CONTROL_RANGE, gear=_GEAR)
        for side in ("", "_left")
        for part in ("thigh", "leg", "foot")
    ),
    masses={
        "torso": 3.6652,
        "thigh": _THIGH_MASS,
        "leg": _LEG_MASS,
        "foot": _FOOT_MASS,
        "thigh_left": _THIGH_MASS,
        "leg_left": _LEG_MASS,
        "foot_left": _FOOT_MASS,
    },
    view=View(body="torso", distance=4.0, azimuth=90.0, elevation=-10.0),
)

# The same body with less friction at the right foot (0.9 instead of 1.9).
WALKER2D_OLD = replace(
    WALKER2D,
    name="walker2d-old",
    source="gymnasium 1.4.0, envs/mujoco/assets/walker2d.xml; frame skip from envs/mujoco/walker2d_v4.py",
    mjcf="envs/mujoco/assets/walker2d.xml",
)
