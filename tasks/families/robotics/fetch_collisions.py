"""Which pairs of the Fetch robot's geoms need no look for contacts, and when.

Half of a physics step of the package's models goes into collisions, most of them between meshes that can't touch: base,
torso and head among themselves and with the upper arm, and base, torso and head with object and table. As long as the
head rests, the upper arm stays within some angles and the object before the robot (`apart`), these pairs are at least
5 mm from one another, five times the margin from which MuJoCo makes a contact. So leaving them out (`Masks.few`)
changes no bit of the physics; where they could touch, all pairs are looked at (`Masks.all`). What is left out is named
here, and a test measures the distances.

All else is always looked at: hand and forearm with everything, the object with the arm, the table and the floor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.family import Array

ROBOT = "robot0:"
BODY = (
    "base_link",
    "torso_lift_link",
    "torso_fixed_link",
    "head_pan_link",
    "head_tilt_link",
    "estop_link",
    "laser_link",
)
UPPER_ARM = ("shoulder_pan_link", "shoulder_lift_link", "upperarm_roll_link")
FOREARM = (
    *("elbow_flex_link", "forearm_roll_link", "wrist_flex_link", "wrist_roll_link", "gripper_link"),
    *("r_gripper_finger_link", "l_gripper_finger_link"),
)
MARGIN = 0.001  # m; geoms of the robot make contacts from here on

# Where the pairs are apart: beyond these joint angles (rad) they come near, and what the joints can do within a control
# step and back again is far less than what lies between.
HEAD = 0.1  # of both joints, from where they start
TORSO = 0.03  # m, likewise
PAN, LIFT = 0.7, (-0.85, 1.2)  # of the shoulder; higher up,
STRAIGHT_PAN, STRAIGHT_LIFT = 0.35, -1.0  # it must look ahead
BEFORE = 0.715  # m; the object is at least this far ahead of the place of the robot's base
# Places of these in qpos: the same in all four scenes.
_TORSO, _HEAD_PAN, _HEAD_TILT, _PAN, _LIFT = 3, 4, 5, 6, 7

_ARRAYS = ("geom_contype", "geom_conaffinity", "body_contype", "body_conaffinity")


def apart(qpos: Array, first: Array) -> bool:
    """Tell whether the pairs that `few` leaves out are apart at qpos [Q], in a scene that starts at `first` [Q]."""
    torso, head_pan, head_tilt, pan, lift = qpos[_TORSO : _LIFT + 1].tolist()
    if abs(torso - first[_TORSO]) > TORSO:
        return False
    if abs(head_pan - first[_HEAD_PAN]) > HEAD or abs(head_tilt - first[_HEAD_TILT]) > HEAD:
        return False
    if not (LIFT[0] < lift < LIFT[1] and abs(pan) < PAN) and not (
        STRAIGHT_LIFT < lift < LIFT[1] and abs(pan) < STRAIGHT_PAN
    ):
        return False
    return len(qpos) < 22 or bool(qpos[-7] > first[0] + BEFORE)


@dataclass(frozen=True)
class Masks:
    """MuJoCo's bit masks of geoms and bodies that say which pairs it looks at: array of the model -> its values."""

    all: dict[str, Array]
    few: dict[str, Array]

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Masks:
        """Return the masks of a scene's model, whose own are those for all pairs."""
        few = {name: np.zeros_like(getattr(model, name)) for name in _ARRAYS}
        for geom, looks, is_seen in _bits(model):
            few["geom_contype"][geom], few["geom_conaffinity"][geom] = looks, is_seen
        for kind in ("contype", "conaffinity"):
            np.bitwise_or.at(few[f"body_{kind}"], model.geom_bodyid, few[f"geom_{kind}"])
        return cls({name: getattr(model, name).copy() for name in _ARRAYS}, few)


def left_out(model: mujoco.MjModel) -> set[tuple[int, int]]:
    """Return the pairs of geoms that `few` leaves out of those that can collide, the lower number first."""
    bits = {geom: (looks, is_seen) for geom, looks, is_seen in _bits(model)}
    pairs = ((one, other) for one in bits for other in bits if one < other)
    return {
        (one, other) for one, other in pairs if not (bits[one][0] & bits[other][1] or bits[other][0] & bits[one][1])
    }


def _bits(model: mujoco.MjModel) -> Iterator[tuple[int, int, int]]:
    """Yield geom, contype and conaffinity: a pair is looked at if a bit of one's first is in the other's second."""
    standing, floor, moving, body = 1, 2, 4, 8
    body_geoms, upper, forearm = (
        {int(model.geom(ROBOT + name).id) for name in names} for names in (BODY, UPPER_ARM, FOREARM)
    )
    base = int(model.geom(ROBOT + BODY[0]).id)
    for geom in range(model.ngeom):
        if not model.geom_contype[geom]:
            continue  # it is only drawn
        if geom in body_geoms:
            yield geom, body, floor if geom == base else 0
        elif geom in upper:
            yield geom, moving, standing | moving
        elif geom in forearm:
            yield geom, moving, standing | moving | body
        elif model.body_weldid[model.geom_bodyid[geom]]:  # the object
            yield geom, moving, standing | moving
        else:  # table and floor
            yield geom, standing | (floor if model.geom(geom).name == "floor0" else 0), 0
