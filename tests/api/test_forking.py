"""Runs that start from another run's agent: what they take over, what is refused, and that they stand alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_definitions import REWARD, write_parallel, write_python
from lab_definitions import TINY as LAB_TINY
from tiny_runs import TINY

import mql
from mql.cli import app as cli
from mql.runs.checkpoint import read_checkpoint
from mql.runs.prior_files import read_prior
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.tasks.definitions.trust import Untrusted

SHORT = {"train.env_steps": 300, "train.evaluate_every": 1000, "evaluate.final_tasks": 1}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    """A finished run with standardised inputs; tests only read it."""
    settings = TINY | {"agent.normalize": True, "agent.reward_scale": 2.0}
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("fork") / "parent", seed=3, settings=settings)


def facts(run: mql.Run) -> Any:
    return json.loads((run.path / "environment.json").read_text())["forked_from"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the one line with which a command is refused; it leaves no run."""
    capsys.readouterr()
    assert cli.run(["train", *map(str, arguments)]) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: "))
    return line


def test_a_fork_begins_with_the_parents_agent_optimiser_scale_and_episodes(parent: mql.Run, tmp_path: Path) -> None:
    run = mql.train(start_from=f"{parent.path}@400", run_dir=tmp_path / "fork", settings=SHORT)
    old, new = read_checkpoint(parent.path, 400), read_checkpoint(run.path, 0)
    learned = {name for name in old.tensors if not name.startswith("replay.")}
    assert set(new.tensors) == learned and {name.partition(".")[0] for name in learned} == {
        "online",
        "target",
        "scaling",
        "adam",
    }
    assert all(torch.equal(new.tensors[name], old.tensors[name]) for name in learned)
    assert bool(new.tensors["scaling.fitted"])
    assert new.state == {"env_steps": 0, "iterations": 0, "updates": 0, "evaluated": 0, "wall_seconds": 0.0}
    for (n, one), (m, other) in zip(old.episodes, new.episodes, strict=True):
        assert n == m and np.array_equal(one.obs, other.obs) and np.array_equal(one.reward, other.reward)
    # It learns from its first iteration on, counts anew, and keeps the scale that the networks know.
    assert [line["env_steps"] for line in run.metrics()] == [100, 200, 300]
    assert run.metrics()[0]["updates"] == 2 and "critic_loss" in run.metrics()[0]
    last = read_checkpoint(run.path, 300)
    assert torch.equal(last.tensors["scaling.scale"], old.tensors["scaling.scale"])
    assert not torch.equal(last.tensors["scaling.scale"], torch.ones_like(last.tensors["scaling.scale"]))
    assert facts(run) == {
        "path": str(parent.path),
        "env_steps": 400,
        "checkpoint_sha256": (parent.path / "checkpoints/400/checkpoint.sha256").read_text().split()[0],
        "family": "point-robot",
        "kept_episodes": 20,
    }
    assert run.config.start_from == f"{parent.path}@400"
    assert (run.config.train.random_steps, run.config.seed, run.config.agent) == (0, 3, parent.config.agent)


def test_a_fork_goes_on_bit_for_bit_without_its_parent(parent: mql.Run, tmp_path: Path) -> None:
    copy = tmp_path / "parent"
    shutil.copytree(parent.path, copy)
    whole = mql.train(start_from=copy, run_dir=tmp_path / "whole", settings={"train.env_steps": 500})
    mql.train(start_from=copy, run_dir=tmp_path / "parts", settings={"train.env_steps": 200})
    shutil.rmtree(copy)
    more = {"train.env_steps": 500}
    parts = mql.train("point-robot", run_dir=tmp_path / "parts", resume=True, settings=more)
    assert [without_machine_keys(line) for line in parts.metrics()] == [
        without_machine_keys(line) for line in whole.metrics()
    ]
    one, other = read_checkpoint(parts.path, 500), read_checkpoint(whole.path, 500)
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in other.tensors)
    assert parts.config == whole.config


def test_the_replay_is_kept_where_family_and_tasks_are_the_same(parent: mql.Run, tmp_path: Path) -> None:
    def kept(name: str, *, settings: Any = None, **more: Any) -> int:
        run = mql.train(start_from=parent.path, run_dir=tmp_path / name, settings=SHORT | (settings or {}), **more)
        return int(facts(run)["kept_episodes"])

    assert kept("same", settings={"agent.lr": 1e-4}) == 30
    assert kept("other-world", settings={"env.sensing.noise": 0.1}) == 0
    assert kept("left", keep_replay=False) == 0
    assert kept("taken", settings={"env.sensing.noise": 0.1}, keep_replay=True) == 30


@pytest.mark.slow
def test_another_family_of_the_same_spaces_gets_the_agent_and_its_own_experiment(tmp_path: Path) -> None:
    first = mql.train(write_parallel(tmp_path / "first"), run_dir=tmp_path / "one", settings=LAB_TINY)
    path = write_parallel(tmp_path / "second", reward=REWARD.replace("2.0", "3.0"))
    path.write_text(path.read_text().replace("lab-cart", "lab-other"))
    settings = {key: value for key, value in LAB_TINY.items() if not key.startswith("agent.")}
    run = mql.train(path, start_from=first.path, run_dir=tmp_path / "two", settings=settings)
    assert run.config.family == "lab-other" and run.config.agent.hidden_sizes == first.config.agent.hidden_sizes
    assert facts(run)["family"] == "lab-cart" and facts(run)["kept_episodes"] == 0
    before, after = (
        read_checkpoint(path, steps) for path, steps in ((first.path, first.checkpoints[-1]), (run.path, 0))
    )
    assert all(torch.equal(after.tensors[name], value) for name, value in before.tensors.items() if "." in name)
    # Without a target it is the first run's own definition, which the new one keeps a copy of.
    shutil.rmtree(tmp_path / "first")
    again = mql.train(start_from=first.path, run_dir=tmp_path / "three", settings=settings)
    shutil.rmtree(first.path)
    assert mql.open_run(again.path).config.family == "lab-cart"
    assert mql.open_run(again.path).evaluate(tasks=1, adapt=False)


def test_python_of_the_parents_definition_needs_trust(tmp_path: Path) -> None:
    first = mql.train(write_python(tmp_path / "lab"), run_dir=tmp_path / "one", settings=LAB_TINY, trust=True)
    with pytest.raises(Untrusted):
        mql.train(start_from=first.path, run_dir=tmp_path / "two")
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--from", "{parent}@5"], "there is no checkpoint 5 ({parent}@5): choose one of {parent}@200, {parent}@400"),
        (["--from", "{parent}/none"], "there is no such run directory"),
        (
            ["--from", "{parent}", "cheetah-vel"],
            "observations of cheetah-vel have 17 numbers, but those of {parent}",
        ),
        (["--from", "{parent}", "--set", "agent.hidden_sizes=[8]"], "agent.hidden_sizes is (8,), but the agent of"),
        (["--from", "{parent}", "--set", "agent.normalize=false"], "agent.normalize is False, but the agent of"),
        (["--from", "{parent}", "--set", "agent.reward_scale=1"], "(--set agent.reward_scale): leave it out, or"),
        (["--from", "{parent}", "--set", "agent.encoder=transformer", "agent.context_mode=window"], "agent.encoder is"),
        (["--keep-replay", "point-robot"], "there is no replay to keep (--keep-replay): add --from RUN"),
        ([], "there is nothing to train on"),
        (["--from", "{parent}", "--resume", "--run-dir", "{parent}"], "--from begins a new run"),
        (["--from", "{parent}", "--run-dir", "{parent}"], "the run directory already exists"),
    ],
)
def test_what_can_not_be_forked_is_refused_in_one_line(
    parent: mql.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    more: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *(word.format(parent=parent.path) for word in more))
    assert says.format(parent=parent.path) in line
    assert not list(tmp_path.iterdir())


def test_a_replay_of_other_tasks_is_refused(tmp_path: Path) -> None:
    first = mql.train(write_parallel(tmp_path / "first"), run_dir=tmp_path / "one", settings=LAB_TINY)
    path = write_parallel(tmp_path / "second")
    path.write_text(path.read_text().replace("train: {n: 6, seed: 1}", "train: {n: 6, seed: 9}"))
    with pytest.raises(mql.UserError, match="are of other training tasks than those of lab-cart"):
        mql.train(path, start_from=first.path, keep_replay=True, run_dir=tmp_path / "two")


def test_a_damaged_parent_is_refused_and_nothing_is_written(parent: mql.Run, tmp_path: Path) -> None:
    copy = tmp_path / "parent"
    shutil.copytree(parent.path, copy)
    path = copy / "checkpoints/600/agent.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(mql.UserError, match="the checkpoint is damaged"):
        mql.train(start_from=copy, run_dir=tmp_path / "fork")
    assert not (tmp_path / "fork").exists()


def test_the_start_can_stand_in_an_experiment_file(parent: mql.Run, tmp_path: Path) -> None:
    file = tmp_path / "try.yaml"
    text = {"family": "point-robot", "start_from": f"{parent.path}@200", "train": {"env_steps": 200}}
    file.write_text(json.dumps(text))
    tiny = {key: value for key, value in TINY.items() if not key.startswith(("agent.", "train.env_steps"))}
    tiny.pop("train.random_steps")
    run = mql.train(file, run_dir=tmp_path / "fork", settings=tiny)
    assert facts(run)["env_steps"] == 200 and run.config.agent.normalize
    assert run.config.train.random_steps == 0


def test_random_steps_are_made_where_they_are_asked_for(parent: mql.Run, tmp_path: Path) -> None:
    run = mql.train(start_from=parent.path, run_dir=tmp_path / "fork", settings=SHORT | {"train.random_steps": 200})
    assert [line["updates"] for line in run.metrics()] == [0, 0, 2]


def test_prior_data_are_read_again_where_the_column_map_or_the_family_is_another(tmp_path: Path) -> None:
    time = np.arange(21)
    log, once, twice = tmp_path / "log.npz", tmp_path / "once.yaml", tmp_path / "twice.yaml"
    seen, done = np.stack([0.01 * time, 0.02 * time], axis=1), np.stack([np.sin(time), np.cos(time)], axis=1)[:-1]
    np.savez(log, obs=seen, action=done, reward=-0.1 * time[:-1])
    for path, scale in ((once, 1.0), (twice, 2.0)):
        path.write_text(f"schema: mql.columns/1\nreward: {{column: reward, scale: {scale}}}\n")
    settings = TINY | SHORT | {"train.prior_data": [str(log)], "train.prior_columns": str(once)}
    old = mql.train("point-robot", run_dir=tmp_path / "old", settings=settings)
    for place, columns, factor in (("same", once, 1.0), ("other", twice, 2.0)):
        changes = {"train.env_steps": 100, "train.prior_columns": str(columns)}
        run = mql.train(start_from=str(old.path), run_dir=tmp_path / place, settings=changes)
        (task,) = read_prior(RunDir.open_readonly(run.path))
        assert np.allclose(task.episodes[0].reward, -0.1 * factor * time[:-1])
    log.unlink()  # what the parent kept is enough where nothing would be read differently
    run = mql.train(start_from=str(old.path), run_dir=tmp_path / "gone", settings={"train.env_steps": 100})
    assert len(read_prior(RunDir.open_readonly(run.path))) == 1
