"""P3O, A2C, DQN and Rainbow as methods of the loop: they go on bit by bit, are evaluated, and are no use to adapt."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import mql
from mql.training.loop import Interrupted

P3O = {"p3o.lanes": 4, "p3o.steps": 8, "p3o.segments": 8, "p3o.off_policy_after": 64, "p3o.hidden_sizes": [8]}
Q = {
    "q_learning.hidden_sizes": [8],
    "q_learning.lr": 2.5e-4,
    "q_learning.random_steps": 100,
    "q_learning.update_every": 4,
    "q_learning.target_every": 20,
    "train.anneal_steps": 0,
    "agent.proximal_c": "auto",
}
ATOMS = {"q_learning.value_min": 0, "q_learning.value_max": 100}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "p3o of choices": ("p3o", "CartPole-v1", P3O),
    "p3o of numbers": ("p3o", "Pendulum-v1", P3O),
    "p3o on tasks": ("p3o", "point-robot", P3O),
    "a2c": ("p3o", "CartPole-v1", {"p3o.lanes": 4, "p3o.steps": 8, "p3o.hidden_sizes": [8], "p3o.replay_ratio": 0}),
    "dqn": ("dqn", "CartPole-v1", Q),
    "rainbow": ("rainbow", "CartPole-v1", {**Q, **ATOMS, "train.anneal_steps": 1000}),
}
SIZES = {"train.evaluate_every": 1000, "train.checkpoint_every": 1000, "evaluate.final_tasks": 2}
OF_THE_MACHINE = ("_seconds", "_per_s")


def trained(kind: str, run: Path, *, steps: int = 2400, **more: Any) -> mql.Run:
    method, name, settings = KINDS[kind]
    return mql.train(name, run_dir=run, method=method, settings={**settings, **SIZES, "train.env_steps": steps}, **more)


def lines(run: Path, name: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / name).read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith(OF_THE_MACHINE)} for row in rows]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, mql.Run]:
    folder = tmp_path_factory.mktemp("sisters")
    return {kind: trained(kind, folder / kind.replace(" ", "-")) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_goes_on_bit_by_bit(
    kind: str, runs: dict[str, mql.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it was stopped in the middle of episodes, which are played again up to there."""
    from mql.runs.run_dir import RunDir

    append, seen = RunDir.append_metrics, []

    def stopping(run: RunDir, record: Any) -> None:
        append(run, record)
        seen.append(record["env_steps"])
        if record["env_steps"] >= 1100 and len(seen) and not stopped:
            stopped.append(record["env_steps"])
            os.kill(os.getpid(), signal.SIGTERM)

    stopped: list[int] = []
    parts = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(RunDir, "append_metrics", stopping)
        with pytest.raises((Interrupted, mql.UserError, KeyboardInterrupt)):
            trained(kind, parts)
    assert stopped
    method, name, _ = KINDS[kind]
    mql.train(name, run_dir=parts, method=method, resume=True)
    whole = runs[kind].path
    for file in ("metrics.jsonl", "evaluations.jsonl"):
        assert lines(whole, file) == lines(parts, file)
    last = str(max(runs[kind].checkpoints))
    files = sorted(path.name for path in (whole / "checkpoints" / last).glob("*.safetensors"))
    assert files
    for file in files:
        one, other = (safetensors.torch.load_file(run / "checkpoints" / last / file) for run in (whole, parts))
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_evaluated_and_say_that_they_do_not_adapt(kind: str, runs: dict[str, mql.Run]) -> None:
    run = runs[kind]
    record = run.evaluate(tasks=1)
    assert record["method"] == KINDS[kind][0] and record["tasks"][0]["adapted_return"] is None
    assert record["tasks"][0]["zero_shot_return"] is not None
    with pytest.raises(mql.UserError, match="mql adapt does nothing: the method"):
        run.adapt(task=run.family.tasks("test")[0].to_json())


def test_what_is_logged(runs: dict[str, mql.Run]) -> None:
    p3o = runs["p3o of choices"].metrics()[-1]
    assert {"policy_loss", "value_loss", "entropy", "off_policy_steps", "episodes"} <= p3o.keys()
    ess = [row["ess"] for row in runs["p3o of choices"].metrics() if "ess" in row]
    assert ess and all(0.0 < value <= 1.0 for value in ess)
    assert not any("ess" in row or row["off_policy_steps"] for row in runs["a2c"].metrics())
    dqn = runs["dqn"].metrics()[-1]
    assert dqn["kappa"] == pytest.approx(2.5) and dqn["target_distance"] > 0.0
    pulls = [row["kappa"] for row in runs["rainbow"].metrics() if "kappa" in row]
    assert pulls[0] == pytest.approx(2.5) and pulls[-1] < 1.5  # its rate falls over the last 1,000 of 2,400 steps
    # lr K / 2.5 for K = 20 / 4 updates between copies stands resolved in the run.
    assert runs["dqn"].config.agent.proximal_c == pytest.approx(2.5e-4 * 5 / 2.5)


@pytest.mark.parametrize(
    ("method", "name", "settings", "message"),
    [
        ("dqn", "Pendulum-v1", Q, "actions of Pendulum-v1 are numbers, which the method dqn"),
        (
            "mql",
            "CartPole-v1",
            {"train.random_steps": 0},
            "are choices, which the method mql .*: p3o, dqn",
        ),
        ("mql", "point-robot", {"agent.proximal_c": "auto"}, "nothing is published for method mql"),
        ("dqn", "CartPole-v1", {"agent.proximal_c": 1e-4}, "agent.proximal_c is 0.0001, below q_learning.lr"),
        (
            "dqn",
            "CartPole-v1",
            {"q_learning.random_steps": 5000},
            "the first update would come after 5001 env steps, of 2000 in the run",
        ),
        (
            "dqn",
            "CartPole-v1",
            {"q_learning.update_every": 4, "q_learning.target_every": 10},
            "not a multiple of update_every = 4",
        ),
        ("p3o", "CartPole-v1", {"p3o.replay_capacity": 100}, "less than the 256 steps of an iteration"),
        ("p3o", "Hoper-v5", {}, "did you mean 'Hopper-v5'"),
        ("dqn", "minatar-brekout", {}, "did you mean 'minatar-breakout'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    method: str, name: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(mql.UserError, match=message) as error:
        mql.train(name, method=method, run_dir=tmp_path / "run", settings={**settings, "train.env_steps": 2000})
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("kind", ["p3o of choices", "p3o of numbers", "dqn", "rainbow"])
def test_what_is_exported_acts_as_the_run_is_evaluated(kind: str, runs: dict[str, mql.Run], tmp_path: Path) -> None:
    """A policy from the run, and the controller of its export, play the evaluation's episode again."""
    pytest.importorskip("onnxruntime")
    from mql.deploy.controller import Controller
    from mql.seeding import spawn_seeds
    from mql.training.records import evaluation_seed

    run = runs[kind]
    run.export(tmp_path / "exported")
    policy, controller = run.policy(), Controller(tmp_path / "exported")
    task = run.family.tasks("test")[0]
    env = run.family.make(task)
    obs, _ = env.reset(seed=spawn_seeds(1, evaluation_seed(run.config, "test"), "evaluation", 0)[0])
    policy.reset()
    controller.reset()
    worth, over = 0.0, False
    while not over:
        action = policy.act(obs)
        assert controller.act(obs) == pytest.approx(action, abs=1e-5)
        obs, reward, terminated, truncated, _ = env.step(action)
        worth, over = worth + float(reward), terminated or truncated
    expected = run.result["tasks"][0]["zero_shot_return"]
    assert worth == pytest.approx(expected, rel=1e-4)
