"""Definitions whose actions displace a robot's end effector: by position servos, and by a mocap body."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_reaching import MJCF, SITES, write_reaching

from mql import tasks
from mql.errors import UserError
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.control.effector import ServoEffector, Stroke, stroke
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import Array

pytestmark = pytest.mark.newest

PULLED = {"mjcf": (' active="false"', "")}  # the robot desk, with its weld switched on


def load(path: Path) -> ParallelDefinedFamily:
    family = undisturbed(tasks.from_file(path))  # without what the robot's sensors state
    assert isinstance(family, ParallelDefinedFamily)
    return family


def seeing_end(folder: Path, robot: str, **more: object) -> ParallelDefinedFamily:
    """Load a task that observes the place of the end effector, and nothing else."""
    return load(write_reaching(folder, robot, observe=SITES[robot], **more))  # type: ignore[arg-type]


def moved(family: ParallelDefinedFamily, action: list[float], *, steps: int = 1, settle: int = 15) -> Array:
    """Return how far the end effector is after some steps of an action and as many of none as it takes to rest."""
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    none = np.zeros(family.action_dim)
    for _ in range(settle):
        before = env.step(none)[0]
    for _ in range(steps):
        env.step(np.array(action))
    for _ in range(settle):
        after = env.step(none)[0]
    return np.asarray(after - before, np.float64)


AXES = [(axis, sign) for axis in range(3) for sign in (1.0, -1.0)]
# The arm of fetch is stretched at home, so that it can't go further ahead.
CASES = [
    *(("arm7", 3, 0.02, axis, sign) for axis, sign in AXES),
    *(("fetch", 4, 0.05, axis, sign) for axis, sign in AXES if (axis, sign) != (0, 1.0)),
    *(("desk", 4, 0.02, axis, sign) for axis, sign in AXES),
]


@pytest.mark.parametrize(("robot", "action_dim", "scale", "axis", "sign"), CASES)
def test_a_unit_action_moves_the_site_by_the_scale_once_it_rests(
    tmp_path: Path, robot: str, action_dim: int, scale: float, axis: int, sign: float
) -> None:
    family = seeing_end(tmp_path, robot)
    assert family.action_dim == action_dim
    action = [0.0] * action_dim
    action[axis] = sign
    wanted = scale * np.eye(3)[axis] * sign
    np.testing.assert_allclose(moved(family, action), wanted, atol=0.06 * scale)


@pytest.mark.needs_extra
def test_the_control_step_is_that_of_the_modes_rate(tmp_path: Path) -> None:
    assert load(write_reaching(tmp_path, "arm7")).control_timestep == pytest.approx(0.05)
    assert load(write_reaching(tmp_path, "fetch")).control_timestep == pytest.approx(0.04)


def test_several_actions_add_up(tmp_path: Path) -> None:
    way = moved(seeing_end(tmp_path, "arm7"), [0.5, -0.5, 0.25], steps=8, settle=9)
    np.testing.assert_allclose(way, [0.08, -0.08, 0.04], atol=2e-3)


@pytest.mark.parametrize(("robot", "body"), [("arm7", "link7"), ("fetch", "robot0:gripper_link")])
def test_the_end_effector_keeps_its_orientation(tmp_path: Path, robot: str, body: str) -> None:
    family = load(write_reaching(tmp_path, robot))  # observes all positions first
    model = family.mechanism.model
    data = mujoco.MjData(model)
    turns = []
    env = family.make(family.tasks("train")[0])
    obs, _ = env.reset(seed=0)
    for action in [None, *[[-0.5, 0.5, -0.5, 0.0]] * 5, *[[0.0] * 4] * 10]:
        if action is not None:
            obs = env.step(np.array(action[: family.action_dim]))[0]
        data.qpos[:] = obs[: model.nq]
        mujoco.mj_kinematics(model, data)
        turns.append(data.body(body).xmat.reshape(3, 3).copy())
    assert np.abs(turns[-1] - turns[0]).max() < 0.02


@pytest.mark.parametrize(("robot", "more"), [("desk", {}), ("desk", {"control": "pull", **PULLED}), ("fetch", {})])
def test_without_an_action_a_heavy_arm_stays(tmp_path: Path, robot: str, more: dict[str, object]) -> None:
    family = seeing_end(tmp_path, robot, **more)
    assert np.abs(moved(family, [0.0] * 4, steps=10)).max() < 4e-4


@pytest.mark.parametrize(("control", "kind"), [("reach", ServoEffector), ("pull", MocapEffector)])
def test_one_robot_can_have_both_ways(tmp_path: Path, control: str, kind: type) -> None:
    family = load(write_reaching(tmp_path, "desk", control=control, **PULLED))  # type: ignore[arg-type]
    assert isinstance(family.mechanism.commands, kind)


@pytest.mark.parametrize(
    ("robot", "fingers", "wide"),
    [("fetch", ("joint_robot0_l_gripper_finger_joint",), 0.05), ("desk", ("joint_grip",), 0.04)],
)
def test_the_gripper_opens_and_closes(tmp_path: Path, robot: str, fingers: tuple[str, ...], wide: float) -> None:
    family = load(write_reaching(tmp_path, robot, observe=", ".join(fingers)))
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    for asked, place in ((1.0, wide), (-1.0, 0.0), (0.0, wide / 2.0)):
        for _ in range(12):
            obs = env.step(np.array([0.0, 0.0, 0.0, asked]))[0]
        assert np.allclose(obs, place, atol=2e-3), asked


def test_what_is_neither_arm_nor_gripper_holds_still(tmp_path: Path) -> None:
    family = load(write_reaching(tmp_path, "desk", observe="joint_nod"))
    env = family.make(family.tasks("train")[0])
    start = env.reset(seed=0)[0][0]
    seen = [env.step(np.array([1.0, -1.0, 1.0, 1.0]))[0][0] for _ in range(20)]
    assert start == pytest.approx(0.4, abs=0.011) and np.allclose(seen, start, atol=0.05)


def test_the_place_asked_for_runs_a_short_way_ahead() -> None:
    """At 20 Hz and 0.02 m it is three strokes, at 80 Hz and 0.01 m the way of 0.1 s at full speed."""
    assert stroke(0.02, 20.0) == Stroke(0.02, pytest.approx(0.06))
    assert stroke(0.01, 80.0) == Stroke(0.01, pytest.approx(0.08))
    asked, place = np.array([0.05, 0.0, 0.0]), np.array([0.0, 0.0, 0.01])
    np.testing.assert_allclose(stroke(0.02, 20.0).ask(asked, np.array([1.0, -0.5, 0.0]), place), [0.06, -0.01, 0])


def test_what_was_asked_for_stays_however_far_the_place_is() -> None:
    """A load that is picked up draws the arm 20 cm away: nothing creeps after it, and no action asks for more."""
    asked, place = np.array([0.3, 0.0, 0.5]), np.array([0.3, 0.0, 0.3])
    one = stroke(0.02, 20.0)
    assert np.array_equal(one.ask(asked, np.zeros(3), place), asked)
    np.testing.assert_allclose(one.ask(asked, np.array([0.0, 0.0, 1.0]), place), asked)
    np.testing.assert_allclose(one.ask(asked, np.array([1.0, 0.0, -1.0]), place), [0.32, 0.0, 0.48])


@pytest.mark.needs_extra
def test_an_arm_that_was_held_up_turns_back_at_once(tmp_path: Path) -> None:
    """Fetch, stretched, can't go ahead; what was asked for meanwhile is not stored up."""
    family = seeing_end(tmp_path, "fetch")
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    for _ in range(25):
        stuck = env.step(np.array([1.0, 0.0, 0.0, 0.0]))[0]
    for _ in range(8):
        back = env.step(np.array([-1.0, 0.0, 0.0, 0.0]))[0]
    assert back[0] < stuck[0] - 0.02


@pytest.mark.parametrize("robot", ["arm7", "fetch", "desk"])
def test_a_task_is_bit_equal_alone_and_beside_others(tmp_path: Path, robot: str) -> None:
    family = load(write_reaching(tmp_path, robot))
    chosen, dim = family.tasks("train")[:3], family.action_dim
    actions = np.random.default_rng(0).uniform(-1, 1, (12, 3, dim))
    batch, env = family.make_batch(chosen, threads=2), family.make(chosen[1])
    for _ in range(2):  # the second time what was asked for before is forgotten
        first = batch.reset([5, 6, 7])
        steps = [batch.step(action) for action in actions]
        assert np.array_equal(env.reset(seed=6)[0], first[1])
        for action, step in zip(actions, steps, strict=True):
            obs, reward, *_, info = env.step(action[1])
            assert np.array_equal(obs, step.obs[1]) and reward == step.reward[1]
            assert info["success"] == step.info["success"][1]
    batch.close()


@pytest.mark.parametrize(("robot", "apart"), [("arm7", 1e-6), ("fetch", 0.0)])
def test_with_a_python_class_it_moves_as_without(tmp_path: Path, robot: str, apart: float) -> None:
    """By a mocap body bit for bit; by servos as near as `mujoco.rollout` is to a plain simulation."""
    alone = tasks.from_file(write_reaching(tmp_path, robot, python=True), trust=True)
    assert not alone.native
    env = alone.make(alone.tasks("train")[0])
    obs, _ = env.reset(seed=0)
    parallel = load(write_reaching(tmp_path, robot))
    assert alone.action_dim == parallel.action_dim and alone.control_timestep == parallel.control_timestep
    start, batch = parallel.mechanism.start, parallel.make_batch([parallel.tasks("train")[0]])
    assert np.array_equal(batch.set_state(start.qpos[None], start.qvel[None])[0], obs)
    rng = np.random.default_rng(0)
    for _ in range(10):
        action = rng.uniform(-1, 1, alone.action_dim).astype(np.float32)
        step = batch.step(action[None])
        obs, reward, *_ = env.step(action)
        np.testing.assert_allclose(step.obs[0], obs, rtol=0.0, atol=apart)
        assert step.reward[0] == pytest.approx(reward, abs=apart)
    batch.close()
    env.close()


WELD = '<weld name="pull" body1="desk_mocap" body2="lower" active="false"/>'
TILTED = 'relpose="0.1 0.2 0.3 0.5 0.5 -0.5 0.5" anchor="0.05 0.02 0.01"'


@pytest.mark.parametrize("ends", ['body1="desk_mocap" body2="lower"', 'body1="lower" body2="desk_mocap"'])
@pytest.mark.parametrize("pose", ["", TILTED])
def test_at_the_start_the_weld_pulls_nothing(tmp_path: Path, ends: str, pose: str) -> None:
    path = write_reaching(tmp_path, "desk", control="pull", mjcf=(WELD, f"<weld {ends} {pose}/>"))
    family = load(path)
    effector, model = family.mechanism.commands, family.mechanism.model
    assert isinstance(effector, MocapEffector)
    data = mujoco.MjData(model)
    data.qpos[:] = family.mechanism.start.qpos
    drive = effector.drive(model, data)
    drive.start()
    nod = data.ctrl[3]
    assert nod == pytest.approx(0.4, abs=0.01)  # the head's servo carries the head
    mujoco.mj_forward(model, data)
    of_weld = data.efc_type == mujoco.mjtConstraint.mjCNSTR_EQUALITY
    assert of_weld.sum() == 6 and np.abs(data.efc_pos[of_weld]).max() < 1e-9
    resting = data.qpos.copy()
    mujoco.mj_step(model, data, 200)
    assert np.abs(data.qpos - resting).max() < 0.05  # it sags a little
    drive.act(np.array([0.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(data.ctrl, [2.0 * data.joint("turn").qpos[0], *data.qpos[2:4], nod, 0.04])  # they yield


SERVO = '<position name="shoulder" joint="shoulder" kp="400" kv="30"/>'
FREE = '<body name="turret" pos="0 0 0.2">'


@pytest.mark.parametrize(
    ("control", "mjcf", "spec", "messages"),
    [
        ("reach", (SERVO, SERVO.replace("position", "velocity").replace(' kp="400"', "")), ("", ""), ("'shoulder'",)),
        ("reach", (SERVO, ""), ("", ""), ("joint 'shoulder' on the way to 'tcp'", "one position servo")),
        ("reach", (SERVO, SERVO + SERVO.replace('name="shoulder" ', "")), ("", ""), ("one position servo",)),
        ("reach", (FREE, FREE + '<joint name="rail" type="slide"/>'), ("", ""), ("'rail'", "one position servo")),
        ("reach", ("", ""), ("site: tcp", "site: tpc"), ("no site 'tpc'", "did you mean 'tcp'", "desk.yaml:7")),
        ("reach", ("", ""), ("actuators: [grip]", "actuators: [gripp]"), ("no actuator 'gripp'", "'grip'")),
        ("pull", ("", ""), ("", ""), ("'desk_mocap' pulls nothing", "<weld")),
        ("pull", ("", ""), ("mocap_body: desk_mocap", "mocap_body: lower"), ("no mocap body 'lower'",)),
        ("pul", ("", ""), ("", ""), ("no control mode 'pul'", "did you mean 'pull'")),
    ],
)  # fmt: skip
def test_a_robot_that_can_not_be_moved_so_is_one_line(
    tmp_path: Path, control: str, mjcf: tuple[str, str], spec: tuple[str, str], messages: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        tasks.from_file(write_reaching(tmp_path, "desk", control=control, mjcf=mjcf, spec=spec))
    message = str(caught.value)
    assert "\n" not in message
    for part in messages:
        assert part in message


def test_a_site_that_no_joint_moves_is_refused(tmp_path: Path) -> None:
    fixed = '<site name="post"/><body name="turret"'
    path = write_reaching(tmp_path, "desk", mjcf=('<body name="turret"', fixed), spec=("site: tcp", "site: post"))
    with pytest.raises(UserError, match="no joint moves 'post'"):
        tasks.from_file(path)


def test_a_simulation_that_diverges_is_nan_and_the_others_go_on(tmp_path: Path) -> None:
    family = load(write_reaching(tmp_path, "desk", control="pull", **PULLED))  # type: ignore[arg-type]
    chosen, start = family.tasks("train")[:2], family.mechanism.start
    qvel = np.zeros((2, len(start.qvel)))
    batch = family.make_batch(chosen)
    batch.set_state(np.stack([start.qpos] * 2), qvel)
    calm = [batch.step(np.zeros((2, 4))) for _ in range(3)]
    qvel[0] = 1e12
    batch.set_state(np.stack([start.qpos] * 2), qvel)
    for before in calm:
        step = batch.step(np.zeros((2, 4)))
        assert np.isnan(step.obs[0]).all() and np.isnan(step.reward[0])
        assert np.array_equal(step.obs[1], before.obs[1])


@pytest.mark.parametrize("robot", ["arm7", "desk", "fetch"])
def test_the_definition_is_sound(tmp_path: Path, robot: str) -> None:
    path = write_reaching(tmp_path, robot)
    inspection = Inspection(lambda: tasks.from_file(path), QUICK)
    for check in CHECKS:
        if check != "render":  # needs OpenGL
            verdict = run_check(inspection, check)
            assert verdict.result != "fail", (check, verdict)


def test_the_text_of_the_robot_has_what_is_exchanged() -> None:
    assert WELD in MJCF and SERVO in MJCF


def test_in_a_mode_of_joints_the_gripper_takes_the_last_number(tmp_path: Path) -> None:
    """Turn, shoulder, elbow and nod by their targets, then the finger from closed to open."""
    mode = ("control:\n", "control:\n  delta: {kind: position_delta, scale: 0.05, rate_hz: 20}\n")
    path = write_reaching(tmp_path, "desk", control="delta", observe="joint_grip, joint_elbow", spec=mode)
    family = load(path)
    assert family.action_dim == 5
    env = family.make(family.tasks("train")[0])
    start = env.reset(seed=0)[0]
    for asked, place in ((1.0, 0.04), (-1.0, 0.0)):
        for _ in range(12):
            obs = env.step(np.array([0.0, 0.0, 0.0, 0.0, asked]))[0]
        assert obs[0] == pytest.approx(place, abs=2e-3) and obs[1] == pytest.approx(start[1], abs=1e-3)
