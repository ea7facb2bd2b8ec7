"""A small robot as a lab would bring it, sound in every check; tests change one thing and look at what breaks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mql.robots import registry
from mql.robots.checks.run import CHECKS, goes_on, run_check
from mql.robots.checks.verdict import Verdict
from mql.robots.inspection import Inspection
from mql.robots.spec import RobotSpec

MJCF = """<mujoco model="lift">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005" integrator="implicitfast"/>
  <worldbody>
    <body name="stand">
      <geom name="stand" type="box" size="0.05 0.05 0.05" pos="0 0 0.05" mass="1"/>
      <body name="link" pos="0 0 0.2">
        <joint name="swing" axis="0 1 0" range="-1.5 1.5" damping="1" armature="0.01"/>
        <geom name="link" type="capsule" fromto="0.05 0 0 0.2 0 0" size="0.02" mass="0.5"/>
        <body name="rod" pos="0.2 0 0">
          <joint name="reach" type="slide" axis="1 0 0" range="0 0.1" damping="5" armature="0.01"/>
          <geom name="rod" type="capsule" fromto="0.05 0 0 0.15 0 0" size="0.01" mass="0.2"/>
          <site name="tip" pos="0.15 0 0"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position name="swing" joint="swing" kp="100" kv="5" ctrlrange="-1.5 1.5" forcerange="-20 20"/>
    <position name="reach" joint="reach" kp="500" kv="20" ctrlrange="0 0.1" forcerange="-30 30"/>
  </actuator>
</mujoco>
"""

SPEC = """schema: mql.robot/1
name: lift
version: 2
description: A link that swings and a rod that reaches
licence: MIT
source: our workshop
sources: {joints.swing.effort_limit: motor data sheet}
mjcf: lift.xml
physics_timestep_s: 0.005
base: {body: stand, kind: fixed}
home: {swing: 0.2, reach: 0.05}
end_effector: {site: tip}
joints:
  swing: {kind: hinge, position_range: [-1.5, 1.5], velocity_limit: 4.0, effort_limit: 20}
  reach: {kind: slide, position_range: [0.0, 0.1], velocity_limit: 0.5, effort_limit: 30}
actuators:
  swing: {joint: swing, kind: position, control_range: [-1.5, 1.5], gain: 100, gear: 1, force_range: [-20, 20]}
  reach: {joint: reach, kind: position, control_range: [0, 0.1], gain: 500, gear: 1, force_range: [-30, 30]}
control:
  delta: {kind: position_delta, scale: 0.05, rate_hz: 20}
masses: {stand: 1.0, link: 0.5, rod: 0.2}
view: {body: link, distance: 1.0, azimuth: 90, elevation: -10}
"""


def write_robot(folder: Path, *, spec: tuple[str, str] = ("", ""), mjcf: tuple[str, str] = ("", "")) -> Path:
    """Write the robot with one text of each file exchanged for another; return its YAML file."""
    for (old, _), text in ((spec, SPEC), (mjcf, MJCF)):
        assert old in text, old
    (folder / "lift.xml").write_text(MJCF.replace(*mjcf) if mjcf[0] else MJCF, encoding="utf-8")
    path = folder / "lift.yaml"
    path.write_text(SPEC.replace(*spec) if spec[0] else SPEC, encoding="utf-8")
    return path


def load_robot(folder: Path, *, spec: tuple[str, str] = ("", ""), mjcf: tuple[str, str] = ("", "")) -> RobotSpec:
    """Write the robot, changed so, and read it."""
    return registry.load(str(write_robot(folder, spec=spec, mjcf=mjcf)))


def verdicts(path: Path | str, *, without: tuple[str, ...] = ("render",)) -> dict[str, Verdict]:
    """Return the verdict of each check, in their order, up to the first without which the others are of no use."""
    inspection = Inspection(lambda: registry.load(str(path)))
    found: dict[str, Verdict] = {}
    for name in CHECKS:
        if name not in without:
            found[name] = run_check(inspection, name)
            if not goes_on(name, found[name]):
                break
    return found


def crash(*_: object) -> RobotSpec:
    """Die as MuJoCo does of some models."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("still alive")


def not_passed(path: Path | str) -> dict[str, str]:
    """Return check -> result of the checks that did not pass."""
    return {name: verdict.result for name, verdict in verdicts(path).items() if verdict.result != "pass"}
