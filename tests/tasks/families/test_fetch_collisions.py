"""The pairs of geoms that the Fetch families leave out of collisions are apart wherever that is done."""

from __future__ import annotations

import copy

import mujoco
import numpy as np
import pytest
from fetch_tasks import Array

from mql.tasks.families.robotics.fetch_collisions import (
    AHEAD,
    FROM_START,
    HIGH,
    HIGH_PAN,
    JOINTS,
    LIMITS,
    LOWEST,
    OBJECT_AHEAD,
    Masks,
    apart,
    left_out,
)
from mql.tasks.families.robotics.fetch_scenes import LINK, SCENES, started
from mql.tasks.families.robotics.fetch_simulation import SharedSimulation

# Beyond the limits by this much: what may happen within a control step, before all pairs are looked at again.
ROOM = np.array([0.01, 0.03, 0.03, 0.15, 0.07, 0.15, 0.15, 0.15, 0.15, 0.15])
ROOM_OF_PLACES = 0.05  # m
CLEARANCE = 0.005  # m; contacts are made from 0.001 m on
PLACES = 800
MARGIN = 0.001  # m


def collidable(model: mujoco.MjModel, one: int, other: int) -> bool:
    """Tell whether MuJoCo would look at a pair, by its rules about bodies: one body, a parent, excluded."""
    bodies = model.geom_bodyid[[one, other]]
    welded = model.body_weldid[bodies]
    parents = model.body_weldid[model.body_parentid[welded]]
    if welded[0] == welded[1] or (welded.all() and (welded[0] == parents[1] or welded[1] == parents[0])):
        return False
    return (int(min(bodies)) << 16) + int(max(bodies)) not in set(model.exclude_signature.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCENES)
def test_what_is_left_out_is_apart(kind: str) -> None:
    """Places at random within the limits and some way beyond, the corners more often than the middle."""
    scene, start = SCENES[kind], started(SCENES[kind])
    model = start.model
    assert model.geom_margin.max() <= MARGIN
    pairs = sorted(pair for pair in left_out(model) if collidable(model, *pair))
    data, rng, fromto = mujoco.MjData(model), np.random.default_rng(0), np.zeros(6)
    link = int(model.body(LINK).id)
    reach = model.geom_rbound.copy()
    reach[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE] = np.inf
    nearest, tried = np.inf, 0
    while tried < PLACES:
        part = np.clip(rng.uniform(-0.2, 1.2, len(LIMITS)), 0.0, 1.0)
        joints = LIMITS[:, 0] - ROOM + part * (np.diff(LIMITS, axis=1)[:, 0] + 2.0 * ROOM)
        if joints[4] < HIGH - ROOM[4] and abs(joints[3]) > HIGH_PAN + ROOM[3]:
            continue
        data.qpos[:] = start.qpos
        data.qpos[JOINTS] = joints
        data.qpos[JOINTS][:FROM_START] += start.qpos[JOINTS][:FROM_START]
        data.qpos[start.fingers] = rng.uniform(0.0, 0.05, 2) if not scene.shut else 0.0
        if scene.has_object:
            ahead = start.qpos[0] + OBJECT_AHEAD - ROOM_OF_PLACES
            data.qpos[-7:-4] = [
                rng.choice([ahead, rng.uniform(ahead, 1.8)]),
                rng.uniform(0.2, 1.3),
                rng.uniform(0.0, 1.2),
            ]
        mujoco.mj_kinematics(model, data)
        place = data.xpos[link]
        if place[0] < start.qpos[0] + AHEAD - ROOM_OF_PLACES or place[2] < LOWEST - ROOM_OF_PLACES:
            continue
        tried += 1
        for one, other in pairs:
            between = np.linalg.norm(data.geom_xpos[one] - data.geom_xpos[other]) - reach[one] - reach[other]
            if between < CLEARANCE:
                away = mujoco.mj_geomDistance(model, data, one, other, 0.1, fromto)
                assert away > CLEARANCE, (model.geom(one).name, model.geom(other).name, joints, data.qpos[-7:-4])
                nearest = min(nearest, away)
    assert nearest < 0.1, "nothing was near"


@pytest.mark.parametrize("kind", SCENES)
def test_masks_leave_out_what_they_say(kind: str) -> None:
    model = copy.deepcopy(started(SCENES[kind]).model)
    masks, out = Masks.of(model), left_out(model)
    for name, values in masks.few.items():
        getattr(model, name)[:] = values
    drawn = [geom for geom in range(model.ngeom) if not masks.all["geom_contype"][geom]]
    for one in range(model.ngeom):
        for other in range(one + 1, model.ngeom):
            looked = bool(
                (model.geom_contype[one] & model.geom_conaffinity[other])
                | (model.geom_contype[other] & model.geom_conaffinity[one])
            )
            assert looked is ((one, other) not in out and one not in drawn and other not in drawn)
    hand, table = model.geom("robot0:r_gripper_finger_link").id, int(model.body("table0").geomadr[0])
    assert (hand, table) not in out
    assert (model.geom("floor0").id, model.geom("robot0:base_link").id) not in out


def test_all_pairs_are_looked_at_once_something_is_near() -> None:
    start = started(SCENES["push"])
    link = start.gripper
    assert apart(start.qpos, link, start.qpos)
    for place, value in ((4, 0.2), (6, 0.8), (7, -1.1), (9, 2.0), (-7, 1.1)):
        near: Array = start.qpos.copy()
        near[place] = value
        assert not apart(near, link, start.qpos), place
    assert not apart(start.qpos, link - [0.2, 0.0, 0.0], start.qpos)
    turned = start.qpos.copy()
    turned[6], turned[7] = 0.5, -0.9
    assert not apart(turned, link, start.qpos)


@pytest.mark.parametrize(("name", "harmless"), [("body_mass", True), ("geom_friction", True), ("body_pos", False)])
def test_numbers_that_move_geoms_have_all_pairs_looked_at(name: str, harmless: bool) -> None:
    shared = SharedSimulation(SCENES["reach"])
    shared.load({name: np.array(getattr(shared.model, name))})
    assert shared.harmless is harmless
