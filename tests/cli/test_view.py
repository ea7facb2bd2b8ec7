"""`mql tasks view` without a screen: what it refuses, and what it gives a window that stands in for MuJoCo's."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from lab_definitions import SETTINGS, write_parallel, write_python

from mql.cli import app as cli
from mql.cli import view
from mql.tasks import registry
from mql.tasks.checks.inspection import play_environment


class Window:
    """Stands in for MuJoCo's: it keeps what it is given, and closes itself after some frames."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, frames: int) -> None:
        self.model, self.data, self.left = model, data, frames
        self.cam = mujoco.MjvCamera()
        self.seen: list[Any] = []
        self.closed = False

    def is_running(self) -> bool:
        return self.left > 0

    def lock(self) -> Any:
        return nullcontext()

    def sync(self) -> None:
        self.left -= 1
        self.seen.append((float(self.data.time), self.data.qpos.copy(), self.data.xpos.copy()))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """The windows that are opened, on a machine with a display; each lives for six frames."""
    windows: list[Window] = []

    def open_window(model: mujoco.MjModel, data: mujoco.MjData) -> Window:
        windows.append(Window(model, data, frames=6))
        return windows[-1]

    monkeypatch.setattr(view, "open_window", open_window)
    monkeypatch.setattr(view, "has_display", lambda: True)
    monkeypatch.setattr(view.time, "sleep", lambda seconds: None)
    return windows


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.run([str(argument) for argument in ("tasks", "view", *arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


def test_without_a_display_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(view.sys, "platform", "linux")
    assert not view.has_display()
    said = fails(capsys, "reacher-goal")
    assert "no display" in said and "mql tasks render reacher-goal -o episode.mp4" in said
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert view.has_display()


def test_mistakes_are_one_line(opened: list[Window], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "did you mean 'reacher-goal'" in fails(capsys, "reacher-gaol")
    assert "did you mean 'random'" in fails(capsys, "reacher-goal", "--actions", "randm")
    assert "no simulation of MuJoCo's" in fails(capsys, "point-robot")
    assert "has no probe" in fails(capsys, "reacher-goal", "--actions", "probe")
    assert "there is no task 'test:99'" in fails(capsys, "reacher-goal", "--task", "test:99")
    assert "contradict" in fails(capsys, "reacher-goal", "--actions", "zero", "--run", tmp_path)
    assert not [window for window in opened if not window.closed]
    assert "did you mean 'track'" in fails(capsys, "cheetah-vel", "--camera", "trak")
    assert opened and all(window.closed for window in opened)


@pytest.mark.parametrize("kind", ["native", "yaml", "python"])
def test_the_window_shows_the_episode_that_the_environment_plays(
    kind: str, opened: list[Window], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "native":
        name, arguments, family = "cheetah-faults", ["--task", "test:2"], registry.load("cheetah-faults")
        task = family.tasks("test")[2]
    else:
        path = (write_parallel if kind == "yaml" else write_python)(tmp_path)
        name, arguments = str(path), ["--task", "goal=0.4", "mass=2.0", "--trust"]
        family = view.find_family(name, trust=True)
        task = family.task({"goal": 0.4, "mass": 2.0})
    assert cli.run(["tasks", "view", name, *arguments, "--seed", "3"]) == 0
    assert "close the window to stop" in capsys.readouterr().out
    (window,) = opened
    env: Any = family.make(task)
    states = []

    class Watched:
        """Notes the state after each call."""

        def reset(self, **options: Any) -> Any:
            answer = env.reset(**options)
            states.append(view.simulation_of(env))
            return answer

        def step(self, action: Any) -> Any:
            answer = env.step(action)
            states.append(view.simulation_of(env))
            return answer

    qpos = []
    watched: Any = Watched()
    play_environment(family, watched, task, 3, steps=5)
    if kind != "python":  # whose simulation is one and the same all along
        qpos = [state.data.qpos for state in states]
        for (_, shown, _), right in zip(window.seen, qpos, strict=True):
            assert np.array_equal(shown, right)
    assert np.array_equal(window.seen[-1][1], states[-1].data.qpos)
    assert np.array_equal(window.model.body_mass, states[-1].model.body_mass)  # the task's own model
    times = [time for time, _, _ in window.seen]
    assert times == pytest.approx([family.control_timestep * n for n in range(6)])
    env.close()
    assert window.closed


def test_actions_of_nobody_leave_a_robot_at_rest_and_episodes_follow_one_another(
    opened: list[Window], tmp_path: Path
) -> None:
    assert cli.run(["tasks", "view", "reacher-goal", "--actions", "zero", "--camera", "fixed"]) == 2
    assert cli.run(["tasks", "view", str(write_parallel(tmp_path, env=", observe: [qpos]").resolve())]) == 0
    assert len(opened[-1].seen) == 6


def test_a_run_s_agent_acts(opened: list[Window], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = write_parallel(tmp_path / "lab"), tmp_path / "run"
    assert cli.run(["train", str(path), "--run-dir", str(run), *SETTINGS]) == 0
    capsys.readouterr()
    assert cli.run(["tasks", "view", str(path), "--run", str(run)]) == 0
    trained = opened[-1].seen[-1][1]
    assert cli.run(["tasks", "view", str(path)]) == 0
    assert not np.array_equal(trained, opened[-1].seen[-1][1])
    capsys.readouterr()
    assert "trained on lab-cart, not on reacher-goal" in fails(capsys, "reacher-goal", "--run", run)
