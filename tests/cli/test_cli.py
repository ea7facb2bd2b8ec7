"""The `mql` command on a tiny run: every flag, the JSON of the contract, and what each mistake says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny_runs import TINY

from mql.api import plan
from mql.cli import app as cli
from mql.cli.tasks import with_variants
from mql.config.loading import load_config
from mql.config.schema import TrainConfig
from mql.errors import UserError
from mql.learning.trainer import replay_size
from mql.runs.available_memory import AvailableMemory
from mql.runs.run_dir import RunDir
from mql.tasks import registry

SETTINGS = ["--set", *(f"{key}={value}" for key, value in TINY.items())]

ROW = {
    "parameters",
    "zero_shot_return",
    "adapted_return",
    "zero_shot_success",
    "adapted_success",
    "normalized_ess",
    "proximal_coef",
    "classifier_auc",
    "tasks_covered",
    "adapt_seconds",
}


class Command:
    """Runs command lines in this process and keeps what they wrote."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: object, status: int = 0) -> str:
        """Run one command line, expect its exit status, and return its standard output."""
        self._capsys.readouterr()
        result = cli.run([str(argument) for argument in arguments])
        out, self.err = self._capsys.readouterr()
        assert result == status, self.err
        return out

    def json(self, *arguments: object) -> Any:
        """Run a command with --json: all of standard output is one value, and its numbers are finite."""
        return json.loads(self(*arguments, "--json"), parse_constant=pytest.fail)

    def error(self, *arguments: object) -> str:
        """Run a command that the user got wrong: nothing on standard output, one line on standard error, status 2."""
        assert self(*arguments, status=2) == ""
        lines = self.err.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture
def mql(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    return Command(capsys)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; tests only read it."""
    path = tmp_path_factory.mktemp("cli") / "finished"
    assert cli.run(["train", "point-robot", "--run-dir", str(path), *SETTINGS]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def check_evaluation(record: dict[str, Any], *, adapted: bool = True) -> None:
    assert {"family", "split", "seed", "env_steps", "tasks", "summary"} <= record.keys()
    for row in record["tasks"]:
        assert row.keys() >= ROW
        assert row["zero_shot_success"] is None and row["adapted_success"] is None
        assert isinstance(row["zero_shot_return"], float) and isinstance(row["random_return"], float)
        given = [row[key] for key in ("adapted_return", "normalized_ess", "proximal_coef", "adapt_seconds")]
        assert all(isinstance(value, float) for value in given) if adapted else given == [None] * 4
    summary = record["summary"]
    assert summary.keys() == {"zero_shot", "adapted", "gain", "random"}
    for played in (summary["zero_shot"], summary["random"]):
        assert played.keys() == {"mean", "min", "iqm", "ci95", "n"}
        assert played["n"] == len(record["tasks"]) and (played["ci95"] is None) == (played["n"] < 5)
    if adapted:
        assert summary["adapted"].keys() == {"mean", "min", "iqm", "ci95", "n"}
        assert summary["gain"].keys() == {"mean", "ci95", "n"}
    else:
        assert summary["adapted"] is None and summary["gain"] is None


def test_tasks_list_and_show(mql: Command) -> None:
    rows = mql.json("tasks", "list")
    assert [row["name"] for row in rows] == registry.names()
    keys = {"name", "summary", "obs_dim", "action_dim", "episode_length", "native", "splits"}
    assert all(row.keys() == keys for row in rows)
    shown = mql.json("tasks", "show", "point-robot")
    assert shown.keys() == keys | {"parameters", "success", "episodes", "observation", "action", "text"}
    assert len(shown["splits"]["train"]) == 40
    assert shown["splits"]["test"][0].keys() == shown["parameters"].keys() == {"goal"}
    table = mql("tasks", "list", "--all")
    assert all(name in table for name in registry.names())
    short = mql("tasks", "list")
    assert len(short.splitlines()) < 50 and "mql tasks list --all" in mql.err
    listed = {line.split()[0]: line for line in short.splitlines()[1:] if line[:1].strip()}
    assert listed.keys() == with_variants(registry.names()).keys()
    assert "-oracle, -legacy, -narrow, -narrow-oracle" in listed["cheetah-vel"] and "others" in listed["ml1-reach"]
    assert "goal x and y" in mql("tasks", "show", "point-robot")


NAME = r"point-robot-env_steps=600-random_steps=200-.*-and\d+more-seed7-\d{8}-\d{6}"


def test_train_prints_the_last_evaluation(mql: Command, tmp_path: Path) -> None:
    result = mql.json("train", "point-robot", "--seed", 7, *SETTINGS)
    check_evaluation(result)
    assert result["seed"] == 7 and result["env_steps"] == 600 and len(result["tasks"]) == 3
    path = Path(result["run_dir"])
    assert path.parent == tmp_path / "runs" and re.fullmatch(NAME, path.name)
    run = RunDir.open_readonly(path)
    assert run.finished and run.config.seed == 7 and run.checkpoints() == [200, 400, 600]
    assert list(run.tasks) == ["train", "test", "ood", "validation", "validation-ood"] and len(run.tasks["train"]) == 40
    header = mql.err.splitlines()[0]
    for fact in ("point-robot (fast)", "seed 7", "1 thread on cpu", "float", "2,000 transitions", "kB", "runs/"):
        assert fact in header
    assert "600/600 env steps" in mql.err


def test_train_takes_a_file_and_prints_tables(mql: Command, tmp_path: Path) -> None:
    Path("my.yaml").write_text("family: point-robot\nevaluate: {adapt_while_training: false}\n")
    table = mql("train", "my.yaml", "--run-dir", "here", "--trust", *SETTINGS)
    assert "zero-shot" in table and "paired gain" in table and "3 test tasks" in table
    assert RunDir.open_readonly(tmp_path / "here").read_evaluations()[0]["summary"]["adapted"] is None
    assert "written to here" in mql.err


def test_resume(mql: Command, run: Path) -> None:
    again = ("train", "point-robot", "--run-dir", run, "--resume")
    before = (run / "evaluations.jsonl").read_bytes()
    result = mql.json(*again)
    check_evaluation(result)
    assert "finished" in mql.err and (run / "evaluations.jsonl").read_bytes() == before
    longer = mql.json(*again, "--set", "train.env_steps=800")
    assert longer["env_steps"] == 800 and RunDir.open_readonly(run).config.train.env_steps == 800
    assert mql.error(*again, "--set", "train.env_steps=1000", "agent.lr=1") == (
        "agent.lr is 1.0, but the run was started with 0.001 (agent.lr): leave it as it was, or start a new run"
    ).replace("0.001", str(RunDir.open_readonly(run).config.agent.lr))
    assert "seed is 5" in mql.error(*again, "--set", "train.env_steps=1000", "--seed", 5)
    wrong = mql.error("train", "cheetah-vel", "--run-dir", run, "--resume")
    assert wrong.startswith("the run's family is point-robot, not cheetah-vel")


def test_evaluate(mql: Command, finished: Path) -> None:
    last = RunDir.open_readonly(finished).summary
    record = mql.json("evaluate", finished)
    check_evaluation(record)
    assert record["split"] == "test" and record["env_steps"] == 600
    assert record["summary"] == last["summary"]  # same tasks, seeds and replay as at the end of training
    ood = mql.json("evaluate", finished, "--split", "ood", "--tasks", 4, "--no-adapt", "--episodes", 2)
    check_evaluation(ood, adapted=False)
    assert ood["split"] == "ood" and len(ood["tasks"]) == 4
    early = mql.json("evaluate", finished, "--checkpoint", 200, "--tasks", 2, "--adaptation-episodes", 2)
    check_evaluation(early)
    assert early["env_steps"] == 200 and early["summary"] != record["summary"]
    fixed = mql.json("evaluate", finished, "--tasks", 1, "--set", "adapt.proximal_coef=0.5", "threads=1")
    assert fixed["tasks"][0]["proximal_coef"] == 0.5
    assert "paired gain" in mql("evaluate", finished, "--tasks", 2)


def test_adapt(mql: Command, finished: Path, tmp_path: Path) -> None:
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    row = mql.json("adapt", finished, "--task", "goal=0.5,-0.25", "--out", "out", "--episodes", 2)
    assert row.keys() >= ROW and row["parameters"] == {"goal": [0.5, -0.25]} and row["in_training_range"]
    assert "outside" not in mql.err
    written = json.loads(Path("out/adaptation.json").read_text())
    assert written["parameters"] == row["parameters"] and written["report"]["new_transitions"] == 20
    tensors = safetensors.torch.load_file("out/agent.safetensors")
    meta = RunDir.open_readonly(finished).load_checkpoint().tensors
    assert tensors.keys() == {name for name in meta if name.startswith(("online.", "target."))}
    assert any(not torch.equal(tensor, meta[name]) for name, tensor in tensors.items())
    assert not list(tmp_path.glob("*.tmp"))
    assert before == {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    far = mql.json("adapt", finished, "--task", "goal=1.8,0", "--adaptation-episodes", 2, "--set", "adapt.lr=1e-4")
    assert not far["in_training_range"] and "outside the range of the training tasks: goal[0] 1.8 m" in mql.err
    shown = mql("adapt", finished, "--task", "goal=[0.5,", "-0.25]", "--checkpoint", 400)  # without quotes
    assert "goal (0.5, -0.25)" in shown
    listed = mql.json("adapt", finished, "--task", "test:3")
    assert listed["parameters"] == registry.load("point-robot").tasks("test")[3].to_json()
    assert "the path already exists" in mql.error("adapt", finished, "--task", "goal=0,0", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian point-robot", "there is no command 'trian' (mql): did you mean 'train'?"),
        ("tasks", "a command is missing (mql tasks): choose one of check, list, new, render, schema, show"),
        ("train point-robot --sed 1", "there is no option --sed (mql train): did you mean '--seed'"),
        ("train point-robot --seed x", "(mql train): see 'mql train --help'"),
        ("train point-robot --profile paper", "(mql train): it is a configuration key: --set profile=VALUE"),
        ("train point-robot --env-steps 9", "it is a configuration key: --set train.env_steps=VALUE"),
        ("train point-robot cheetah-vel", "one too many: cheetah-vel (mql train): several families, seeds or settings"),
        ("adapt RUN goal=1,2", "goal=1,2 is given without an option (mql adapt): write --task goal=1,2"),
        ("train point-robot train.env_steps=9", "without an option (mql train): write --set train.env_steps=9"),
        ("train point-robot --seed 1 --seed 2", "--seed has 2 values (mql train): one run has one seed; several are a"),
        ("train point-robot --seed=1,2,3", "study, with 'seeds: [1, 2, 3]': mql study FILE.yaml"),
        ("train point-robot --run-dir a --run-dir=b", "--run-dir is given 2 times (mql train): give it once"),
        ("evaluate RUN RUN", "evaluate one run at a time; mql report RUN RUN"),
        ("train", "there is nothing to train on: name a task family ('mql tasks list' lists them)"),
        ("train point-robto", "unknown family 'point-robto': did you mean 'point-robot'"),
        ("train point-robot --set train.env_stpes=1", "(--set train.env_stpes): did you mean 'env_steps'"),
        ("train point-robot --set agent.lr=-1", "agent.lr is -1 (--set agent.lr): it must be a number from 1e-12 to 1"),
        ("train point-robot --seed -1", "(--seed): it must be a whole number"),
        ("train missing.yaml", "no such file (missing.yaml)"),
        ("train bad.yaml", "unknown key 'env_stpes' (bad.yaml:3 train.env_stpes): did you mean 'env_steps'"),
        ("train point-robot --resume", "--resume needs a run to continue: add --run-dir DIR"),
        ("train point-robot --resume --run-dir missing", "there is no such run directory"),
        ("train point-robot --run-dir bad.yaml", "the run directory already exists"),
        ("train point-robot --set train.replay_capacity=1e12", "set it to at most"),
        ("train cheetah-dir --set evaluate.split=ood", "no split 'ood' (family cheetah-dir)"),
        ("tasks show raecher-goal", "unknown task family 'raecher-goal': did you mean 'reacher-goal'"),
        ("evaluate missing", "there is no such run directory"),
        ("evaluate .", "the folder is not a run directory"),
        ("evaluate RUN --split tset", "no split 'tset' (family point-robot): did you mean 'test'?"),
        ("evaluate RUN --tasks 0", "see 'mql evaluate --help'"),
        ("evaluate RUN --tasks 99", "test has 20 tasks, not 99 (tasks): ask for a whole number from 1 to 20"),
        ("evaluate RUN --checkpoint 250", "there is no checkpoint 250"),
        ("evaluate RUN --no-adapt --adaptation-episodes 2", "contradict each other"),
        (
            "evaluate RUN --set agent.lr=1",
            "only adapt.*, evaluate.*, threads, collect.*, device and train.replay_on_disk",
        ),
        ("evaluate RUN --set adapt.lrr=1", "unknown key 'lrr' (--set adapt.lrr)"),
        ("adapt RUN", "there is no task to adapt to: write --task test:0 for a listed one, --task goal=VALUE"),
        ("adapt RUN --task gaol=1,2", "unknown task parameter 'gaol' (family point-robot): did you mean 'goal'?"),
        ("adapt RUN --task goal=1", "task parameter 'goal' is 1.0 (family point-robot): give 2 numbers in m"),
        ("adapt RUN --task goal=1,x", "'1,x' is not a number (--task goal)"),
        ("adapt RUN --task goal", "--task 'goal' has no '='"),
        ("adapt RUN --task goal=(1,2", "'(1,2' has a bracket at one end only (--task goal)"),
        ("adapt RUN --task goal=left", "task parameter 'goal' is 'left' (family point-robot): give 2 numbers in m"),
        (
            "adapt RUN --task test:20",
            "there is no task 'test:20' (family point-robot): the 20 tasks of test are counted",
        ),
        ("adapt RUN --task tset:1", "no split 'tset' (family point-robot): did you mean 'test'?"),
        ("adapt RUN --task test:1 goal=1,2", "--task 'test:1' is a whole task, and more is given"),
        ("adapt RUN --task goal=1,nan", "give a finite number in m"),
        ("adapt RUN --task goal=1,1e6", "can't be 1e+06 m (family point-robot): physics allows -100 to 100 m"),
        ("adapt RUN --task goal=1,2 goal=1,2", "task parameter 'goal' is given twice"),
    ],
)
def test_mistakes(mql: Command, finished: Path, arguments: str, message: str) -> None:
    Path("bad.yaml").write_text("family: point-robot\ntrain:\n  env_stpes: 3\n")
    words = [str(finished) if word == "RUN" else word for word in arguments.split()]
    assert message in mql.error(*words)
    assert [path.name for path in Path.cwd().iterdir()] == ["bad.yaml"]  # nothing was begun


def test_a_replay_that_does_not_fit_is_refused(mql: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against what is left, with the bytes that would be allocated; and the mend works."""
    left = {"cpu": AvailableMemory(10e6, "in this container")}
    monkeypatch.setattr(plan, "available_memory", lambda device: left[device])
    said = mql.error("train", "point-robot", "--run-dir", "run")
    assert "rows needs 0.2 GB (train.replay_capacity): 0.0 GB are free in this container; set it to at most" in said
    fits = said.split()[-1].replace(",", "")
    config = load_config("point-robot", overrides=[f"train.replay_capacity={fits}"])
    family = registry.load("point-robot")
    plan.check_memory(config, family)
    assert replay_size(config, family).nbytes > 9e6
    left["cpu"] = AvailableMemory(10e3, "on this machine")
    said = mql.error("train", "point-robot", "--run-dir", "run")
    assert "it holds at least one episode of 20 steps of each of 40 training tasks" in said
    left.update(cpu=AvailableMemory(1e12, ""), cuda=AvailableMemory(10e6, "on this GPU"))
    with pytest.raises(UserError, match=r"0\.0 GB are free on this GPU"):
        plan.check_memory(config.model_copy(update={"device": "cuda", "train": TrainConfig()}), family)


def test_cuda_without_a_gpu(mql: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "PyTorch sees no CUDA device" in mql.error("train", "point-robot", "--set", "device=cuda")
