"""What MuJoCo gets is one text without paths: it means the same, and no file is opened for it."""

from __future__ import annotations

import struct
from pathlib import Path

import mujoco
import numpy as np
import pytest
from mujoco import MjModel

from mql.errors import UserError
from mql.robots import registry
from mql.robots.mjcf.compiled import compile_mjcf, read_model
from mql.robots.mjcf.files import read_files
from mql.robots.mjcf.sealed import seal

pytestmark = pytest.mark.newest

BOX = "v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"
FIELD = struct.pack("<2i16f", 4, 4, *[number / 15 for number in range(16)])
SKIN = (
    struct.pack("<4i12f", 4, 0, 4, 1, *(0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1))
    + struct.pack("<12i", 0, 2, 1, 0, 1, 3, 1, 2, 3, 0, 3, 2)
    + b"arm".ljust(40, b"\0")
    + struct.pack("<7fi4i4f", *(0, 0, 0, 1, 0, 0, 0), 4, *range(4), *(1, 1, 1, 1))
)
BODY = '<body name="arm"><joint name="swing"/><geom size="0.1" mass="1"/></body>'
# Every kind of file, in the folder that meshdir names.
KINDS = {
    "mesh": ('<asset><mesh file="m.obj"/></asset>', '<geom type="mesh" mesh="m"/>', "m.obj", BOX.encode()),
    "hfield": (
        '<asset><hfield name="h" file="h.bin" size="1 1 1 1"/></asset>',
        '<geom type="hfield" hfield="h"/>',
        "h.bin",
        FIELD,
    ),
    "skin": ('<asset><skin name="s" file="s.skn"/></asset>', "", "s.skn", SKIN),
    "flex": (
        "",
        '<flexcomp name="f" type="mesh" file="f.obj" dim="2" mass="0.1" radius="0.005"/>',
        "f.obj",
        BOX.encode(),
    ),
}


def same(one: MjModel, other: MjModel) -> bool:
    """Whether two models hold the same numbers, up to the names of files."""
    for name in dir(one):
        value = getattr(one, name)
        if (
            not name.endswith(("_pathadr", "_sizes"))
            and isinstance(value, np.ndarray)
            and not np.array_equal(value, getattr(other, name), equal_nan=True)
        ):
            return False
    return bool(one.nq == other.nq and one.nu == other.nu)


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_an_included_model_are_found_in_its_folder_for_them(tmp_path: Path, kind: str) -> None:
    asset, used, name, data = KINDS[kind]
    robot = tmp_path / "robot.xml"
    robot.write_text(f'<mujoco><compiler meshdir="assets"/>{asset}<worldbody>{used}{BODY}</worldbody></mujoco>')
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / name).write_bytes(data)
    (tmp_path / "scene.xml").write_text('<mujoco><include file="robot.xml"/></mujoco>')
    alone = MjModel.from_xml_path(str(robot))
    assert same(compile_mjcf(robot, tmp_path), alone)
    assert same(compile_mjcf(tmp_path / "scene.xml", tmp_path), alone)
    assert same(read_model(tmp_path / "scene.xml", tmp_path).spec().compile(), alone)


def test_no_file_is_opened_for_a_sealed_model(tmp_path: Path) -> None:
    """Not even for an attached model, which without a meshdir has that of the main one."""
    inner = tmp_path / "inner"
    (inner / "parts" / "m").mkdir(parents=True)
    (inner / "main.xml").write_text(
        '<mujoco><compiler meshdir="m"/><asset><model name="c" file="parts/c.xml"/></asset><worldbody>'
        '<attach model="c" body="b" prefix="x"/></worldbody></mujoco>'
    )
    (inner / "parts" / "c.xml").write_text(
        '<mujoco><asset><mesh file="b.obj"/></asset><worldbody><body name="b"><geom type="mesh" mesh="b"/></body>'
        "</worldbody></mujoco>"
    )
    (inner / "parts" / "m" / "b.obj").write_text(BOX)
    if mujoco.mj_version() < 400:  # later versions don't look there
        plain = MjModel.from_xml_path(str(inner / "main.xml"))
    sealed = seal(read_files(inner / "main.xml", inner))
    for path in sorted(inner.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert sealed.compile().nmesh == 1
    assert mujoco.mj_version() >= 400 or same(sealed.compile(), plain)
    assert not any(str(tmp_path) in text for text in (sealed.text, *map(bytes.decode, sealed.includes.values())))


def test_an_attached_model_leads_nowhere_by_the_main_ones_meshdir(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    (inner / "parts").mkdir(parents=True)
    (tmp_path / "b.obj").write_text(BOX)
    (inner / "main.xml").write_text(
        '<mujoco><compiler meshdir="../.."/><asset><model name="c" file="parts/c.xml"/></asset></mujoco>'
    )
    (inner / "parts" / "c.xml").write_text('<mujoco><asset><mesh file="b.obj"/></asset></mujoco>')
    with pytest.raises(UserError, match=r"outside the model's folder \(.*c.xml:1 mesh\)"):
        read_model(inner / "main.xml", inner)


@pytest.mark.parametrize("name", ["arm7", "planar2", "mobile-base", "ant", "half-cheetah", "humanoid"])
def test_a_sealed_robot_is_the_robot(name: str) -> None:
    spec = registry.load(name)
    assert same(spec.compile(), MjModel.from_xml_path(str(spec.path())))


@pytest.mark.parametrize(
    ("text", "bodies"),
    [
        ("<!-- ---- the arm ---- --><mujoco>{}</mujoco>", 2),
        ('<?xml version="1.0" encoding="gbk"?><mujoco model="a &amp; b">{}</mujoco>', 2),
        ('<mujoco model="a & b">{}</mujoco> <!-- -- the end -->', 2),
        ('<mujoco model="&nbsp;">{}</mujoco><mujoco/>', 2),
        ("\ufeff<mujoco>{}</mujoco>", 2),
    ],
)
def test_xml_that_mujoco_takes_is_taken(tmp_path: Path, text: str, bodies: int) -> None:
    path = tmp_path / "robot.xml"
    path.write_text(text.format(f"<worldbody>{BODY}</worldbody>"), encoding="utf-8")
    assert MjModel.from_xml_path(str(path)).nbody == bodies == compile_mjcf(path, tmp_path).nbody


def test_a_comment_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "robot.xml"
    path.write_bytes(b"<mujoco><!-- R\xfcckseite --><worldbody/></mujoco>")
    assert compile_mjcf(path, tmp_path).nbody == 1


def test_messages_name_the_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text('<mujoco>\n<include file="robot.xml"/>\n</mujoco>')
    (tmp_path / "robot.xml").write_text("<mujoco>\n<worldbody>\n\n<geom typ='box'/></worldbody></mujoco>")
    with pytest.raises(UserError, match=r"unrecognized attribute: 'typ' \(.*robot.xml:4 geom\)"):
        compile_mjcf(tmp_path / "scene.xml", tmp_path)
    (tmp_path / "robot.xml").write_text(
        '<mujoco>\n<asset><mesh file="m.obj"/></asset>\n<worldbody><geom type="mesh" mesh="m"/></worldbody></mujoco>'
    )
    (tmp_path / "m.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(UserError) as caught:
        compile_mjcf(tmp_path / "scene.xml", tmp_path)
    assert "m" in str(caught.value) and not any(len(word) > 30 for word in caught.value.what.split())


def test_deep_nesting_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "robot.xml"
    path.write_text(f"<mujoco><worldbody>{'<body>' * 450}{'</body>' * 450}</worldbody></mujoco>")
    with pytest.raises(UserError, match="nested too deeply"):
        compile_mjcf(path, tmp_path)
