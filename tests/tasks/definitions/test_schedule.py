"""A parameter with a `schedule`: the model of a task changes within its episode, between two control steps."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_episodes import MJCF, load_tray, write_tray

from mql import tasks
from mql.errors import UserError

pytestmark = pytest.mark.newest

SPEED = 22  # where the observation has the shoulder's speed
STEP = 0.02  # s, of control


def grease(schedule: str, op: str = "set", low: float = 2.0) -> str:
    return (
        f"  grease: {{value: {{dist: uniform, low: {low}, high: {low + 2.0}}}, "
        f"apply: [{{field: dof_damping, joint: shoulder, op: {op}}}], schedule: {schedule}}}\n"
    )


def by_hand(dampings: list[float]) -> np.ndarray:
    """The shoulder's speed after each control step, with a model compiled for each damping, by plain ``mj_step``."""
    state, speeds = None, []
    for damping in dampings:
        model = mujoco.MjModel.from_xml_string(MJCF.replace('damping="0.5"', f'damping="{damping}"'))
        data = mujoco.MjData(model)
        if state is not None:
            mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        data.ctrl[0] = 1.0
        mujoco.mj_step(model, data, 2)
        state = np.zeros(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
        mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        speeds.append(float(data.qvel[model.joint("shoulder").dofadr[0]]))
    return np.array(speeds)


def played(family: object, row: int = 0, steps: int = 20) -> np.ndarray:
    """The speeds of a training task beside others."""
    listed = family.tasks("train")  # type: ignore[attr-defined]
    batch = family.make_batch(listed)  # type: ignore[attr-defined]
    model = mujoco.MjModel.from_xml_string(MJCF)
    place = SPEED if family.native else model.nq + int(model.joint("shoulder").dofadr[0])  # type: ignore[attr-defined]
    for _ in range(2):  # the second episode begins as the first did
        batch.reset(list(range(len(listed))))
        speeds = [batch.step(np.ones((len(listed), 1))).obs[row, place] for _ in range(steps)]
    batch.close()
    return np.array(speeds, np.float64)


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize(("before", "own"), [("", 0.5), (", before: 1.0", 1.0)])
def test_a_parameter_acts_from_its_time_on(tmp_path: Path, python: bool, before: str, own: float) -> None:
    parameters = grease(f"{{at_s: 0.2{before}}}")
    family = load_tray(tmp_path, "start: {home_noise: 0.0}\n", parameters=parameters, python=python)
    task = family.tasks("train")[1]
    value = task.parameters["grease"]
    assert isinstance(value, float)
    np.testing.assert_allclose(played(family, 1), by_hand([own] * 10 + [value] * 10), atol=1e-6)


@pytest.mark.parametrize("python", [False, True])
def test_a_parameter_ramps_from_the_models_own_number(tmp_path: Path, python: bool) -> None:
    parameters = grease("{at_s: 0.1, ramp_s: 0.1}", op="scale")
    family = load_tray(tmp_path, "start: {home_noise: 0.0}\n", parameters=parameters, python=python)
    value = family.tasks("train")[0].parameters["grease"]
    assert isinstance(value, float)
    ramp = [0.5 * (1.0 + share * (value - 1.0)) for share in (0.0, 0.2, 0.4, 0.6, 0.8)]
    np.testing.assert_allclose(played(family), by_hand([0.5] * 5 + ramp + [0.5 * value] * 10), atol=1e-6)


def test_a_task_says_when(tmp_path: Path) -> None:
    parameters = grease("{at_s: task.when}") + "  when: {value: {dist: uniform, low: 0.1, high: 0.3}, unit: s}\n"
    family = load_tray(tmp_path, "start: {home_noise: 0.0}\n", parameters=parameters)
    for row, task in enumerate(family.tasks("train")):
        value, when = task.parameters["grease"], task.parameters["when"]
        assert isinstance(value, float) and isinstance(when, float)
        late = int(np.ceil(when / STEP))
        np.testing.assert_allclose(played(family, row), by_hand([0.5] * late + [value] * (20 - late)), atol=1e-6)


@pytest.mark.parametrize("python", [False, True])
def test_tasks_side_by_side_change_as_each_alone(tmp_path: Path, python: bool) -> None:
    family = load_tray(tmp_path, parameters=grease("{at_s: 0.2, ramp_s: 0.06}", op="scale"), python=python)
    listed = family.tasks("train")
    batch = family.make_batch(listed)
    batch.reset([1, 2, 3, 4])
    steps = [batch.step(np.full((4, 1), 0.7)) for _ in range(20)]
    batch.close()
    for row, task in enumerate(listed):
        environment = family.make(task)
        environment.reset(seed=row + 1)
        for step in steps:
            np.testing.assert_array_equal(environment.step(np.full(1, 0.7))[0], step.obs[row])
        environment.close()


def test_a_load_that_is_picked_up_is_felt_at_once(tmp_path: Path) -> None:
    """A hanging mass gets heavier: force, weight and motion are those of the new model from that step on."""
    load = (
        "  load: {value: {dist: uniform, low: 1.0, high: 2.0}, apply: [{field: body_mass, body: red, op: add}], "
        "schedule: {at_s: 0.1}}\n"
    )
    mjcf = MJCF.replace('<site name="hand"', '<site name="under"').replace(
        "</mujoco>", '<sensor><touch name="felt" site="pad"/></sensor></mujoco>'
    )
    mjcf = mjcf.replace(
        '<geom name="floor"', '<site name="pad" type="box" size="0.2 0.2 0.1" pos="1 0 0"/><geom name="floor"'
    )
    path = write_tray(
        tmp_path, "start: {home_noise: 0.0}\n", parameters=load, env=", observe: [sensor_felt]", mjcf=mjcf
    )
    family = tasks.from_file(path)
    task = family.tasks("train")[0]
    batch = family.make_batch([task])
    batch.reset([0])
    felt = [float(batch.step(np.zeros((1, 1))).obs[0, 0]) for _ in range(20)]
    batch.close()
    added = task.parameters["load"]
    assert isinstance(added, float)
    np.testing.assert_allclose(felt[4], 0.2 * 9.81, rtol=0.02)
    np.testing.assert_allclose(felt[-1], (0.2 + added) * 9.81, rtol=0.05)


def test_environments_by_id_change_within_an_episode(tmp_path: Path) -> None:
    path = tmp_path / "cheetah.yaml"
    path.write_text(
        "schema: mql.task_family/1\nname: lab-id\nversion: 1\ndescription: x\n"
        "env: {id: HalfCheetah-v5, episode_length: 10}\n"
        "parameters: {m: {value: {dist: uniform, low: 2.0, high: 3.0}, schedule: {at_s: 0.25},"
        " apply: [{field: body_mass, body: torso, op: scale}]}}\n"
        "splits: {train: {n: 2, seed: 1}, test: {n: 2, seed: 2}}\n"
    )
    family = tasks.from_file(path)
    task = family.tasks("train")[0]
    environment = family.make(task)
    environment.reset(seed=0)
    masses = []
    for _ in range(8):
        environment.step(np.zeros(6))
        masses.append(environment.inner.unwrapped.model.body("torso").mass[0])  # type: ignore[attr-defined]
    environment.close()
    value = task.parameters["m"]
    assert isinstance(value, float)
    np.testing.assert_allclose(masses, [masses[0]] * 5 + [masses[0] * value] * 3)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (grease("{at_s: 0.5}"), "acts fully 0.5 s after the start only"),
        (grease("{at_s: 0.2, ramp_s: 0.1}"), "a ramp from an unknown value"),
        (grease("{at_s: 0.2, before: -1.0}"), "can't be -1 before"),
        (grease("{at_s: 0.2, before: [1.0, 2.0]}"), "before has 2 numbers, grease 1"),
        (grease("{at_s: task.never}"), "there is no task parameter 'never'"),
        (grease("{at_s: task.spot}"), "spot is a vector"),
        (grease("{at: 0.2}"), "unknown key 'at'"),
        (grease("{at_s: -0.2}"), "at_s"),
        (
            "  thick: {value: {dist: uniform, low: 1.0, high: 2.0}, schedule: {at_s: 0.1}, "
            "apply: [{field: geom_size, geom: red, index: 0, op: scale}]}\n",
            "MuJoCo compiles the model anew for geom_size",
        ),
        ("  idle: {value: {dist: uniform, low: 1.0, high: 2.0}, schedule: {at_s: 0.1}}\n", "a schedule without apply"),
    ],
)  # fmt: skip
def test_what_can_not_change_within_an_episode_is_refused_with_its_line(
    tmp_path: Path, parameters: str, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        tasks.from_file(write_tray(tmp_path, parameters=parameters))
    said = str(caught.value)
    assert says in said and "tray.yaml:9" in said and "\n" not in said, said
