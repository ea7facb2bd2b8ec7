"""The humanoid: a body of thirteen parts with arms and legs, and seventeen motors (Gymnasium's Humanoid v5 model)."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-0.4, 0.4)  # so the strongest torque is 0.4 times the gear

# N m for a control of 1, in the order of the motors.
_GEARS = {
    "abdomen_y": 100.0,
    "abdomen_z": 100.0,
    "abdomen_x": 100.0,
    "right_hip_x": 100.0,
    "right_hip_z": 100.0,
    "right_hip_y": 300.0,
    "right_knee": 200.0,
    "left_hip_x": 100.0,
    "left_hip_z": 100.0,
    "left_hip_y": 300.0,
    "left_knee": 200.0,
    "right_shoulder1": 25.0,
    "right_shoulder2": 25.0,
    "right_elbow": 25.0,
    "left_shoulder1": 25.0,
    "left_shoulder2": 25.0,
    "left_elbow": 25.0,
}

_KNEE = -0.04  # rad; the straight legs of `rest` are beyond the knees' limit, -2 degrees

HUMANOID = Robot(
    name="humanoid",
    source="gymnasium 1.4.0, envs/mujoco/assets/humanoid.xml; frame skip from envs/mujoco/humanoid_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/humanoid.xml",
    physics_timestep=0.003,
    frame_skip=5,
    # The abdomen's first two joints stand here in another order than their motors.
    joints=("root", "abdomen_z", "abdomen_y", *tuple(_GEARS)[2:]),
    rest=(0.0, 0.0, 1.4, 1.0, 0.0, 0.0, 0.0, *(0.0,) * 17),
    home={"right_knee": _KNEE, "left_knee": _KNEE},
    actuators=tuple(Actuator(joint=joint, control_range=_CONTROL_RANGE, gear=gear) for joint, gear in _GEARS.items()),
    # Read from the compiled model, which computes them from the geoms: 42.1 kg in all.
    masses={
        "torso": 8.9075,
        "lwaist": 2.2619,
        "pelvis": 6.6162,
        "right_thigh": 4.7518,
        "right_shin": 2.7557,
        "right_foot": 1.7671,
        "left_thigh": 4.7518,
        "left_shin": 2.7557,
        "left_foot": 1.7671,
        "right_upper_arm": 1.6611,
        "right_lower_arm": 1.2295,
        "left_upper_arm": 1.6611,
        "left_lower_arm": 1.2295,
    },
    view=View(body="torso", distance=4.5, azimuth=120.0, elevation=-15.0),
)
