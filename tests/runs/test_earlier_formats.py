"""Runs of format version 1, made up from a new one: read where their agents act as they did, else refused."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml

import mql
from mql.runs.run_dir import RunDir

SETTINGS = {
    "train.env_steps": 100,
    "train.random_steps": 40,
    "train.episodes_per_iteration": 2,
    "train.batch_size": 16,
    "train.env_steps_per_update": 20,
    "train.replay_capacity": 500,
    "train.checkpoint_every": 60,
    "agent.hidden_sizes": [8],
    "agent.context_dim": 4,
    "adapt.method": "paper",
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 1,
    "adapt.batch_size": 16,
    "evaluate.final_tasks": 1,
}
NEWER = {"agent": ("algorithm", "encoder", "normalize"), "": ("method", "collect", "env")}  # keys that version 1 lacked


def version_1(new: Path, old: Path) -> Path:
    """Copy a run as version 1 would have written it."""
    shutil.copytree(new, old)
    (old / "SHA256SUMS").unlink()
    environment = json.loads((old / "environment.json").read_text())
    (old / "environment.json").write_text(json.dumps({**environment, "format_version": 1}))
    config = yaml.safe_load((old / "config.yaml").read_text())
    for section, keys in NEWER.items():
        for key in keys:
            (config[section] if section else config).pop(key, None)
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    for folder in (old / "checkpoints").iterdir():
        manifest = json.loads((folder / "checkpoint.json").read_text())
        del manifest["line_sha256"]
        text = json.dumps({**manifest, "format_version": 1}).encode()
        (folder / "checkpoint.json").write_bytes(text)
        (folder / "checkpoint.sha256").write_text(f"{sha256(text).hexdigest()}  checkpoint.json\n")
    return old


def trained(path: Path, **agent: object) -> mql.Run:
    return mql.train("point-robot", run_dir=path, settings={**SETTINGS, **{f"agent.{k}": v for k, v in agent.items()}})


def test_an_earlier_run_is_read_used_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = trained(tmp_path / "new")
    old = mql.open_run(version_1(tmp_path / "new", tmp_path / "old"))
    assert old.config == new.config and old.evaluations() == new.evaluations()
    mine, its = (dict(run.agent().named_tensors()) for run in (old, new))
    assert mine.keys() == its.keys() and all(torch.equal(mine[name], its[name]) for name in its)
    assert old.evaluate(tasks=1, adapt=False) == new.evaluate(tasks=1, adapt=False)
    longer = mql.train("point-robot", run_dir=old.path, resume=True, settings={"train.env_steps": 140})
    assert longer.checkpoints[-1] == 160 and longer.finished
    # What it lacks stays as it was, also where a default changes one day.
    monkeypatch.setattr(
        "mql.config.loading.BEFORE", {"agent.normalize": True, "agent.algorithm": "td3", "agent.encoder": "gru"}
    )
    assert mql.open_run(version_1(tmp_path / "new", tmp_path / "older")).config.agent.normalize


def test_an_agent_whose_context_was_not_scaled_is_refused(tmp_path: Path) -> None:
    new = trained(tmp_path / "new", reward_scale=10.0)
    old = mql.open_run(version_1(tmp_path / "new", tmp_path / "old"))
    assert old.metrics() == new.metrics() and old.summary
    for use in (old.policy, lambda: old.evaluate(tasks=1), lambda: old.adapt(task={"goal": [0, 0]})):
        with pytest.raises(mql.UserError) as caught:
            use()
        said = str(caught.value)
        assert "was trained when agent.reward_scale (10) did not reach its context" in said and "\n" not in said
        assert f"{old.path}/checkpoints/120" in said and "train it again" in said
    with pytest.raises(mql.UserError, match="did not reach its context"):
        mql.train("point-robot", run_dir=old.path, resume=True, settings={"train.env_steps": 140})
    assert RunDir.open_readonly(old.path).checkpoints() == new.checkpoints


def test_a_blind_agent_has_no_context_to_be_scaled(tmp_path: Path) -> None:
    new = trained(tmp_path / "new", reward_scale=10.0, use_context=False, context_mode="window")
    old = mql.open_run(version_1(tmp_path / "new", tmp_path / "old"))
    assert old.evaluate(tasks=1, adapt=False) == new.evaluate(tasks=1, adapt=False)
