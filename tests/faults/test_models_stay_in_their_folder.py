"""A model reads nothing outside its folder, whatever MuJoCo makes of its paths, and its digest covers what it reads.

Each layout has a model in ``own/``, a file outside that its paths reach for, and a decoy of the same name inside. What
is opened is traced: the kernel is asked (strace), not our own code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mql.errors import UserError
from mql.robots.mjcf.files import mjcf_files
from mql.tasks.definitions.file import read_definition

STRACE = shutil.which("strace")


def box(size: float) -> str:
    """Return a box as OBJ; the size tells whose it is."""
    corners = [(x, y, z) for x in (-size, size) for y in (-size, size) for z in (-size, size)]
    faces = [
        (1, 3, 2),
        (2, 3, 4),
        (5, 6, 7),
        (6, 8, 7),
        (1, 2, 5),
        (2, 6, 5),
        (3, 7, 4),
        (4, 7, 8),
        (1, 5, 3),
        (3, 5, 7),
    ]
    faces += [(2, 4, 6), (4, 8, 6)]
    lines = [f"v {x} {y} {z}" for x, y, z in corners]
    return "\n".join([*lines, *(f"f {a} {b} {c}" for a, b, c in faces)]) + "\n"


INSIDE, OUTSIDE = box(0.1), box(0.7)
PARTS = '<worldbody><body name="p"><joint name="j"/><geom type="mesh" mesh="part"/></body></worldbody>'
DRIVEN = '<actuator><motor joint="xj"/></actuator>'
ATTACH = '<worldbody><attach model="c" body="p" prefix="x"/></worldbody>' + DRIVEN
CHILD = f'<mujoco><asset><mesh name="part" file="part.obj"/></asset>{PARTS}</mujoco>'
OWN = '<worldbody><body name="b"><joint name="xj"/>{}</body></worldbody>' + DRIVEN
TEXTURED = (
    '<asset>{}<material name="m" texture="t"/></asset>'
    '<worldbody><body><joint name="xj"/><geom size="1" material="m"/></body></worldbody>' + DRIVEN
)


def parent(compiler: str, more: str = "") -> str:
    return f'<mujoco><compiler {compiler}/>{more}<asset><model name="c" file="parts/c.xml"/></asset>{ATTACH}</mujoco>'


def main(compiler: str, assets: str, body: str) -> str:
    return f"<mujoco><compiler {compiler}/><asset>{assets}</asset>{OWN.format(body)}</mujoco>"


MESH = '<geom type="mesh" mesh="part"/>'
# Layout -> the files of the model's folder besides decoys; the names say what leads outside.
LAYOUTS: dict[str, dict[str, str]] = {
    "meshdir of the parent": {"m.xml": parent('meshdir="../../outside"'), "parts/c.xml": CHILD},
    "assetdir of the parent": {"m.xml": parent('assetdir="../../outside"'), "parts/c.xml": CHILD},
    "meshdir with a backslash": {"m.xml": parent('meshdir="..\\..\\outside"'), "parts/c.xml": CHILD},
    "meshdir by way of the folder": {"m.xml": parent('meshdir="x/../../../outside"'), "parts/c.xml": CHILD},
    "the child's meshdir": {
        "m.xml": parent(""),
        "parts/c.xml": CHILD.replace("<mujoco>", '<mujoco><compiler meshdir="../../outside"/>'),
    },
    "the last compiler wins": {
        "m.xml": parent('meshdir="parts"', '<compiler meshdir="../../outside"/>'),
        "parts/c.xml": CHILD,
    },
    "an included compiler": {
        "m.xml": parent("", '<include file="set.xml"/>'),
        "set.xml": '<mujocoinclude><compiler meshdir="../../outside"/></mujocoinclude>',
        "parts/c.xml": CHILD,
    },
    "strippath of the parent": {
        "m.xml": parent('meshdir="../../outside" strippath="true"'),
        "parts/c.xml": CHILD.replace("part.obj", "../../outside/part.obj"),
    },
    "strippath of the child": {
        "m.xml": parent('meshdir="../../outside"'),
        "parts/c.xml": CHILD.replace("part.obj", "x/part.obj").replace(
            "<mujoco>", '<mujoco><compiler strippath="true"/>'
        ),
    },
    "a child of a child": {
        "m.xml": parent('meshdir="../../outside"'),
        "parts/c.xml": '<mujoco><asset><model name="d" file="d.xml"/></asset><worldbody><body name="p"><joint'
        ' name="j"/><geom size="1"/><attach model="d" body="p" prefix="y"/></body></worldbody></mujoco>',
        "parts/d.xml": CHILD,
    },
    "a mesh's own path": {"m.xml": main("", '<mesh name="part" file="../outside/part.obj"/>', MESH)},
    "a mesh in an include": {
        "m.xml": f'<mujoco><include file="parts/i.xml"/>{OWN.format(MESH)}</mujoco>',
        "parts/i.xml": '<mujocoinclude><asset><mesh name="part" file="../../outside/part.obj"/></asset>'
        "</mujocoinclude>",
    },
    "an include": {"m.xml": f'<mujoco><include file="../outside/i.xml"/>{OWN.format("")}</mujoco>'},
    "an include in an include": {
        "m.xml": f'<mujoco><include file="parts/i.xml"/>{OWN.format("")}</mujoco>',
        "parts/i.xml": '<mujocoinclude><include file="../../outside/i.xml"/></mujocoinclude>',
    },
    "a model": {"m.xml": f'<mujoco><asset><model name="c" file="../outside/c.xml"/></asset>{ATTACH}</mujoco>'},
    "a height field": {
        "m.xml": main('meshdir="../outside"', '<hfield name="part" file="t.png" size="1 1 1 1"/>', "<geom size='1'/>")
    },
    "a texture": {
        "m.xml": '<mujoco><compiler texturedir="../outside"/>'
        + TEXTURED.format('<texture name="t" type="2d" file="t.png"/>')
        + "</mujoco>"
    },
    "a cube's side": {
        "m.xml": "<mujoco>"
        + TEXTURED.format(
            '<texture name="t" type="cube" '
            + " ".join(f'file{side}="parts/t.png"' for side in ("left", "up", "down", "front", "back"))
            + ' fileright="../outside/t.png"/>'
        )
        + "</mujoco>"
    },
    "a skin": {
        "m.xml": main('meshdir="../outside"', "", "<geom size='1'/>").replace(
            "</mujoco>", '<deformable><skin name="s" file="part.skn"/></deformable></mujoco>'
        )
    },
    "a flexcomp": {"m.xml": main("", "", '<flexcomp name="f" type="mesh" file="../outside/part.obj" dim="2"/>')},
    "a flexcomp and meshdir": {
        "m.xml": main('meshdir="../outside"', "", '<flexcomp name="f" type="mesh" file="part.obj"/>')
    },
    "a replicated mesh": {
        "m.xml": main(
            'meshdir="../outside"',
            '<mesh name="part" file="part.obj"/>',
            f'<replicate count="2" offset="9 0 0">{MESH}</replicate>',
        )
    },
    "a composite's": {
        "m.xml": main(
            'meshdir="../outside"',
            '<mesh name="part" file="part.obj"/>',
            '<geom size="1"/><composite type="cable" curve="s" count="4 1 1" size="1" prefix="k"><geom size=".01"/>'
            "</composite>",
        )
    },
    "a default's class of files": {
        "m.xml": main('meshdir="../outside"', '<mesh class="q" file="part.obj" name="part"/>', MESH).replace(
            "<asset>", '<default><default class="q"><mesh scale="1 1 1"/></default></default><asset>', 1
        )
    },
    "a link": {"m.xml": main("", '<mesh name="part" file="linked/part.obj"/>', MESH), "linked": "-> ../outside"},
    "a link to a file": {
        "m.xml": main("", '<mesh name="part" file="l.obj"/>', MESH),
        "l.obj": "-> ../outside/part.obj",
    },
    "a linked include": {
        "m.xml": f'<mujoco><include file="i.xml"/>{OWN.format("")}</mujoco>',
        "i.xml": "-> ../outside/i.xml",
    },
    "absolute": {"m.xml": main('meshdir="{outside}"', '<mesh name="part" file="part.obj"/>', MESH)},
    "absolute in the child": {"m.xml": parent(""), "parts/c.xml": CHILD.replace("part.obj", "{outside}/part.obj")},
    "a URL": {"m.xml": main("", '<mesh name="part" file="file://{outside}/part.obj"/>', MESH)},
}
# The child's own directory counts, and a URDF's mesh where it is found, in whatever folder it is named with: the
# decoy, and nothing outside.
TAKEN: dict[str, dict[str, str]] = {
    "both have a meshdir": {
        "m.xml": parent('meshdir="../../outside"'),
        "parts/c.xml": CHILD.replace("<mujoco>", '<mujoco><compiler meshdir="."/>'),
    },
    "a URDF's mesh": {
        "m.xml": '<robot name="r"><link name="a"><collision><geometry><mesh filename="../outside/part.obj"/></geometry>'
        "</collision></link></robot>"
    },
    "a URDF's package": {
        "m.xml": '<robot name="r"><link name="a"><collision><geometry><mesh filename="package://outside/part.obj"/>'
        "</geometry></collision></link></robot>"
    },
    "a URDF's meshdir": {
        "m.xml": '<robot name="r"><mujoco><compiler meshdir="../outside"/></mujoco><link name="a"><collision><geometry>'
        '<mesh filename="part.obj"/></geometry></collision></link></robot>'
    },
    "a URDF's include": {
        "m.xml": '<robot name="r"><mujoco><include file="../outside/i.xml"/></mujoco><link name="a"/></robot>'
    },
}
DECOYS = ("part.obj", "parts/part.obj", "parts/x/part.obj", "x/part.obj")
READ = """
import sys
from pathlib import Path
from mql.errors import UserError
from mql.robots.mjcf.compiled import compile_mjcf
for each in sys.argv[1:]:
    try:
        model = compile_mjcf(Path(each) / "own" / "m.xml", Path(each) / "own")
        print("compiled", each)
    except UserError as error:
        print("refused", each, error)
"""


def laid_out(folder: Path, files: dict[str, str]) -> Path:
    """Write a layout: the model's folder ``own`` with decoys, and ``outside`` beside it."""
    own, outside = folder / "own", folder / "outside"
    (own / "parts" / "x").mkdir(parents=True)
    (own / "x").mkdir()
    outside.mkdir()
    png = bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
        "53de0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
    )
    for name in DECOYS:
        (own / name).write_text(INSIDE)
    for place in (own, own / "parts", outside):
        (place / "t.png").write_bytes(png)
    (outside / "part.obj").write_text(OUTSIDE)
    (outside / "part.skn").write_bytes(bytes(16))
    (outside / "i.xml").write_text("<mujocoinclude><size nuserdata='7'/></mujocoinclude>")
    (outside / "c.xml").write_text(CHILD.replace("part.obj", "../own/part.obj"))
    for name, text in files.items():
        if text.startswith("-> "):
            (own / name).symlink_to(text.removeprefix("-> "))
        else:
            (own / name).write_text(text.replace("{outside}", str(outside)))
    return own


@pytest.mark.skipif(STRACE is None or sys.platform != "linux", reason="needs strace, to see which files are opened")
def test_no_layout_opens_a_file_outside(tmp_path: Path) -> None:
    folders = []
    for number, files in enumerate({**LAYOUTS, **TAKEN}.values()):
        laid_out(tmp_path / str(number), files)
        folders.append(str(tmp_path / str(number)))
    trace = tmp_path / "trace"
    command = [str(STRACE), "-f", "-qq", "-e", "trace=open,openat,openat2,creat", "-s", "4096", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-c", READ, *folders], capture_output=True, text=True, timeout=600, check=False
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this machine lets nobody trace")
    assert done.returncode == 0, done.stderr[-2000:]
    opened = {Path(each) for each in re.findall(r'"([^"\n]+)"[^\n]*\) = \d', trace.read_text(errors="replace"))}
    below = {path for path in opened if path.is_absolute() and path.is_relative_to(tmp_path)}
    assert sum(path.name == "m.xml" for path in below) == len(folders), "the trace shows the models themselves"
    assert not [path for path in below if "outside" in path.resolve().parts]
    ends = dict(zip([*LAYOUTS, *TAKEN], [line.split()[0] for line in done.stdout.splitlines()], strict=True))
    assert ends == {**dict.fromkeys(LAYOUTS, "refused"), **dict.fromkeys(TAKEN, "compiled")}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    own = laid_out(tmp_path, LAYOUTS[name])
    with pytest.raises(UserError) as caught:
        mjcf_files(own / "m.xml", own)
    assert "\n" not in str(caught.value) and str(own) in str(caught.value)


DEFINITION = """schema: mql.task_family/1
name: parts
version: 1
description: d
env: {mjcf: m.xml, episode_length: 10, frame_skip: 2}
parameters: {goal: {value: {dist: uniform, low: 0.1, high: 0.5}}}
reward: {terms: {near: {expr: "-abs(info.joint_xj - task.goal)"}}}
splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}
"""
HONEST: dict[str, Callable[[], dict[str, str]]] = {
    "the parent's directory": lambda: {"m.xml": parent('meshdir="parts"'), "parts/c.xml": CHILD},
    "beside the child": lambda: {"m.xml": parent(""), "parts/c.xml": CHILD},
    "strippath": lambda: {"m.xml": parent('meshdir="parts" strippath="true"'), "parts/c.xml": CHILD},
    "a flexcomp": lambda: {
        "m.xml": main("", "", '<geom size="1"/><flexcomp name="f" type="mesh" file="parts/part.obj" dim="2"/>')
    },
}


@pytest.mark.parametrize("name", HONEST)
def test_what_changes_the_model_changes_the_digest(tmp_path: Path, name: str) -> None:
    from mql.robots.mjcf.compiled import compile_mjcf

    own = laid_out(tmp_path, HONEST[name]())
    (own / "d.yaml").write_text(DEFINITION)

    def numbers() -> bytes:
        model = compile_mjcf(own / "m.xml", own)
        return bytes(model.mesh_vert.tobytes() + model.body_pos.tobytes())

    before, digest = numbers(), read_definition(own / "d.yaml").digest
    touched = 0
    for path in sorted(own.rglob("part.obj")):
        text = path.read_text()
        path.write_text(box(0.33))
        if numbers() != before:
            touched += 1
            assert read_definition(own / "d.yaml").digest != digest, path
        path.write_text(text)
    assert touched == 1 and read_definition(own / "d.yaml").digest == digest
