"""The 7-joint arm of mql's own arm families; `arm7.yaml` beside this file states the same robot for definitions."""

from __future__ import annotations

from mql.robots.description import Actuator, Robot, View

ARM7 = Robot(
    name="arm7",
    source="robots/models/arm7.xml, written for this project",
    licence="Apache-2.0",
    package="mql",
    mjcf="robots/models/arm7.xml",
    physics_timestep=0.005,
    frame_skip=10,
    joints=tuple(f"joint{number}" for number in range(1, 8)),
    rest=(0.0,) * 7,
    actuators=tuple(
        Actuator(joint=f"joint{number}", control_range=(low, high), gear=1.0)
        for number, (low, high) in enumerate(
            ((-2.9, 2.9), (-1.9, 1.9), (-2.9, 2.9), (-0.1, 2.8), (-2.9, 2.9), (-2.2, 2.2), (-2.9, 2.9)), start=1
        )
    ),
    masses={
        "arm7_base": 4.0,
        "link1": 3.0,
        "link2": 2.5,
        "link3": 2.0,
        "link4": 1.6,
        "link5": 1.2,
        "link6": 0.8,
        "link7": 0.3,
    },
    view=View(body="link7", distance=1.3, azimuth=130.0, elevation=-20.0),
)
