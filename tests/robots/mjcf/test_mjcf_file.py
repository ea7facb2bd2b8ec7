"""Which files a model reads, and which models are refused before MuJoCo sees them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import mujoco
import pytest

from mql.errors import UserError
from mql.robots.mjcf import files as mjcf_file
from mql.robots.mjcf.files import mjcf_files

pytestmark = pytest.mark.newest

BOX = "v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"
MESH = '<asset><mesh name="m" file="{}"/></asset>'


def write(folder: Path, **files: str) -> None:
    """Write files; ``__`` in a keyword stands for a slash, ``_xml`` and ``_obj`` for the ends of names."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_xml", ".xml").replace("_obj", ".obj")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(folder: Path, main: str = "main.xml") -> set[str]:
    files = mjcf_files(folder / main, folder)
    assert files[0] == folder / main and len(set(files)) == len(files)
    return {path.relative_to(folder).as_posix() for path in files}


def refusal(folder: Path, main: str = "main.xml") -> str:
    with pytest.raises(UserError) as caught:
        mjcf_files(folder / main, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mujoco_reads(folder: Path, names: set[str]) -> bool:
    """Whether MuJoCo compiles the model with just these files, and fails without any one of them."""
    kept = {name: (folder / name).read_bytes() for name in names}
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(folder).as_posix() not in names:
            path.unlink()
    mujoco.MjModel.from_xml_path(str(folder / "main.xml"))
    for name, data in kept.items():
        (folder / name).unlink()
        with pytest.raises(ValueError):
            mujoco.MjModel.from_xml_path(str(folder / "main.xml"))
        (folder / name).write_bytes(data)
    return True


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"main_xml": "<mujoco/>"}, {"main.xml"}),
        ({"main_xml": f"<mujoco>{MESH.format('b.obj')}</mujoco>", "b_obj": BOX}, {"main.xml", "b.obj"}),
        (
            {"main_xml": f'<mujoco>{MESH.format("b.obj")}<compiler meshdir="m"/></mujoco>', "m__b_obj": BOX},
            {"main.xml", "m/b.obj"},
        ),
        (
            {
                "main_xml": f'<mujoco><compiler meshdir="m"/>{MESH.format("b.obj")}<compiler assetdir="a"/></mujoco>',
                "a__b_obj": BOX,
            },
            {"main.xml", "a/b.obj"},
        ),
        (
            {
                "main_xml": f'<mujoco><compiler strippath="true"/>{MESH.format("/x/../b.obj")}</mujoco>',
                "b_obj": BOX,
            },
            {"main.xml", "b.obj"},
        ),
        (
            {"main_xml": f"<mujoco>{MESH.format('m' + chr(92) + 'b.obj')}</mujoco>", "m__b_obj": BOX},
            {"main.xml", "m/b.obj"},
        ),
        (
            {
                "main_xml": '<mujoco><include file="s/a.xml"/></mujoco>',
                "s__a_xml": '<mujocoinclude><include file="b.xml"/></mujocoinclude>',
                "s__b_xml": "<mujocoinclude><worldbody/></mujocoinclude>",
            },
            {"main.xml", "s/a.xml", "s/b.xml"},
        ),
        (
            {
                "main_xml": '<mujoco><include file="s/a.xml"/></mujoco>',
                "s__a_xml": f"<mujocoinclude>{MESH.format('x.obj')}</mujocoinclude>",
                "s__x_obj": BOX,
            },
            {"main.xml", "s/a.xml", "s/x.obj"},
        ),
        (
            {
                "main_xml": '<mujoco><compiler meshdir="m"/><include file="s/a.xml"/></mujoco>',
                "s__a_xml": f"<mujocoinclude>{MESH.format('x.obj')}</mujocoinclude>",
                "s__x_obj": BOX,
            },
            {"main.xml", "s/a.xml", "s/x.obj"},
        ),
        (
            {
                "main_xml": '<mujoco><compiler meshdir="no"/><asset><model name="c" file="s/c.xml"/></asset><worldbody>'
                '<attach model="c" body="b" prefix="x"/></worldbody></mujoco>',
                "s__c_xml": f'<mujoco><compiler meshdir="m"/>{MESH.format("x.obj")}<worldbody><body name="b">'
                '<geom type="mesh" mesh="m"/></body></worldbody></mujoco>',
                "s__m__x_obj": BOX,
            },
            {"main.xml", "s/c.xml", "s/m/x.obj"},
        ),
    ],
)
def test_the_files_found_are_those_that_mujoco_reads(tmp_path: Path, files: dict[str, str], names: set[str]) -> None:
    write(tmp_path, **files)
    assert found(tmp_path) == names
    assert mujoco_reads(tmp_path, names)


def test_of_two_files_the_one_beside_the_main_file_is_read_and_both_must_be_in_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        main_xml='<mujoco><include file="s/a.xml"/></mujoco>',
        s__a_xml='<mujocoinclude><include file="b.xml"/></mujocoinclude>',
        s__b_xml="<mujocoinclude><worldbody/></mujocoinclude>",
        b_xml='<mujocoinclude><worldbody><body name="beside_main"/></worldbody></mujocoinclude>',
    )
    assert found(tmp_path) == {"main.xml", "s/a.xml", "b.xml", "s/b.xml"}
    assert mujoco.MjModel.from_xml_path(str(tmp_path / "main.xml")).body("beside_main").id == 1


def test_textures_height_fields_and_skins_are_found_in_their_folders(tmp_path: Path) -> None:
    write(
        tmp_path,
        main_xml='<mujoco><compiler meshdir="m" texturedir="t"/><asset><texture type="cube" name="c" fileright="r.png" '
        'fileleft="l.png"/><hfield name="h" file="h.png" size="1 1 1 1"/><skin file="s.skn"/></asset></mujoco>',
    )
    for name in ("t/r.png", "t/l.png", "m/h.png", "m/s.skn"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(struct.pack("f", 0.0))
    assert found(tmp_path) == {"main.xml", "t/r.png", "t/l.png", "m/h.png", "m/s.skn"}


@pytest.mark.parametrize(
    "element",
    [
        '<include file="../outside.xml"/>',
        '<asset><mesh name="m" file="../outside.xml"/></asset>',
        '<asset><texture name="t" type="2d" file="../outside.xml"/></asset>',
        '<asset><hfield name="h" size="1 1 1 1" file="../outside.xml"/></asset>',
        '<asset><skin file="../outside.xml"/></asset>',
        '<asset><model name="c" file="../outside.xml"/></asset>',
        '<asset><mesh name="m" file="..\\outside.xml"/></asset>',
        '<asset><mesh name="m" file="&#46;./outside.xml"/></asset>',
        '<asset><mesh name="m" file="link.obj"/></asset>',
        '<asset><mesh name="m" file="folder/outside.xml"/></asset>',
        '<compiler meshdir=".."/><asset><mesh name="m" file="outside.xml"/></asset>',
        '<asset><mesh name="m" file="outside.xml"/></asset><compiler assetdir=".."/>',
        '<worldbody><flexcomp name="f" type="mesh" file="../outside.xml"/></worldbody>',
    ],
)
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, element: str) -> None:
    folder = tmp_path / "inner"
    write(tmp_path, outside_xml="<mujoco/>", inner__main_xml=f"<mujoco>\n{element}\n</mujoco>")
    os.symlink(tmp_path / "outside.xml", folder / "link.obj")
    os.symlink(tmp_path, folder / "folder")
    said = refusal(folder)
    assert "outside" in said and "main.xml:2" in said


@pytest.mark.parametrize(
    "element",
    [
        '<include file="/etc/passwd"/>',
        '<asset><mesh name="m" file="/etc/passwd"/></asset>',
        '<asset><mesh name="m" file="C:\\x.obj"/></asset>',
        '<asset><mesh name="m" file="file:///etc/passwd"/></asset>',
        '<compiler meshdir="/etc"/>',
    ],
)
def test_an_absolute_path_is_refused(tmp_path: Path, element: str) -> None:
    write(tmp_path, main_xml=f"<mujoco>\n{element}\n</mujoco>")
    assert "is not a relative path (" in refusal(tmp_path)


def test_the_model_itself_must_lie_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, main_xml="<mujoco/>", inner__a_xml="<mujoco/>")
    with pytest.raises(UserError, match="outside the model's folder"):
        mjcf_files(tmp_path / "inner" / ".." / "main.xml", tmp_path / "inner")
    with pytest.raises(UserError, match="is missing"):
        mjcf_files(tmp_path / "lost.xml", tmp_path)


def test_a_missing_mesh_is_named_with_its_line_and_its_place(tmp_path: Path) -> None:
    write(tmp_path, main_xml='<mujoco>\n<compiler meshdir="m"/>\n<asset>\n<mesh file="a.stl"/></asset></mujoco>')
    said = refusal(tmp_path)
    assert "'a.stl' is missing" in said and "main.xml:4 mesh" in said and str(tmp_path / "m" / "a.stl") in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<mujoco>" + "<body/>" * 50_001 + "</mujoco>", "more than 50,000 elements"),
        ('<mujoco><replicate count="1000000"><body/></replicate></mujoco>', "more than 50,000 elements"),
        (
            '<mujoco><replicate count="1000"><replicate count="1000"><body/></replicate></replicate></mujoco>',
            "more than 50,000 elements",
        ),
        ('<mujoco><flexcomp type="grid" count="100 100 100"/></mujoco>', "more than 50,000 elements"),
        ('<mujoco><composite type="cable" count="x"/></mujoco>', "count is 'x'"),
        ('<!DOCTYPE m [<!ENTITY a "b">]><mujoco/>', "DOCTYPE"),
        ("<mujoco><body></mujoco>", "not valid XML: mismatched tag (main.xml:1)"),
        ("", "not valid XML"),
        ('<sdf version="1.6"/>', "the file holds <sdf>, not <mujoco>"),
        ('<mujoco><include file="main.xml"/></mujoco>', "included twice"),
        ('<mujoco><asset><model name="a" file="main.xml"/></asset></mujoco>', "too deeply"),
    ],
)
def test_what_no_model_should_be_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, main_xml=text)
    assert said in refusal(tmp_path).replace(f"{tmp_path}/", "")


def test_repeated_children_count_as_often_as_they_are_attached(tmp_path: Path) -> None:
    attached = '<replicate count="900"><attach model="c" body="b" prefix="x"/></replicate>'
    write(
        tmp_path,
        main_xml=f'<mujoco><worldbody>{attached}</worldbody><asset><model name="c" file="c.xml"/></asset></mujoco>',
        c_xml="<mujoco><body>" + "<geom/>" * 100 + "</body></mujoco>",
    )
    assert "more than 50,000 elements" in refusal(tmp_path)


def test_a_file_that_says_another_encoding_is_read_as_mujoco_reads_it(tmp_path: Path) -> None:
    write(tmp_path, main_xml='<?xml version="1.0" encoding="cp037"?><mujoco><include file="a.xml"/></mujoco>')
    assert "'a.xml' is missing" in refusal(tmp_path)


def test_a_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, main_xml=f"<mujoco>{MESH.format('b.obj')}</mujoco>", b_obj=BOX * 100)
    monkeypatch.setattr(mjcf_file, "MOST_BYTES", 1000)
    assert "'b.obj' has 0 MB" in refusal(tmp_path)
