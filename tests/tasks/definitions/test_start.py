"""`start`: where joints and bodies begin, drawn for each episode, in every kind of definition."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_episodes import MJCF, RADIUS, load_tray, write_tray

from mql import tasks
from mql.errors import UserError
from mql.tasks.definitions.parallel import ParallelDefinedFamily

pytestmark = pytest.mark.newest

SEEDS = range(40)
# Where things stand in the observation of `OBSERVE`.
SHOULDER, SLIDE, RED, BLUE, GOAL, OTHER = 0, 1, slice(2, 9), slice(9, 16), slice(16, 19), slice(19, 22)
START = """start:
  home_noise: 0.0
  joints: {slide: {dist: uniform, low: 0.1, high: 0.2}}
  bodies:
    red: {pos: [{dist: uniform, low: 0.3, high: 0.5}, {dist: uniform, low: -0.1, high: 0.1}, 0.05], yaw: {dist: angle}}
    blue: {pos: [{dist: disc, radius: 0.2}, 0.05], around: [0.4, 0.0, 0.0]}
    goal: {pos: [task.spot, 0.3]}
"""


def error_of(folder: Path, more: str, **how: object) -> str:
    path = write_tray(folder, more, **how)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        tasks.from_file(path, trust=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def starts(family: object, task: object, seeds: object = SEEDS) -> np.ndarray:
    many = list(seeds)  # type: ignore[call-overload]
    batch = family.make_batch([task] * len(many))  # type: ignore[attr-defined]
    obs = batch.reset(many)
    batch.close()
    return np.asarray(obs, np.float64)


def test_joints_bodies_and_markers_begin_where_the_definition_draws_them(tmp_path: Path) -> None:
    family = load_tray(tmp_path, START)
    task = family.tasks("train")[1]
    obs = starts(family, task)
    assert (obs[:, SHOULDER] == 0.0).all()
    assert (obs[:, SLIDE] >= 0.1).all() and (obs[:, SLIDE] <= 0.2).all() and np.ptp(obs[:, SLIDE]) > 0.08
    red, blue = obs[:, RED], obs[:, BLUE]
    assert (np.abs(red[:, 0] - 0.4) <= 0.1).all() and (np.abs(red[:, 1]) <= 0.1).all()
    np.testing.assert_allclose(red[:, 2], 0.05, rtol=1e-6)
    # About the vertical only, by any angle.
    np.testing.assert_allclose(red[:, 4:6], 0.0, atol=1e-12)
    np.testing.assert_allclose(np.hypot(red[:, 3], red[:, 6]), 1.0, rtol=1e-6)
    assert np.ptp(2.0 * np.arctan2(red[:, 6], red[:, 3])) > 4.0
    assert (np.hypot(blue[:, 0] - 0.4, blue[:, 1]) <= 0.2 + 1e-6).all()
    np.testing.assert_allclose(obs[:, GOAL], np.tile([*task.parameters["spot"], 0.3], (len(obs), 1)), rtol=1e-6)
    np.testing.assert_allclose(obs[:, OTHER], np.tile([0.5, 0.0, 1.0], (len(obs), 1)), rtol=1e-6)


def test_the_first_number_of_a_start_is_the_first_that_the_seed_gives(tmp_path: Path) -> None:
    family = load_tray(tmp_path, "start: {joints: {slide: {dist: uniform, low: 0.1, high: 0.2}}}\n")
    obs = starts(family, family.tasks("train")[0], [7])[0]
    rng = np.random.default_rng(7)
    np.testing.assert_allclose(obs[SHOULDER], rng.uniform(-0.01, 0.01), rtol=1e-6)  # the noise of driven joints
    np.testing.assert_allclose(obs[SLIDE], rng.uniform(0.1, 0.2), rtol=1e-6)


def test_free_bodies_never_overlap_each_other_or_the_scene(tmp_path: Path) -> None:
    everywhere = "[{dist: uniform, low: -0.22, high: 0.22}, {dist: uniform, low: -0.22, high: 0.22}, 0.05]"
    family = load_tray(tmp_path, f"start: {{bodies: {{red: {{pos: {everywhere}}}, blue: {{pos: {everywhere}}}}}}}\n")
    obs = starts(family, family.tasks("train")[0], range(200))
    red, blue = obs[:, RED][:, :3], obs[:, BLUE][:, :3]
    deepest = 1.1e-3  # m; contacts may be 1 mm deep
    assert np.linalg.norm(red - blue, axis=1).min() >= 2 * RADIUS - deepest
    for ball in (red, blue):  # the block's half size is 0.1 m
        outside = np.maximum(np.abs(ball[:, :2]) - 0.1, 0.0)
        assert np.linalg.norm(outside, axis=1).min() >= RADIUS - deepest


def test_any_orientation_is_drawn_without_overlap(tmp_path: Path) -> None:
    more = "start: {bodies: {stick: {pos: [1.5, 1.0, {dist: uniform, low: 0.0, high: 0.3}], turn: any}}}\n"
    family = load_tray(tmp_path, more, env=", observe: [joint_shoulder, body_stick, zaxis_stick]")
    obs = starts(family, family.tasks("train")[0], range(100))
    height, axis = obs[:, 3], obs[:, 4:7]
    np.testing.assert_allclose(np.linalg.norm(axis, axis=1), 1.0, rtol=1e-6)
    # The lower end of the capsule is above the floor.
    assert (height - 0.2 * np.abs(axis[:, 2]) - 0.02).min() >= -1.1e-3
    assert axis[:, 2].min() < -0.5 and axis[:, 2].max() > 0.5


def test_a_batch_starts_as_its_tasks_alone_do_and_the_seed_decides(tmp_path: Path) -> None:
    family = load_tray(tmp_path, START)
    listed = family.tasks("train")[:3]
    batch = family.make_batch(listed)
    first, again = batch.reset([3, 4, 5]), batch.reset([3, 4, 5])
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, batch.reset([6, 7, 8]))
    for row, (task, seed) in enumerate(zip(listed, (3, 4, 5), strict=True)):
        environment = family.make(task)
        environment.reset(seed=99)
        np.testing.assert_array_equal(environment.reset(seed=seed)[0], first[row])
        environment.close()
    batch.close()


def test_noise_is_said_for_all_driven_joints_or_for_one(tmp_path: Path) -> None:
    wide = load_tray(tmp_path, "start: {home_noise: 0.5}\n")
    angles = starts(wide, wide.tasks("train")[0])[:, SHOULDER]
    assert np.abs(angles).max() <= 0.5 and np.abs(angles).max() > 0.3
    (tmp_path / "one").mkdir()
    one = load_tray(tmp_path / "one", "start: {home_noise: {shoulder: 0.2}}\n")
    angles = starts(one, one.tasks("train")[0])[:, SHOULDER]
    assert np.abs(angles).max() <= 0.2 and np.abs(angles).max() > 0.1


def test_noise_ends_where_the_range_of_a_joint_does(tmp_path: Path) -> None:
    family = load_tray(tmp_path, "start: {home_noise: 5.0}\n")
    angles = starts(family, family.tasks("train")[0])[:, SHOULDER]
    np.testing.assert_allclose([angles.min(), angles.max()], [-np.pi / 3, np.pi / 3], rtol=1e-6)


def test_a_task_says_where_a_joint_begins_within_its_range(tmp_path: Path) -> None:
    family = load_tray(tmp_path, "start: {joints: {slide: task.opening}}\n")
    for task in family.tasks("train"):
        np.testing.assert_allclose(starts(family, task, [0])[0, SLIDE], task.parameters["opening"], rtol=1e-6)
    assert family.parameters["opening"].observed_start
    with pytest.raises(UserError, match=r"can't be 0\.4 m.*physics allows 0 to 0\.3"):
        family.task({"spot": (0.5, 0.0), "opening": 0.4})


def test_a_python_class_finds_the_start_drawn(tmp_path: Path) -> None:
    family = load_tray(tmp_path, START, python=True)
    model = mujoco.MjModel.from_xml_string(MJCF)
    task = family.tasks("train")[0]
    environment = family.make(task)
    obs = environment.reset(seed=5)[0]
    environment.close()
    seen = obs[model.nq + model.nv :]  # what the class saw in its reset
    places, marks = seen[: model.nq], seen[model.nq : model.nq + 3 * model.nmocap].reshape(-1, 3)
    assert 0.1 <= places[model.joint("slide").qposadr[0]] <= 0.2
    assert places[model.joint("shoulder").qposadr[0]] == 0.0
    np.testing.assert_allclose(marks[0], [*task.parameters["spot"], 0.3], rtol=1e-6)
    np.testing.assert_array_equal(obs, starts(family, task, [5])[0].astype(np.float32))


def test_a_class_without_start_begins_exactly_at_home(tmp_path: Path) -> None:
    family = load_tray(tmp_path, python=True)
    model = mujoco.MjModel.from_xml_string(MJCF)
    environment = family.make(family.tasks("train")[0])
    np.testing.assert_array_equal(environment.reset(seed=5)[0][: model.nq], model.qpos0.astype(np.float32))
    environment.close()


def test_a_start_that_leaves_no_room_is_refused_when_the_file_is_read(tmp_path: Path) -> None:
    inside = "start: {bodies: {red: {pos: [{dist: uniform, low: -0.05, high: 0.05}, 0.0, 0.1]}}}\n"
    said = error_of(tmp_path, inside)
    assert "no start without overlap was found for 'red'" in said and "'block'" in said and "tray.yaml:" in said


WIDE = "{dist: uniform, low: 0.1, high: 0.5}"


@pytest.mark.parametrize(
    ("start", "key", "says"),
    [
        ("joints: {slid: 0.1}", "joints.slid", "no joint 'slid'...did you mean 'slide'"),
        (f"joints: {{slide: {WIDE}}}", "joints.slide", "'slide' at 0.1 to 0.5, its range is 0 to 0.3"),
        ("joints: {red: 0.1}", "joints.red", "'red' is a free joint...write it below start.bodies, as 'red'"),
        ("joints: {slide: task.openin}", "joints.slide", "no task parameter 'openin'...did you mean 'opening'"),
        ("joints: {slide: task.spot}", "joints.slide", "these are 2 numbers...give one number"),
        ("bodies: {red: {pos: [0.1, 0.2]}}", "bodies.red.pos", "these are 2 numbers...give 3 numbers"),
        ("bodies: {redd: {pos: [0.1, 0.2, 0.3]}}", "bodies.redd", "no body 'redd'...did you mean 'red'"),
        ("bodies: {drawer: {pos: [0.1, 0.2, 0.3]}}", "bodies.drawer", "'drawer' is neither free nor a mocap body"),
        ("bodies: {red: {yaw: 0.1, turn: any}}", "bodies.red.turn", "yaw and turn: any"),
        ("bodies: {red: {}}", "bodies.red", "nothing is drawn...give pos, yaw or turn"),
        ("bodies: {red: {pos: [0.1, 0.2, abc]}}", "bodies.red.pos", "'abc' can't be drawn"),
        ("home_noise: {slide: 0.1}", "home_noise.slide", "no actuator moves a hinge or slide 'slide'"),
        ("home_noise: -0.1", "home_noise", "home_noise is -0.1"),
        ("joint: {slide: 0.1}", "joint", "unknown key 'joint'...did you mean 'joints'"),
        ("joints: {slide: {dist: uniform, low: 0.2, high: 0.1}}", "joints.slide", "distribution is out of order"),
    ],
)
def test_what_can_not_be_drawn_is_refused_with_its_line(tmp_path: Path, start: str, key: str, says: str) -> None:
    said = error_of(tmp_path, f"start: {{{start}}}\n")
    for part in says.split("..."):
        assert part in said
    assert f"tray.yaml:9 start.{key}" in said


def test_environments_by_id_draw_their_own_starts(tmp_path: Path) -> None:
    path = tmp_path / "cheetah.yaml"
    path.write_text(
        "schema: mql.task_family/1\nname: lab-id\nversion: 1\ndescription: x\nenv: {id: HalfCheetah-v5}\n"
        "start: {joints: {bfoot: 0.1}}\n"
        "parameters: {v: {value: {dist: uniform, low: 0.0, high: 1.0}}}\n"
        "splits: {train: {n: 2, seed: 1}, test: {n: 2, seed: 2}}\n"
    )
    with pytest.raises(UserError, match=r"start doesn't go with id \(.*cheetah.yaml:6 start\)"):
        tasks.from_file(path)


def test_what_is_reachable_is_looked_for_from_drawn_starts(tmp_path: Path) -> None:
    from mql.tasks.definitions.poses import reachable

    more = START + 'success: {expr: "norm(info.body_goal - [task.spot[0], task.spot[1], 0.3]) < 0.001", hold: 1}\n'
    family = load_tray(tmp_path, more)
    assert isinstance(family, ParallelDefinedFamily)
    assert reachable(family, family.tasks("train")[:2], np.random.default_rng(0)) == [True, True]
