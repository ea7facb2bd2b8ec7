"""Whole runs with histogram critics and returns over several steps: trained, resumed, forked, saved and adapted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import TINY

import mql
from mql.agent.agent import Agent
from mql.cli import app as cli
from mql.runs.checkpoint import read_checkpoint

CRITICS = {"agent.critic": "hl_gauss", "agent.n_step": 3, "agent.value_spacing": "fine", "agent.value_bins": 21}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("critics") / "run", settings=TINY | CRITICS)


def test_it_says_what_was_clipped(run: mql.Run) -> None:
    learned = [line for line in run.metrics() if "critic_loss" in line]
    assert learned and all(0.0 <= line["targets_clipped"] <= 1.0 for line in learned)


def test_resumed_it_equals_the_undisturbed_run(run: mql.Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(run.path, path)
    assert cli.run(["train", "point-robot", "--resume", "--run-dir", str(path), "--checkpoint", "400"]) == 0
    whole, resumed = (read_checkpoint(folder, 600).tensors for folder in (run.path, path))
    assert whole.keys() == resumed.keys()
    assert "online.critic.bins.ends" in whole
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("method", ["paper", "finetune", "search"])
def test_it_adapts(run: mql.Run, method: str, tmp_path: Path) -> None:
    settings = {"adapt.method": method, "adapt.adaptation_episodes": 5}
    more = {} if method != "finetune" else {"adapt.round_updates": 3, "adapt.gate": False}
    adapted = run.adapt(task="test:0", settings=settings | more)
    adapted.agent.save(tmp_path / "agent")
    back = Agent.load(tmp_path / "agent")
    assert back.online.critic.bins.low == adapted.agent.online.critic.bins.low < -1.0
    obs = np.zeros((1, 2), np.float32)
    assert np.array_equal(back.act(obs, back.begin(1)), adapted.agent.act(obs, adapted.agent.begin(1)))


def test_a_fork_keeps_the_range_and_may_look_farther_ahead(run: mql.Run, tmp_path: Path) -> None:
    short = {"train.env_steps": 100, "evaluate.final_tasks": 1, "agent.n_step": 5}
    fork = mql.train(start_from=run.path, run_dir=tmp_path / "fork", settings=short)
    old, new = (read_checkpoint(path, steps).tensors for path, steps in ((run.path, 600), (fork.path, 100)))
    assert torch.equal(old["online.critic.bins.ends"], new["online.critic.bins.ends"])
    assert fork.config.agent.n_step == 5
