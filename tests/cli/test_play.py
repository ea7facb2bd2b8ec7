"""`mql play` and `mql evaluate --video`: films of the very episodes that are measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from tiny_runs import TINY

import mql
from mql.cli import app as cli
from mql.cli import view
from mql.errors import UserError
from mql.films import opengl
from mql.films.film import film
from mql.films.playing import play


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "run"
    mql.train("point-robot", run_dir=path, seed=2, settings=TINY)
    return path


@pytest.fixture(autouse=True)
def _point_robot_needs_no_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws itself: nobody needs to look for a library, which takes seconds."""
    monkeypatch.setattr(opengl, "opengl_choices", lambda: ())


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert cli.run([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert cli.run([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


def test_the_films_of_an_evaluation_show_the_returns_of_its_table(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal to the last bit, and the table is the one without films."""
    plain = printed(capsys, "evaluate", run_dir, "--tasks", 2, "--json")
    record = printed(capsys, "evaluate", run_dir, "--tasks", 2, "--json", "--video", tmp_path / "films")
    assert len(record["tasks"]) == 2
    for number, (row, known) in enumerate(zip(record["tasks"], plain["tasks"], strict=True)):
        video, shown = row.pop("video"), row.pop("shown")
        row.pop("adapt_seconds"), known.pop("adapt_seconds")
        assert row == known
        assert video == str(tmp_path / "films" / f"test-0{number}.mp4")
        assert [one["return"] for one in shown] == [row["zero_shot_return"], row["adapted_return"]]
        assert [one["success"] for one in shown] == [None, None]  # it knows no success
        assert all(one["as_measured"] for one in shown)
        facts = next(imageio_ffmpeg.read_frames(video))
        assert facts["size"][0] > facts["size"][1]  # side by side
    assert record["summary"] == plain["summary"]


def test_a_listed_task_is_played_as_the_evaluation_plays_it(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = mql.open_run(run_dir).evaluate(split="test", tasks=3)["tasks"]
    told = printed(capsys, "play", run_dir, "--task", "test:2", "--adapted", "-o", tmp_path / "a.gif", "--json")
    assert (told["split"], told["index"], told["video"]) == ("test", 2, str(tmp_path / "a.gif"))
    for name in ("parameters", "zero_shot_return", "adapted_return", "zero_shot_success", "distance_moved"):
        assert told[name] == rows[2][name], name
    assert [one["return"] for one in told["shown"]] == [rows[2]["zero_shot_return"], rows[2]["adapted_return"]]
    alone = printed(capsys, "play", run_dir, "--task", "test:2", "-o", tmp_path / "a.png", "--json")
    assert [one["label"] for one in alone["shown"]] == ["zero-shot"]
    assert alone["zero_shot_return"] == rows[2]["zero_shot_return"] and alone["adapted_return"] is None


def test_a_task_of_one_s_own_is_played_as_mql_adapt_plays_it(run_dir: Path) -> None:
    run, goal = mql.open_run(run_dir), {"goal": [0.5, 1.5]}
    row = run.adapt(task=goal).compare()
    result = play(run, goal, adapt=True)
    assert result.to_json()["zero_shot_return"] == row["zero_shot_return"]
    assert result.to_json()["adapted_return"] == row["adapted_return"]


def test_episodes_seed_and_checkpoint_choose_what_is_seen(run_dir: Path) -> None:
    run = mql.open_run(run_dir)
    usual = play(run, episodes=3)
    assert usual.task == run.family.tasks("test")[0] and len(usual.zero_shot) == 3
    assert [one.seed for one in play(run, episodes=1).zero_shot] == [usual.zero_shot[0].seed]
    assert play(run, seed=9).zero_shot[0].seed != usual.zero_shot[0].seed
    first = run.checkpoints[0]
    assert (play(run, checkpoint=first).zero_shot[0].action != usual.zero_shot[0].action).any()


def test_an_adapted_agent_is_played_on_its_own_task(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = ("--task", "goal=0.5,0.25")
    row = printed(capsys, "adapt", run_dir, *goal, "--out", tmp_path / "adapted", "--json")
    told = printed(capsys, "play", tmp_path / "adapted", "-o", tmp_path / "a.png", "--json")
    assert told["parameters"] == {"goal": [0.5, 0.25]}
    assert [one["label"] for one in told["shown"]] == ["adapted agent"]
    assert told["zero_shot_return"] == row["adapted_return"]
    films = printed(capsys, "evaluate", tmp_path / "adapted", "--json", "--video", tmp_path / "films")["tasks"]
    assert Path(films[0]["video"]).name == "custom-00.mp4" and films[0]["shown"] == told["shown"]
    assert "give the run" in fails(capsys, "play", tmp_path / "adapted", "--adapted", "-o", tmp_path / "b.png")
    assert "give the run" in fails(capsys, "play", tmp_path / "adapted", "--checkpoint", 3, "-o", tmp_path / "b.png")
    with pytest.raises(UserError, match="give the run"):
        film(mql.Adapted.load(tmp_path / "adapted"), None, tmp_path / "b.png", adapt=True)


def test_a_program_gets_the_path(run_dir: Path, tmp_path: Path) -> None:
    path = film(mql.open_run(run_dir), "test:1", str(tmp_path / "strip.png"), adapt=True)
    assert path == tmp_path / "strip.png" and Image.open(path).width > 6 * 200


def test_mistakes_are_one_line_before_anything_is_played(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(view.sys, "platform", "linux")
    assert "mql play" in (said := fails(capsys, "play", run_dir)) and "-o episode.mp4" in said
    assert "--json is for films" in fails(capsys, "play", run_dir, "--json")
    assert ".mp4 or .gif" in fails(capsys, "play", run_dir, "-o", tmp_path / "a.avi")
    assert "no such folder" in fails(capsys, "play", run_dir, "-o", tmp_path / "none" / "a.mp4")
    assert "there is no task 'test:99'" in fails(capsys, "play", run_dir, "-o", tmp_path / "a.png", "--task", "test:99")
    assert "give even numbers" in fails(capsys, "play", run_dir, "-o", tmp_path / "a.mp4", "--size", "65x64")
    assert "no simulation of MuJoCo's" in fails(capsys, "play", run_dir, "-o", tmp_path / "a.png", "--size", "64x64")
    fixed = fails(capsys, "play", run_dir, "-o", tmp_path / "a.png", "--set", "train.env_steps=5")
    assert "fixed when the agent was trained" in fixed
    assert "films nothing" in fails(
        capsys, "evaluate", run_dir, "--protocol", "meta-world", "--video", tmp_path / "films"
    )
    assert list(tmp_path.iterdir()) == []


def test_with_a_display_the_agent_acts_in_a_window(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is the task, and the agent: its first action there is that of its policy."""
    monkeypatch.setattr(view, "has_display", lambda: True)
    assert "no simulation of MuJoCo's" in fails(capsys, "play", run_dir)
    shown: list[Any] = []
    monkeypatch.setattr(
        view, "show_in_window", lambda family, task, actor_of, **more: shown.append((task, actor_of(None), more))
    )
    run, obs = mql.open_run(run_dir), np.zeros(2, np.float32)
    for options, agent in (
        (("--task", "test:1", "--seed", "4"), run.policy()),
        (("--task", "test:1", "--adapted"), run.adapt(task="test:1").policy()),
    ):
        assert cli.run(["play", str(run_dir), *options]) == 0
        task, actor, more = shown.pop()
        assert task == run.family.tasks("test")[1] and more["seed"] == (4 if "--seed" in options else 0)
        actor.begin(0)
        agent.reset()
        np.testing.assert_array_equal(actor.act(obs, None, 0), agent.act(obs))
