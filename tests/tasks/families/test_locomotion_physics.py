"""Families that change the physics: what each task parameter does to the model, and that nothing drifts."""

from __future__ import annotations

import copy
import math

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.robots.models.half_cheetah import HALF_CHEETAH
from mql.tasks import registry
from mql.tasks.family import Array, Task
from mql.tasks.physics.rebuild import rebuilt, unlike
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.rollout import MujocoFamily, compiled_model

pytestmark = pytest.mark.newest

CHANGED = ("body_mass", "body_inertia", "body_ipos", "geom_friction", "dof_damping", "jnt_stiffness", "actuator_gear")
PARAMS = ["hopper-params", "walker-params"]


def varied(name: str) -> MujocoFamily:
    family = registry.load(name)
    assert isinstance(family, MujocoFamily)
    return family


def base(family: MujocoFamily) -> mujoco.MjModel:
    return compiled_model(str(family.robot.path))


def ones(family: MujocoFamily, **changes: Array) -> Task:
    values: dict[str, object] = {name: (1.0,) * spec.width for name, spec in family.parameters.items()}
    return family.task(values | {name: tuple(change) for name, change in changes.items()})


def test_walker_params_has_65_multipliers_and_hopper_params_41() -> None:
    widths = {name: [spec.width for spec in varied(name).parameters.values()] for name in PARAMS}
    assert widths == {"hopper-params": [5, 15, 15, 6], "walker-params": [8, 24, 24, 9]}
    assert [sum(sizes) for sizes in widths.values()] == [41, 65]


@pytest.mark.parametrize("name", PARAMS)
def test_multipliers_are_spread_as_published(name: str) -> None:
    """Logarithms to the base 1.5 (damping 1.3) fill [-3, 3], around a mean of 0."""
    tasks = varied(name).tasks("train")
    for key, number in (("mass", 1.5), ("inertia", 1.5), ("friction", 1.5), ("damping", 1.3)):
        exponents = np.log(np.array([task.parameters[key] for task in tasks])) / math.log(number)
        assert -3.0 <= exponents.min() < -2.7 and 2.7 < exponents.max() <= 3.0
        assert abs(exponents.mean()) < 0.4
    for task in varied(name).tasks("ood"):
        assert max(task.parameters["friction"]) < 1.5**-3  # type: ignore[arg-type]
        assert min(task.parameters["damping"]) > 1.3**3  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PARAMS)
def test_each_number_of_the_model_is_multiplied_by_its_own_multiplier(name: str) -> None:
    family = varied(name)
    task, original = family.tasks("train")[0], base(family)
    model = family.model(task)
    value = {key: np.array(values) for key, values in task.parameters.items()}
    assert np.array_equal(model.body_mass, original.body_mass * value["mass"])
    assert np.array_equal(model.body_inertia.ravel(), original.body_inertia.ravel() * value["inertia"])
    assert np.array_equal(model.geom_friction.ravel(), original.geom_friction.ravel() * value["friction"])
    assert np.array_equal(model.dof_damping, original.dof_damping * value["damping"])
    # What MuJoCo derives from masses has followed.
    assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())
    assert not np.allclose(model.dof_invweight0, original.dof_invweight0)


@pytest.mark.parametrize("name", [*PARAMS, "cheetah-faults"])
def test_models_do_not_drift(name: str) -> None:
    """The same task gives the same model, whatever was built before, and the shared model stays as it was."""
    family = varied(name)
    before = {field: getattr(base(family), field).copy() for field in CHANGED}
    first, second = (family.model(family.tasks("train")[index]) for index in (0, 1))
    again = family.model(family.tasks("train")[0])
    for field in (*CHANGED, "body_subtreemass", "dof_M0", "body_invweight0", "dof_invweight0"):
        assert np.array_equal(getattr(first, field), getattr(again, field)), field
    assert any(not np.array_equal(getattr(first, field), getattr(second, field)) for field in CHANGED)
    for field, values in before.items():
        assert np.array_equal(getattr(base(family), field), values), field


@pytest.mark.parametrize("name", PARAMS)
def test_multipliers_of_one_change_no_bit(name: str) -> None:
    family = varied(name)
    model, original = family.model(ones(family)), base(family)
    for field in (*CHANGED, "body_subtreemass", "dof_M0"):
        assert np.array_equal(getattr(model, field), getattr(original, field)), field
    assert (model.opt.timestep, original.opt.timestep) == (0.004, 0.002)


@pytest.mark.parametrize("name", PARAMS)
def test_runners_step_as_published_and_v5_as_gymnasium(name: str) -> None:
    """0.016 s, four steps of 0.004 s; the models' files say 0.002 s."""
    published, v5 = varied(name), varied(f"{name}-v5")
    assert published.model(ones(published)).opt.timestep == 0.004
    assert v5.model(ones(v5)).opt.timestep == 0.002
    assert (published.robot.frame_skip, v5.robot.frame_skip) == (4, 4)
    assert (published.control_timestep, v5.control_timestep) == (pytest.approx(0.016), pytest.approx(0.008))
    assert [task.parameters for task in published.tasks("test")] == [task.parameters for task in v5.tasks("test")]


def test_walker_legacy_has_the_older_model() -> None:
    legacy = varied("walker-params-legacy")
    model = legacy.model(legacy.tasks("train")[0])
    assert (model.opt.timestep, legacy.robot.frame_skip) == (0.004, 4)
    assert legacy.control_timestep == pytest.approx(0.016)
    assert legacy.robot.path.name == "walker2d.xml"
    assert base(legacy).opt.timestep == 0.002


def trajectory(family: MujocoFamily, task: Task) -> Array:
    """Twenty random steps of a runner on its feet, then on its side (where every geom touches the floor)."""
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (20, 1, family.action_dim))
    qpos = np.array([family.robot.rest])
    rows = []
    for pitch, height in ((0.0, 1.2), (1.5, 0.1)):
        qpos[0, 1:3] = height, pitch
        dynamics = family.dynamics([task], 1)
        dynamics.place(PhysicsState(qpos, np.zeros_like(qpos)))
        for action in actions:
            _, after = dynamics.advance(action)
            rows.append(np.concatenate([after.qpos[0], after.qvel[0]]))
        dynamics.close()
    return np.array(rows)


@pytest.mark.parametrize("name", PARAMS)
def test_which_multipliers_act(name: str) -> None:
    """The world, torsion, rolling, root joints and moments about axes in the plane can't act; the rest does."""
    family = varied(name)
    bodies = len(family.robot.masses) + 1
    unchanged = trajectory(family, ones(family))

    def acts(key: str, entries: Array) -> bool:
        scale = np.ones(family.parameters[key].width)
        scale[entries] = 1.5**3
        # A nudge of rounding size is no effect.
        return bool(np.abs(trajectory(family, ones(family, **{key: scale})) - unchanged).max() > 1e-6)

    moments = np.arange(3 * bodies).reshape(bodies, 3)
    assert not acts("mass", np.array([0]))
    assert all(acts("mass", np.array([body])) for body in range(1, bodies))
    assert not acts("inertia", moments[0])
    across = moments[1:, 1]  # the second axis stands on the plane of motion, in every body
    assert acts("inertia", across) and not acts("inertia", np.setdiff1d(moments, across))
    assert acts("friction", moments[:, 0]) and not acts("friction", moments[:, 1:].ravel())
    assert not acts("damping", np.arange(3)) and acts("damping", np.arange(3, family.action_dim + 3))


@pytest.mark.parametrize(("key", "value"), [("mass", 0.0), ("inertia", -1.0), ("friction", -0.1), ("damping", -2.0)])
def test_only_what_physics_forbids_is_refused(key: str, value: float) -> None:
    family = varied("walker-params")
    values: dict[str, object] = {name: (1.0,) * spec.width for name, spec in family.parameters.items()}
    width = family.parameters[key].width
    with pytest.raises(UserError, match=f"task parameter '{key}' can't be"):
        family.task(values | {key: (1.0,) * (width - 1) + (value,)})
    assert not family.task(values | {key: (50.0,) * width}).in_training_range


def fault(**changes: float) -> mujoco.MjModel:
    family = varied("cheetah-faults")
    healthy = {"faulty_joint": 1.0, "strength": 1.0, "locked": 0.0, "torso_mass": 1.0, "torso_shift": 0.0}
    return family.model(family.task(healthy | changes))


def test_no_fault_is_the_robot_itself() -> None:
    model, original = fault(), compiled_model(str(HALF_CHEETAH.path))
    for field in CHANGED:
        assert np.array_equal(getattr(model, field), getattr(original, field)), field


@pytest.mark.parametrize("joint", range(6))
def test_a_weak_joint_is_weak_and_the_others_are_not(joint: int) -> None:
    gears = [actuator.gear for actuator in HALF_CHEETAH.actuators]
    gears[joint] *= 0.25
    assert list(fault(faulty_joint=joint, strength=0.25).actuator_gear[:, 0]) == gears
    moved = fault(faulty_joint=joint, locked=1.0).jnt_stiffness - fault().jnt_stiffness
    assert list(np.flatnonzero(moved)) == [3 + joint]
    assert HALF_CHEETAH.joints[3 + joint] == HALF_CHEETAH.actuators[joint].joint


@pytest.mark.parametrize("joint", [0, 3, 5])
def test_a_locked_joint_stays_at_its_rest_angle(joint: int) -> None:
    """Random full torque bends it by less than 0.05 rad, and a free one by more than 0.3; nothing blows up."""
    bends = []
    for locked in (1.0, 0.0):
        model = fault(faulty_joint=joint, locked=locked, torso_mass=2.0, torso_shift=-0.2)
        data, rng = mujoco.MjData(model), np.random.default_rng(0)
        angles = []
        for _ in range(200):
            data.ctrl[:] = rng.choice([-1.0, 1.0], 6)
            mujoco.mj_step(model, data, nstep=5)
            angles.append(abs(data.qpos[3 + joint]))
        assert data.time == pytest.approx(10.0) and np.isfinite(data.qpos).all()
        bends.append(max(angles))
    assert bends[0] < 0.05 and bends[1] > 0.3


def test_a_load_is_mass_with_inertia_and_moves_the_centre_of_mass() -> None:
    original, model = fault(), fault(torso_mass=1.5, torso_shift=-0.1)
    torso = original.body("torso").id
    assert model.body_mass[torso] == pytest.approx(1.5 * original.body_mass[torso])
    np.testing.assert_allclose(model.body_inertia[torso], 1.5 * original.body_inertia[torso])
    centres = []
    for each in (original, model):
        data = mujoco.MjData(each)
        mujoco.mj_forward(each, data)
        centres.append(data.xipos[torso].copy())
    np.testing.assert_allclose(centres[1] - centres[0], [-0.1, 0.0, 0.0], atol=1e-12)


def test_faults_outside_are_harder() -> None:
    for task in varied("cheetah-faults").tasks("ood"):
        assert task.parameters["strength"] <= 0.3  # type: ignore[operator]
        assert 1.55 <= task.parameters["torso_mass"] <= 2.0  # type: ignore[operator]
        assert task.parameters["torso_shift"] <= -0.11  # type: ignore[operator]


@pytest.mark.parametrize("split", ["train", "ood"])
def test_a_loaded_torso_touches_the_ground_where_it_is(split: str) -> None:
    """MuJoCo looks for contacts in volumes first; without them (no midphase) it finds the same ones."""
    family = varied("cheetah-faults")
    touched = 0
    for task in family.tasks(split)[:6]:
        plain, slow = family.model(task), copy.deepcopy(family.model(task))
        slow.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE.value
        rng, torso = np.random.default_rng(0), plain.body("torso").id
        data = [mujoco.MjData(plain), mujoco.MjData(slow)]
        for each in data:
            each.qpos[1:3] = -0.3, 2.9  # on its back
        for _ in range(100):
            control = rng.uniform(-1.0, 1.0, plain.nu)
            for model, each in zip((plain, slow), data, strict=True):
                each.ctrl[:] = control
                mujoco.mj_step(model, each, nstep=5)
            touched += int((plain.geom_bodyid[data[1].contact.geom] == torso).any())
            np.testing.assert_allclose(data[0].qpos, data[1].qpos, rtol=0.0, atol=1e-9)
    assert touched > 50
    assert unlike(plain, rebuilt(plain, family.source)) == []
