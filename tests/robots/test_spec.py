"""A robot's YAML: what is read, and what is refused in one line with file, line, key and fix."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from lab_robots import load_robot, write_robot

from mql.errors import UserError
from mql.robots import load, registry
from mql.robots.spec import RobotSpec
from mql.robots.spec_parts import Part

LINES = {  # line of the lab robot's file that each key stands at
    "schema": 1,
    "sources": 7,
    "base": 10,
    "home": 11,
    "joints.swing": 14,
    "actuators.swing": 17,
    "control.delta": 20,
    "masses": 21,
    "view": 22,
}


def refusal(folder: Path, old: str, new: str) -> str:
    """The message that refuses the robot with one text of its file exchanged for another."""
    with pytest.raises(UserError) as caught:
        load_robot(folder, spec=(old, new))
    message = str(caught.value)
    assert "\n" not in message and "lift.yaml" in message, message
    return message


def test_the_values_of_the_file(tmp_path: Path) -> None:
    spec = load_robot(tmp_path)
    assert (spec.name, spec.version, spec.licence) == ("lift", 2, "MIT")
    assert spec.joints["swing"].position_range == (-1.5, 1.5)
    assert spec.joints["reach"].effort_limit == 30.0
    assert spec.home == {"swing": 0.2, "reach": 0.05}
    assert spec.control["delta"].rate_hz == 20.0
    assert spec.mount.pos == (0.0, 0.0, 0.0) and spec.mount.quat == (1.0, 0.0, 0.0, 0.0)
    assert spec.path() == tmp_path / "lift.xml"
    camera = spec.camera()
    assert camera is not None and (camera.body, camera.distance) == ("link", 1.0)


def test_compiling_gives_the_model(tmp_path: Path) -> None:
    model = load_robot(tmp_path).compile()
    assert (model.nq, model.nu) == (2, 2)
    np.testing.assert_allclose(model.body_mass[1:], [1.0, 0.5, 0.2])


def test_a_number_s_source_is_its_own_or_that_of_its_section_or_of_the_robot(tmp_path: Path) -> None:
    spec = load_robot(tmp_path, spec=("motor data sheet}", "motor data sheet, joints: drawings}"))
    assert spec.source_of("joints.swing.effort_limit") == "motor data sheet"
    assert spec.source_of("joints.swing.velocity_limit") == "drawings"
    assert spec.source_of("masses.rod") == "our workshop"


def test_places_are_file_and_line(tmp_path: Path) -> None:
    spec = load_robot(tmp_path)
    for key, line in LINES.items():
        assert spec.where(key) == f"{tmp_path / 'lift.yaml'}:{line} {key}"
    assert spec.where("joints.swing.no_such_key").endswith("lift.yaml:14 joints.swing.no_such_key")


def test_a_spec_survives_pickling(tmp_path: Path) -> None:
    spec = load_robot(tmp_path)
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec and copy.where("view") == spec.where("view") and copy.path() == spec.path()


def test_a_short_spec_is_enough(tmp_path: Path) -> None:
    write_robot(tmp_path)
    short = tmp_path / "short.yaml"
    short.write_text("schema: mql.robot/1\nname: lift\nlicence: MIT\nsource: ours\nmjcf: lift.xml\n", encoding="utf-8")
    assert registry.load(str(short)).compile().nu == 2


@pytest.mark.parametrize(
    ("old", "new", "line", "texts"),
    [
        ("mql.robot/1", "mql.robot/7", 1, ["'mql.robot/7'", "schema: mql.robot/1"]),
        ("licence: MIT\n", "licens: MIT\n", 5, ["unknown key 'licens'", "did you mean 'licence'"]),
        ("licence: MIT\n", "", 1, ["'licence' is missing", "SPDX"]),
        ("name: lift", "name: Lift Off", 2, ["name is 'Lift Off'", "small letters"]),
        ("version: 2", "version: two", 3, ["version is 'two'"]),
        ("kind: fixed", "kind: glued", 10, ["base.kind is 'glued'", "'fixed', 'planar' or 'free'"]),
        ("effort_limit: 20", "effort_limt: 20", 14, ["unknown key 'effort_limt'", "'effort_limit'"]),
        ("effort_limit: 20", "effort_limit: -20", 14, ["joints.swing.effort_limit is -20", "N m"]),
        ("effort_limit: 20", "effort_limit: .nan", 14, ["joints.swing.effort_limit is nan"]),
        ("effort_limit: 20", "effort_limit: yes", 14, ["joints.swing.effort_limit is true", "boolean"]),
        ("[-1.5, 1.5], vel", "[1.5, -1.5], vel", 14, ["joints.swing.position_range", "lowest value comes first"]),
        ("[-1.5, 1.5], vel", "[-1.5], vel", 14, ["joints.swing.position_range"]),
        ("swing: 0.2,", "swong: 0.2,", 11, ["unknown joint 'swong'", "did you mean 'swing'"]),
        ("swing: 0.2,", "swing: high,", 11, ["home.swing is 'high'"]),
        ("{joint: swing", "{joint: swin", 17, ["unknown joint 'swin'", "'swing'"]),
        ("kind: position_delta", "kind: ee_delta", 20, ["needs by: mocap or ik"]),
        ("rod: 0.2}", "rod: -0.2}", 21, ["masses.rod is -0.2", "greater than 0"]),
        ("rod: 0.2}", "rod: .nan}", 21, ["masses.rod is nan"]),
        ("joints.swing.effort_limit", "joints.swung.effort_limit", 7, ["no key", "'swing'"]),
        ("view: {body", "view: {bodi", 22, ["unknown key 'bodi'", "'body'"]),
        ("version: 2", "version: 2\nversion: 3", 4, ["'version' appears twice", "it is already on line 3"]),
        ("version: 2", "version: [2", 4, ["not valid YAML"]),
        ("version: 2", "version: !!timestamp x", 3, ["'x' can't be read", "version"]),
        ("version: 2", "version: !!bool x", 3, ["'x' can't be read", "version"]),
        ("version: 2", "version: !!set {2}", 3, ["not valid YAML", "the tag"]),
        ("version: 2", "version: 2020-01-01", 3, ["a date instead of text or a number"]),
        ("home: {swing: 0.2, reach: 0.05}", "home: &a {swing: 0.2}\nmount: *a", 12, ["anchor", "write the values out"]),
        ("version: 2", "mount: {quat: [1, 1, 0, 0]}", 3, ["mount.quat", "length 1"]),
        ("version: 2", "randomise: {body_mass: {low: 2, high: 1}}", 3, ["low is above high"]),
        ("version: 2", "randomise: {body_weight: {low: 1, high: 2}}", 3, ["body_weight", "body_mass"]),
        ("version: 2", "randomise: {body_mass: 0.1}", 3, ["body_mass is 0.1", "such as {low: ..., high: ...}"]),
        ("version: 2", "gripper: {actuators: [reach], open: 0.1, close: [0]}", 3, ["a list, such as [0.1]"]),
        ("version: 2", "gripper: {actuators: [], open: [], close: []}", 3, ["gripper.actuators", "at least 1 value"]),
        ("version: 2", "safety: {workspace_low_m: [0, 1]}", 3, ["workspace_low_m has too few values"]),
        ("version: 2", "mount: {pos: 1}", 3, ["mount.pos is 1", "a list of 3: [..., ..., ...]"]),
        ("version: 2", "mount: {pos: [0, 0, 0, 0]}", 3, ["mount.pos", "at most 3 values"]),
        ("version: 2", "sensors: {swing:}", 3, ["sensors.swing is null", "such as {kind: ...}"]),
        ("version: 2", "attach: {tool: {}}", 3, ["either a site or a body"]),
        (
            "version: 2",
            "gripper: {actuators: [reach], open: [0.1, 0], close: [0]}",
            3,
            ["2 values for 1 actuator (", "give one for each"],
        ),
        ("version: 2", "gripper: {actuators: [reech], open: [0.1], close: [0]}", 3, ["'reach'? Else state it"]),
    ],
)
def test_mistakes_are_one_line_with_the_place(tmp_path: Path, old: str, new: str, line: int, texts: list[str]) -> None:
    message = refusal(tmp_path, old, new)
    assert f"lift.yaml:{line}" in message, message
    for text in texts:
        assert text in message, message


def test_unlimited_and_a_range_contradict_each_other(tmp_path: Path) -> None:
    assert "delete one of the two" in refusal(tmp_path, "{kind: hinge,", "{kind: hinge, unlimited: true,")


def test_files_that_are_no_specs(tmp_path: Path) -> None:
    for name, data, text in (
        ("empty.yaml", b"", "the file is empty"),
        ("list.yaml", b"- 1\n- 2\n", "not a mapping"),
        ("bytes.yaml", b"\xff\xfe\x00", "not UTF-8"),
        ("huge.yaml", b"a" * 2_000_000, "robot's spec is larger than 1 MB"),
        ("deep.yaml", b"a: " + b"[" * 5000 + b"]" * 5000, "deep.yaml"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UserError, match=text):
            registry.load(str(path))
    with pytest.raises(UserError, match="no such file"):
        registry.load(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="directory"):
        registry.load(f"{tmp_path}/")


def test_a_bare_mjcf_is_a_robot_without_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_robot(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = load("lift.xml")
    assert (spec.name, spec.licence, spec.joints) == ("lift", "NOASSERTION", {})
    assert spec.path() == tmp_path / "lift.xml" and spec.compile().nu == 2
    with pytest.raises(UserError, match="there is no file"):
        load("lifd.xml").path()


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'planar2'"):
        registry.load("planar3")


def test_a_file_without_yaml_at_its_end_is_pointed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("robot").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"ends in \.yaml"):
        registry.load("robot")


@pytest.mark.parametrize(
    ("mjcf", "text"),
    [
        ("../lift.xml", "leads outside"),
        ("/etc/hostname", "leads outside"),
        ("none.xml", "there is no file"),
        ("package:no_such_package/a.xml", "pip install no-such-package"),
        ("package:gymnasium/no.xml", "reinstall gymnasium"),
        ("package:gymnasium/../yaml/nodes.py", "leads outside"),
        ("package:", "write package:<module>/<path>"),
    ],
)
def test_a_model_that_is_not_there_or_outside(tmp_path: Path, mjcf: str, text: str) -> None:
    folder = tmp_path / "robot"
    folder.mkdir()
    (tmp_path / "lift.xml").write_text("<mujoco/>", encoding="utf-8")
    spec = load_robot(folder, spec=("mjcf: lift.xml", f"mjcf: {mjcf}" if mjcf[-1] != ":" else f'mjcf: "{mjcf}"'))
    with pytest.raises(UserError, match=text) as caught:
        spec.path()
    assert "lift.yaml:8 mjcf" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "texts"),
    [
        ('mass="0.5"', 'mass="nan"', ["lift.xml:9", "mass of <geom> is 'nan'"]),
        ('mass="0.5"', 'mass="-0.5"', ["MuJoCo refuses the model", "negative"]),
        ('range="0 0.1"', 'limited="true" range="0.1 0"', ["MuJoCo refuses the model", "range"]),
        ('damping="1"', 'damping="-1"', ["dof_damping of joint 'swing' is negative"]),
        ('damping="1"', 'damping="inf"', ["dof_damping of joint 'swing' is inf"]),
        ("</worldbody>", "</worldbdy>", ["lift.xml:"]),
    ],
)
def test_models_that_cannot_be_used_are_one_line(tmp_path: Path, old: str, new: str, texts: list[str]) -> None:
    spec = load_robot(tmp_path, mjcf=(old, new))
    with pytest.raises(UserError) as caught:
        spec.compile()
    assert "\n" not in str(caught.value)
    for text in texts:
        assert text in str(caught.value)


def test_a_missing_mesh_is_named(tmp_path: Path) -> None:
    mesh = '<asset><mesh name="hull" file="hull.stl"/></asset>\n  <worldbody>'
    spec = load_robot(tmp_path, mjcf=("<worldbody>", mesh))
    with pytest.raises(UserError, match=r"hull\.stl"):
        spec.compile()


def test_every_field_says_what_it_means() -> None:
    """A line of text each, and every number names its unit there or in its name."""

    def parts(cls: type[Part]) -> list[type[Part]]:
        return [cls, *(inner for below in cls.__subclasses__() for inner in parts(below))]

    units = ("rad", " m", "N", "kg", "Hz", "s.", "no unit", "degrees", "quaternion", "unit")
    for part in (part for part in parts(Part) if part.__module__.startswith("mql.robots")):
        for name, field in part.model_fields.items():
            text = field.description or ""
            assert text.endswith(".") and "\n" not in text, f"{part.__name__}.{name}"
            if "float" in str(field.annotation) and name not in ("home", "masses"):
                assert any(unit in text for unit in units), f"{part.__name__}.{name}: {text}"
    assert RobotSpec in parts(Part)
