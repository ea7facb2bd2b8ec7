"""Robots that reach by displacements of their end effector, as a lab would define them: for tests of ``ee_delta``."""

from __future__ import annotations

from pathlib import Path

# A place for the robot, far above the floor.
SCENE = """<mujoco><worldbody><geom name="lab_floor" type="plane" size="3 3 0.1" pos="0 0 -0.5"/>
<site name="robot_base"/></worldbody></mujoco>"""

# Three joints that weight pulls down, a hand that a mocap body pulls instead, a finger, and a head that nobody moves.
MJCF = """<mujoco model="desk">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <worldbody>
    <body name="desk_mocap" mocap="true"/>
    <body name="turret" pos="0 0 0.2">
      <joint name="turn" axis="0 0 1" range="-2 2" damping="1"/>
      <geom type="cylinder" size="0.05 0.05" mass="1"/>
      <body name="brow" pos="0 0 0.3">
        <joint name="nod" axis="0 1 0" range="-1 1" damping="0.5"/>
        <geom type="sphere" size="0.04" pos="0.03 0 0" mass="0.3"/>
      </body>
      <body name="upper" pos="0 0 0.1">
        <joint name="shoulder" axis="0 1 0" damping="1"/>
        <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="0.5"/>
        <body name="lower" pos="0.3 0 0">
          <joint name="elbow" axis="0 1 0" range="0 2.5" damping="1"/>
          <geom type="capsule" fromto="0 0 0 0.25 0 0" size="0.02" mass="0.3"/>
          <site name="tcp" pos="0.25 0 0"/>
          <body name="finger" pos="0.25 0 0">
            <joint name="grip" type="slide" axis="0 1 0" range="0 0.04" damping="5"/>
            <geom type="box" size="0.02 0.005 0.01" pos="0.03 0 0" mass="0.02"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <equality><weld name="pull" body1="desk_mocap" body2="lower" active="false"/></equality>
  <actuator>
    <position name="turn" joint="turn" kp="400" kv="30" gear="2" ctrlrange="-4 4"/>
    <position name="shoulder" joint="shoulder" kp="400" kv="30"/>
    <position name="elbow" joint="elbow" kp="400" kv="30" ctrlrange="0 2.5"/>
    <position name="nod" joint="nod" kp="50" kv="5" ctrlrange="-1 1"/>
    <position name="grip" joint="grip" kp="200" kv="10" ctrlrange="0 0.04"/>
  </actuator>
</mujoco>
"""
SPEC = """schema: mql.robot/1
name: desk
licence: MIT
source: our workshop
mjcf: desk.xml
home: {shoulder: -0.6, elbow: 1.2, nod: 0.4}
end_effector: {site: tcp}
gripper: {actuators: [grip], open: [0.04], close: [0.0]}
control:
  reach: {kind: ee_delta, scale: 0.02, rate_hz: 20, by: ik}
  pull: {kind: ee_delta, scale: 0.02, rate_hz: 20, by: mocap, mocap_body: desk_mocap}
"""
TASK = """schema: mql.task_family/1
name: lab-{robot}
version: 1
description: Bring the end effector to a hidden place.
env: {{robot: {path}, scene: {scene}, control: {control}, episode_length: 40{env}}}
parameters:
  x: {{value: {{dist: uniform, low: {low[0]}, high: {high[0]}}}, unit: m}}
  y: {{value: {{dist: uniform, low: {low[1]}, high: {high[1]}}}, unit: m}}
  z: {{value: {{dist: uniform, low: {low[2]}, high: {high[2]}}}, unit: m}}
reward:
  terms:
    near: {{expr: "-sqrt((info.{site}[0]-task.x)**2 + (info.{site}[1]-task.y)**2 + (info.{site}[2]-task.z)**2)"}}
    calm: {{expr: "-0.001 * sum(action ** 2)"}}
success: {{expr: "abs(info.{site}[0]-task.x) + abs(info.{site}[1]-task.y) + abs(info.{site}[2]-task.z) < 0.05"}}
splits: {{train: {{n: 6, seed: 1}}, test: {{n: 6, seed: 2}}}}
"""

PYTHON = """import numpy as np


class Reaching:
    def reset(self, model, data, task, rng):
        pass

    def observe(self, model, data):
        return np.concatenate([data.qpos, data.qvel])
"""

SITES = {"arm7": "site_flange", "fetch": "site_robot0_grip", "sawyer": "site_endEffector", "desk": "site_tcp"}
GOALS = {  # around each robot's end effector at home, m
    "arm7": ((0.4, -0.1, 0.25), (0.6, 0.1, 0.4)),
    "fetch": ((1.4, 0.6, 0.6), (1.6, 0.9, 1.0)),
    "sawyer": ((-0.1, 0.5, 0.1), (0.1, 0.7, 0.3)),
    "desk": ((0.3, -0.1, 0.2), (0.4, 0.1, 0.3)),
}


def write_reaching(
    folder: Path,
    robot: str,
    *,
    observe: str = "",
    control: str = "",
    python: bool = False,
    mjcf: tuple[str, str] = ("", ""),
    spec: tuple[str, str] = ("", ""),
) -> Path:
    """Write a task for a robot, and the robot desk with one text of its files exchanged; return the definition."""
    for (old, _), text in ((spec, SPEC), (mjcf, MJCF)):
        assert old in text, old
    (folder / "desk.xml").write_text(MJCF.replace(*mjcf) if mjcf[0] else MJCF)
    (folder / "desk.yaml").write_text(SPEC.replace(*spec) if spec[0] else SPEC)
    (folder / "scene.xml").write_text(SCENE)
    (folder / "reaching.py").write_text(PYTHON)
    low, high = GOALS[robot]
    path = folder / f"{robot}-task.yaml"
    path.write_text(
        TASK.format(
            robot=robot,
            path="desk.yaml" if robot == "desk" else robot,
            scene="scene.xml",
            control=control or ("reach" if robot == "desk" else "ee_delta"),
            env=(', python: "reaching.py:Reaching"' if python else "") + (f", observe: [{observe}]" if observe else ""),
            low=low,
            high=high,
            site=SITES[robot],
        )
    )
    return path
