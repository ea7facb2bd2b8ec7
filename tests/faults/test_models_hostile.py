"""Models in MJCF that fill the memory, hang, crash or mean nothing: each is one line with the file."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from hostile_text import check_refusal

from mql.errors import UserError
from mql.robots.mjcf import trial
from mql.robots.mjcf.compiled import compile_mjcf


def model(after: str = "", *, before: str = "", body: str = '<geom size=".1"/>', head: str = "") -> str:
    return (
        f'{head}<mujoco>{before}<worldbody><body name="a"><joint name="j"/>{body}</body></worldbody>'
        f'<actuator><motor joint="j"/></actuator>{after}</mujoco>'
    )


SIZES = (
    *("nuser_body", "nuser_jnt", "nuser_geom", "nuser_site", "nuser_cam", "nuser_tendon"),
    *("nuser_actuator", "nuser_sensor"),
)
REPEATED = ("-1", "0", "1000000000", "1e9", "nan", "9" * 5000)
STEPS = ("iterations", "ls_iterations", "noslip_iterations", "sdf_iterations", "sdf_initpoints")
HOSTILE: dict[str, str | bytes] = {
    **{f"{key} {n}": model(before=f'<size {key}="{n}"/>') for key in SIZES for n in ("1000000000", "1e9", "9" * 20)},
    **{
        f"{key}": model(before=f'<size {key}="2000000000"/>')
        for key in ("nkey", "nuserdata", "njmax", "nconmax", "nstack")
    },
    **{f"{key} without end": model(before=f'<option {key}="2000000000" tolerance="0"/>') for key in STEPS},
    **{
        f"replicate {n[:9]}": model(body=f'<geom size="1"/><replicate count="{n}"><geom size=".1"/></replicate>')
        for n in REPEATED
    },
    "a numeric": model('<custom><numeric name="n" size="1000000000" data="1"/></custom>'),
    "a height field": model('<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>'),
    "a texture": model('<asset><texture name="t" builtin="flat" width="2147483647" height="2147483647"/></asset>'),
    "a million elements": model(
        body='<geom size="1"/>' + '<replicate count="100">' * 3 + '<geom size="1"/>' + "</replicate>" * 3
    ),
    "a flex of a billion": model(
        body='<flexcomp type="grid" count="1000 1000 1000" spacing="1 1 1" name="f" dim="3"/>'
    ),
    "many attributes": "<mujoco " + " ".join(f'a{n}="1"' for n in range(200_000)) + "/>",
    "comments that do not end": "<mujoco>" + "<!--" * 200_000,
    "entities": '<!DOCTYPE l [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><mujoco model="&b;"/>',
    "entities in utf-7": (b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a +AFs-+AF0-+AD4-<mujoco></mujoc>'),
    "utf-16": model().encode("utf-16"),
    "utf-32": model().encode("utf-32"),
    "nothing": "",
    "zeros": bytes(1000),
    "a half": model()[:60],
    "deep bodies": "<mujoco><worldbody>" + "<body>" * 5000 + "</body>" * 5000 + "</worldbody></mujoco>",
    "NaN vertices": model('<asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 nan"/></asset>'),
    "faces of no vertex": model('<asset><mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1" face="0 1 99999999"/></asset>'),
    "a huge gravity": model(before='<option gravity="0 0 1e308"/>'),
    "a long step": model(before='<option timestep="1e20"/>'),
    "a huge damping": model(body='<joint name="k" damping="1e30"/><geom size=".1"/>'),
    "a place far away": model(body='<geom size=".1" pos="1e300 0 0"/>'),
    "an unknown plugin": model("<extension><plugin plugin='mujoco.nope'/></extension>"),
    "a name with an escape": model(body='<geom size=".1" name="&#x9b;31m" mass="nan"/>'),
    "no model": "<robotics/>",
    "a URDF's number": '<robot name="r"><link name="a"><inertial><mass value="x"/></inertial></link></robot>',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = HOSTILE[name]
    path = tmp_path / "model.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        compile_mjcf(path, tmp_path)
    check_refusal(caught.value, str(path))


def test_a_large_but_sound_model_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text(
        model(before='<option iterations="200" tolerance="0"/><size nuserdata="1000"/>', body='<geom size="1"/>' * 50)
    )
    assert compile_mjcf(path, tmp_path).ngeom == 50


MESHES = {
    "a triangle count of billions": ("m.stl", bytes(80) + (2**32 - 1).to_bytes(4, "little") + bytes(100)),
    "no triangle": ("m.stl", bytes(84)),
    "NaN": ("m.stl", bytes(80) + (4).to_bytes(4, "little") + np.full(12 * 4, np.nan, "<f4").tobytes() + bytes(8)),
    "half a header": ("m.stl", bytes(10)),
    "an OBJ of nothing": ("m.obj", b""),
    "an OBJ with faces of no vertex": ("m.obj", b"v 0 0 0\nf 1 2 999999999\n"),
    "an OBJ with words": ("m.obj", b"v a b c\nf 1 1 1\n"),
    "an MSH of huge numbers": ("m.msh", (2**31 - 1).to_bytes(4, "little") * 4),
}


@pytest.mark.parametrize("name", MESHES)
def test_a_hostile_mesh_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, data = MESHES[name]
    (tmp_path / file).write_bytes(data)
    path = tmp_path / "model.xml"
    path.write_text(model(f'<asset><mesh name="m" file="{file}"/></asset>', body='<geom type="mesh" mesh="m"/>'))
    with pytest.raises(UserError) as caught:
        compile_mjcf(path, tmp_path)
    check_refusal(caught.value, str(tmp_path))


def test_a_model_that_is_given_up_leaves_no_answer_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a model is tried out: the next model's verdict is its own, and no process goes on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    good, bad = tmp_path / "good.xml", tmp_path / "bad.xml"
    good.write_text(model())
    bad.write_text(model(body='<geom size="1"/><plugin plugin="mujoco.nope"/>'))
    receive, calls = trial.trial_process.receive, []

    def interrupted(pipe: int) -> object:
        calls.append(pipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(trial.trial_process, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compile_mjcf(good, tmp_path)
    monkeypatch.setattr(trial.trial_process, "receive", receive)
    assert calls and trial._process is None
    with pytest.raises(UserError):
        compile_mjcf(bad, tmp_path)
    assert isinstance(compile_mjcf(good, tmp_path), mujoco.MjModel)
