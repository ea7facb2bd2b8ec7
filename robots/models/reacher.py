"""The reacher: a planar arm of two links and two motors, and a target on two slides (Gymnasium's Reacher v5 model)."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-1.0, 1.0)

UPPER_ARM_LENGTH = 0.1  # m, from the first joint to the second
FOREARM_LENGTH = 0.11  # m, from the second joint to the fingertip
REACH = UPPER_ARM_LENGTH + FOREARM_LENGTH  # m, with the arm straight
ELBOW_LIMIT = 3.0  # rad, either way; the first joint turns freely
TARGET_LIMIT = 0.27  # m, either way along x and y: the ends of the target's slides

REACHER = Robot(
    name="reacher",
    source="gymnasium 1.4.0, envs/mujoco/assets/reacher.xml; frame skip from envs/mujoco/reacher_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/reacher.xml",
    physics_timestep=0.01,
    frame_skip=2,
    joints=("joint0", "joint1", "target_x", "target_y"),
    rest=(0.0, 0.0, 0.1, -0.1),
    actuators=(
        Actuator(joint="joint0", control_range=_CONTROL_RANGE, gear=200.0),
        Actuator(joint="joint1", control_range=_CONTROL_RANGE, gear=200.0),
    ),
    # Read from the compiled model, which computes them from the geoms.
    masses={"body0": 0.035605, "body1": 0.035605, "fingertip": 0.0041888, "target": 0.0030536},
    view=View(body=None, distance=0.8, azimuth=90.0, elevation=-90.0),
)
