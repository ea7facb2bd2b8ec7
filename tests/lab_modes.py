"""A desk arm with every control mode, for tests of what actions do: one geared servo, a gripper, a scene that moves."""

from __future__ import annotations

from pathlib import Path

from mql import tasks
from mql.tasks.definitions.parallel import ParallelDefinedFamily

KP, KV = 60.0, 4.0
JOINTS = ("turn", "shoulder", "elbow")
GEARS = (1.0, 1.0, 2.0)
HOME = (0.0, 0.35, 1.3)
SITE = "tcp"

MJCF = """<mujoco model="desk arm">
  <compiler angle="radian"/>
  <option timestep="0.002" integrator="implicitfast"/>
  <default><joint damping="0.4" armature="0.01" limited="true"/>
  <geom type="capsule" contype="0" conaffinity="0"/></default>
  <worldbody>
    <body name="turret" pos="0 0 0.08">
      <joint name="turn" axis="0 0 1" range="-2.6 2.6"/>
      <geom type="cylinder" size="0.06 0.04" mass="1.5"/>
      <body name="upper_arm" pos="0 0 0.06">
        <joint name="shoulder" axis="0 1 0" range="-0.5 1.9"/>
        <geom fromto="0 0 0 0 0 0.26" size="0.035" mass="1.1"/>
        <body name="forearm" pos="0 0 0.26">
          <joint name="elbow" axis="0 1 0" range="0 2.4"/>
          <geom fromto="0 0 0 0 0 0.24" size="0.028" mass="0.7"/>
          <site name="tcp" pos="0 0 0.26" size="0.01"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>{actuators}</actuator>
</mujoco>
"""
POSITION = """<position name="turn" joint="turn" kp="60" kv="4"/>
<position name="shoulder" joint="shoulder" kp="60" kv="4" ctrllimited="true" ctrlrange="-0.5 1.9"/>
<position name="elbow" joint="elbow" kp="60" kv="4" gear="2"/>"""
VELOCITY = """<velocity name="turn" joint="turn" kv="10"/><velocity name="shoulder" joint="shoulder" kv="20"/>
<velocity name="elbow" joint="elbow" kv="5" gear="2"/>"""
MOTOR = """<motor name="turn" joint="turn" ctrllimited="true" ctrlrange="-1 1" gear="25"/>
<motor name="shoulder" joint="shoulder" gear="25"/><general name="elbow" joint="elbow" gear="5" gainprm="3"/>"""
SPEC = """schema: mql.robot/1
name: desk-arm
licence: MIT
source: our workshop
mjcf: desk_arm.xml
home: {{turn: 0.0, shoulder: 0.35, elbow: 1.3}}
end_effector: {{site: tcp}}
joints:
  turn: {{kind: hinge{speed}}}
  shoulder: {{kind: hinge{speed}}}
  elbow: {{kind: hinge{speed}}}
control:
  whole: {{kind: joint_position, scale: 1.0, rate_hz: 20}}
  home: {{kind: around_home, scale: {scale}, rate_hz: 20}}
  delta: {{kind: position_delta, scale: {scale}, rate_hz: 20}}
  speed: {{kind: velocity, scale: {scale}, rate_hz: 20}}
  effort: {{kind: torque, scale: {scale}, rate_hz: 20}}
  end: {{kind: ee_delta, scale: 0.02, rate_hz: 20, by: ik}}
{safety}
"""
# A door that a servo of the scene holds half open, and a belt that another one drives.
SCENE = """<mujoco model="lab"><compiler angle="radian"/><worldbody>
<site name="robot_base" pos="{at}" euler="{turned}"/>
<body name="door" pos="2 0 0.3"><joint name="door" axis="0 0 1" damping="1"/><geom size="0.1" mass="1" contype="0"
conaffinity="0"/></body>
<body name="belt" pos="2 1 0.3"><joint name="belt" type="slide" axis="0 1 0"/><geom size="0.1" mass="1" contype="0"
conaffinity="0"/></body></worldbody>
<actuator><position name="door" joint="door" kp="50" kv="5"/><velocity name="belt" joint="belt" kv="100"/></actuator>
<keyframe><key name="home" qpos="0.7 0" ctrl="0.7 0.1"/></keyframe></mujoco>
"""
TASK = """schema: mql.task_family/1
name: desk
version: 1
description: Hold still.
env: {{robot: desk_arm.yaml, scene: scene.xml, {control}episode_length: 200, observe: [qpos, site_tcp]{python}}}
parameters:
  load: {{value: {{dist: uniform, low: 1.0, high: 3.0}}, apply: [{{field: body_mass, body: forearm, op: scale}}]}}
reward: {{terms: {{height: {{expr: "info.site_tcp[2]"}}}}}}
splits: {{train: {{n: 5, seed: 1}}, test: {{n: 3, seed: 2}}}}
"""
PYTHON = """import numpy as np


class Desk:
    def reset(self, model, data, task, rng):
        pass

    def observe(self, model, data):
        return np.concatenate([data.qpos, data.site("tcp").xpos])
"""


def write_desk(
    folder: Path,
    control: str = "delta",
    *,
    actuators: str = POSITION,
    scale: str = "0.1",
    speed: float | None = None,
    safety: str = "",
    at: str = "0 0 0",
    turned: str = "0 0 0",
    python: bool = False,
    spec: tuple[str, str] = ("", ""),
) -> Path:
    """Write the arm, its scene and a task; return the definition."""
    (folder / "desk_arm.xml").write_text(MJCF.format(actuators=actuators))
    limit = "" if speed is None else f", velocity_limit: {speed}"
    text = SPEC.format(scale=scale, speed=limit, safety=f"safety: {safety}" if safety else "")
    assert spec[0] in text
    (folder / "desk_arm.yaml").write_text(text.replace(*spec) if spec[0] else text)
    (folder / "scene.xml").write_text(SCENE.format(at=at, turned=turned))
    (folder / "desk.py").write_text(PYTHON)
    path = folder / "desk.yaml"
    own = f"control: {control}, " if control else ""
    text = TASK.format(control=own, python=', python: "desk.py:Desk"' if python else "")
    path.write_text(text.replace(", observe: [qpos, site_tcp]", "") if python else text.replace("QPOS", "JOINTS"))
    return path


def load_desk(folder: Path, control: str = "delta", **more: object) -> ParallelDefinedFamily:
    """Write the arm and its task, and load the family."""
    family = tasks.from_file(write_desk(folder, control, **more))  # type: ignore[arg-type]
    assert isinstance(family, ParallelDefinedFamily)
    return family
