"""Control modes of joints: against plain simulations, against hand-computed targets, alone and side by side."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from lab_modes import GEARS, HOME, JOINTS, KP, MOTOR, POSITION, VELOCITY, load_desk, write_desk

from mql import tasks
from mql.errors import UserError
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.family import Array
from mql.tasks.stepping.effector import ControlledDynamics
from mql.tasks.stepping.physics_state import PhysicsState

pytestmark = pytest.mark.newest

TARGETS = ("home", "delta", "end")  # modes in which no action asks for nothing


def arm(family: ParallelDefinedFamily, obs: Array) -> Array:
    """The arm's three angles in an observation [.., O]."""
    return obs[..., [int(family.mechanism.model.joint(name).qposadr[0]) for name in JOINTS]]


def play(family: ParallelDefinedFamily, actions: Array, *, load: float = 1.0) -> tuple[Array, list[dict[str, Any]]]:
    """Return the observations [T + 1, O] and the infos of actions [T, A] from home."""
    batch, start = family.make_batch([family.task({"load": load})]), family.mechanism.start
    seen, told = [batch.set_state(start.qpos[None], start.qvel[None])[0]], []
    for action in actions:
        step = batch.step(action[None])
        seen.append(step.obs[0])
        told.append({name: float(value[0]) for name, value in step.info.items()})
    batch.close()
    return np.array(seen, np.float64), told


def plain(family: ParallelDefinedFamily, controls: Array, *, load: float = 1.0) -> Array:
    """Return the angles [T, 3] of a plain simulation from home whose arm has controls [T, 3], one for each step."""
    model = family.model(family.task({"load": load}))
    data, angles = mujoco.MjData(model), []
    data.qpos[:] = family.mechanism.start.qpos
    places = [int(model.joint(name).qposadr[0]) for name in JOINTS]
    for control in controls:
        data.ctrl[:2] = 0.7, 0.1
        data.ctrl[2:] = control
        mujoco.mj_step(model, data, family.mechanism.frame_skip)
        angles.append(data.qpos[places].copy())
    return np.array(angles)


def weight(family: ParallelDefinedFamily, load: float) -> Array:
    """The torques [3] that hold the arm at home, from MuJoCo's inverse dynamics."""
    model = family.model(family.task({"load": load}))
    data = mujoco.MjData(model)
    data.qpos[:] = family.mechanism.start.qpos
    mujoco.mj_inverse(model, data)
    return np.array([data.qfrc_inverse[int(model.joint(name).dofadr[0])] for name in JOINTS])


@pytest.mark.parametrize("load", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("control", TARGETS)
def test_without_an_action_the_arm_stays_whatever_it_weighs(tmp_path: Path, control: str, load: float) -> None:
    family = load_desk(tmp_path, control)
    seen, _ = play(family, np.zeros((200, family.action_dim)), load=load)
    assert np.abs(seen[:, -3:] - seen[0, -3:]).max() < 1e-6
    np.testing.assert_allclose(arm(family, seen)[-1], HOME, atol=1e-6)


def test_servos_are_asked_for_the_target_and_for_what_they_carry_through_their_gears(tmp_path: Path) -> None:
    """Elbow with gear 2 and kp 60: 2 rad of control for 1 rad, and 1 / 120 rad for 1 N m."""
    family = load_desk(tmp_path, "delta", scale="0.05")
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 3))
    seen, _ = play(family, actions, load=3.0)
    targets = np.array(HOME) + np.cumsum(0.05 * actions, axis=0)
    gears = np.array(GEARS)
    controls = gears * targets + weight(family, 3.0) / (gears * KP)
    np.testing.assert_allclose(arm(family, seen)[1:], plain(family, controls, load=3.0), atol=1e-6)
    assert np.abs(weight(family, 3.0)).max() > 3.0


@pytest.mark.parametrize(
    ("scale", "each"), [("0.2", (0.2, 0.2, 0.2)), ("[0.1, 0.2, 0.3]", (0.1, 0.2, 0.3)),
    ("{elbow: 0.3, turn: 0.1, shoulder: 0.2}", (0.1, 0.2, 0.3))],
)  # fmt: skip
def test_targets_around_home_have_a_scale_per_joint(tmp_path: Path, scale: str, each: tuple[float, ...]) -> None:
    family = load_desk(tmp_path, "home", scale=scale)
    action = np.array([1.0, -0.5, 0.5])
    seen, _ = play(family, np.tile(action, (40, 1)))
    gears = np.array(GEARS)
    controls = gears * (np.array(HOME) + np.array(each) * action) + weight(family, 1.0) / (gears * KP)
    np.testing.assert_allclose(arm(family, seen)[1:], plain(family, np.tile(controls, (40, 1))), atol=1e-6)


def test_a_whole_action_asks_for_the_ends_of_the_ranges(tmp_path: Path) -> None:
    """The control range where there is one, else the joint's own: also through a gear."""
    family = load_desk(tmp_path, "whole")
    seen, _ = play(family, np.tile([1.0, 1.0, -0.5], (80, 1)))
    controls = np.array([2.6, 1.9, 2.0 * 0.6]) + weight(family, 1.0) / (np.array(GEARS) * KP)
    np.testing.assert_allclose(arm(family, seen)[1:], plain(family, np.tile(controls, (80, 1))), atol=1e-6)


def test_speeds_are_asked_of_velocity_servos_through_their_gears(tmp_path: Path) -> None:
    family = load_desk(tmp_path, "speed", actuators=VELOCITY, scale="0.5")
    actions = np.tile([1.0, -0.4, -0.6], (10, 1))
    seen, _ = play(family, actions)
    np.testing.assert_allclose(arm(family, seen)[1:], plain(family, 0.5 * actions * np.array(GEARS)), atol=1e-6)


def test_efforts_are_asked_of_motors_through_their_gears_and_gains(tmp_path: Path) -> None:
    family = load_desk(tmp_path, "effort", actuators=MOTOR, scale="4.0")
    actions = np.tile([0.1, -0.4, -0.6], (10, 1))
    seen, _ = play(family, actions)
    np.testing.assert_allclose(
        arm(family, seen)[1:], plain(family, 4.0 * actions / np.array([25.0, 25.0, 15.0])), atol=1e-6
    )


def test_a_servo_whose_gain_a_task_changes_still_holds(tmp_path: Path) -> None:
    """60 % of the gain, and all of the pull back: such a servo rests below what it is asked for."""
    family = load_desk(tmp_path)
    known, model = family.mechanism, copy.deepcopy(family.mechanism.model)
    model.actuator("shoulder").gainprm[0] *= 0.6
    assert not isinstance(known.commands, MocapEffector)
    dynamics = ControlledDynamics([model], known.frame_skip, 1, (), known.commands)
    dynamics.place(PhysicsState(known.start.qpos[None], known.start.qvel[None]))
    for _ in range(40):
        _, state = dynamics.advance(np.zeros((1, 3)))
    np.testing.assert_allclose(arm(family, state.qpos)[0], HOME, atol=1e-6)
    dynamics.close()


def test_a_servo_that_a_task_has_switched_off_is_asked_for_nothing(tmp_path: Path) -> None:
    family = load_desk(tmp_path)
    model = copy.deepcopy(family.mechanism.model)
    model.actuator("shoulder").gainprm[0] = 0.0
    controls = family.mechanism.commands.holding.controls(model, mujoco.MjData(model))
    assert np.isfinite(controls).all() and controls[model.actuator("shoulder").id] == 0.0


@pytest.mark.parametrize("control", ["", *TARGETS, "whole"])
def test_what_belongs_to_the_scene_holds_as_its_keyframe_says(tmp_path: Path, control: str) -> None:
    """A door held at 0.7 rad, a belt at 0.1 m/s: no number of an action moves them."""
    ranged = POSITION.replace('gear="2"', 'gear="2" ctrllimited="true" ctrlrange="0 4.8"').replace(
        'joint="turn" kp="60"', 'joint="turn" kp="60" ctrllimited="true" ctrlrange="-2 2"'
    )
    family = load_desk(tmp_path, control, actuators=ranged)
    assert family.action_dim == 3
    model = family.mechanism.model
    seen, _ = play(family, np.random.default_rng(0).uniform(-1.0, 1.0, (40, 3)))
    np.testing.assert_allclose(seen[:, int(model.joint("door").qposadr[0])], 0.7, atol=1e-4)
    assert seen[-1, int(model.joint("belt").qposadr[0])] == pytest.approx(0.2, abs=0.01)  # m, after 2 s


@pytest.mark.parametrize(
    ("control", "actuators", "what", "fits"),
    [
        ("speed", POSITION, "velocity does not fit actuator 'turn', a position servo", "around_home or position_delta"),
        ("effort", POSITION, "torque does not fit actuator 'turn', a position servo", "or ee_delta"),
        ("delta", MOTOR, "position_delta does not fit actuator 'turn', a motor", "choose torque"),
        ("home", VELOCITY, "around_home does not fit actuator 'turn', a velocity servo", "choose velocity"),
        ("effort", VELOCITY, "torque does not fit actuator 'turn', a velocity servo", "choose velocity"),
        ("delta", POSITION.replace("position", "muscle").replace('kp="60" kv="4"', ""), "law of its own", "leave env"),
        ("delta", POSITION + POSITION.replace('name="', 'name="b_'), "joint 'turn' has more than one", "leave it one"),
    ],
)  # fmt: skip
def test_a_mode_that_does_not_fit_is_one_line_that_says_what_would(
    tmp_path: Path, control: str, actuators: str, what: str, fits: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_desk(tmp_path, control, actuators=actuators)
    message = str(caught.value)
    assert "\n" not in message and what in message and fits in message and "desk_arm.yaml" in message


@pytest.mark.parametrize("control", TARGETS)
def test_a_servo_that_filters_its_control_holds_from_the_first_step(tmp_path: Path, control: str) -> None:
    family = load_desk(tmp_path, control, actuators=POSITION.replace('kv="4"', 'kv="4" timeconst="0.3"'))
    seen, _ = play(family, np.zeros((40, family.action_dim)), load=3.0)
    np.testing.assert_allclose(arm(family, seen), np.tile(HOME, (41, 1)), atol=1e-6)


def test_a_velocity_servo_beside_a_position_servo_damps(tmp_path: Path) -> None:
    damped = POSITION.replace(' kv="4"', "") + VELOCITY.replace('name="', 'name="d_')
    family = load_desk(tmp_path, "delta", actuators=damped)
    assert family.action_dim == 3
    seen, _ = play(family, np.zeros((40, 3)), load=3.0)
    np.testing.assert_allclose(arm(family, seen)[-1], HOME, atol=1e-6)


@pytest.mark.parametrize(
    ("scale", "what"),
    [("[0.1, 0.2]", "2 numbers for 3 joints"), ("{turn: 0.1, elbow: 0.2}", "leaves out joint 'shoulder'"),
    ("{turn: 0.1, shoulder: 0.2, elbow: 0.2, wrist: 0.1}", "unknown joint 'wrist'")],
)  # fmt: skip
def test_scales_that_are_not_one_for_each_joint_are_refused(tmp_path: Path, scale: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        load_desk(tmp_path, "delta", scale=scale)


def test_an_arm_that_is_held_up_turns_back_at_once(tmp_path: Path) -> None:
    """At the end of its range; what was asked for meanwhile is not stored up."""
    family = load_desk(tmp_path, "delta")
    up, back = np.tile([0.0, 0.0, -1.0], (40, 1)), np.tile([0.0, 0.0, 1.0], (6, 1))
    angles = arm(family, play(family, np.concatenate([up, back]))[0])[:, 2]
    assert angles[40] == pytest.approx(0.0, abs=0.02) and angles[46] > 0.3


def test_a_pulled_arm_comes_back_and_does_not_follow(tmp_path: Path) -> None:
    """Four times the lead away from what was asked, a new episode's memory is where it starts; within one it stays."""
    family = load_desk(tmp_path, "delta")
    batch, start = family.make_batch([family.task({"load": 1.0})]), family.mechanism.start
    away = start.qpos.copy()
    away[int(family.mechanism.model.joint("shoulder").qposadr[0])] += 1.2
    batch.set_state(start.qpos[None], start.qvel[None])
    batch.step(np.zeros((1, 3)))
    batch._dynamics._state_after.qpos[:] = away  # type: ignore[attr-defined] # a hand pushes it
    for _ in range(60):
        obs = batch.step(np.zeros((1, 3))).obs
    np.testing.assert_allclose(arm(family, obs)[0], HOME, atol=1e-4)
    again = batch.set_state(away[None], start.qvel[None])
    for _ in range(60):
        obs = batch.step(np.zeros((1, 3))).obs
    np.testing.assert_allclose(arm(family, obs), arm(family, again), atol=1e-4)
    batch.close()


@pytest.mark.parametrize(
    ("control", "actuators"), [("whole", POSITION), ("home", POSITION), ("delta", POSITION), ("end", POSITION),
    ("speed", VELOCITY), ("effort", MOTOR)],
)  # fmt: skip
def test_tasks_are_bit_equal_alone_and_side_by_side_and_forget_between_episodes(
    tmp_path: Path, control: str, actuators: str
) -> None:
    limits = "{end_effector_speed_m_s: 0.3, workspace_low_m: [0.3, -0.05, 0.32], workspace_high_m: [0.4, 0.05, 0.4]}"
    family = load_desk(tmp_path, control, actuators=actuators, scale="1.2", speed=1.0, safety=limits,
                       at="0.1 0.2 0.3", turned="0 0 0.7")  # fmt: skip
    chosen = [family.task({"load": load}) for load in (1.0, 2.0, 3.0)]
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (25, 3, family.action_dim))
    batch, env = family.make_batch(chosen, threads=2), family.make(chosen[1])
    for _ in range(2):
        first = batch.reset([5, 6, 7])
        steps = [batch.step(action) for action in actions]
        assert np.array_equal(env.reset(seed=6)[0], first[1])
        for action, step in zip(actions, steps, strict=True):
            obs, reward, *_, info = env.step(action[1])
            assert np.array_equal(obs, step.obs[1]) and reward == step.reward[1]
            assert {name: info[name] for name in ("limited_velocity", "limited_workspace")} == {
                name: step.info[name][1] for name in ("limited_velocity", "limited_workspace")
            }
        for name in ("limited_velocity", "limited_workspace"):
            assert any(step.info[name].any() for step in steps), name
    batch.close()


@pytest.mark.parametrize("control", ["delta", "end"])
def test_with_a_python_class_it_moves_and_tells_as_without(tmp_path: Path, control: str) -> None:
    limits = "{workspace_low_m: [0.3, -0.05, 0.32], workspace_high_m: [0.4, 0.05, 0.4]}"
    (tmp_path / "own").mkdir()
    family = load_desk(tmp_path, control, speed=1.0, safety=limits)
    own = tasks.from_file(write_desk(tmp_path / "own", control, speed=1.0, safety=limits, python=True), trust=True)
    env = own.make(own.task({"load": 2.0}))
    first = env.reset(seed=0)[0]
    batch, start = family.make_batch([family.task({"load": 2.0})]), family.mechanism.start
    np.testing.assert_allclose(
        batch.set_state(start.qpos[None], start.qvel[None])[0], first[: family.obs_dim], atol=1e-7
    )
    for action in np.random.default_rng(0).uniform(-1.0, 1.0, (20, 3)):
        step = batch.step(action[None])
        obs, *_, info = env.step(action.astype(np.float32))
        np.testing.assert_allclose(step.obs[0], obs[: family.obs_dim], atol=1e-5)
        for name in ("limited_velocity", "limited_workspace"):
            assert info[name] == step.info[name][0]
    batch.close()


def test_no_joint_is_asked_to_go_faster_than_its_limit(tmp_path: Path) -> None:
    """1.5 rad/s, of which safety leaves half: 0.0375 rad in a step of 0.05 s."""
    family = load_desk(tmp_path, "home", scale="0.3", speed=1.5, safety="{joint_speed_fraction: 0.5}")
    seen, told = play(family, np.concatenate([np.tile([1.0, 0.0, 0.0], (12, 1)), np.zeros((9, 3))]))
    asked = np.minimum(0.3, 0.0375 * np.arange(1, 13))
    asked = np.concatenate([asked, np.maximum(0.0, 0.3 - 0.0375 * np.arange(1, 10))])
    controls = np.column_stack([asked, np.zeros((21, 2))]) + np.array(GEARS) * np.array([0.0, *HOME[1:]])
    controls += weight(family, 1.0) / (np.array(GEARS) * KP)
    np.testing.assert_allclose(arm(family, seen)[1:], plain(family, controls), atol=1e-6)
    cut = [1.0] * 7 + [0.0] * 5 + [1.0] * 7 + [0.0] * 2
    assert [each["limited_velocity"] for each in told] == cut


@pytest.mark.parametrize("control", ["home", "delta", "end"])
def test_a_joint_whose_speed_is_not_stated_has_none(tmp_path: Path, control: str) -> None:
    """Only the base's speed is stated, and it does not move: everything is as without."""
    (tmp_path / "free").mkdir()
    spec = ("turn: {kind: hinge}", "turn: {kind: hinge, velocity_limit: 0.5}")
    actions = np.tile([0.3, 0.0, 0.3] if control == "end" else [0.0, 0.2, 0.3], (10, 1))
    free, _ = play(load_desk(tmp_path / "free", control), actions)
    seen, told = play(load_desk(tmp_path, control, spec=spec), actions)
    assert np.isfinite(seen).all() and np.array_equal(seen, free) and np.ptp(seen[:, -1]) > 0.01
    assert not any(each["limited_velocity"] for each in told)


def test_speeds_and_efforts_keep_the_limit_too(tmp_path: Path) -> None:
    (tmp_path / "motors").mkdir()
    family = load_desk(tmp_path, "speed", actuators=VELOCITY, scale="2.0", speed=0.5)
    _, told = play(family, np.tile([0.2, 0.0, 0.0], (3, 1)))
    assert not any(each["limited_velocity"] for each in told)
    seen, told = play(family, np.tile([1.0, 0.0, 0.0], (20, 1)))
    assert all(each["limited_velocity"] for each in told)
    assert np.diff(arm(family, seen)[:, 0]).max() < 0.5 * 0.05 + 1e-3
    motors = load_desk(tmp_path / "motors", "effort", actuators=MOTOR, scale="3.0", speed=0.5)
    seen, told = play(motors, np.tile([1.0, 0.0, 0.0], (20, 1)))
    speeds = np.diff(arm(motors, seen)[:, 0]) / 0.05
    # One step of the whole effort may lead beyond; then the joint is let run out.
    assert speeds.max() < 3.0 and told[0]["limited_velocity"] == 0.0 and sum(t["limited_velocity"] for t in told) > 3


@pytest.mark.parametrize("control", ["home", "delta", "end"])
@pytest.mark.parametrize(("at", "turned"), [("0 0 0", "0 0 0"), ("0.3 -0.2 0.5", "0 0 1.2")])
def test_the_end_effector_is_not_asked_to_leave_its_workspace(
    tmp_path: Path, control: str, at: str, turned: str
) -> None:
    """The box goes with where the robot stands."""
    low, high = np.array([0.2, -0.1, 0.3]), np.array([0.4, 0.1, 0.4])
    limits = f"{{workspace_low_m: {low.tolist()}, workspace_high_m: {high.tolist()}}}"
    family = load_desk(
        tmp_path, control, scale="0.3" if control == "home" else "0.1", safety=limits, at=at, turned=turned
    )
    ends, told = [], []
    rng = np.random.default_rng(0)
    for _ in range(4):
        seen, infos = play(family, np.tile(rng.choice([-1.0, 1.0], 3), (60, 1)))
        ends.append(seen[:, -3:])
        told += infos
    angle = float(turned.split()[2])
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    own = (np.concatenate(ends) - np.array(at.split(), np.float64)) @ turn
    assert (own > low - 0.01).all() and (own < high + 0.01).all()  # an arm gives way a little as it moves
    cut = [each["limited_workspace"] for each in told]
    assert any(cut) and (control == "home" or not all(cut))  # whole actions ask for places outside from the first on


def test_the_end_effector_is_not_asked_to_go_too_fast(tmp_path: Path) -> None:
    family = load_desk(tmp_path, "delta", scale="0.2", safety="{end_effector_speed_m_s: 0.2}")
    seen, told = play(family, np.tile([1.0, 0.0, 0.0], (12, 1)))
    speeds = np.linalg.norm(np.diff(seen[:, -3:], axis=0), axis=1) / 0.05
    assert all(each["limited_velocity"] for each in told) and 0.15 < speeds[-4:].max() < 0.21


def test_limits_of_an_end_effector_that_is_not_stated_are_refused(tmp_path: Path) -> None:
    path, spec = write_desk(tmp_path, "delta", safety="{end_effector_speed_m_s: 0.2}"), tmp_path / "desk_arm.yaml"
    lines = [line for line in spec.read_text().splitlines() if not line.startswith(("end_effector", "  end:"))]
    spec.write_text("\n".join(lines))
    with pytest.raises(UserError, match="no end effector is stated"):
        tasks.from_file(path)
