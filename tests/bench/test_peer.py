"""`mql bench peer`: trials as episodes, what peers are measured by, and the command.

A stand-in takes the peer's place where its package need not be there.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from documents import blocks

import mql
from mql.bench import peer
from mql.bench.trials import Trials
from mql.cli import app as cli
from mql.cli import bench as cli_bench
from mql.config.loading import load_config
from mql.seeding import spawn_seeds
from mql.tasks import registry
from mql.training.records import evaluation_seed

STEPS = 20  # of an episode of point-robot
SIZES = peer.Sizes(
    env_steps=100,
    episodes=3,
    tasks=2,
    environments=2,
    rollout_steps=100,
    minibatches=2,
    lstm_units=4,
    hidden_sizes=(4,),
)


def trials(episodes: int) -> Trials:
    assert mql.__version__  # the import registers the families
    return Trials(gymnasium.make("mql/point-robot-v0"), episodes)


def test_a_trial_is_episodes_of_one_task_in_a_row() -> None:
    plain, environment = gymnasium.make("mql/point-robot-v0").unwrapped, trials(3)
    seen, _ = environment.reset(seed=4)
    obs, _ = plain.reset(seed=4)
    assert seen.shape == environment.observation_space.shape == (2 + 2 + 1 + 1,)
    assert np.array_equal(seen, [*obs, 0.0, 0.0, 0.0, 0.0])
    task: Any = environment.env.unwrapped.task  # type: ignore[attr-defined]
    action = np.array([0.5, -0.25], np.float32)
    starts = []
    for step in range(1, 3 * STEPS + 1):
        seen, reward, terminated, truncated, _ = environment.step(action)
        assert np.array_equal(seen[2:4], action) and seen[4] == np.float32(reward)
        assert environment.env.unwrapped.task is task or environment.env.unwrapped.task == task  # type: ignore[attr-defined]
        if seen[5]:
            starts.append((step, tuple(seen[:2])))
        assert not terminated and truncated == (step == 3 * STEPS)
        if step < STEPS:
            obs, expected, *_ = plain.step(action)
            assert np.array_equal(seen[:2], obs) and reward == expected
    assert [step for step, _ in starts] == [STEPS, 2 * STEPS] and len({place for _, place in starts}) == 2
    environment.reset()
    assert environment.env.unwrapped.task != task  # type: ignore[attr-defined]


def test_a_trial_of_one_episode_is_an_episode() -> None:
    environment = trials(1)
    environment.reset(seed=0)
    ends = [environment.step(np.zeros(2, np.float32))[3] for _ in range(STEPS)]
    assert ends == [False] * (STEPS - 1) + [True]


class StandIn:
    """Acts by how many steps it remembers, and learns nothing."""

    made: list[StandIn] = []  # noqa: RUF012

    def __init__(self, policy: str, environment: Any, **settings: Any) -> None:
        self.environment, self.settings, self.num_timesteps = environment, settings, 0
        StandIn.made.append(self)

    def learn(self, steps: int) -> None:
        self.environment.reset()
        while self.num_timesteps < steps:
            self.environment.step(np.zeros((self.environment.num_envs, 2), np.float32))
            self.num_timesteps += self.environment.num_envs

    def predict(self, obs: Any, *, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        assert deterministic and (state is None) == bool(episode_start[0])
        age = 0 if episode_start[0] else state
        return np.array([[0.01 * age, -0.5]], np.float32), age + 1


def test_it_is_measured_from_the_resets_that_other_methods_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setitem(sys.modules, "sb3_contrib", SimpleNamespace(RecurrentPPO=StandIn))
    results = peer.measure(1, SIZES)
    made = StandIn.made[-1]
    assert made.settings["n_steps"] == 60 and made.settings["batch_size"] == 60  # whole trials, 2 x 60 in two batches
    assert results["env_steps"] == 100 and results["held_out_tasks"] == 2 and results["episodes_per_trial"] == 3

    config, family = load_config("point-robot"), registry.load("point-robot")
    record = results["evaluation"]
    assert record["split"] == config.evaluate.split == "test" and len(record["tasks"]) == 2
    for place, task in enumerate(family.tasks("test")[:2]):
        [start] = spawn_seeds(1, evaluation_seed(config, "test"), "evaluation", place)
        row = record["tasks"][place]
        assert row["parameters"] == task.to_json() and row["episodes_charged"] == 2
        for name, age in (("zero_shot_return", 0), ("adapted_return", 2 * STEPS)):
            environment, total = family.make(task), 0.0
            environment.reset(seed=start)
            for step in range(STEPS):
                total += float(environment.step(np.array([0.01 * (age + step), -0.5], np.float32))[1])
            assert row[name] == pytest.approx(total, abs=1e-4)
    for name in ("zero_shot", "adapted"):
        assert results[f"{name}_return"]["mean"] == record["summary"][name]["mean"]


class Still(StandIn):
    """Does nothing, with as many actions as there are."""

    def learn(self, steps: int) -> None:
        self.environment.reset()
        self.environment.step(np.zeros((self.environment.num_envs, *self.environment.action_space.shape), np.float32))
        self.num_timesteps = steps

    def predict(self, obs: Any, *, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        return np.zeros((1, *self.environment.action_space.shape), np.float32), None


def test_a_peer_learns_the_family_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setitem(sys.modules, "sb3_contrib", SimpleNamespace(RecurrentPPO=Still))
    path = Path(__file__).parents[2] / "examples" / "desk_arm" / "desk-reach.yaml"
    results = peer.measure(1, replace(SIZES, family=str(path), episodes=1, tasks=1))
    assert results["family"] == "desk-reach" and len(results["evaluation"]["tasks"]) == 1


def test_single_episodes_have_nothing_adapted(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setitem(sys.modules, "sb3_contrib", SimpleNamespace(RecurrentPPO=StandIn))
    results = peer.measure(1, peer.Sizes(env_steps=40, episodes=1, tasks=1, environments=1, rollout_steps=20))
    assert "adapted_return" not in results and results["evaluation"]["summary"]["adapted"] is None


def test_the_documents_way_to_train_an_agent_of_stable_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("stable_baselines3")
    [block] = blocks(Path(__file__).parents[2] / "docs" / "baselines.md", "python")
    for full, short in (("500_000", "110"), ("range(20)", "range(2)")):
        assert full in block
        block = block.replace(full, short)
    exec(compile(block, "docs/baselines.md", "exec"), {"__name__": "example"})
    said = capsys.readouterr().out.splitlines()
    tasks = registry.load("cheetah-vel").tasks("test")[:2]
    assert [line.rpartition(" ")[0] for line in said] == [str(dict(task.parameters)) for task in tasks]
    assert all(np.isfinite(float(line.rpartition(" ")[2])) for line in said)


class Reactive(StandIn):
    """Pushes the pole to the side that its scaled observation names, and learns nothing."""

    def learn(self, steps: int) -> None:
        self.environment.reset()
        while self.num_timesteps < steps:
            self.environment.step(np.zeros((self.environment.num_envs, 1), np.float32))
            self.num_timesteps += self.environment.num_envs

    def predict(self, obs: Any, *, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        assert deterministic
        return np.clip(obs[:, -1:], -1.0, 1.0), None


@pytest.mark.parametrize(("algorithm", "environments"), [("ppo", 3), ("a2c", 16)])
def test_one_that_remembers_nothing_meets_an_environment_by_its_name(
    algorithm: str, environments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setattr(f"stable_baselines3.{algorithm.upper()}", Reactive)
    sizes = peer.Sizes(algorithm=algorithm, family="InvertedPendulum-v5", env_steps=60, environments=3)
    results = peer.measure(1, sizes)
    made = StandIn.made[-1]
    assert made.environment.num_envs == environments and made.settings["gamma"] == 0.99
    assert made.settings.get("n_steps") == ({"ppo": 2048 // 3}.get(algorithm))

    config = load_config("InvertedPendulum-v5", method="p3o")
    [row] = results["evaluation"]["tasks"]
    assert results["evaluation"]["method"] == f"Stable-Baselines3 {Reactive.__name__}"
    assert row["adapted_return"] is None and "adapted_return" not in results
    seeds = spawn_seeds(config.evaluate.evaluation_episodes, evaluation_seed(config, "test"), "evaluation", 0)
    scaled, returns = made.environment, []
    for seed in seeds:
        plain, total, ended = gymnasium.make("InvertedPendulum-v5"), 0.0, False
        obs, _ = plain.reset(seed=seed)
        while not ended:
            action = np.clip(scaled.normalize_obs(np.asarray(obs)[None])[0, -1:], -1.0, 1.0)
            obs, reward, terminated, truncated, _ = plain.step(action)
            total, ended = total + float(reward), terminated or truncated
        returns.append(total)
    assert row["zero_shot_return"] == pytest.approx(np.mean(returns))


def test_what_peers_do_not_play_is_said_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("stable_baselines3")
    monkeypatch.setitem(sys.modules, "minatar", None)  # as if it were not installed: it would not help
    for arguments, line in (
        (["--algorithm", "pp"], "there is no peer 'pp' (mql bench peer): did you mean 'ppo'?"),
        (["--algorithm", "ppo", "--family", "minatar-breakout"], "peers do not play minatar-breakout (mql bench peer)"),
        (["--algorithm", "a2c", "--family", "Hoper-v5"], "unknown family 'Hoper-v5'"),
    ):
        assert cli.run(["bench", "peer", *arguments]) == 2
        err = capsys.readouterr().err
        assert f"error: {line}" in err


def test_a_missing_peer_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)  # as if it were not installed
    monkeypatch.setattr(cli_bench, "limit_threads", lambda given: None)
    monkeypatch.setattr(cli_bench, "keep_freed_memory", lambda: None)
    assert cli.run(["bench", "peer", "--family", "point-robot", "--json"]) == 2
    out, err = capsys.readouterr()
    mend = "install it with pip install 'mql[peer]'"
    assert out == "" and err == f"error: package sb3_contrib is missing (mql bench peer): {mend}\n"


def test_the_options_are_the_peer_s_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "gru", "--env-steps", "10"]) == 2
    assert capsys.readouterr().err == "error: --env-steps is an option of peer (mql bench gru): leave it out\n"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[peer.Sizes]:
    """Let the part return at once; the list gets the sizes that it was asked for."""
    asked: list[peer.Sizes] = []

    def measure(threads: int, sizes: peer.Sizes = peer.FULL) -> dict[str, Any]:
        asked.append(sizes)
        zero_shot = {"mean": -12.5, "iqm": -12.0, "low_95": -14.0, "high_95": -11.0}
        return {"family": sizes.family, "env_steps": 10, "zero_shot_return": zero_shot, "evaluation": {"tasks": []}}

    monkeypatch.setattr(cli_bench, "PARTS", {"peer": measure, "gru": measure})
    monkeypatch.setattr(cli_bench, "measure_sgemm", lambda: 50.0)
    monkeypatch.setattr(cli_bench, "limit_threads", lambda given: None)
    monkeypatch.setattr(cli_bench, "keep_freed_memory", lambda: None)
    return asked


def test_the_command(at_once: list[peer.Sizes], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "peer", "--family", "cheetah-vel", "--env-steps", "500", "--episodes", "3"]) == 0
    assert at_once == [peer.Sizes(family="cheetah-vel", env_steps=500, episodes=3)]
    out = capsys.readouterr().out
    assert "peer, cheetah-vel" in out and "tasks" not in out
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in out.splitlines() if "│" in line]
    assert ["env_steps", "10", "env steps"] in rows and ["zero_shot_return mean", "-12.5", "return"] in rows
    assert cli.run(["bench", "peer", "--seed", "4", "--json"]) == 0
    assert at_once[-1] == peer.Sizes(seed=4)
    assert json.loads(capsys.readouterr().out)["results"]["evaluation"] == {"tasks": []}


@pytest.mark.parametrize("algorithm", ["ppo", "a2c"])
def test_peers_that_remember_nothing_learn_and_are_measured(algorithm: str) -> None:
    pytest.importorskip("stable_baselines3")
    sizes = peer.Sizes(algorithm=algorithm, env_steps=64, tasks=2, environments=2, rollout_steps=64)
    results = peer.measure(1, sizes)  # a family of ours
    assert results["env_steps"] >= 64 and results["family"] == "point-robot"
    assert np.isfinite([row["zero_shot_return"] for row in results["evaluation"]["tasks"]]).all()


@pytest.mark.needs_extra
@pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="needs the extra peer")
def test_the_peer_itself_learns_and_is_measured() -> None:
    results = peer.measure(1, SIZES)
    assert results["env_steps"] >= 100 and results["env_steps_per_s"] > 0.0
    rows = results["evaluation"]["tasks"]
    assert len(rows) == 2
    assert np.isfinite([[row["zero_shot_return"], row["adapted_return"]] for row in rows]).all()
