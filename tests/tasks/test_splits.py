"""Every parallel family's tasks: sizes of the splits, marks, dealing, and tasks as plain data."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.tasks.splits import VALIDATION, Split, derived

# Families of other packages, which worker processes step, have tests of their own.
FOREIGN = ("ml1-", "ml10", "ml45", "mt10", "fetch-", "hand-", "adroit-", "kitchen", "maze")
NAMES = [name for name in registry.names() if not name.startswith(FOREIGN)]
VARIANTS = ("-oracle", "-legacy", "-contact")
SPLIT_SIZES = {
    "ant-dir": {"train": 2, "test": 2},
    "ant-dir-angles": {"train": 100, "test": 30},
    "ant-goal": {"train": 150, "test": 30, "ood": 20},
    "arm-drawer": {"train": 60, "test": 20, "ood": 20},
    "arm-peg": {"train": 60, "test": 20, "ood": 20},
    "arm-push": {"train": 60, "test": 20, "ood": 20},
    "arm-reach": {"train": 60, "test": 20, "ood": 20},
    "cheetah-dir": {"train": 2, "test": 2},
    "cheetah-faults": {"train": 100, "test": 30, "ood": 20},
    "cheetah-vel": {"train": 100, "test": 30, "ood": 20},
    "cheetah-vel-narrow": {"train": 100, "test": 30, "ood": 20},
    "hopper-params": {"train": 40, "test": 10, "ood": 10},
    "hopper-params-v5": {"train": 40, "test": 10, "ood": 10},
    "humanoid-dir": {"train": 100, "test": 30},
    "point-robot": {"train": 40, "test": 20, "ood": 20},
    "reacher-goal": {"train": 100, "test": 20, "ood": 20},
    "reacher-goal-narrow": {"train": 100, "test": 20, "ood": 20},
    "walker-params": {"train": 40, "test": 10, "ood": 10},
    "walker-params-v5": {"train": 40, "test": 10, "ood": 10},
}


@pytest.fixture(params=NAMES)
def family(request: pytest.FixtureRequest) -> TaskFamily:
    return registry.load(request.param)


def plain_name(name: str) -> str:
    """Drop what a variant adds to a family's name; its tasks stay the same."""
    for suffix in VARIANTS:
        name = name.removesuffix(suffix)
    return name


def test_split_sizes_and_marks(family: TaskFamily) -> None:
    sizes = SPLIT_SIZES[plain_name(family.name)]
    assert {split: len(family.tasks(split)) for split in family.splits} == sizes
    assert family.split_names == (*sizes, "validation", *(["validation-ood"] if "ood" in sizes else []))
    for split in family.split_names:
        for index, task in enumerate(family.tasks(split)):
            assert (task.family, task.split, task.index) == (family.name, split, index)
            assert task.in_training_range == (split not in ("ood", "validation-ood"))


def test_splits_are_disjoint_or_flagged(family: TaskFamily) -> None:
    keys = {split: {tuple(task.parameters.values()) for task in family.tasks(split)} for split in family.split_names}
    if family.shared_splits:
        assert keys["train"] == keys["test"] == keys["validation"]
    else:
        everything = [key for split in keys.values() for key in split]
        assert len(everything) == len(set(everything)) == sum(len(family.tasks(split)) for split in family.split_names)


def test_validation_has_no_task_of_another_list_however_few_there_are() -> None:
    """Of ten values, train and test have six: validation gets the four that are left, each once."""
    lists = {"train": [{"x": float(x)} for x in (0, 1, 2)], "test": [{"x": float(x)} for x in (3, 4, 5)]}
    splits = {"train": Split(n=3, seed=1), "test": Split(n=3, seed=2)}
    found = derived(splits, lists, lambda split, rng: {"x": float(rng.integers(10))}, shared=False)
    assert sorted(values["x"] for values in found[VALIDATION]) == [6.0, 7.0, 8.0, 9.0]


def test_tasks_are_json_and_pickle(family: TaskFamily) -> None:
    for split in family.split_names:
        for task in family.tasks(split):
            again = family.task(json.loads(json.dumps(task.to_json(), allow_nan=False)))
            assert again.parameters == task.parameters
            assert again.split == "custom"
            assert again.in_training_range == task.in_training_range
            assert pickle.loads(pickle.dumps(task)) == task
            assert isinstance(hash(task), int)
    copy = pickle.loads(pickle.dumps(family))
    assert copy.tasks("test") == family.tasks("test")


def test_sample_deals_each_task_equally_often(family: TaskFamily) -> None:
    tasks = family.tasks("train")
    drawn = family.sample("train", 2 * len(tasks), np.random.default_rng(3))
    assert sorted(task.index for task in drawn) == sorted(2 * list(range(len(tasks))))
    assert drawn == family.sample("train", 2 * len(tasks), np.random.default_rng(3))
    assert family.sample("train", 0, np.random.default_rng(3)) == []
    few = family.sample("train", 2, np.random.default_rng(4))
    assert few[0] != few[1]


def test_descriptions_are_plain_data(family: TaskFamily) -> None:
    row = family.summary_row()
    assert list(row) == ["name", "summary", "obs_dim", "action_dim", "episode_length", "native", "splits"]
    shown = json.loads(json.dumps(family.describe(), allow_nan=False))
    assert set(shown) == {*row, "parameters", "success", "episodes"}
    rule = {"hold_steps": family.hold_steps, "at": family.success_at}
    assert shown["success"] == (rule if family.has_success else None)
    assert shown["splits"]["test"] == [task.to_json() for task in family.tasks("test")]
    assert row["splits"] == {split: len(tasks) for split, tasks in shown["splits"].items()}
    for name, parameter in family.parameters.items():
        assert shown["parameters"][name]["unit"] == parameter.unit
        assert "dist" in shown["parameters"][name]["distribution"]
