"""Every robot of the package: its file is read, its facts hold, and its checks find nothing that fails."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml
from lab_robots import verdicts

from mql.config.marked_yaml import parse_marked
from mql.robots import registry
from mql.robots.checks.verdict import Verdict
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import joint_id
from mql.robots.spec_yaml import ROBOT

pytestmark = pytest.mark.newest

ROOT = Path(__file__).parents[2]
STATED = ("adroit-hand", "arm7", "fetch", "franka-kitchen", "mobile-base", "planar2", "sawyer", "shadow-hand")
OURS = ("arm7", "mobile-base", "planar2")

# What the checks remark on: these are properties of the published models, not mistakes in the facts.
REMARKS = {
    "adroit-hand": {"limits"},  # the arm's targets reach 2.5 times as far as its joints: gain 500, bias -200
    "fetch": {"limits"},  # finger targets up to 0.2 m, fingers to 0.05 m
    "franka-kitchen": {"limits"},  # damping of 100 N m s/rad leaves 0.87 rad/s of 2.175
    "sawyer": {"limits"},  # finger targets of -1 to 1 m stand for forces
}


@cache
def checked(name: str) -> dict[str, Verdict]:
    return verdicts(name)


@cache
def model_of(name: str) -> mujoco.MjModel:
    return registry.load(name).compile()


def test_every_file_of_the_package_has_its_name() -> None:
    files = {path.stem.replace("_", "-") for path in (ROOT / "robots" / "models").glob("*.yaml")}
    assert files == set(STATED) and files < set(registry.names())
    assert [registry.load(name).name for name in registry.names()] == registry.names()


@pytest.mark.parametrize("name", registry.names())
def test_nothing_fails_and_remarks_are_known(name: str) -> None:
    found = checked(name)
    assert {check for check, verdict in found.items() if verdict.result == "fail"} == set(), found
    assert {check for check, verdict in found.items() if verdict.result == "warn"} == REMARKS.get(name, set()), found


@pytest.mark.parametrize("name", STATED)
def test_every_joint_and_actuator_of_the_robot_is_stated(name: str) -> None:
    spec = registry.load(name)
    inspection = Inspection(lambda: spec)
    inspection.model = model_of(name)
    assert {model_of(name).joint(joint).name for joint in inspection.joints} == set(spec.joints)
    assert len(inspection.actuators) == len(spec.actuators)


@pytest.mark.parametrize("name", STATED)
def test_the_numbers_are_those_of_the_compiled_model(name: str) -> None:
    """Read from the file itself, by another way than the check of facts goes."""
    spec, model = registry.load(name), model_of(name)
    assert spec.file is not None
    tree = yaml.safe_load(spec.file.read_text(encoding="utf-8"))
    for joint, fact in tree["joints"].items():
        index = joint_id(model, joint)
        assert index is not None
        assert bool(model.jnt_limited[index]) == ("position_range" in fact)
        if "position_range" in fact:
            np.testing.assert_allclose(model.jnt_range[index], fact["position_range"], rtol=1e-5)
    for body, mass in tree["masses"].items():
        assert model.body(body).mass[0] == pytest.approx(mass, rel=1e-5)
    for actuator, fact in tree["actuators"].items():
        index = model.actuator(actuator).id if actuator in _actuator_names(model) else None
        if index is not None:
            np.testing.assert_allclose(model.actuator_ctrlrange[index], fact["control_range"], rtol=1e-5)
            assert model.actuator_gainprm[index, 0] == pytest.approx(fact["gain"], rel=1e-5)


def _actuator_names(model: mujoco.MjModel) -> set[str]:
    return {model.actuator(index).name for index in range(model.nu)}


@pytest.mark.parametrize("name", STATED)
def test_our_reader_and_pyyaml_read_the_same(name: str) -> None:
    spec = registry.load(name)
    assert spec.file is not None
    text = spec.file.read_text(encoding="utf-8")
    assert parse_marked(text, "file", ROBOT).data == yaml.safe_load(text)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("name", OURS)
def test_our_own_robots_are_made_of_primitive_geoms(name: str) -> None:
    model = model_of(name)
    assert model.nmesh == model.nhfield == model.ntex == 0
    spec = registry.load(name)
    assert spec.licence == "Apache-2.0" and spec.path().parent.resolve() == ROOT / "robots" / "models"


def test_planar2_reaches_as_far_as_its_links() -> None:
    model = model_of("planar2")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("fingertip").xpos, [0.55, 0.0, 0.1], atol=1e-12)
    data.qpos[:] = 0.4, 0.8  # home: 0.3 at 0.4 rad and 0.25 at 1.2 rad
    mujoco.mj_forward(model, data)
    place = [0.3 * np.cos(0.4) + 0.25 * np.cos(1.2), 0.3 * np.sin(0.4) + 0.25 * np.sin(1.2), 0.1]
    np.testing.assert_allclose(data.site("fingertip").xpos, place, atol=1e-12)


def test_arm7_at_home_points_down_before_its_mount() -> None:
    """The flange is 0.50 m before the mount and 0.30 m above it."""
    data = Inspection(lambda: registry.load("arm7")).home()
    np.testing.assert_allclose(data.site("flange").xpos, [0.5, 0.0, 0.3], atol=1e-3)
    np.testing.assert_allclose(data.site("flange").xmat.reshape(3, 3)[:, 2], [0.0, 0.0, -1.0], atol=1e-3)
    np.testing.assert_allclose(data.qpos, model_of("arm7").key("home").qpos, atol=1e-9)


def test_the_mobile_base_drives_at_the_speed_asked_for() -> None:
    model = model_of("mobile-base")
    data = mujoco.MjData(model)
    data.ctrl[:] = 0.5, -0.3, 0.4
    for _ in range(400):  # 2 s
        mujoco.mj_step(model, data)
    damping, gain = np.array([5.0, 5.0, 1.0]), np.array([300.0, 300.0, 20.0])
    np.testing.assert_allclose(data.qvel, data.ctrl * gain / (gain + damping), rtol=1e-3)


def test_robots_stated_in_python_say_the_same_as_specs() -> None:
    spec = registry.load("half-cheetah")
    row = spec.summary_row()
    assert row.pop("summary").startswith("The half-cheetah: a planar runner of seven bodies and six motors")
    assert row == {
        "name": "half-cheetah",
        "joints": 9,
        "actuators": 6,
        "licence": "MIT",
        "source": spec.source,
    }
    assert spec.actuators["bthigh"].gear == 120.0 and spec.masses["torso"] == 6.2502
    assert spec.path().name == "half_cheetah.xml"


def test_a_wrong_gear_of_a_python_robot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = registry.load("hopper")
    wrong = {**spec.actuators, "leg_joint": spec.actuators["leg_joint"].model_copy(update={"gear": 100.0})}
    inspection = Inspection(lambda: spec.model_copy(update={"actuators": wrong}))
    from mql.robots.checks.run import run_check

    verdict = run_check(inspection, "facts")
    assert verdict.result == "fail" and "actuators.leg_joint.gear is 100, the model has 200" in verdict.message
