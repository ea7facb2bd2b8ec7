"""The half-cheetah: a planar runner of seven bodies and six motors (Gymnasium's HalfCheetah v5 model)."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

_CONTROL_RANGE = (-1.0, 1.0)

TORSO_HEIGHT = 0.7  # m, of the torso's centre where the position z is 0

HALF_CHEETAH = Robot(
    name="half-cheetah",
    source="gymnasium 1.4.0, envs/mujoco/assets/half_cheetah.xml; frame skip from envs/mujoco/half_cheetah_v5.py",
    licence="MIT",
    package="gymnasium",
    mjcf="envs/mujoco/assets/half_cheetah.xml",
    physics_timestep=0.01,
    frame_skip=5,
    joints=("rootx", "rootz", "rooty", "bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"),
    rest=(0.0,) * 9,
    actuators=(
        Actuator(joint="bthigh", control_range=_CONTROL_RANGE, gear=120.0),
        Actuator(joint="bshin", control_range=_CONTROL_RANGE, gear=90.0),
        Actuator(joint="bfoot", control_range=_CONTROL_RANGE, gear=60.0),
        Actuator(joint="fthigh", control_range=_CONTROL_RANGE, gear=120.0),
        Actuator(joint="fshin", control_range=_CONTROL_RANGE, gear=60.0),
        Actuator(joint="ffoot", control_range=_CONTROL_RANGE, gear=30.0),
    ),
    # Read from the compiled model: the file fixes the total to 14 kg (settotalmass) and spreads it by volume.
    masses={
        "torso": 6.2502,
        "bthigh": 1.5435,
        "bshin": 1.5874,
        "bfoot": 1.0954,
        "fthigh": 1.4381,
        "fshin": 1.2008,
        "ffoot": 0.8845,
    },
    view=View(body="torso", distance=4.0, azimuth=90.0, elevation=-10.0),
)
