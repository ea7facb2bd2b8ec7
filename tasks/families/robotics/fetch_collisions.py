"""Which pairs of the Fetch robot's geoms need no look for contacts, and when.

Half of a physics step of the package's models goes into collisions, most of them between meshes that can't touch: base,
torso and head with one another and with the arm, the arm's links with one another, and the upper arm with the table.
As long as the arm is ahead of the robot over the table, as it is in most of an episode, these pairs are centimetres
apart, and MuJoCo makes a contact from a millimetre on. So leaving them out (`Masks.few`) changes no bit of the physics.
`apart` tells when that is so; otherwise all pairs are looked at. A test measures the distances.

Always looked at: forearm and hand with the table, the object with the floor, the table and the arm from the elbow's
link on, the base with the floor, on which it stands, and with forearm and hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import mujoco
import numpy as np

from mql.tasks.family import Array

ROBOT = "robot0:"
BASE = "base_link"
ELBOW = ("upperarm_roll_link", "elbow_flex_link")  # which the object may touch
HAND = (
    *("forearm_roll_link", "wrist_flex_link", "wrist_roll_link", "gripper_link"),
    *("r_gripper_finger_link", "l_gripper_finger_link"),
)

# What `apart` asks for: each joint's lowest and highest place (rad; torso in m) as seen from where the scene starts it,
# or, for the arm, from 0. Far beyond these ends, the pairs that are left out still are apart: by more than a joint can
# do within a control step and come back. Joints of qpos in their order, the same in all scenes, without the base's.
LIMITS = np.array(
    [
        (-0.01, 0.03),  # torso, which rises by a few millimetres
        (-0.02, 0.02),  # head, which rests unless something hits it
        (-0.02, 0.02),
        (-0.7, 0.7),  # shoulder: pan
        (-1.05, 0.4),  # shoulder: lift; the arm is high up below
        (-0.5, 0.5),  # upper arm: roll
        (-0.1, 1.95),  # elbow
        (-0.8, 0.8),  # forearm: roll
        (0.0, 1.8),  # wrist: flex
        (-0.9, 0.9),  # wrist: roll
    ]
)
FROM_START = 3  # joints, the first ones, whose limits are seen from their start
JOINTS = slice(3, 13)  # of qpos
HIGH = -0.85  # rad; with the shoulder lifted higher than this, the upper arm comes near the head
HIGH_PAN = 0.3  # rad; unless it points ahead
AHEAD = 0.78  # m; the gripper's body is at least this far ahead of the place of the base,
LOWEST = 0.2  # m; and this far above the floor, twice as far as its fingers reach;
OBJECT_AHEAD = 0.75  # m; and the object is this far ahead

_ARRAYS = ("geom_contype", "geom_conaffinity", "body_contype", "body_conaffinity")


def apart(qpos: Array, link: Array, first: Array) -> bool:
    """Tell whether the pairs that `few` leaves out are apart.

    Args:
        qpos: [Q].
        link: [3] m, the place of the gripper's body, which may be a physics step old.
        first: [Q], where the scene starts.
    """
    joints = qpos[JOINTS].copy()
    joints[:FROM_START] -= first[JOINTS][:FROM_START]
    if not ((joints > LIMITS[:, 0]) & (joints < LIMITS[:, 1])).all():
        return False
    if joints[4] < HIGH and abs(joints[3]) > HIGH_PAN:
        return False
    if link[0] < first[0] + AHEAD or link[2] < LOWEST:
        return False
    return len(qpos) <= JOINTS.stop + 2 or bool(qpos[-7] > first[0] + OBJECT_AHEAD)


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
    """Return the pairs of geoms that `few` leaves out of those with a mask, the lower number first."""
    bits = {geom: (looks, is_seen) for geom, looks, is_seen in _bits(model)}
    pairs = ((one, other) for one in bits for other in bits if one < other)
    return {
        (one, other) for one, other in pairs if not (bits[one][0] & bits[other][1] or bits[other][0] & bits[one][1])
    }


def _bits(model: mujoco.MjModel) -> Iterator[tuple[int, int, int]]:
    """Yield geom, contype and conaffinity: a pair is looked at if a bit of one's first is in the other's second."""
    base, thing, hand, arm, body = 1, 2, 4, 8, 16
    base_geom = int(model.geom(ROBOT + BASE).id)
    elbow_geoms, hand_geoms = ({int(model.geom(ROBOT + name).id) for name in names} for names in (ELBOW, HAND))
    for geom in range(model.ngeom):
        if not model.geom_contype[geom]:
            continue  # it is only drawn
        name = model.geom(geom).name
        if geom == base_geom:
            yield geom, body, base
        elif geom in elbow_geoms:
            yield geom, 0, arm
        elif geom in hand_geoms:
            yield geom, 0, arm | hand | body
        elif name.startswith(ROBOT):
            yield geom, 0, 0
        elif model.body_weldid[model.geom_bodyid[geom]]:  # the object
            yield geom, arm, thing
        elif name == "floor0":
            yield geom, base | thing, 0
        else:  # the table
            yield geom, thing | hand, 0
