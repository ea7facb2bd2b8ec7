"""`mql data` on files, and on the episodes of a run."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from logged_files import FAMILY, changed, good_log
from tiny_runs import TINY

from mql.api.families import find_family
from mql.api.run import train
from mql.cli import app as cli
from mql.data.reading import read
from mql.data.reference import reference_of
from mql.data.writing import write
from mql.runs.run_dir import RunDir


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "point"
    train("point-robot", run_dir=path, seed=1, settings=TINY)
    return path


@pytest.mark.parametrize("suffix", ["npz", "h5", "csv"])
def test_the_episodes_of_a_run_are_written(run: Path, suffix: str, tmp_path: Path) -> None:
    out = tmp_path / f"episodes.{suffix}"
    assert cli.run(["data", "convert", str(run), "-o", str(out)]) == 0
    saved = RunDir.open_readonly(run)
    checkpoint = saved.load_checkpoint()
    stored = [(n, each) for n, each in checkpoint.episodes if n >= checkpoint.first_live_episode]
    for found, (number, episode) in zip(read(out), stored, strict=True):
        assert found.name == str(number)
        for key in ("obs", "action", "reward"):
            assert np.array_equal(getattr(found, key), getattr(episode, key))
        assert (found.terminated, found.truncated) == (episode.terminated, episode.truncated)
        assert found.success == episode.success and found.task == saved.tasks["train"][episode.task]
    assert cli.run(["data", "check", str(out), "--family", "point-robot"]) == 0


def test_one_format_becomes_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "log.npz", list(good_log()))
    names = ["log.npz", "log.h5", "log.csv", "again.npz"]
    for one, other in pairwise(names):
        assert cli.run(["data", "convert", str(tmp_path / one), "-o", str(tmp_path / other), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["steps"] == 150
    for one, two in zip(read(tmp_path / "again.npz"), good_log(), strict=True):
        assert np.array_equal(one.obs, two.obs) and np.array_equal(one.action, two.action)  # type: ignore[arg-type]


def test_an_episode_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "log.npz", changed("obs", lambda obs: np.where(np.arange(51)[:, None] == 7, np.nan, obs)))
    for more in ([], ["--episode", "1"], ["--family", FAMILY]):
        out = tmp_path / f"log{len(more)}{more[:1]}.png"
        assert cli.run(["data", "show", str(tmp_path / "log.npz"), "-o", str(out), *more]) == 0
        assert matplotlib.image.imread(out).std() > 0.01
        assert capsys.readouterr().out == f"written: {out}\n"
    assert cli.run(["data", "show", str(tmp_path / "log.npz"), "-o", "log.gif"]) == 2
    assert cli.run(["data", "show", str(tmp_path / "log.npz"), "-o", str(out), "--episode", "7"]) == 2


def test_several_files_are_checked_though_one_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "good.npz", list(good_log()))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04")
    files = [str(tmp_path / "bad.npz"), str(tmp_path / "good.npz")]
    assert cli.run(["data", "check", *files, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["errors"], [row["episodes"] for row in found["files"]]) == (1, [0, 3])
    assert cli.run(["data", "check", files[1]]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_a_known_task_lets_the_family_compute_rewards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "map.yaml").write_text("schema: mql.columns/1\nreward: null\n")
    log = good_log()
    arrays = {f"episode_0/{key}": getattr(log[0], key) for key in ("obs", "action", "time")}
    np.savez(tmp_path / "log.npz", **arrays)
    line = ["data", "check", str(tmp_path / "log.npz"), "--family", FAMILY]
    assert cli.run(line) == 2 and "depend on the task" in capsys.readouterr().out
    assert cli.run([*line, "--task", "train:0"]) == 0
    assert cli.run([*line, "--task", "target=0.1,0.1", "--columns", str(tmp_path / "map.yaml")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "missing.npz"], "no such file"),
        (["convert", "missing.npz", "-o", "out.npz"], "no such file"),
        (["convert", "{good}", "-o", "{good}"], "replace its source"),
        (["convert", "{good}", "-o", "out.bag"], "give a name in .npz, .h5 or .csv"),
        (["convert", "{good}", "-o", "out.npz", "--checkpoint", "3"], "is no run"),
        (["check", "{good}", "--task", "a=1"], "add --family"),
        (["check", "{good}", "--columns", "missing.yaml"], "no such file"),
        (["check", "{good}", "--max-mb", "0"], "max-mb"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("good.npz"), list(good_log()))
    assert cli.run(["data", *(word.format(good="good.npz") for word in arguments)]) == 2
    out, err = capsys.readouterr()
    [line] = [line for line in (out + err).splitlines() if line.startswith("error: ")]
    assert said in line


def test_a_seen_task_parameter_may_stand_still(tmp_path: Path) -> None:
    """What no episode of the family moves is no dead sensor; what every episode moves and the log doesn't, is one."""
    assert cli.run(["tasks", "new", "reach", "--out", str(tmp_path)]) == 0
    reference = reference_of(find_family(str(tmp_path / "reach" / "reach.yaml"), trust=False))
    assert reference.varies[:4].all()  # angles and speeds
    assert not reference.varies[-2:].any()  # where the target is
