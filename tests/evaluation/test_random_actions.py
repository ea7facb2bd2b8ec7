"""What random actions get, beside zero-shot and adapted: reproducible, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from mql.adaptation.adapters import prepare
from mql.agent.agent import Agent
from mql.api.progress import Progress
from mql.cli import tables as cli_tables
from mql.config.loading import load_config
from mql.config.schema import Config
from mql.evaluation.held_out import TaskResult, evaluate, summarize_results
from mql.evaluation.statistics import across_runs
from mql.learning.trainer import Trainer
from mql.report.curves import _draw_returns, _draw_success, draw_training
from mql.report.learning_curve import learning_curve
from mql.report.page.groups import mean
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.seeding import generator, spawn_seeds
from mql.tasks import registry
from mql.tasks.families.small.point_robot import PointRobot, point_robot
from mql.tasks.family import Array, TaskFamily
from mql.tasks.stepping.state import Outcome, State
from mql.training.learning import Learning
from mql.training.meta_q_learning import meta_training
from mql.training.methods import load_learning, meta_train
from mql.training.records import measure_agent, record_of
from mql.types import Episode

TINY = {
    "train.env_steps": 1600,
    "train.random_steps": 400,
    "train.episodes_per_iteration": 4,
    "train.batch_size": 16,
    "train.env_steps_per_update": 50,
    "train.replay_capacity": 4000,
    "train.evaluate_every": 400,
    "train.checkpoint_every": 400,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.method": "paper",
    "adapt.step1_updates": 1,
    "adapt.step2_updates": 1,
    "adapt.batch_size": 16,
    "evaluate.tasks": 2,
    "evaluate.final_tasks": 3,
}


def config_of(family: str) -> Config:
    return load_config(family, overrides=[f"{key}={value}" for key, value in TINY.items()])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a family with a success; tests only read it."""
    path, config = tmp_path_factory.mktemp("random") / "run", config_of("reacher-goal")
    with RunDir.create(path, config=config, tasks={}, command=["mql"]) as opened:
        meta_train(config, registry.load("reacher-goal"), opened)
    return path


@pytest.fixture(scope="module")
def trained() -> Trainer:
    """Twenty random episodes behind it."""
    trainer = Trainer(config_of("point-robot"), registry.load("point-robot"))
    for _ in range(5):
        trainer.iterate()
    return trainer


def results_of(trainer: Trainer, *, tasks: int = 3, threads: int = 1, **options: Any) -> list[TaskResult]:
    family, config = trainer.family, trainer.config
    chosen = family.tasks("test")[:tasks]
    return evaluate(
        trainer.agent,
        family,
        chosen,
        evaluation_episodes=2,
        seed=5,
        adaptation=prepare(meta_training(trainer), config.adapt),
        threads=threads,
        **options,
    )


def rows_of(results: list[TaskResult], *, without: str = "-") -> list[dict[str, Any]]:
    """What the results say, without what depends on the clock and without the keys that begin with `without`."""
    rows = [without_machine_keys(result.to_json()) for result in results]
    return [{key: value for key, value in row.items() if not key.startswith(without)} for row in rows]


def test_it_is_reproducible_and_changes_nothing_else(trained: Trainer) -> None:
    plain, beside, again = results_of(trained), *(results_of(trained, with_random=True) for _ in range(2))
    assert rows_of(beside) == rows_of(again)
    assert rows_of(plain, without="random") == rows_of(beside, without="random")
    assert all(row["random_return"] is None for row in rows_of(plain))
    summaries = [summarize_results(results) for results in (plain, beside)]
    assert summaries[0].pop("random") is None and summaries[1].pop("random") is not None
    assert summaries[0] == summaries[1]


def test_the_intervals_are_those_of_a_report(trained: Trainer) -> None:
    results = results_of(trained, tasks=5, with_random=True)
    summary: Any = summarize_results(results)
    for column in ("zero_shot", "random"):
        values = [[row[f"{column}_return"] for row in rows_of(results)]]
        assert summary[column]["ci95"] == pytest.approx(across_runs(values, mean)["ci95"])


def test_a_task_s_number_depends_on_neither_the_other_tasks_nor_the_threads(trained: Trainer) -> None:
    many = rows_of(results_of(trained, tasks=5, threads=2, workers=2, with_random=True))
    few = rows_of(results_of(trained, tasks=2, with_random=True))
    assert [row["random_return"] for row in many[:2]] == [row["random_return"] for row in few]
    assert len({row["random_return"] for row in many}) == 5


def test_the_actions_are_uniform_and_the_start_is_that_of_the_first_evaluation_episode(trained: Trainer) -> None:
    results = results_of(trained, with_random=True)
    for place, result in enumerate(results):
        episode = result.random
        assert isinstance(episode, Episode)
        drawn = generator(5, "random actions", place).uniform(-1.0, 1.0, (20, 2)).astype(np.float32)
        assert np.array_equal(episode.action, drawn)
        assert episode.seed == spawn_seeds(2, 5, "evaluation", place)[0]
        assert np.array_equal(episode.obs[0], result.zero_shot[0].obs[0])
        # A point moves by a tenth of the action, and its reward is minus its distance to the goal.
        assert np.allclose(np.diff(episode.obs, axis=0), 0.1 * drawn, atol=1e-6)
        distances = np.linalg.norm(episode.obs[1:] - np.array(result.task.parameters["goal"]), axis=1)
        row = result.to_json()
        assert row["random_return"] == pytest.approx(-distances.sum(), abs=1e-4)
        assert row["random_success"] is None  # point-robot has none
    summary: Any = summarize_results(results)["random"]
    assert summary["mean"] == pytest.approx(np.mean([r.random.episode_return for r in results]))  # type: ignore[union-attr]


def test_the_first_and_the_last_evaluation_of_a_run_hold_it(run: Path) -> None:
    records = RunDir.open_readonly(run).read_evaluations()
    assert len(records) >= 3
    held = [record["summary"]["random"] is not None for record in records]
    assert held == [True] + [False] * (len(records) - 2) + [True]
    assert [record["split"] for record in records] == ["validation"] * (len(records) - 1) + ["test"]
    last = records[-1]["tasks"]
    assert [row["random_success"] in (0.0, 1.0) for row in last] == [True] * 3
    assert RunDir.open_readonly(run).summary["summary"]["random"] == records[-1]["summary"]["random"]


def test_evaluating_a_run_again_gives_the_numbers_of_its_end(run: Path) -> None:
    opened, family = RunDir.open_readonly(run), registry.load("reacher-goal")
    learning = load_learning(opened, family, opened.config)

    def again(split: str, tasks: int, *, adapt: bool) -> Any:
        chosen = family.tasks(split)[:tasks]
        results = learning.measure(chosen, config=opened.config, split=split, adapt=adapt, with_random=True)
        return record_of(opened.config, family, results, split=split)

    early, record = again("validation", 2, adapt=False), again("test", 3, adapt=True)
    first = opened.read_evaluations()[0]
    # Tasks don't change while training goes on, and neither do their numbers of random actions.
    assert [row["random_return"] for row in early["tasks"]] == [row["random_return"] for row in first["tasks"]]
    last = opened.read_evaluations()[-1]
    assert record["summary"] == last["summary"]
    assert [without_machine_keys(row) for row in record["tasks"]] == last["tasks"]


def test_a_run_goes_on_with_it_as_if_never_stopped(run: Path, tmp_path: Path) -> None:
    """Stopped after its first evaluation, at the second checkpoint, it neither loses nor repeats the baseline."""
    config = config_of("reacher-goal")
    path = tmp_path / "run"

    class Stop(Exception):
        pass

    class Watcher:
        def on_start(self, learning: Learning) -> None: ...

        def on_iteration(self, record: Mapping[str, Any]) -> None: ...

        def on_task(self, done: int, tasks: int) -> None: ...

        def on_evaluation(self, record: Mapping[str, Any]) -> None:
            if record["env_steps"] >= 800:
                raise Stop

    with RunDir.create(path, config=config, tasks={}, command=["mql"]) as opened, pytest.raises(Stop):
        meta_train(config, registry.load("reacher-goal"), opened, watchers=(Watcher(),))
    with RunDir.open_for_resume(path) as opened:
        meta_train(config, registry.load("reacher-goal"), opened, resume=True)
    records = [[without_machine_keys(r) for r in RunDir.open_readonly(p).read_evaluations()] for p in (run, path)]
    assert records[0] == records[1]


class NoLargeActions(PointRobot):
    """Breaks at actions that a fresh agent never takes."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        outcome = super().outcome(before, after, action, parameters)
        return Outcome(
            np.where((np.abs(action) > 0.9).any(axis=1) & (parameters["goal"][:, 0] > 0), np.nan, outcome.reward)
        )


def test_where_only_random_actions_fail_the_task_s_own_numbers_stand(capsys: pytest.CaptureFixture[str]) -> None:
    plain = point_robot()
    family: TaskFamily = NoLargeActions(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    config = config_of("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, config.agent, seed=0)
    tasks = family.tasks("test")[:6]
    results = measure_agent(agent, family, tasks, config=config, split="test", with_random=True)
    record: Any = record_of(config, family, results, split="test")
    goals = [row["parameters"]["goal"][0] for row in record["tasks"]]
    assert 0 < sum(goal > 0 for goal in goals) < 6
    for goal, row in zip(goals, record["tasks"], strict=True):
        assert "fault" not in row and row["zero_shot_return"] is not None
        assert ("random_fault" in row) == (row["random_return"] is None) == (goal > 0)
    kept = [row["random_return"] for row in record["tasks"] if "random_fault" not in row]
    assert record["summary"]["random"]["mean"] == pytest.approx(np.mean(kept))
    cli_tables.print_evaluation(record | {"env_steps": 0})
    assert "random actions failed in a task: " in capsys.readouterr().out


def test_the_table_shows_return_and_success_beside_the_agent_s(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    last = RunDir.open_readonly(run).read_evaluations()[-1]
    cli_tables.print_evaluation(last)
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("random actions ")]
    rate = sum(row["random_success"] for row in last["tasks"]) / 3
    assert f"{last['summary']['random']['mean']:.1f}" in line and line.rstrip().endswith(f"{100 * rate:.0f} %")
    assert out.splitlines()[0].split()[:2] == ["task", "random"]


def test_records_without_it_are_shown_and_drawn_as_before(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = RunDir.open_readonly(run).read_evaluations()
    old = json.loads(json.dumps(records))
    for record in old:
        del record["summary"]["random"]
        for row in record["tasks"]:
            del row["random_return"], row["random_success"]
    cli_tables.print_evaluation(old[-1])
    assert "random" not in capsys.readouterr().out
    assert draw_training(tmp_path / "curve.png", [], old, finished=True).stat().st_size > 1000
    for evaluations, lines in ((old, 0), (records, 1)):
        curve, success = Figure().subplots(1, 2)
        _draw_returns(curve, learning_curve(evaluations, finished=True))
        _draw_success(success, learning_curve(evaluations, finished=True))
        # On the curve's tasks, which are those of the first evaluation.
        for axes, level in ((curve, records[0]["summary"]["random"]["mean"]), (success, None)):
            levels = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]  # right across
            assert len(levels) == lines
            if levels and level is not None:
                assert list(levels[0].get_ydata()) == [level, level] and levels[0].get_linestyle() not in ("-", "None")


def test_progress_keeps_showing_it() -> None:
    progress = Progress(100, 0)
    progress.evaluated(zero_shot=-5.0, adapted=None, random=-50.0)
    progress.evaluated(zero_shot=-4.0, adapted=-3.0)
    assert "zero-shot -4.0 | adapted -3.0 | random actions -50.0" in progress.status()


def test_an_evaluation_in_training_is_without_it_unless_asked(trained: Trainer) -> None:
    tasks = trained.family.tasks("test")[:1]
    results = measure_agent(trained.agent, trained.family, tasks, config=trained.config, split="test")
    record: Any = record_of(trained.config, trained.family, results, split="test")
    assert record["summary"]["random"] is None and record["tasks"][0]["random_return"] is None
