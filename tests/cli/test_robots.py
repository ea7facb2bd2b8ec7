"""`mql robots` as a command: what it prints, writes and refuses, and that a crash stays in its process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lab_robots
import numpy as np
import pytest
from lab_robots import write_robot
from PIL import Image

from mql.cli import app as cli
from mql.cli import robots as cli_robots
from mql.robots import registry
from mql.tasks.checks.robot import ROBOT_CHECKS


def run(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    """Run a command; return its standard output and error."""
    assert cli.run([str(argument) for argument in ("robots", *arguments)]) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that the user got wrong: one line on standard error, status 2."""
    out, err = run(capsys, *arguments, status=2)
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


def test_list_has_every_robot(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(run(capsys, "list", "--json")[0])
    assert [row["name"] for row in rows] == registry.names()
    assert all(list(row) == ["name", "summary", "joints", "actuators", "licence", "source"] for row in rows)
    arm = next(row for row in rows if row["name"] == "arm7")
    assert (arm["joints"], arm["actuators"], arm["licence"]) == (7, 7, "Apache-2.0")
    assert all(name in run(capsys, "list")[0] for name in registry.names())


def test_show_gives_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    robot = json.loads(run(capsys, "show", "planar2", "--json")[0])
    assert robot["joints"]["elbow"]["position_range"] == [-2.6, 2.6]
    assert robot["path"].endswith("planar2.xml") and robot["schema"] == "mql.robot/1"
    out, _ = run(capsys, "show", "planar2")
    for text in ("Apache-2.0", "planar2.xml", "elbow", "forearm 0.6", "shoulder 0.4"):
        assert text in out


BARE = """<mujoco>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 .1"/>
    <body name="arm">
      <joint name="turn" range="-90 90"/><geom size=".02"/>
      <body name="hand"><joint name="reach" type="slide"/><geom name="palm" size=".02"/><site name="tip"/></body>
    </body>
    <body name="cube"><freejoint/><geom size=".02"/></body>
    <body name="goal" mocap="true"/>
  </worldbody>
  <actuator><motor name="motor" joint="turn" ctrlrange="-2 2"/></actuator>
</mujoco>
"""


def test_show_of_a_bare_model_lists_what_a_spec_or_a_definition_can_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "bare.xml"
    path.write_text(BARE, encoding="utf-8")
    model = json.loads(run(capsys, "show", path, "--json")[0])["model"]
    turn, reach, cube = model["joints"]
    assert turn == {"name": "turn", "kind": "hinge", "range": [-1.5708, 1.5708], "unit": "rad", "body": "arm"}
    assert reach == {"name": "reach", "kind": "slide", "range": None, "unit": "m", "body": "hand"}
    assert cube == {"name": None, "kind": "free", "range": None, "unit": None, "body": "cube"}
    assert model["actuators"] == [{"name": "motor", "kind": "motor", "joint": "turn", "range": [-2.0, 2.0]}]
    assert [(body["name"], body["parent"], body["moves"]) for body in model["bodies"]] == [
        ("arm", "world", None),
        ("hand", "arm", None),
        ("cube", "world", "free"),
        ("goal", "world", "mocap"),
    ]
    assert model["sites"] == [{"name": "tip", "body": "hand"}] and model["sensors"] == []
    assert [geom["name"] for geom in model["geoms"]] == ["floor", "palm"]
    out, _ = run(capsys, "show", path)
    for text in ("[-1.5708, 1.5708]", "(no name)", "bodies: arm, hand, cube (free), goal (mocap)", "tip (hand)"):
        assert text in out


def test_show_of_a_model_that_does_not_compile_says_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "bare.xml"
    path.write_text(BARE.replace('joint="turn" ctrl', 'joint="tunr" ctrl'), encoding="utf-8")
    out, err = run(capsys, "show", path, "--json")
    assert json.loads(out)["model"] is None and err.startswith("what the model holds is not known: ") and "tunr" in err


def test_show_says_where_a_missing_model_comes_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    out, err = run(capsys, "show", "menagerie:dog", "--json")
    assert json.loads(out)["path"] is None and "no robot 'dog'" in err


def test_check_prints_a_line_for_each_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_robot(tmp_path)
    lines = json.loads(run(capsys, "check", path, "--json")[0])
    assert [line["check"] for line in lines] == list(ROBOT_CHECKS)
    assert all(list(line) == ["robot", "check", "result", "message"] for line in lines)
    assert {line["robot"] for line in lines} == {str(path)}
    assert {line["result"] for line in lines if line["check"] != "render"} == {"pass"}


def test_a_failing_check_ends_with_status_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("rod: 0.2}", "rod: 0.3}"))
    out, err = run(capsys, "check", path, status=2)
    said = " ".join(out.split())
    assert said.startswith("robot result pass warn fail seconds")
    assert "masses.rod is 0.3, the model has 0.2: change one of the two" in said
    assert "1 fail" in err


def test_a_file_that_is_wrong_is_a_line_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("kind: fixed", "kind: glued"))
    [line] = json.loads(run(capsys, "check", path, "--json", status=2)[0])
    assert (line["check"], line["result"]) == ("schema", "fail") and "lift.yaml:10" in line["message"]


def test_a_crash_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_robots, "_load", lab_robots.crash)
    lines: list[dict[str, Any]] = json.loads(run(capsys, "check", "planar2", "--json", status=2)[0])
    [line] = lines
    assert line["result"] == "fail" and "signal SIGSEGV" in line["message"] and "\n" not in line["message"]


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'planar2'" in fails(capsys, "check", "planar22")
    assert "did you mean 'planar2'" in fails(capsys, "show", "planar22")
    assert "no such file" in fails(capsys, "show", tmp_path / "none.yaml")
    assert "give a name that ends in .png" in fails(capsys, "render", "planar2", "-o", tmp_path / "a.gif")
    assert "no such folder" in fails(capsys, "render", "planar2", "-o", tmp_path / "none" / "a.png")
    bad = write_robot(tmp_path, mjcf=('mass="0.5"', 'mass="nan"'))
    assert "lift.xml:9" in fails(capsys, "render", bad, "-o", tmp_path / "a.png")
    assert "did you mean 'check'" in fails(capsys, "chek")
    assert not (tmp_path / "a.png").exists()


def test_render_writes_a_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "robot.png"
    assert run(capsys, "render", write_robot(tmp_path), "-o", path) == (f"written: {path}\n", "")
    picture = np.asarray(Image.open(path))
    assert picture.shape == (480, 480, 3) and np.ptp(picture) > 50


def test_a_view_that_sees_nothing_is_a_warning(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("distance: 1.0", "distance: 100000.0"))
    lines = json.loads(run(capsys, "check", path, "--json")[0])
    assert [(line["check"], line["result"]) for line in lines if line["result"] != "pass"] == [("render", "warn")]
