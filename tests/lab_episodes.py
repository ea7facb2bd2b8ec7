"""A small tray with balls, a marker and an arm, as a lab would define it, for the tests of what an episode draws."""

from __future__ import annotations

from pathlib import Path

from mql import tasks
from mql.tasks.family import TaskFamily

RADIUS = 0.05  # m, of a ball

MJCF = """<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <geom name="block" type="box" size="0.1 0.1 0.1" pos="0 0 0.1"/>
    <body name="arm" pos="-1 0 0.5" gravcomp="1">
      <joint name="shoulder" type="hinge" axis="0 0 1" range="-60 60" damping="0.5"/>
      <geom name="link" type="capsule" size="0.02" fromto="0 0 0 0.3 0 0" mass="1"/>
      <site name="hand" pos="0.3 0 0"/>
    </body>
    <body name="drawer" pos="-1 1 0.5">
      <joint name="slide" type="slide" axis="1 0 0" range="0 0.3" frictionloss="0.1"/>
      <geom name="front" type="box" size="0.1 0.1 0.1" mass="2" contype="0" conaffinity="0"/>
    </body>
    <body name="red" pos="1 0 0.05"><freejoint name="red"/><geom name="red" size="0.05" mass="0.2"/></body>
    <body name="blue" pos="1 1 0.05"><freejoint name="blue"/><geom name="blue" size="0.05" mass="0.3"/></body>
    <body name="stick" pos="2 1 0.05"><freejoint/><geom name="stick" type="capsule" size="0.02 0.2" mass="0.1"/></body>
    <body name="goal" mocap="true" pos="0 0 1"><geom name="mark" size="0.01" contype="0" conaffinity="0"/></body>
    <body name="other" mocap="true" pos="0.5 0 1"><geom size="0.01" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator><motor name="turn" joint="shoulder" ctrlrange="-1 1"/></actuator>
</mujoco>
"""

YAML = """schema: mql.task_family/1
name: lab-tray
version: 1
description: A tray.
env: {{mjcf: tray.xml, {python}episode_length: 20, frame_skip: 2{env}}}
parameters:
  spot: {{value: {{dist: uniform, low: [0.4, -0.2], high: [0.6, 0.2]}}, unit: m, hidden: false}}
  opening: {{value: {{dist: uniform, low: 0.05, high: 0.25}}, unit: m}}
{parameters}{more}{reward}splits:
  train: {{n: 4, seed: 1}}
  test: {{n: 3, seed: 2}}
"""
OBSERVE = ", observe: [joint_shoulder, joint_slide, joint_red, joint_blue, body_goal, body_other, speed_shoulder]"
REWARD = 'reward: {terms: {turn: {expr: "-abs(info.joint_shoulder - task.opening)"}}}\n'

PYTHON = '''"""A tray's own terms."""


class TrayTask:
    def reset(self, model, data, task, rng):
        self.seen = data.qpos.copy(), data.mocap_pos.copy()

    def observe(self, model, data):
        places, marks = self.seen
        return [*data.qpos, *data.qvel, *places, *marks.ravel()]

    def reward(self, model, data, task, action):
        return {"turn": -abs(data.qpos[0] - task.opening)}
'''


def write_tray(
    folder: Path, more: str = "", *, parameters: str = "", env: str = OBSERVE, python: bool = False, mjcf: str = MJCF
) -> Path:
    """Write the definition; return its path.

    Args:
        folder: where.
        more: further keys of the definition, as lines.
        parameters: further parameters, as indented lines.
        env: further keys of `env`.
        python: with a Python class.
        mjcf: the model.
    """
    (folder / "tray.xml").write_text(mjcf)
    (folder / "tray.py").write_text(PYTHON)
    own = 'python: "tray.py:TrayTask", ' if python else ""
    text = YAML.format(
        python=own, env="" if python else env, parameters=parameters, more=more, reward="" if python else REWARD
    )
    path = folder / "tray.yaml"
    path.write_text(text)
    return path


def load_tray(folder: Path, more: str = "", **how: object) -> TaskFamily:
    """Write and load it; the arguments are those of `write_tray`."""
    return tasks.from_file(write_tray(folder, more, **how), trust=True)  # type: ignore[arg-type]
