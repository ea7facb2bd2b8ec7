"""Adapting to episodes that were recorded elsewhere, and training with them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_definitions import SETTINGS, write_parallel
from tiny_runs import TINY as POINT_TINY

import mql
from mql.adaptation.new_data import replay_of
from mql.api.recorded import prior_of
from mql.api.training import open_job
from mql.cli import app as cli
from mql.runs.prior_files import described_tasks, read_prior
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.types import Episode

TINY = POINT_TINY | {"adapt.exploration_noise": 0.1}
FINETUNE = {"adapt.method": "finetune", "adapt.round_updates": 2, "adapt.round_batch_size": 32}


def store(path: Path, episodes: list[Episode], **more: Any) -> Path:
    """Write episodes as an NPZ of steps one after another, as a lab would."""
    lengths = [episode.length for episode in episodes]
    np.savez(
        path,
        episode=np.repeat(np.arange(len(episodes)), lengths),
        obs=np.concatenate([episode.obs[:-1] for episode in episodes]),
        next_obs=np.concatenate([episode.obs[1:] for episode in episodes]),
        action=np.concatenate([episode.action for episode in episodes]),
        reward=np.concatenate([episode.reward for episode in episodes]),
        **more,
    )
    return path


def acted(family: mql.TaskFamily, seed: int, count: int = 2) -> list[Episode]:
    """Play another policy than any agent's, without a context: towards a corner, with noise."""
    episodes, task = [], family.tasks("test")[0]
    for number in range(count):
        environment, rng = family.make(task), np.random.default_rng(seed + number)
        obs, actions, rewards = [environment.reset(seed=seed + number)[0]], [], []
        for _ in range(family.episode_length):
            actions.append(np.clip(0.5 + 0.3 * rng.standard_normal(family.action_dim), -1.0, 1.0).astype(np.float32))
            seen, reward, *_ = environment.step(actions[-1])
            obs.append(seen)
            rewards.append(reward)
        arrays = (np.array(values, np.float32) for values in (obs, actions, rewards))
        episodes.append(Episode(*arrays, terminated=False, truncated=True, task=0, seed=number))
    return episodes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    """A finished run; tests only read it."""
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("recorded") / "run", seed=3, settings=TINY)


def tensors(adapted: mql.Adapted) -> dict[str, torch.Tensor]:
    return dict(adapted.agent.named_tensors())


def equal(mine: dict[str, torch.Tensor], its: dict[str, torch.Tensor]) -> bool:
    return mine.keys() == its.keys() and all(torch.equal(tensor, its[name]) for name, tensor in mine.items())


@pytest.mark.parametrize("method", ["paper", "finetune", "auto", "simulate"])
def test_a_file_adapts_as_the_same_episodes_in_memory(run: mql.Run, tmp_path: Path, method: str) -> None:
    episodes = acted(run.family, 7)
    path = store(tmp_path / "log.npz", episodes)
    settings = FINETUNE | {"adapt.method": method, "adapt.scored_transitions": 500}
    settings = {k: v for k, v in settings.items() if method != "paper" or "round" not in k}
    from_file = run.adapt(data=path, settings=settings)
    in_memory = run.adapt(data=episodes, settings=settings)
    assert equal(tensors(from_file), tensors(in_memory))
    assert not equal(tensors(from_file), dict(run.load().trainer.agent.named_tensors()))
    assert from_file.report["data"] == {
        "files": [str(path)],
        "episodes": 2,
        "steps": 2 * run.family.episode_length,
        "notes": from_file.report["data"]["notes"],
    }
    assert in_memory.report["data"]["files"] == ["memory"] and from_file.task is None
    assert from_file.report["episodes_charged"] == 2
    for mine, its in zip(from_file.episodes or (), episodes, strict=True):
        for name in ("obs", "action", "reward"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))


def test_contexts_of_another_policys_episodes_are_this_agents(run: mql.Run) -> None:
    agent = run.agent()
    [episode] = acted(run.family, 5, count=1)
    states = replay_of(agent, [episode]).states
    policy = agent.policy()
    context = policy.begin(1)
    for step in range(episode.length):
        np.testing.assert_allclose(states[step].float().numpy(), context.state[0], atol=2e-3)  # kept as float16
        policy.observe(context, episode.obs[step][None], episode.action[step][None], episode.reward[step : step + 1])


def test_methods_that_make_nothing_of_data_are_refused(run: mql.Run) -> None:
    episodes = acted(run.family, 7)
    with pytest.raises(mql.UserError, match=r"search tries contexts out.*adapt.method=finetune"):
        run.adapt(data=episodes, settings={"adapt.method": "search"})
    with pytest.raises(mql.UserError, match="context looks at no episode"):
        run.adapt(data=episodes, settings={"adapt.method": "context"})
    carried = run.adapt(data=episodes, settings={"adapt.method": "context", "adapt.carry_episodes": True})
    assert carried.agent.carried is not None


def test_a_task_beside_the_data_tells_its_reward(run: mql.Run, tmp_path: Path) -> None:
    family = run.family
    episodes = acted(family, 7)
    path = store(tmp_path / "log.npz", episodes)
    arrays = dict(np.load(path))
    del arrays["reward"]
    np.savez(tmp_path / "no-reward.npz", **arrays)
    with pytest.raises(mql.UserError, match="reward"):
        run.adapt(data=tmp_path / "no-reward.npz", settings=FINETUNE)
    adapted = run.adapt(data=tmp_path / "no-reward.npz", task="test:0", settings=FINETUNE)
    assert adapted.task == family.tasks("test")[0].to_json() and adapted.comparison is None
    for mine, its in zip(adapted.episodes or (), episodes, strict=True):
        np.testing.assert_allclose(mine.reward, its.reward, atol=1e-5)
    known = run.adapt(
        data=path, task="test:0", settings=FINETUNE | {"adapt.method": "relabel", "adapt.reward": "known"}
    )
    assert known.report["reward"] == "known"


def test_some_parameters_beside_the_data_may_be_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reward reads the goal, and nobody knows the mass; two files are told of together."""
    definition = write_parallel(tmp_path / "lab")
    assert cli.run(["train", str(definition), "--run-dir", str(tmp_path / "run"), *SETTINGS]) == 0
    run = mql.open_run(tmp_path / "run")
    task = run.family.tasks("test")[0]
    files = []
    for seed in (3, 4):
        episodes = acted(run.family, seed, count=1)
        files.append(tmp_path / f"{seed}.npz")
        np.savez(files[-1], **{f"episode_0/{name}": getattr(episodes[0], name) for name in ("obs", "action")})
    goal = task.parameters["goal"]
    adapted = run.adapt(data=files, task={"goal": goal}, settings=FINETUNE)
    rewards = [episode.reward for episode in acted(run.family, 3, count=1) + acted(run.family, 4, count=1)]
    for mine, its in zip(adapted.episodes or (), rewards, strict=True):
        np.testing.assert_allclose(mine.reward, its, atol=1e-5)
    assert adapted.task is None
    assert adapted.report["data"]["notes"] == ["rewards are computed by lab-cart (2 of 2 episodes)"]
    words = ["adapt", str(run.path), "--data", *map(str, files), "--set", *(f"{k}={v}" for k, v in FINETUNE.items())]
    capsys.readouterr()
    assert cli.run([*words, "--task", f"goal={goal}"]) == 0
    assert "(2 of 2 episodes)" in capsys.readouterr().err
    assert cli.run([*words, "--task", "mass=1.0"]) == 2
    assert "they depend on the task" in capsys.readouterr().err
    assert cli.run([*words, "--task", "gaol=0.3"]) == 2 and "gaol" in capsys.readouterr().err


def test_the_command_says_that_nothing_was_tried_out(
    run: mql.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = acted(run.family, 7)
    files = [store(tmp_path / f"{n}.npz", [episode]) for n, episode in enumerate(episodes)]
    given = ["adapt", run.path, "--data", *files, "--set", *(f"{k}={v}" for k, v in FINETUNE.items())]
    assert cli.run([*map(str, given), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "2 episodes recorded elsewhere" in out and "kept untested" in out and "20 or more are advisable" in out
    assert cli.run([*map(str, given), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["data"]["files"] == list(map(str, files)) and row["parameters"] is None
    assert equal(tensors(mql.Adapted.load(tmp_path / "out")), tensors(run.adapt(data=files, settings=FINETUNE)))
    for more, message in (
        (["--adaptation-episodes", "3"], "asks for episodes, and with --data none is played"),
        (["--set", "adapt.method=search"], "search tries contexts out"),
    ):
        assert cli.run([*map(str, given[:4]), *more]) == 2
        assert message in capsys.readouterr().err
    assert cli.run(["adapt", str(run.path), "--columns", "map.yaml", "--task", "test:0"]) == 2
    assert "--columns is for the files" in capsys.readouterr().err


def test_what_is_no_data_is_refused(run: mql.Run, tmp_path: Path) -> None:
    episodes = acted(run.family, 7, count=1)
    for given, message in (
        ({"data": episodes, "episodes": episodes}, "exactly one"),
        ({"task": "test:0", "episodes": episodes}, "exactly one"),
        ({}, "exactly one"),
        ({"data": []}, "no episodes"),
        ({"data": tmp_path / "none.npz"}, "no such file"),
        ({"data": 3}, "no list and no path"),
        ({"data": episodes, "columns": {"action": "a"}}, "a column map is for files"),
        ({"data": [dataclasses.replace(episodes[0], obs=episodes[0].obs[:, :1])]}, "obs has shape"),
    ):
        with pytest.raises(mql.UserError, match=message):
            run.adapt(**given)


# Prior data.


@pytest.fixture(scope="module")
def logs(run: mql.Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of episodes."""
    folder = tmp_path_factory.mktemp("logs")
    return [store(folder / f"{n}.npz", acted(run.family, 10 * n, count=n + 2)) for n in range(2)]


@pytest.fixture(scope="module")
def with_prior(logs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    """A run that learned from both besides."""
    settings = TINY | {"train.prior_data": list(map(str, logs))}
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("prior") / "run", seed=3, settings=settings)


def test_prior_data_are_tasks_of_their_own_and_kept_with_the_run(
    with_prior: mql.Run, run: mql.Run, logs: list[Path]
) -> None:
    prior = read_prior(RunDir.open_readonly(with_prior.path))
    assert [(task.name, len(task.episodes)) for task in prior] == [("prior:0", 2), ("prior:1", 3)]
    assert [task["file"] for task in described_tasks(prior)] == list(map(str, logs))
    replay = with_prior.load().trainer.replay
    trained = len(run.family.tasks("train"))
    assert replay.n_tasks == trained + 2 and replay.n_trained == trained and replay.first_live_episode == 0
    stored = np.unique(replay.all_rows() // replay.rows)
    assert set(stored[-2:]) == {trained, trained + 1}
    starts = replay.episode_starts(replay.all_rows())
    assert (starts // replay.rows == trained).sum() == 2
    assert [row["env_steps"] for row in with_prior.metrics()] == [row["env_steps"] for row in run.metrics()]
    first = with_prior.metrics()[0]
    assert without_machine_keys(first) == without_machine_keys(run.metrics()[0])  # the same random steps


def test_a_run_goes_on_with_prior_data_as_if_it_had_not_stopped(
    with_prior: mql.Run, logs: list[Path], tmp_path: Path
) -> None:
    moved = [path.rename(path.with_suffix(".moved")) for path in logs]  # the run needs them no more
    try:
        for checkpoint in (200, 400):
            copy = tmp_path / str(checkpoint)
            shutil.copytree(with_prior.path, copy)
            with open_job(
                "point-robot", run_dir=copy, seed=None, settings={}, resume=True, checkpoint=checkpoint
            ) as job:
                job.train()
            again = mql.open_run(copy)
            saved = [RunDir.open_readonly(each.path).load_checkpoint().tensors for each in (with_prior, again)]
            assert equal(dict(saved[0]), dict(saved[1]))
            for mine, its in ((with_prior.metrics(), again.metrics()), (with_prior.evaluations(), again.evaluations())):
                assert [*map(without_machine_keys, mine)] == [*map(without_machine_keys, its)]
    finally:
        for path in moved:
            path.rename(path.with_suffix(".npz"))


def test_a_fork_takes_its_parents_prior_data(with_prior: mql.Run, logs: list[Path], tmp_path: Path) -> None:
    moved = [path.rename(path.with_suffix(".moved")) for path in logs]
    try:
        fork = mql.train(
            None, run_dir=tmp_path / "fork", start_from=str(with_prior.path), settings={"train.env_steps": 200}
        )
    finally:
        for path in moved:
            path.rename(path.with_suffix(".npz"))
    replay = fork.load().trainer.replay
    assert replay.prior == ("prior:0", "prior:1") and replay.transitions > 5 * fork.family.episode_length


def test_adaptation_draws_on_prior_data_and_names_it(with_prior: mql.Run) -> None:
    trained = len(with_prior.family.tasks("train"))
    row = with_prior.evaluate(tasks=1)["tasks"][0]
    assert len(row["task_weights"]) == trained and set(row["prior_weights"]) == {"prior:0", "prior:1"}
    assert sum(row["task_weights"]) + sum(row["prior_weights"].values()) == pytest.approx(1.0)
    old = {**FINETUNE, "adapt.old_fraction": 0.5, "adapt.old": "propensity"}
    for settings in (old, FINETUNE | {"adapt.method": "auto"}, FINETUNE | {"adapt.method": "relabel"}):
        assert with_prior.adapt(task="test:1", settings=settings | {"adapt.adaptation_episodes": 4}).report
    simulated = with_prior.adapt(
        task="test:1", settings=FINETUNE | {"adapt.method": "simulate", "adapt.adaptation_episodes": 4}
    )
    assert len(simulated.report["task_weights"]) == trained
    searched = with_prior.adapt(task="test:1", settings={"adapt.method": "search", "adapt.adaptation_episodes": 4})
    assert searched.report["tried"] > 0


def test_damaged_prior_data_is_refused(with_prior: mql.Run, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(with_prior.path, copy)
    path = copy / "prior" / "episodes.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(mql.UserError, match="prior data is damaged"):
        mql.open_run(copy).load()
    path.unlink()
    with pytest.raises(mql.UserError, match="missing"):
        mql.open_run(copy).load()


def test_a_file_of_several_tasks_is_several_prior_tasks(run: mql.Run, tmp_path: Path) -> None:
    episodes = acted(run.family, 3, count=2)
    path = store(tmp_path / "log.npz", episodes)
    config = run.config.model_copy(update={"train": run.config.train.model_copy(update={"prior_data": (str(path),)})})
    [task] = prior_of(config, run.family)
    assert task.name == "prior:0" and task.steps == 2 * run.family.episode_length


def test_paths_in_an_experiment_start_at_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text("family: point-robot\ntrain: {prior_data: logs/a.npz, prior_columns: map.yaml}\n")
    config = mql.load_config(str(file))
    assert config.train.prior_data == (str(tmp_path / "logs/a.npz"),)
    assert config.train.prior_columns == str(tmp_path / "map.yaml")
    with pytest.raises(mql.UserError, match=r"train.prior_data is 3.*a list.*each is a path"):
        mql.load_config("point-robot", overrides={"train.prior_data": 3})
    with pytest.raises(mql.UserError, match="no files for a column map"):
        mql.train("point-robot", run_dir=tmp_path / "run", settings=TINY | {"train.prior_columns": "map.yaml"})


def test_a_log_that_does_not_fit_is_refused_before_the_run_begins(run: mql.Run, tmp_path: Path) -> None:
    [episode] = acted(run.family, 3, count=1)
    path = store(tmp_path / "log.npz", [dataclasses.replace(episode, obs=episode.obs[:, :1])])
    with pytest.raises(mql.UserError, match="obs"):
        mql.train("point-robot", run_dir=tmp_path / "run", settings=TINY | {"train.prior_data": str(path)})
    assert not (tmp_path / "run").exists()


def test_an_episode_longer_than_the_familys_is_cut(run: mql.Run, tmp_path: Path) -> None:
    one, two = acted(run.family, 3)
    joined = dataclasses.replace(
        one,
        obs=np.concatenate([one.obs[:-1], two.obs]),
        action=np.concatenate([one.action, two.action]),
        reward=np.concatenate([one.reward, two.reward]),
    )
    path = store(tmp_path / "log.npz", [joined])
    config = run.config.model_copy(update={"train": run.config.train.model_copy(update={"prior_data": (str(path),)})})
    [task] = prior_of(config, run.family)
    assert [episode.length for episode in task.episodes] == [run.family.episode_length] * 2
    np.testing.assert_array_equal(task.episodes[1].obs, two.obs)
