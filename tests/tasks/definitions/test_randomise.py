"""`randomise`: numbers of the model that each episode draws and that are no task, in every kind of definition."""

from __future__ import annotations

import pickle
from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_episodes import MJCF, load_tray, write_tray

from mql import tasks
from mql.errors import UserError
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.family import TaskFamily

pytestmark = pytest.mark.newest

DAMPING = (
    "randomise: {grease: {value: {dist: uniform, low: 0.5, high: 2.0}, "
    "apply: [{field: dof_damping, joint: shoulder, op: scale}]}}\n"
)
SPEED = 22  # where the observation has the shoulder's speed


def last_obs(family: TaskFamily, seeds: list[int], steps: int = 10, task: int = 0) -> np.ndarray:
    batch = family.make_batch([family.tasks("train")[task]] * len(seeds))
    batch.reset(seeds)
    for _ in range(steps):
        step = batch.step(np.ones((len(seeds), 1)))
    batch.close()
    return step.obs


def plain(damping: float, steps: int = 10, angle: float = 0.0) -> float:
    """The shoulder's speed after `steps` control steps at full torque, by MuJoCo alone."""
    model = mujoco.MjModel.from_xml_string(MJCF.replace('damping="0.5"', f'damping="{damping}"'))
    data = mujoco.MjData(model)
    data.qpos[model.joint("shoulder").qposadr[0]] = angle
    data.ctrl[0] = 1.0
    mujoco.mj_step(model, data, 2 * steps)
    return float(data.qvel[model.joint("shoulder").dofadr[0]])


def test_an_episode_moves_with_the_number_that_its_seed_draws(tmp_path: Path) -> None:
    family = load_tray(tmp_path, DAMPING + "start: {home_noise: 0.0}\n")
    seeds = [3, 4, 5]
    speeds = last_obs(family, seeds)[:, SPEED]
    # The stream hangs on the seed alone.
    factors = [np.random.default_rng(seed).spawn(1)[0].uniform(0.5, 2.0) for seed in seeds]
    np.testing.assert_allclose(speeds, [plain(0.5 * factor) for factor in factors], atol=1e-6)


def test_the_start_is_that_without_randomise_and_the_task_is_too(tmp_path: Path) -> None:
    varied = load_tray(tmp_path, DAMPING)
    (tmp_path / "plain").mkdir()
    fixed = load_tray(tmp_path / "plain")
    listed = varied.tasks("train")
    assert [task.parameters for task in listed] == [task.parameters for task in fixed.tasks("train")]
    assert varied.obs_dim == fixed.obs_dim
    first = [family.make_batch(family.tasks("train")).reset([1, 2, 3, 4]) for family in (varied, fixed)]
    np.testing.assert_array_equal(*first)


@pytest.mark.parametrize("python", [False, True])
def test_a_batch_is_each_task_alone_and_a_copy_in_another_process_too(tmp_path: Path, python: bool) -> None:
    family = load_tray(tmp_path, DAMPING, python=python)
    listed = family.tasks("train")[:3]
    seeds = [11, 12, 13]
    for one in (family, pickle.loads(pickle.dumps(family))):
        batch = one.make_batch(listed)
        batch.reset([1, 2, 3])
        batch.step(np.ones((3, 1)))
        batch.reset(seeds)
        for _ in range(8):
            step = batch.step(np.ones((3, 1)))
        batch.close()
        for row, (task, seed) in enumerate(zip(listed, seeds, strict=True)):
            environment = one.make(task)
            environment.reset(seed=seed)
            for _ in range(8):
                obs = environment.step(np.ones(1))[0]
            environment.close()
            np.testing.assert_array_equal(obs, step.obs[row])


def test_a_python_class_and_a_definition_without_draw_the_same(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    side_by_side = load_tray(tmp_path, DAMPING + "start: {home_noise: 0.0}\n")
    alone = load_tray(tmp_path / "python", DAMPING, python=True)
    model = mujoco.MjModel.from_xml_string(MJCF)
    speed = model.nq + int(model.joint("shoulder").dofadr[0])
    np.testing.assert_allclose(last_obs(alone, [5, 6])[:, speed], last_obs(side_by_side, [5, 6])[:, SPEED], atol=1e-6)


def test_nuisances_act_on_what_the_task_has_changed_and_never_drift(tmp_path: Path) -> None:
    thick = (
        "  thick: {value: {dist: uniform, low: 1.0, high: 3.0}, "
        "apply: [{field: dof_damping, joint: shoulder, op: set}]}\n"
    )
    family = load_tray(tmp_path, DAMPING + "start: {home_noise: 0.0}\n", parameters=thick)
    task = family.tasks("train")[2]
    batch = family.make_batch([task])
    for seed in (1, 2, 3, 2):
        batch.reset([seed])
        for _ in range(10):
            step = batch.step(np.ones((1, 1)))
        factor = np.random.default_rng(seed).spawn(1)[0].uniform(0.5, 2.0)
        thickness = task.parameters["thick"]
        assert isinstance(thickness, float)
        np.testing.assert_allclose(step.obs[0, SPEED], plain(thickness * factor), atol=1e-6)
    batch.close()


def test_each_thing_draws_a_number_of_its_own(tmp_path: Path) -> None:
    more = (
        "randomise: {masses: {value: {dist: uniform, low: 0.5, high: 1.5}, each: true, "
        "apply: [{field: body_mass, body: [arm, red, blue], op: scale}]}}\n"
    )
    family = load_tray(tmp_path, more)
    assert isinstance(family, ParallelDefinedFamily) and family.physics is not None
    drawn = family.physics.draw(np.random.default_rng(3))
    own = np.random.default_rng(3).spawn(1)[0]
    np.testing.assert_array_equal(drawn, [own.uniform(0.5, 1.5) for _ in range(3)])
    base = family.mechanism.model
    model = mujoco.MjModel.from_xml_string(MJCF)
    family.physics.apply(model, family.tasks("train")[0].parameters, drawn)
    bodies = [model.body(name).id for name in ("arm", "red", "blue")]
    np.testing.assert_allclose(model.body_mass[bodies], base.body_mass[bodies] * drawn)
    np.testing.assert_allclose(model.body_inertia[bodies], base.body_inertia[bodies] * drawn[:, None])
    others = [n for n in range(model.nbody) if n not in bodies]
    np.testing.assert_array_equal(model.body_mass[others], base.body_mass[others])


ROBOT = """schema: mql.task_family/1
name: lab-reach
version: 1
description: Raise the flange to a hidden height.
env: {robot: arm7, scene: push, control: position_delta, episode_length: 20, observe: [site_flange]}
RANDOMISE
parameters: {height: {value: {dist: uniform, low: 0.2, high: 0.4}, unit: m}}
reward: {terms: {near: {expr: "-abs(info.site_flange[2] - task.height)"}}}
splits: {train: {n: 5, seed: 1}, test: {n: 5, seed: 2}}
"""


def test_a_robot_states_what_is_randomised_and_only_its_own_parts_are(tmp_path: Path) -> None:
    path = tmp_path / "reach.yaml"
    path.write_text(ROBOT.replace("RANDOMISE", "randomise: robot"))
    family = tasks.from_file(path)
    physics = family.inner.physics if hasattr(family, "inner") else family.physics  # type: ignore[attr-defined]
    base = (family.inner if hasattr(family, "inner") else family).mechanism.model  # type: ignore[attr-defined]
    drawn = physics.draw(np.random.default_rng(0))
    import copy

    model = copy.deepcopy(base)
    physics.apply(model, {"height": 0.3}, drawn)
    factors = model.body_mass[1:] / base.body_mass[1:]
    changed = {model.body(n + 1).name for n in np.flatnonzero(np.abs(factors - 1.0) > 1e-9)}
    assert changed == {"arm7_base", *(f"link{n}" for n in range(1, 8))}  # not the puck, which is the scene's
    assert factors.min() >= 0.8 and factors.max() <= 1.2
    gains = model.actuator_gainprm[:, 0] / base.actuator_gainprm[:, 0]
    assert gains.min() >= 0.5 and gains.max() <= 1.2 and np.ptp(gains) > 0.01
    np.testing.assert_allclose(model.actuator_biasprm[:, 1], -model.actuator_gainprm[:, 0])


def nuisance(*changes: str, value: str = "{dist: uniform, low: 0.5, high: 2.0}", each: bool = False) -> str:
    own = "each: true, " if each else ""
    return f"randomise: {{x: {{value: {value}, {own}apply: [{', '.join(f'{{{change}}}' for change in changes)}]}}}}"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (nuisance("field: dof_damping, joint: should, op: scale"), "did you mean 'shoulder'"),
        (nuisance("field: geom_size, geom: red, op: scale"), "needs the compiler"),
        ("randomise: {x: {value: {dist: uniform, low: 0.5, high: 2.0}}}", "x changes nothing"),
        ("randomise: {x: {apply: [{field: dof_damping, joint: shoulder, op: scale}]}}", "x has no value"),
        (nuisance("field: jnt_stiffness, joint: shoulder, op: scale"), "all 0"),
        (
            nuisance("field: body_mass, body: red, op: scale", value="{dist: normal, mean: 1, std: 0.2}"),
            "physics allows",
        ),
        (nuisance("field: timestep, op: scale"), "the timestep can't differ"),
        ("randomise: robot", "no robot states what to randomise"),
        (nuisance("field: gravity, index: 2, op: add", each=True), "leave 'each' out"),
        (
            nuisance(
                "field: body_mass, body: [red, blue], op: scale",
                "field: dof_damping, joint: shoulder, op: scale",
                each=True,
            ),
            "on 2 and on 1 things",
        ),
    ],
)
def test_what_can_not_be_randomised_is_refused_with_its_line(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        tasks.from_file(write_tray(tmp_path, more + "\n"))
    said = str(caught.value)
    assert says in said and "tray.yaml:9" in said and "\n" not in said


def test_environments_by_id_are_randomised_too(tmp_path: Path) -> None:
    path = tmp_path / "cheetah.yaml"
    text = (
        "schema: mql.task_family/1\nname: lab-id\nversion: 1\ndescription: x\nenv: {id: HalfCheetah-v5}\nMORE"
        "parameters: {v: {value: {dist: uniform, low: 0.0, high: 1.0}, hidden: false}}\n"
        "splits: {train: {n: 2, seed: 1}, test: {n: 2, seed: 2}}\n"
    )
    more = (
        "randomise: {weight: {value: {dist: uniform, low: 0.5, high: 2.0}, "
        "apply: [{field: body_mass, body: torso, op: scale}]}}\n"
    )
    path.write_text(text.replace("MORE", more))
    family = tasks.from_file(path)
    environment = family.make(family.tasks("train")[0])
    base = mujoco.MjModel.from_xml_path(environment.inner.unwrapped.fullpath)  # type: ignore[attr-defined]
    for seed in (1, 2):
        environment.reset(seed=seed)
        factor = np.random.default_rng(seed).spawn(1)[0].uniform(0.5, 2.0)
        mass = environment.inner.unwrapped.model.body("torso").mass[0]  # type: ignore[attr-defined]
        np.testing.assert_allclose(mass, base.body("torso").mass[0] * factor)
    environment.close()
    path.write_text(text.replace("MORE", more).replace("HalfCheetah-v5", "Pendulum-v1"))
    with pytest.raises(UserError, match=r"Pendulum-v1 has no MuJoCo model \(.*cheetah.yaml:6 randomise.weight\)"):
        tasks.from_file(path)
