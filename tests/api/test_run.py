"""The Python API: the same runs, numbers and messages as on the command line, as objects."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lab_definitions import TINY as LAB_TINY
from lab_definitions import write_parallel, write_python
from tiny_runs import TINY as POINT_TINY

import mql
from mql.api import possible
from mql.cli import app as cli
from mql.config.methods import METHODS, MethodChoice
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.tasks.definitions.trust import Untrusted
from mql.training.meta_q_learning import MetaQLearning

TINY = POINT_TINY | {"adapt.exploration_noise": 0.1}
TEXTS = [f"{key}={value}" for key, value in TINY.items()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    """A finished run; tests only read it."""
    return mql.train("point-robot", run_dir=tmp_path_factory.mktemp("api") / "run", seed=3, settings=TINY)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """Return what a command prints with --json."""
    capsys.readouterr()
    assert cli.run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def timeless(value: Any) -> Any:
    """Leave out what takes another time in every run, and where the run is."""
    if isinstance(value, dict):
        names = ("run_dir", "adapt_seconds", "wall_seconds")
        return {key: timeless(inner) for key, inner in value.items() if key not in names}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def test_a_run_trained_from_python_is_that_of_the_command(
    run: mql.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "run"
    result = printed(capsys, "train", "point-robot", "--run-dir", other, "--seed", 3, "--set", *TEXTS)
    assert run.finished and run.result == last_of(run) and timeless(run.result) == timeless(result)
    assert run.summary == result["summary"]
    again = mql.open_run(other)
    assert again.config == run.config and again.checkpoints == run.checkpoints == [200, 400, 600]
    for mine, its in ((run.metrics(), again.metrics()), (run.evaluations(), again.evaluations())):
        assert [without_machine_keys(line) for line in mine] == [without_machine_keys(line) for line in its]
    tensors = [RunDir.open_readonly(each.path).load_checkpoint().tensors for each in (run, again)]
    assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
    assert capsys.readouterr().err == ""  # it says nothing unless it is asked to


def last_of(run: mql.Run) -> dict[str, Any]:
    record = json.loads((run.path / "finished.json").read_text())
    for row, seconds in zip(record["tasks"], record.pop("adapt_seconds"), strict=True):
        row["adapt_seconds"] = seconds
    return {**record, "run_dir": str(run.path)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, []),
        ({"split": "ood", "tasks": 2, "adapt": False}, ["--split", "ood", "--tasks", 2, "--no-adapt"]),
        (
            {"checkpoint": 400, "tasks": 1, "settings": {"adapt.lr": 1e-5}},
            ["--checkpoint", "400", "--tasks", "1", "--set", "adapt.lr=1e-5"],
        ),
    ],
)
def test_evaluate_gives_what_the_command_prints(
    run: mql.Run, capsys: pytest.CaptureFixture[str], arguments: dict[str, Any], words: list[Any]
) -> None:
    seen: list[tuple[int, int]] = []
    record = run.evaluate(**arguments, on_task=lambda done, tasks: seen.append((done, tasks)))
    assert timeless(record) == timeless(printed(capsys, "evaluate", run.path, *words))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert seen == [(done + 1, len(record["tasks"])) for done in range(len(record["tasks"]))]


def test_a_method_may_evaluate_as_it_likes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(MetaQLearning, "evaluate", lambda *_, **__: {"value": 1.5})  # keys of its own
    assert cli.run(["train", "point-robot", "--run-dir", str(tmp_path / "run"), "--set", *TEXTS]) == 0
    assert "value 1.5" in capsys.readouterr().out
    run = mql.open_run(tmp_path / "run")
    assert run.summary == run.result and run.summary["value"] == 1.5
    assert [line["value"] for line in run.evaluations()] == [1.5] * len(run.evaluations())


def test_a_run_of_another_method_says_that_it_has_no_agent(run: mql.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(possible, "METHODS", {**METHODS, "mql": MethodChoice("somewhere:Else")})
    other = mql.open_run(run.path)
    for ask in (other.policy, other.agent, other.load):
        with pytest.raises(mql.UserError, match="trained by the method mql, and has no agent"):
            ask()


def test_messages_say_what_to_do_from_python(run: mql.Run, tmp_path: Path) -> None:
    with pytest.raises(mql.UserError, match=r"in Python: resume=True"):
        mql.train("point-robot", run_dir=run.path, settings=TINY)
    with pytest.raises(mql.UserError, match="ask for a whole number from 1 to 20"):
        run.evaluate(tasks=0)
    run.agent().save(tmp_path / "agent")
    with pytest.raises(mql.UserError, match=r"holds a saved agent: mql.Adapted.load or mql.Agent.load"):
        mql.open_run(tmp_path / "agent")


def test_the_policy_acts_as_the_agent_of_a_checkpoint(run: mql.Run) -> None:
    obs = np.array([0.2, -0.1], dtype=np.float32)
    newest, early = run.policy(), run.policy(checkpoint=200)
    assert not np.array_equal(newest.act(obs), early.act(obs))
    agent = run.load().trainer.agent
    np.testing.assert_array_equal(run.policy().act(obs), agent.act(obs[None], agent.begin(1))[0])


def test_adapting_to_a_task(run: mql.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: tensor.clone() for name, tensor in run.agent().named_tensors()}
    adapted = run.adapt(task={"goal": [0.5, -0.25]})
    row = printed(capsys, "adapt", run.path, "--task", "goal=0.5,-0.25", "--out", tmp_path / "out")
    assert timeless({**adapted.compare(), "env_steps": 600}) == timeless(row)
    written, mine = mql.Agent.load(tmp_path / "out"), dict(adapted.agent.named_tensors())
    assert all(torch.equal(tensor, mine[name]) for name, tensor in written.named_tensors())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in mine.items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.agent().named_tensors())
    assert adapted.report["new_transitions"] == 20 and 0 <= adapted.report["proximal_coef"] <= 1
    assert adapted.task == {"goal": [0.5, -0.25]} and len(adapted.episodes or ()) == 1
    other = run.adapt(task={"goal": [0.5, -0.25]}, seed=4)
    assert run.adapt(task="test:3").task == run.family.tasks("test")[3].to_json()
    assert other.episodes and adapted.episodes
    assert not np.array_equal(other.episodes[0].action, adapted.episodes[0].action)


def test_adapting_to_episodes_and_to_an_environment(run: mql.Run) -> None:
    task = run.family.task({"goal": [0.5, -0.25]})
    first = run.adapt(task=task)
    assert first.episodes is not None
    told = run.adapt(episodes=first.episodes)
    tensors = dict(first.agent.named_tensors())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in told.agent.named_tensors())
    with run.family.make(task) as environment:
        played = run.adapt(env=environment)
    assert played.episodes is not None and told.task is None and played.task is None
    np.testing.assert_allclose(played.episodes[0].action, first.episodes[0].action, atol=1e-5)
    with pytest.raises(mql.UserError, match="the task, or the agent before, is not known"):
        told.compare()
    with pytest.raises(mql.UserError, match="the task that the agent was adapted to is not known"):
        told.evaluate()
    assert told.evaluate(split="test", tasks=1)["adapted_to"] is None


def test_mistakes_are_told_in_one_line(run: mql.Run, tmp_path: Path) -> None:
    def said(call: Any) -> str:
        with pytest.raises(mql.UserError) as caught:
            call()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "give exactly one of task, data, episodes and env" in said(run.adapt)
    assert "exactly one" in said(lambda: run.adapt(task={"goal": [0, 0]}, episodes=[]))
    assert "there are no episodes" in said(lambda: run.adapt(episodes=[]))
    known = {"adapt.method": "relabel", "adapt.reward": "known"}
    assert "its reward is not known (adapt.reward)" in said(lambda: run.adapt(episodes=[], settings=known))
    [good] = run.adapt(task={"goal": [0.0, 0.0]}).episodes or ()
    wide = dataclasses.replace(good, obs=np.zeros((21, 3), np.float32))
    assert "obs has shape (21, 3) (episodes[1]): it must be (21, 2)" in said(lambda: run.adapt(episodes=[good, wide]))
    broken = dataclasses.replace(good, reward=np.full(20, np.nan, np.float32))
    assert "reward holds numbers that are not finite (episodes[0])" in said(lambda: run.adapt(episodes=[broken]))
    assert "it is dict (episodes[1])" in said(lambda: run.adapt(episodes=[good, {"obs": 1}]))  # type: ignore[list-item]
    assert "the episodes are Episode, not a list" in said(lambda: run.adapt(episodes=good))  # type: ignore[arg-type]
    assert "the episodes are str, not a list" in said(lambda: run.adapt(episodes="log.h5"))  # type: ignore[arg-type]
    words = dataclasses.replace(good, obs=np.array([["a", "b"]] * 21))
    assert "obs is no array of numbers (episodes[0])" in said(lambda: run.adapt(episodes=[words]))
    short = dataclasses.replace(good, obs=good.obs[:2], action=good.action[:1], reward=good.reward[:1])
    assert "there is only one step" in said(lambda: run.adapt(episodes=[short]))
    none = dataclasses.replace(good, obs=good.obs[:1], action=good.action[:0], reward=good.reward[:0])
    assert "it has no steps (episodes[0])" in said(lambda: run.adapt(episodes=[none]))
    raw = dataclasses.replace(good, action=7 * np.ones_like(good.action))
    assert "action holds numbers as large as 7 (episodes[0])" in said(lambda: run.adapt(episodes=[raw]))
    huge = dataclasses.replace(good, reward=np.full(20, 1e38, np.float32))
    failed = run.adapt(episodes=[huge]).report  # what cannot be learned from is a result, in which zero-shot stands
    assert "is not finite" in str(failed["failed"]) and failed["accepted"] is False
    assert "give a Gymnasium environment" in said(lambda: run.adapt(env="CartPole-v1"))  # type: ignore[arg-type]
    assert "seed is -1" in said(lambda: run.adapt(episodes=[good], seed=-1))
    assert "not 1.5 (tasks): ask for a whole number" in said(lambda: run.evaluate(tasks=1.5))  # type: ignore[arg-type]
    assert "the settings are one text" in said(lambda: run.evaluate(settings="evaluate.tasks=1"))
    with mql.load_family("reacher-goal").make(mql.load_family("reacher-goal").tasks("test")[0]) as stranger:
        assert "wrap the environment: the agent sees 2 numbers" in said(lambda: run.adapt(env=stranger))
    assert "test has 20 tasks, not 99" in said(lambda: run.evaluate(tasks=99))
    assert "no split 'tset'" in said(lambda: run.evaluate(split="tset"))
    assert "agent.lr was fixed" in said(lambda: run.evaluate(settings={"agent.lr": 1.0}))
    assert "unknown key 'lrr' (settings, adapt.lrr): did you" in said(lambda: run.evaluate(settings={"adapt.lrr": 1}))
    assert "there is no checkpoint 250" in said(lambda: run.policy(checkpoint=250))
    assert "there is no such run directory" in said(lambda: mql.open_run(tmp_path / "missing"))
    assert "train.env_steps is 'many'" in said(lambda: mql.train("point-robot", settings={"train.env_steps": "many"}))
    assert "'train' is a section" in said(lambda: mql.train("point-robot", settings={"train": {}}))
    assert "the run directory already exists" in said(lambda: mql.train("point-robot", run_dir=run.path))
    assert "there is no run to continue" in said(lambda: mql.train("point-robot", resume=True))
    assert "the run's family is point-robot" in said(lambda: mql.train("reacher-goal", run_dir=run.path, resume=True))


def test_going_on(run: mql.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    same = mql.train("point-robot", run_dir=path, resume=True)
    assert same.evaluations() == run.evaluations()
    longer = mql.train("point-robot", run_dir=path, resume=True, settings={"train.env_steps": 800}, progress=True)
    assert longer.checkpoints[-1] == 800 and longer.result and longer.result["env_steps"] == 800
    assert "800/800 env steps" in capsys.readouterr().err


def test_a_run_that_is_not_finished_can_be_used(run: mql.Run, tmp_path: Path) -> None:
    path = shutil.copytree(run.path, tmp_path / "run")
    (path / "finished.json").unlink()
    with RunDir.open_for_resume(path):  # another process would write it
        opened = mql.open_run(path)
        assert not opened.finished and opened.result is None and opened.summary is None and len(opened.metrics()) == 6
        assert opened.policy().act([0.0, 0.0]).shape == (2,)


def test_a_family_given_as_an_object_is_asked_for_again(tmp_path: Path) -> None:
    own = mql.load_family("point-robot").variant("short", "fewer steps", episode_length=6)
    run = mql.train(own, run_dir=tmp_path / "run", settings={**TINY, "train.env_steps": 200})
    assert run.family is own and run.config.family == "point-robot-short"
    with pytest.raises(mql.UserError, match=r"was given to mql.train as an object .*family=\.\.\. of"):
        mql.open_run(run.path).evaluate(tasks=1)
    assert mql.open_run(run.path).metrics() == run.metrics()  # that needs no family
    again = mql.open_run(run.path, family=own)
    assert timeless(again.evaluate(tasks=1)) == timeless(run.evaluate(tasks=1))
    with pytest.raises(mql.UserError, match="the family is point-robot-short, not point-robot"):
        mql.open_run(run.path, family=mql.load_family("point-robot")).policy()
    assert mql.train(own, run_dir=run.path, resume=True).result == run.result
    run.adapt(task={"goal": [0.0, 0.5]}).save(tmp_path / "adapted")
    mql.load_policy(tmp_path / "adapted").act([0.0, 0.0])
    with pytest.raises(mql.UserError, match="as an object"):
        mql.Adapted.load(tmp_path / "adapted").evaluate()
    assert mql.Adapted.load(tmp_path / "adapted", family=own).evaluate()["family"] == own.name


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_a_family_that_a_file_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = write_parallel(tmp_path / "lab") if kind == "parallel" else write_python(tmp_path / "lab")
    trust = kind == "python"
    if trust:
        with pytest.raises(Untrusted):
            mql.train(path, run_dir=tmp_path / "run", settings=LAB_TINY)
        assert not (tmp_path / "run").exists()
    run = mql.train(path, run_dir=tmp_path / "run", settings=LAB_TINY, trust=trust)
    run.adapt(task={"goal": 0.3, "mass": 1.0}).save(tmp_path / "adapted")
    for folder in ("lab", "run"):
        shutil.rmtree(tmp_path / folder)
    (tmp_path / "lab").mkdir()  # where the class leaves its trace
    adapted = mql.Adapted.load(tmp_path / "adapted", trust=trust)  # it needs neither
    record = adapted.evaluate(split="test", tasks=1)
    assert record["family"] == "lab-cart" and record["family_digest"]
    if trust:
        with pytest.raises(Untrusted):
            mql.Adapted.load(tmp_path / "adapted").evaluate()
    [definition] = (tmp_path / "adapted" / "definition").rglob("cart.yaml")
    definition.write_text(definition.read_text().replace("hold: 2", "hold: 3"))
    with pytest.raises(mql.UserError, match="the definition has changed"):
        mql.Adapted.load(tmp_path / "adapted", trust=trust).evaluate()
