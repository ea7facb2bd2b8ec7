"""The four scenes of the Fetch robot: their models, and how an episode starts in them, as the package has it.

The package builds a scene once: it puts robot and object in place, welds the gripper to a mocap body and lets it drag
the arm for 0.4 s. Where that ends, episodes start; where the gripper is then, and how high the object lies, say where
goals are. The weld's pull has not come to rest by then, so the first pose is a matter of MuJoCo's arithmetic, and is
computed here by the same steps.

Shapes: Q positions (qpos), V velocities (qvel).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from mql.tasks.family import Array
from mql.tasks.scenes.source import MjcfFile

FRAME_SKIP = 20  # physics steps of 2 ms in one control step
SETTLING_STEPS = 10  # control steps for which the mocap body drags the arm before the first episode
GRIPPER, OBJECT = "robot0:grip", "object0"  # sites
LINK, MOCAP = "robot0:gripper_link", "robot0:mocap"  # bodies; the weld holds the one to the other
OBJECT_JOINT = "object0:joint"
FINGERS = ("robot0:r_gripper_finger_joint", "robot0:l_gripper_finger_joint")
# What the mocap body is turned by, added to the quaternion that the gripper has; MuJoCo normalises the sum. It pulls
# the gripper to point down.
TURN = np.array([1.0, 0.0, 1.0, 0.0])
_TO_START = np.array([-0.498, 0.005, -0.431])  # m, from where the gripper is with all joints at 0
_WELDED = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])  # numbers of the weld, so that it asks for one place of both
_NEAREST = 0.1  # m; objects start at least this far from the gripper, in x or y together


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One scene.

    Args:
        mjcf: the model's file in the package.
        base: m, where the robot stands: x and y.
        object_at: m, where the object is put when the scene is built; None: there is none.
        raised: m, how much higher than the table's scene asks the gripper starts.
        shut: the fingers are held shut: they are put back after each control step.
        object_range: m, how far from the gripper, in x and y, objects start.
        target_ahead: m, how far ahead of the gripper's first place goals are drawn around.
    """

    mjcf: str
    base: tuple[float, float]
    object_at: tuple[float, float, float] | None
    raised: float
    shut: bool
    object_range: float = 0.0
    target_ahead: float = 0.0

    @property
    def has_object(self) -> bool:
        """Whether there is something to move."""
        return self.object_at is not None

    @property
    def source(self) -> MjcfFile:
        """The model's file, which is not imported for that."""
        found = find_spec("gymnasium_robotics")
        assert found is not None and found.origin is not None  # `mql.tasks.packages` refuses families without it
        return MjcfFile(Path(found.origin).parent / "envs" / "assets" / "fetch" / self.mjcf)

    def draw(self, rng: np.random.Generator) -> Array:
        """Draw an episode's first qpos [Q]: the package's object with the same generator."""
        start = started(self)
        qpos = start.qpos.copy()
        if not self.has_object:
            return qpos
        middle = start.gripper[:2]
        place = middle
        while np.linalg.norm(place - middle) < _NEAREST:
            place = middle + rng.uniform(-self.object_range, self.object_range, size=2)
        qpos[-7:-5] = place  # the object's free joint is the last one
        return qpos


@dataclass(frozen=True)
class Start:
    """What a scene is like once it is built.

    Args:
        model: shared, change a copy only.
        qpos: [Q], and qvel [V], with which episodes start, but for the object's place.
        time: s, when they start.
        gripper: [3] m, the gripper's first place as goals are seen from it (0.4 mm off: a physics step old).
        height: m, of the object's centre on the table; NaN without one.
        fingers: where the two fingers stand in qpos and in qvel.
    """

    model: mujoco.MjModel
    qpos: Array
    qvel: Array
    time: float
    gripper: Array
    height: float
    fingers: Array


@lru_cache(maxsize=8)
def started(scene: Scene) -> Start:
    """Build a scene, once per process."""
    model = mujoco.MjModel.from_xml_path(str(scene.source.path))
    data = mujoco.MjData(model)
    for name, value in zip(("robot0:slide0", "robot0:slide1", "robot0:slide2"), (*scene.base, 0.0), strict=True):
        data.joint(name).qpos[:] = value
    if scene.object_at is not None:
        data.joint(OBJECT_JOINT).qpos[:] = [*scene.object_at, 1.0, 0.0, 0.0, 0.0]
    model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD, : len(_WELDED)] = _WELDED
    for _ in range(2):  # the second one starts the solver where the first one ended
        mujoco.mj_forward(model, data)
    data.mocap_pos[0] = _TO_START + np.array([0.0, 0.0, scene.raised]) + data.site(GRIPPER).xpos
    data.mocap_quat[0] = TURN
    for _ in range(SETTLING_STEPS):
        mujoco.mj_step(model, data, nstep=FRAME_SKIP)
    return Start(
        model=model,
        qpos=data.qpos.copy(),
        qvel=data.qvel.copy(),
        time=float(data.time),
        gripper=data.site(GRIPPER).xpos.copy(),
        height=float(data.site(OBJECT).xpos[2]) if scene.has_object else float("nan"),
        fingers=np.array([int(model.joint(name).qposadr[0]) for name in FINGERS]),  # a free joint comes last, if any
    )


_BLOCK = (1.25, 0.53, 0.4)  # m
SCENES = {
    "reach": Scene(mjcf="reach.xml", base=(0.4049, 0.48), object_at=None, raised=0.2, shut=True),
    "push": Scene(mjcf="push.xml", base=(0.405, 0.48), object_at=_BLOCK, raised=0.0, shut=True, object_range=0.15),
    "slide": Scene(
        mjcf="slide.xml",
        base=(0.05, 0.48),
        object_at=(1.7, 1.1, 0.41),
        raised=-0.02,
        shut=True,
        object_range=0.1,
        target_ahead=0.4,
    ),
    "pick": Scene(
        mjcf="pick_and_place.xml", base=(0.405, 0.48), object_at=_BLOCK, raised=0.2, shut=False, object_range=0.15
    ),
}
