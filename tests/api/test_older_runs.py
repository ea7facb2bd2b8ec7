"""A run from before there were validation tasks is opened, evaluated, drawn and continued like any other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import mql
from mql.config.schema import EvaluateConfig
from mql.report.curves import draw_training
from mql.report.learning_curve import learning_curve
from mql.runs.run_dir import RunDir
from mql.runs.sums import replace_file
from tests.tiny_runs import TINY


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "new"
    return mql.train("point-robot", run_dir=path, seed=1, settings=TINY).path


@pytest.fixture(scope="module")
def written_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As an earlier version wrote it: no validation among its tasks, evaluations while training on test tasks."""
    path = tmp_path_factory.mktemp("runs") / "old"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EvaluateConfig, "split_of", lambda self, *, final: self.split)
        mql.train("point-robot", run_dir=path, seed=1, settings=TINY)
    listed = json.loads((path / "tasks.json").read_text())
    assert list(listed) == ["train", "test", "ood", "validation", "validation-ood"]
    replace_file(path, "tasks.json", json.dumps({split: listed[split] for split in ("train", "test", "ood")}).encode())
    return path


@pytest.fixture
def old(written_before: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written_before, tmp_path / "old")


def test_it_is_opened_evaluated_and_adapted(old: Path) -> None:
    run = mql.open_run(old)
    assert run.finished and {record["split"] for record in run.evaluations()} == {"test"}
    for split in ("test", "validation", "validation-ood"):
        record = run.evaluate(split=split, tasks=2, adapt=False)
        assert [row["parameters"] for row in record["tasks"]] == [t.to_json() for t in run.family.tasks(split)[:2]]
    assert run.evaluate(tasks=1, adapt=False)["split"] == "test"
    assert run.adapt(task="validation:1").task == run.family.tasks("validation")[1].to_json()


def test_it_goes_on_and_its_figures_on_test_tasks_stay_what_they_were(new: Path, old: Path, tmp_path: Path) -> None:
    """From then on it is evaluated on validation tasks; what it learns is the same."""
    longer = {"train.env_steps": 1200}
    run = mql.train("point-robot", run_dir=old, resume=True, settings=longer)
    assert [(record["env_steps"], record["split"]) for record in run.evaluations()] == [
        (300, "test"),
        (600, "validation"),  # due at its old end, and made now
        (900, "validation"),
        (1200, "test"),
    ]
    same = mql.train("point-robot", run_dir=shutil.copytree(new, tmp_path / "again"), resume=True, settings=longer)
    for one, other in zip(run.metrics(), same.metrics(), strict=True):
        assert one["q_mean"] == other["q_mean"] if "q_mean" in one else "q_mean" not in other
    assert run.evaluations()[-1]["summary"] == same.evaluations()[-1]["summary"]
    curve = learning_curve(run.evaluations(), finished=True)
    assert (curve.kind, curve.env_steps, curve.final_kind) == ("validation", [600, 900], "test")
    draw_training(tmp_path / "curve.png", run.metrics(), run.evaluations(), finished=True)


def test_its_curve_is_drawn_as_before(old: Path, tmp_path: Path) -> None:
    evaluations = RunDir.open_readonly(old).read_evaluations()
    curve = learning_curve(evaluations, finished=True)
    assert (curve.kind, curve.env_steps) == ("test", [300, 600])
    draw_training(tmp_path / "curve.png", [], evaluations, finished=True)


@pytest.mark.parametrize("split", ["ood", "validation", "validation-ood"])
def test_the_split_of_a_configuration_is_that_of_the_last_evaluation(split: str, tmp_path: Path) -> None:
    settings = TINY | {"evaluate.split": split, "evaluate.adapt_while_training": False}
    run = mql.train("point-robot", run_dir=tmp_path / "run", settings=settings)
    assert [record["split"] for record in run.evaluations()] == ["validation", split]
    assert run.result is not None and run.result["split"] == split
