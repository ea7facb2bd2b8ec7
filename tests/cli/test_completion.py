"""A shell's questions are answered with what the program accepts, and its version names the commit of a clone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from mql.cli.app import app, run
from mql.cli.commands import completion
from mql.config.methods import METHODS
from mql.config.schema import EvaluateConfig
from mql.tasks import registry

ROOT = Path(__file__).parents[2]


def test_splits_are_those_of_the_configuration() -> None:
    assert set(completion.SPLIT_NAMES) == set(get_args(EvaluateConfig.model_fields["split"].annotation))


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mql train cheetah-v", [name for name in registry.names() if name.startswith("cheetah-v")]),
        ("mql train point-robot --method rainb", ["rainbow"]),
        ("mql train point-robot --set agent.proximal", ["agent.proximal_c="]),
        ("mql evaluate RUN --split va", ["validation", "validation-ood"]),
        ("mql robots show saw", ["sawyer"]),
        ("mql tasks ch", ["check"]),
    ],
)
def test_a_shell_is_told_what_may_come_next(
    typed: str, offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in asked(typed).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        app(prog_name="mql")
    assert capsys.readouterr().out.split() == offered and not ended.value.code


def test_the_command_itself_answers_a_shell() -> None:
    command = [sys.executable, "-c", "from mql.cli.app import main; main()"]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **asked("mql ev")}, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "evaluate\n", "")


def asked(typed: str) -> dict[str, str]:
    """The variables by which bash asks what may follow on what was typed."""
    return {"_MQL_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}


def test_the_version_names_the_commit_of_a_clone(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    version = re.fullmatch(r"mql (\d+\.\d+\.\d+)(?: \((\w+)\))?\n", capsys.readouterr().out)
    assert version is not None
    assert version[2] == (commit[:12] or None)


@pytest.mark.parametrize("words", [["-h"], ["train", "-h"], ["tasks", "show", "-h"]])
def test_the_short_name_of_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("Usage: mql")


def test_the_help_of_train_lists_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--help"]) == 0
    assert ", ".join(METHODS) in " ".join(capsys.readouterr().out.split())
