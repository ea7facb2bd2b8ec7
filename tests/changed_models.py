"""A model with something of every kind, as text: what a change of the physics is compared with is compiled from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from mql.tasks.scenes.source import MjcfFile

# Two geoms belong to the world and two to most bodies; all bodies touch something within the 200 steps.
MODEL = """<mujoco>
  <compiler angle="radian"/>
  <option gravity="0 0 -9.81" wind="1 0 0" density="1.2" viscosity="0.01" timestep="0.002" integrator="implicitfast"/>
  <asset><mesh name="wedge" scale="1 1 1" vertex="0 0 0  .3 0 0  0 .2 0  .3 .2 0  0 0 .15  0 .2 .15"/></asset>
  <worldbody>
    <geom name="floor" type="box" size="4 4 .1" pos="0 0 -.1" friction="0.1 0.001 0.00001"/>
    <geom name="wall" type="box" size=".1 2 .3" pos="1.6 0 .3" friction="0.1 0.001 0.00001"/>
    <site name="hook" pos="0 .8 1"/>
    <body name="base" pos="0 0 .45" quat="1 0 0 0">
      <geom name="post" type="cylinder" size=".05 .1" pos="0 .2 0"/>
      <geom name="cap" type="sphere" size=".05" pos="0 .2 .1"/>
      <body name="link" gravcomp="0.2">
        <joint name="hinge" axis="0 1 0" damping="0.3" frictionloss="0.1" armature="0.02" stiffness="2" springref="0.1"
          limited="true" range="-1 1.5"/>
        <geom name="rod" type="capsule" size=".03" fromto="0 0 0 .4 0 .1" mass="0.5"/>
        <geom name="knob" type="sphere" size=".06" pos=".4 0 .1" mass="0.1"/>
        <body name="tip" pos=".3 0 .1" quat="1 0 0 0">
          <inertial pos="0.01 0 0" mass="0.2" diaginertia="0.002 0.003 0.001"/>
          <joint name="slide" type="slide" axis="1 0 0" limited="true" range="-.1 .3"/>
          <geom name="ball" size=".05" pos=".1 0 0"/>
          <geom name="horn" type="capsule" size=".02 .05" pos=".15 0 -.1"/>
          <site name="tip"/>
        </body>
      </body>
    </body>
    <body name="puck" pos="1 0 .081">
      <freejoint name="free"/>
      <geom name="puck" type="box" size=".1 .1 .08" pos="0 0 0" quat="1 0 0 0" mass="1" condim="6"
        friction="0.8 0.005 0.0001" solref="0.02 1" solimp="0.9 0.95 0.001 0.5 2"/>
      <geom name="foot" type="sphere" size=".05" pos=".12 0 -.03" mass="0.3"/>
    </body>
    <body name="stone" pos="-1 0 .2">
      <freejoint name="stone"/>
      <geom type="mesh" mesh="wedge" mass="0.7"/>
      <geom name="lump" size=".05" pos="0 0 .2" mass="0.1"/>
    </body>
    EXTRA
  </worldbody>
  TAIL
  <actuator>
    <motor joint="hinge" gear="3" forcelimited="true" forcerange="-5 5"/>
    <position name="servo" joint="slide" kp="20" kv="1"/>
  </actuator>
</mujoco>"""
EXTRA = """<body name="left" pos="0 -1 .1"><joint name="left" type="slide" axis="1 0 0"/><geom size=".1" mass=".4"/>
        <geom size=".05" pos=".1 0 0" mass=".1"/></body>
      <body name="right" pos="0 -1.5 .1"><joint name="right" type="slide" axis="1 0 0"/>
        <geom size=".1" mass=".4"/></body>
      <body name="hung" pos="-1 -1 1"><joint name="hung" type="ball"/><geom size=".05" pos="0 0 -.2" mass=".3"/>
        <site name="hung" pos="0 0 -.1"/></body>
      <body name="glued" pos="-1 -1 .7"><freejoint/><geom size=".05" mass=".3"/></body>
      <body name="pinned" pos="-1.5 1 .7"><freejoint/><geom size=".05" mass=".3"/></body>"""
TAIL = """<tendon>
    <fixed name="cord" stiffness="5" damping="0.2" frictionloss="0.05" limited="true" range="-.05 .05"
      springlength="0 0.01"><joint joint="left" coef="1"/><joint joint="slide" coef="-.5"/></fixed>
    <spatial name="string" stiffness="20"><site site="hook"/><site site="hung"/></spatial>
  </tendon>
  <equality>
    <joint name="couple" joint1="left" joint2="right" polycoef="0 1 0 0 0" solref="0.02 1"
      solimp="0.9 0.95 0.001 0.5 2"/>
    <weld name="glue" body1="hung" body2="glued" torquescale="1"/>
    <connect name="pin" body1="pinned" anchor="0 0 .3"/>
  </equality>"""


@dataclass(frozen=True)
class Lab:
    """One model as text, and the folder that its files are written to."""

    folder: Path
    text: str

    def model(self, *replaced: tuple[str, str]) -> mujoco.MjModel:
        """Compile the text with some of it replaced; each piece stands in it once."""
        return mujoco.MjModel.from_xml_string(self.edited(*replaced))

    def edited(self, *replaced: tuple[str, str]) -> str:
        """Return the text with some of it replaced."""
        text = self.text
        for old, new in replaced:
            assert text.count(old) == 1, (old, text.count(old))
            text = text.replace(old, new)
        return text

    @property
    def source(self) -> MjcfFile:
        """The text as a file."""
        path = self.folder / "lab.xml"
        path.write_text(self.text, encoding="utf-8")
        return MjcfFile(path)


def lab(folder: Path, *, rich: bool = True) -> Lab:
    """The model; `rich`: with tendons and equalities, for which places are fixed by the compiler."""
    return Lab(folder, MODEL.replace("EXTRA", EXTRA if rich else "").replace("TAIL", TAIL if rich else ""))


def moved(model: mujoco.MjModel, steps: int = 200) -> npt.NDArray[np.float64]:
    """qpos and qvel after each of some steps, from a start that makes every number of the model act."""
    data = mujoco.MjData(model)
    data.qvel[:] = np.linspace(0.3, 0.9, model.nv)
    data.joint("free").qvel[:] = (1.5, 0.2, -0.5, 0.3, 0.0, 0.5)
    data.joint("stone").qvel[:] = (0.2, 0.1, -0.5, 0.3, 1.0, 0.5)
    data.ctrl[:] = (2.5, 0.1)
    rows, touched = np.empty((steps, model.nq + model.nv)), set()
    qpos, qvel = data.qpos, data.qvel  # views: each access to an attribute of MjData makes a new one
    for step in range(steps):
        mujoco.mj_step(model, data)
        rows[step, : model.nq], rows[step, model.nq :] = qpos, qvel
        if step % 20 == 19:
            touched |= {tuple(sorted(pair)) for pair in model.geom_bodyid[data.contact.geom].tolist()}
    assert len(touched) >= 2, "hardly anything touches"
    return rows


def all_bytes(model: mujoco.MjModel) -> bytes:
    """A model's whole content."""
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


def change(field: str, op: str = "set", index: int | None = None, **target: Any) -> dict[str, Any]:
    """One entry of `apply`."""
    return {"field": field, "op": op, "index": index} | target
