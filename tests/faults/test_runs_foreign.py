"""A run directory from somebody else: nothing outside it is read or written, and what is wrong is one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from foreign_runs import EPISODES, MANIFESTS, OUTSIDE, STATES, TENSORS, Change
from tiny_runs import TINY as POINT_TINY

from mql.cli import app as cli
from mql.errors import UserError
from mql.runs.definition import kept_definition
from mql.runs.listing import row_of
from mql.runs.run_dir import RunDir

SETTINGS = POINT_TINY | {"adapt.step2_updates": 1, "evaluate.tasks": 1, "evaluate.final_tasks": 1}
SET = [f"{key}={value}" for key, value in SETTINGS.items()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "finished"
    assert cli.run(["train", "point-robot", "--run-dir", str(path), "--set", *SET]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    (outside / "precious-folder").mkdir(parents=True)
    for name in ("precious", "precious-folder/inside"):
        (outside / name).write_text("nobody may touch this\n")
    return Path(shutil.copytree(finished, tmp_path / "run"))


def attacked(run: Path, change: Change, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Use a changed run in every way; return the lines of those commands that refused it."""
    change(run)
    before = seen(run.parent / "outside")
    lines = []
    for arguments in (
        ["train", "point-robot", "--run-dir", str(run), "--resume", "--set", "train.env_steps=601"],
        ["evaluate", str(run), "--no-adapt"],
        ["adapt", str(run), "--task", "goal=0,0"],
        [
            "train",
            "point-robot",
            "--from",
            str(run),
            "--run-dir",
            str(run.parent / "fork"),
            "--set",
            "train.env_steps=1",
        ],
    ):
        capsys.readouterr()
        status = cli.run(arguments)
        _, err = capsys.readouterr()
        assert status in (0, 2) and "Traceback" not in err
        if status == 2:
            (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
            assert len(line) < 1500
            lines.append(line)
    assert cli.run(["runs", "list", str(run.parent)]) == 0
    assert cli.run(["runs", "show", str(run)]) in (0, 2)
    assert seen(run.parent / "outside") == before, "something outside was changed"
    return lines


def seen(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.faults
@pytest.mark.parametrize("kind", OUTSIDE)
def test_nothing_outside_is_touched(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(run, OUTSIDE[kind], capsys), "it was taken"


@pytest.mark.faults
@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = attacked(run, MANIFESTS[kind], capsys)
    assert lines and all(str(run) in line for line in lines)


@pytest.mark.faults
@pytest.mark.parametrize("kind", STATES)
def test_states(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(run, STATES[kind], capsys)


@pytest.mark.faults
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(run, TENSORS[kind], capsys)


@pytest.mark.faults
@pytest.mark.parametrize("kind", EPISODES)
def test_episodes(run: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert attacked(run, EPISODES[kind], capsys)


ALL = {
    f"{group}: {kind}": change
    for group, kinds in {
        "outside": OUTSIDE,
        "manifest": MANIFESTS,
        "tensors": TENSORS,
        "episodes": EPISODES,
    }.items()
    for kind, change in kinds.items()
}
LATER = ("task that does not exist", "another dtype", "another shape", "a tensor less", "no tensors")


def test_every_kind_is_refused_when_it_is_read(finished: Path, tmp_path: Path) -> None:
    """The quick look at all of them: opening and loading alone."""
    taken = []
    for number, (kind, change) in enumerate(ALL.items()):
        folder = tmp_path / str(number)
        (folder / "outside" / "precious-folder").mkdir(parents=True)
        (folder / "outside" / "precious").write_text("nobody may touch this\n")
        run = Path(shutil.copytree(finished, folder / "run"))
        change(run)
        before = seen(folder / "outside")
        try:
            with RunDir.open_for_resume(run) as opened:
                kept_definition(run)
                saved = opened.load_checkpoint()
                list(saved.episodes)
                opened.cut_back(saved)
            taken.append(kind)
        except UserError as error:
            assert "\n" not in str(error) and str(folder) in str(error)
        assert seen(folder / "outside") == before
        assert row_of(run).state in ("damaged", "finished", "stopped")
        shutil.rmtree(folder)
    # What only a configuration or a family can tell is found when the state is taken over (the long tests).
    assert [kind for kind in taken if not kind.endswith(LATER)] == []
