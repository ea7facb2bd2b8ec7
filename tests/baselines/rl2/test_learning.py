"""RL^2 in the loop: its run, going on where it stopped, its evaluations, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mql
from mql.cli import app as cli
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.training.methods import load_learning, new_learning

TINY: dict[str, Any] = {
    "train.env_steps": 1500,
    "train.evaluate_every": 600,
    "train.checkpoint_every": 480,
    "rl2.state_dim": 8,
    "rl2.steps_per_iteration": 480,
    "rl2.epochs": 2,
    "rl2.sequence_length": 25,
    "evaluate.tasks": 2,
    "evaluate.final_tasks": 3,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    return mql.train("point-robot", method="rl2", run_dir=tmp_path_factory.mktemp("rl2") / "run", seed=3, settings=TINY)


def content(path: Path) -> tuple[Any, ...]:
    opened = RunDir.open_readonly(path)
    newest = opened.load_checkpoint()
    tensors = {name: tensor.reshape(-1).view(torch.uint8).tolist() for name, tensor in newest.tensors.items()}
    lines = [
        [without_machine_keys(line) for line in part] for part in (opened.read_metrics(), opened.read_evaluations())
    ]
    return lines, tensors, without_machine_keys(newest.state)


def test_a_run_has_what_runs_have(run: mql.Run) -> None:
    assert run.finished and run.checkpoints == [480, 960, 1440, 1920]
    figures = {"collected_return", "first_episode_return", "last_episode_return", "policy_loss", "value_loss", "kl"}
    assert figures <= run.metrics()[0].keys()
    assert [line["split"] for line in run.evaluations()] == ["validation", "validation", "test"]
    result = run.result
    assert result is not None and result["method"] == "rl2" and len(result["tasks"]) == 3
    for row in result["tasks"]:
        assert row["episodes_charged"] == 2 and row["distance_moved"] == 0.0 and row["random_return"] is not None
        assert row["adapted_return"] != row["zero_shot_return"]
    family = run.family
    assert new_learning(run.config, family).updates_after(1500) == run.metrics()[-1]["updates"] == 4 * 2 * 4


def test_a_run_that_goes_on_ends_as_one_that_was_never_stopped(run: mql.Run, tmp_path: Path) -> None:
    short = {**TINY, "train.env_steps": 500, "train.evaluate_every": 600}
    mql.train("point-robot", method="rl2", run_dir=tmp_path / "run", seed=3, settings=short)
    mql.train("point-robot", run_dir=tmp_path / "run", resume=True, settings={"train.env_steps": 1500})
    assert content(tmp_path / "run") == content(run.path)


def test_an_evaluation_pairs_the_last_episode_of_a_trial_with_its_first_from_the_same_start(run: mql.Run) -> None:
    learning = load_learning(RunDir.open_readonly(run.path), run.family, run.config)
    results = learning.measure(run.family.tasks("test")[:2], config=run.config, split="test", adapt=True)
    for result in results:
        assert result.adapted is not None and len(result.adapted) == 1
        np.testing.assert_array_equal(result.zero_shot[0].obs[0], result.adapted[0].obs[0])
        assert not np.array_equal(result.zero_shot[0].action, result.adapted[0].action)
    plain = run.evaluate(tasks=2, adapt=False)
    assert [row["zero_shot_return"] for row in plain["tasks"]] == [r.zero_shot[0].episode_return for r in results]
    assert plain["summary"]["adapted"] is None
    one = run.evaluate(tasks=1, settings={"adapt.adaptation_episodes": 1})
    assert one["tasks"][0]["episodes_charged"] == 1


def test_what_it_cannot_do_is_said_in_one_line(
    run: mql.Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for words in (
        f"adapt {run.path} --task goal=0.5,0.5",
        f"export {run.path} -o {tmp_path / 'out'}",
        f"play {run.path} -o {tmp_path / 'film.gif'}",
    ):
        assert cli.run(words.split()) == 2
        assert "trained by the method rl2" in capsys.readouterr().err
    assert cli.run(["evaluate", str(run.path), "--adaptation-episodes", "3", "--json"]) == 2
    assert "a trial has 2 before its last one" in capsys.readouterr().err
    assert cli.run(["evaluate", str(run.path), "--tasks", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "rl2"


def best_blind_return(family: TaskFamily) -> float:
    """Test return of going straight to one place, the one of a grid that is best for the training tasks.

    Who does not know the goal can hardly do better.
    """

    def going_to(place: np.ndarray, split: str) -> float:
        tasks = family.tasks(split)
        batch = family.make_batch(tasks)
        obs, total = batch.reset(list(range(len(tasks)))), 0.0
        for _ in range(family.episode_length):
            step = batch.step(np.clip(10.0 * (place - obs), -1.0, 1.0).astype(np.float32))
            obs, total = step.obs, total + float(step.reward.mean())
        return total

    grid = [np.array([x, y]) for x in np.linspace(-0.6, 0.6, 7) for y in np.linspace(-0.6, 0.6, 7)]
    return going_to(max(grid, key=lambda place: going_to(place, "train")), "test")


@pytest.mark.slow
def test_it_learns_to_find_the_goal_and_to_remember_it(tmp_path: Path) -> None:
    """The first episode of a trial beats what can be had without the goal; the last one beats the first."""
    settings = {
        "train.env_steps": 300_000,
        "train.evaluate_every": 1_000_000,
        "train.checkpoint_every": 1_000_000,
        "rl2.steps_per_iteration": 2400,
        "rl2.lr": 3e-3,
        "rl2.discount": 0.95,
        "rl2.gae_lambda": 0.9,
        "rl2.kl_limit": 0.06,
        "evaluate.final_tasks": 20,
    }
    summary = mql.train("point-robot", method="rl2", run_dir=tmp_path / "run", seed=1, settings=settings).summary
    assert summary is not None
    first, last = summary["zero_shot"]["mean"], summary["adapted"]["mean"]
    blind = best_blind_return(registry.load("point-robot"))
    assert last > blind + 4.0 and last > first + 1.0 and summary["gain"]["ci95"][0] > 0.0
