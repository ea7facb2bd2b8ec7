"""The ant: a sphere on four legs, of thirteen bodies and eight motors (Gymnasium's Ant v5 model)."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-1.0, 1.0)
_GEAR = 150.0  # N m at full control, in every joint

# Read from the compiled model, which computes them from the geoms: the whole ant weighs 0.911 kg.
_TORSO_MASS = 0.32725  # kg
_UPPER_LEG_MASS = 0.039158  # kg; each leg has two such bodies, the first of which is fixed to the torso
_LOWER_LEG_MASS = 0.067593  # kg; these bodies have no names in the model, so they go by their joints'
_ANKLE = 1.0  # rad; the straight legs of `rest` are beyond the ankles' limits, 30 and 70 degrees

ANT = Robot(
    name="ant",
    source="gymnasium 1.4.0, envs/mujoco/assets/ant.xml; frame skip from envs/mujoco/ant_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/ant.xml",
    physics_timestep=0.01,
    frame_skip=5,
    joints=("root", "hip_1", "ankle_1", "hip_2", "ankle_2", "hip_3", "ankle_3", "hip_4", "ankle_4"),
    rest=(0.0, 0.0, 0.75, 1.0, 0.0, 0.0, 0.0, *(0.0,) * 8),
    # The file's own init_qpos, which Gymnasium does not use.
    home={
        "root": (0.0, 0.0, 0.55, 1.0, 0.0, 0.0, 0.0),
        "ankle_1": _ANKLE,
        "ankle_2": -_ANKLE,
        "ankle_3": -_ANKLE,
        "ankle_4": _ANKLE,
    },
    # The model lists the fourth leg first.
    actuators=tuple(
        Actuator(joint=f"{part}_{leg}", control_range=_CONTROL_RANGE, gear=_GEAR)
        for leg in (4, 1, 2, 3)
        for part in ("hip", "ankle")
    ),
    masses={
        "torso": _TORSO_MASS,
        "front_left_leg": _UPPER_LEG_MASS,
        "aux_1": _UPPER_LEG_MASS,
        "ankle_1": _LOWER_LEG_MASS,
        "front_right_leg": _UPPER_LEG_MASS,
        "aux_2": _UPPER_LEG_MASS,
        "ankle_2": _LOWER_LEG_MASS,
        "back_leg": _UPPER_LEG_MASS,
        "aux_3": _UPPER_LEG_MASS,
        "ankle_3": _LOWER_LEG_MASS,
        "right_back_leg": _UPPER_LEG_MASS,
        "aux_4": _UPPER_LEG_MASS,
        "ankle_4": _LOWER_LEG_MASS,
    },
    view=View(body="torso", distance=5.0, azimuth=90.0, elevation=-35.0),
)
