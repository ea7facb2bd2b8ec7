"""Adapted agents in folders: what `mql adapt --out` and `Adapted.save` write can be used without the run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mql
from mql.api import adapted as api_adapted
from mql.cli import app as cli

SETTINGS = {
    "train.env_steps": 300,
    "train.random_steps": 100,
    "train.episodes_per_iteration": 5,
    "train.batch_size": 16,
    "train.env_steps_per_update": 25,
    "train.replay_capacity": 500,
    "train.evaluate_every": 1000,
    "train.checkpoint_every": 150,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "adapt.step2_updates": 2,
    "adapt.batch_size": 16,
    "evaluate.final_tasks": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `mql adapt --out` wrote; its run is gone."""
    path = tmp_path_factory.mktemp("adapted")
    mql.train("point-robot", run_dir=path / "run", settings=SETTINGS)
    assert cli.run(["adapt", str(path / "run"), "--task", "goal=0.5,-0.25", "--out", str(path / "out")]) == 0
    shutil.rmtree(path / "run")
    return path / "out"


def called(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert cli.run([str(argument) for argument in arguments]) == status
    out, err = capsys.readouterr()
    return out, err


def test_its_policy_needs_neither_run_nor_simulator(folder: Path) -> None:
    code = (
        f"import sys, mql\npolicy = mql.load_policy({str(folder)!r})\n"
        "print(*policy.act([0.1, 0.2]), *policy.act([0.1, 0.2], -0.5))\n"
        "assert 'mujoco' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    policy = mql.Adapted.load(folder).policy()
    expected = np.concatenate([policy.act([0.1, 0.2]), policy.act([0.1, 0.2], -0.5)])
    np.testing.assert_allclose([float(number) for number in done.stdout.split()], expected, rtol=1e-6)


def test_the_command_evaluates_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On its own task it does what it did when it had just been adapted."""
    written = json.loads((folder / "adaptation.json").read_text())
    out, err = called(capsys, "evaluate", folder, "--json")
    record: Any = json.loads(out)
    [row] = record["tasks"]
    assert row["parameters"] == record["adapted_to"] == {"goal": [0.5, -0.25]}
    assert row["zero_shot_return"] == pytest.approx(written["adapted_return"]) and row["adapted_return"] is None
    assert (record["split"], record["env_steps"], record["family"]) == ("custom", 300, "point-robot")
    assert err.splitlines() == ["note: zero-shot is the agent as saved; it cannot adapt again without its run"]
    record = json.loads(called(capsys, "evaluate", folder, "--split", "ood", "--tasks", 3, "--no-adapt", "--json")[0])
    assert record["split"] == "ood" and len(record["tasks"]) == 3
    assert record == mql.Adapted.load(folder).evaluate(split="ood", tasks=3)
    assert "1 custom task " in called(capsys, "evaluate", folder)[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--adaptation-episodes 2", "has no replay to adapt with, and no checkpoints, for --adaptation-episodes"),
        ("--checkpoint 150", "leave that out, or give the run"),
        ("--set adapt.lr=1", "for --set adapt.lr ("),
        ("--set agent.lr=1", "agent.lr was fixed when the agent was trained"),
        ("--protocol meta-world", "and no checkpoints, for --protocol"),
        ("--split tset", "no split 'tset'"),
    ],
)
def test_what_it_cannot_do_is_said(folder: Path, capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    out, err = called(capsys, "evaluate", folder, *words.split(), status=2)
    assert out == "" and len(err.splitlines()) == 1 and message in err


def test_adapting_it_again_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = called(capsys, "adapt", folder, "--task", "goal=0,0", status=2)
    assert len(err.splitlines()) == 1 and "an adapted agent has no replay to adapt with" in err


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors", "adaptation.json", "config.yaml"])
def test_a_damaged_file_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    _, err = called(capsys, "evaluate", copy, status=2)
    assert len(err.splitlines()) == 1 and f"the file is damaged ({copy / name})" in err


def test_it_is_read_onto_the_device_that_settings_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []
    load = mql.Agent.load
    monkeypatch.setattr(api_adapted, "check_device", lambda config: None)  # whether there is a GPU here or not
    monkeypatch.setattr(mql.Agent, "load", lambda path, *, device="cpu": devices.append(device) or load(path))
    mql.Adapted.load(folder)
    mql.Adapted.load(folder, settings={"device": "cuda"})
    assert devices == ["cpu", "cuda"]


def test_facts_of_ones_own_are_kept(folder: Path, tmp_path: Path) -> None:
    adapted = mql.Adapted.load(folder)
    adapted.save(tmp_path / "again", facts={"robot": "left arm"})
    again = mql.Adapted.load(tmp_path / "again")
    assert again.facts["robot"] == "left arm" and again.report == adapted.report and again.task == adapted.task
    with pytest.raises(mql.UserError, match="the path already exists"):
        adapted.save(tmp_path / "again")
    for name, value, message in (("report", 1, "has a meaning of its own"), ("robot", object(), "can't be written")):
        with pytest.raises(mql.UserError, match=message):
            adapted.save(tmp_path / "more", facts={name: value})
    assert not (tmp_path / "more").exists()
    mql.Agent.load(folder).save(tmp_path / "agent")
    with pytest.raises(mql.UserError, match="the folder holds no adapted agent"):
        mql.Adapted.load(tmp_path / "agent")
    mql.load_policy(tmp_path / "agent").act([0.0, 0.0])
