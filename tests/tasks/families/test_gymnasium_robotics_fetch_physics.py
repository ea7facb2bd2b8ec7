"""The physics of the Fetch families: against recompiled models, field by field, and without drift from task to task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import pytest
from fetch_tasks import STEPS, Array, actions, family_of, neutral

from mql.tasks.distributions import Value
from mql.tasks.families.robotics.environment import make_robotics
from mql.tasks.families.robotics.fetch import KINDS
from mql.tasks.families.robotics.fetch_environment import ARM_JOINTS, FetchTask

Model = mujoco.MjModel


def toward_object(fetch: Any) -> Array:
    """Run at the object, with closing fingers."""
    away = fetch.data.site("object0").xpos - fetch.data.site("robot0:grip").xpos
    return np.append(np.clip(away / 0.05, -1.0, 1.0), -1.0).astype(np.float32)


def fields(model: Model) -> dict[str, Array]:
    names = [name for name in dir(model) if not name.startswith("_")]
    found = {name: getattr(model, name).copy() for name in names if isinstance(getattr(model, name), np.ndarray)}
    return found | {"meaninertia": np.array(model.stat.meaninertia)}


PUSHED = {"mass": 1.7, "friction": 0.6, "damping": 1.4}


@pytest.mark.parametrize(
    ("name", "parameters", "tolerance"),
    [
        ("fetch-push-physics", PUSHED, 1e-9),
        # The puck spins, which makes rounding grow; scales that are powers of two round nothing.
        ("fetch-slide-physics", {"mass": 2.0, "friction": 0.5, "damping": 2.0}, 1e-9),
        ("fetch-pick-physics", PUSHED | {"friction": 1.6, "grip": 0.4}, 1e-9),
        ("fetch-reach-physics", {"damping": 0.5}, 1e-9),
    ],
)
def test_physics_is_that_of_a_recompiled_model(name: str, parameters: dict[str, float], tolerance: float) -> None:
    family = family_of(name)
    env = family.make(family.task(neutral(name, **parameters)))
    env.reset(seed=4)
    fetch: Any = env.inner.unwrapped
    package = make_robotics(KINDS[name.split("-")[1]].env_id, reward_type="dense")
    raw: Any = package.unwrapped
    raw.model = recompiled(raw.fullpath, parameters, raw.model)
    raw.data = mujoco.MjData(raw.model)
    mine, theirs = fields(fetch.model), fields(raw.model)
    for field in mine:
        np.testing.assert_allclose(mine[field], theirs[field], rtol=1e-12, atol=1e-12, err_msg=field)
    package.reset(seed=4)
    start = fetch.data.qpos.copy()
    for step in range(STEPS):
        action = toward_object(fetch) if fetch.has_object else actions()[step]
        env.step(action)
        package.step(action)
        np.testing.assert_allclose(fetch.data.qpos, raw.data.qpos, rtol=0.0, atol=tolerance)
    if fetch.has_object:
        assert np.linalg.norm(fetch.data.qpos[-7:-5] - start[-7:-5]) > 0.01, "nothing was touched"
    env.close()
    package.close()


def recompiled(path: str, parameters: Mapping[str, float], built: Model) -> Model:
    """Change the model's source as the parameters say, compile it, and do to it what the package does at the start."""
    spec = mujoco.MjSpec.from_file(path)
    for joint in spec.joints:
        if joint.name in ARM_JOINTS:
            joint.damping = joint.damping * parameters["damping"]
    if "mass" in parameters:
        thing = next(body for body in spec.bodies if body.name == "object0").geoms[0]
        table = next(body for body in spec.bodies if body.name == "table0").geoms[0]
        thing.mass = thing.mass * parameters["mass"]
        thing.friction = np.array(thing.friction) * parameters["friction"]
        table.friction = np.array(table.friction) * parameters["friction"]
    for actuator in spec.actuators:
        actuator.gainprm[0] *= parameters["grip"]
        actuator.biasprm[1] *= parameters["grip"]
    model = spec.compile()
    model.eq_data[:] = built.eq_data  # the package resets the weld that drags the gripper
    return model


SCALED = {
    "mass": {"body_mass", "body_inertia", "body_invweight0", "body_subtreemass", "dof_M0", "dof_invweight0"},
    "friction": {"geom_friction"},
    "damping": {"dof_damping"},
    "grip": {"actuator_gainprm", "actuator_biasprm"},
    "action_delay": set(),
    "action_gain": set(),
    "sensor_offset": set(),
    "goal": set(),
    "goal_height": set(),
}


def test_each_parameter_changes_its_own_fields_and_all_of_them_come_back() -> None:
    family = family_of("fetch-pick-physics")
    env = family.make_env()
    assert isinstance(env, FetchTask)
    model = env.unwrapped.model  # type: ignore[attr-defined]
    base = fields(model)
    changed: dict[str, Value] = {"action_delay": 2.0, "goal": (0.1, 0.1), "sensor_offset": (0.01, 0.01, 0.01)}
    for name in family.parameters:
        plain = family.task(neutral("fetch-pick-physics"))
        env.set_task(dict(plain.parameters) | {name: changed.get(name, 0.7)})
        now = fields(model)
        differ = {field for field in base if not np.array_equal(base[field], now[field])}
        # What is derived from the masses besides: a light's place and the mean inertia, by which the solver scales.
        assert differ - {"light_poscom0", "meaninertia"} == SCALED[name], name
        env.set_task(plain.parameters)
        now = fields(model)
        assert all(np.array_equal(base[field], now[field]) for field in base)
    env.close()


@pytest.mark.parametrize("name", ["fetch-slide-physics", "fetch-pick-physics"])
def test_an_episode_comes_again_bit_for_bit_after_other_tasks(name: str) -> None:
    family = family_of(name)
    tasks = [family.tasks("train")[0], family.tasks("ood")[1], family.tasks("test")[2]]
    env = family.make_env()

    def episode(parameters: Mapping[str, Value]) -> list[Array]:
        assert family.set_task is not None
        family.set_task(env, parameters)
        rows = [env.reset(seed=5)[0]["observation"]]
        for _ in range(25):
            seen, reward, *_ = env.step(toward_object(env.unwrapped))
            rows += [seen["observation"], reward]
        return [np.asarray(row) for row in rows]

    first = episode(tasks[0].parameters)
    others = [episode(task.parameters) for task in tasks[1:]]
    again = episode(tasks[0].parameters)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], others[0][-1])
    env.close()


@pytest.mark.parametrize(("name", "base"), [("fetch-push", 1.0), ("fetch-slide", 0.1)])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_friction_of_the_contact_is_scaled_up_and_down(name: str, base: float, scale: float) -> None:
    """MuJoCo takes the larger friction of two geoms: scaling one alone would not lower it."""
    family = family_of(name)
    env = family.make(family.task(neutral(name, friction=scale)))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.zeros(4))
    fetch: Any = env.inner.unwrapped
    thing, table = fetch.model.geom("object0").id, fetch.model.body("table0").geomadr[0]
    pairs = [(set(contact.geom), contact.friction[0]) for contact in fetch.data.contact]
    rubbing = [friction for pair, friction in pairs if pair == {thing, table}]
    assert rubbing and all(friction == pytest.approx(base * scale) for friction in rubbing)
    env.close()
