"""`mql tasks check` and `mql tasks render` as commands: what they print, write and refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

from mql.cli import app as cli
from mql.cli import tasks as cli_tasks
from mql.cli.check import FamilyResults
from mql.tasks.checks.run import CheckResult


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that the user got wrong: one line on standard error, status 2."""
    assert cli.run([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


def test_families_that_belong_together_are_listed_once() -> None:
    names = ["maze-oracle", "ml1-push", "maze", "ml1-reach", "ml10", "lab", "labyrinth", "maze-big-oracle", "maze-big"]
    assert cli_tasks.with_variants(names) == {
        "maze": ("maze-oracle", "maze-big-oracle", "maze-big"),
        "ml1-reach": ("ml1-push",),
        "ml10": (),
        "lab": (),
        "labyrinth": (),
    }
    assert cli_tasks.with_variants(["ml1-push", "ml1-push-wrapped"]) == {"ml1-push": ("ml1-push-wrapped",)}


def test_a_failing_check_is_spelled_out_and_ends_with_status_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        CheckResult("point-robot", "builds", "pass", "fine"),
        CheckResult("point-robot", "splits", "warn", "the same tasks: report the minimum"),
        CheckResult("point-robot", "effect", "fail", "no effect of 'mass': apply it"),
    ]
    monkeypatch.setattr(cli_tasks, "open_opengl", lambda: True)
    monkeypatch.setattr(cli_tasks, "check_families", lambda *_, **__: iter([FamilyResults("point-robot", lines, 1.5)]))
    assert cli.run(["tasks", "check", "point-robot"]) == 2
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines() if line]
    assert rows[0] == ["family", "result", "pass", "warn", "fail", "seconds"]
    assert rows[1] == ["point-robot", "fail", "1", "1", "1", "1.5"]
    assert "warn point-robot splits: the same tasks: report the minimum" in out
    assert "fail point-robot effect: no effect of 'mass': apply it" in out
    assert "1/1 point-robot: 1 pass, 1 warn, 1 fail (1.5 s)" in err
    lines.pop()
    assert cli.run(["tasks", "check", "point-robot"]) == 0


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'point-robot'" in fails(capsys, "tasks", "check", "point-robt")
    assert "did you mean 'point-robot'" in fails(capsys, "tasks", "render", "point-robt", "-o", tmp_path / "a.png")
    assert ".mp4 or .gif (film), or .png" in fails(capsys, "tasks", "render", "point-robot", "-o", tmp_path / "a.jpg")
    film = tmp_path / "a.mp4"
    assert "a film shows a single task" in fails(capsys, "tasks", "render", "point-robot", "-o", film, "--tasks", 2)
    assert "no such folder" in fails(capsys, "tasks", "render", "point-robot", "-o", tmp_path / "none" / "a.png")
    assert "did you mean 'test'" in fails(
        capsys, "tasks", "render", "point-robot", "-o", tmp_path / "a.png", "--split", "tset"
    )
    assert list(tmp_path.iterdir()) == []


def test_show_says_what_each_number_is(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["tasks", "new", "reach", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert cli.run(["tasks", "show", str(tmp_path / "reach" / "reach.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "qvel[0], joint shoulder" in shown and "rad/s" in shown and "control of elbow" in shown
    assert cli.run(["tasks", "show", "reacher-goal"]) == 0
    assert "Observation: cos and sin of both angles" in capsys.readouterr().out


def test_render_writes_a_grid(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    assert cli.run(["tasks", "render", "point-robot", "-o", str(path), "--split", "ood", "--tasks", "4"]) == 0
    assert Image.open(path).format == "PNG"
    assert [child.name for child in tmp_path.iterdir()] == ["grid.png"]


def test_no_opengl_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    error = tmp_path / "a.png"
    assert cli.run(["tasks", "render", "reacher-goal", "-o", str(error)]) == 2
    assert "MUJOCO_GL=egl" in capsys.readouterr().err
    assert not error.exists()


def test_a_library_that_cannot_be_loaded_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert "MUJOCO_GL=nonsense" in fails(capsys, "tasks", "check", "reacher-goal")


def test_help_says_what_quick_leaves_out() -> None:
    done = subprocess.run([sys.executable, "-m", "mql", "tasks", "check", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "one family per module" in " ".join(done.stdout.split())


def test_size_and_camera_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.png"
    render = ["tasks", "render", "cheetah-vel", "-o", path]
    assert "'wide' is no size of a picture (--size): write WIDTHxHEIGHT" in fails(capsys, *render, "--size", "wide")
    assert "give 16 to 4096 pixels" in fails(capsys, *render, "--size", "640x2")
    film = ["tasks", "render", "cheetah-vel", "-o", tmp_path / "a.mp4"]
    assert "give even numbers" in fails(capsys, *film, "--size", "641x480")
    assert "no simulation of MuJoCo's" in fails(capsys, "tasks", "render", "point-robot", "-o", path, "--size", "64x64")
    assert list(tmp_path.iterdir()) == []
    drawn = [*map(str, render), "--tasks", "1"]
    draws(capsys, *drawn)
    plain = Image.open(path).size
    draws(capsys, *drawn, "--size", "960x240", "--camera", "track")
    wide = Image.open(path).size
    assert wide[0] == 2 * plain[0] and wide[1] < plain[1]


@pytest.mark.needs_extra
def test_a_film_has_the_size_that_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also of an environment that draws its own pictures otherwise."""
    path = tmp_path / "film.mp4"
    draws(capsys, "tasks", "render", "fetch-reach", "-o", str(path), "--size", "96x64", "--tasks", "1")
    width, height = next(imageio_ffmpeg.read_frames(str(path)))["size"]
    assert 96 < width < 120 and 64 < height < 200  # with the words around it


def draws(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    """Run a command that draws, where there is an OpenGL to draw with."""
    status = cli.run(arguments)
    if "OpenGL" in capsys.readouterr().err:
        pytest.skip("no OpenGL on this machine")
    assert status == 0
