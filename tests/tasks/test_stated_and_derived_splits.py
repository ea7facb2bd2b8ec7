"""The lists to choose settings on: apart from all others, and in nobody's way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.checks.contract import check_ood, check_splits
from mql.tasks.checks.inspection import Inspection
from mql.tasks.distributions import Choice, Uniform
from mql.tasks.families.meta_world import names as meta_world
from mql.tasks.families.small.point_robot import PointRobot, point_robot
from mql.tasks.family import Split, Task, TaskFamily
from mql.tasks.parameter import Parameter

VARIANTS = ("-oracle", "-legacy", "-contact", "-sparse")  # with the tasks of the family that they are variants of
NAMES = [name for name in registry.names() if not name.endswith(VARIANTS)]
OF_TRAINING = {"kitchen"}  # every pair of its seven jobs is in train or in test

# Of train, test and ood as they were before there was a validation: published figures are of these tasks.
PUBLISHED = {
    "arm-push": {"train": "cffd1b0a45766e7a", "test": "181d63a5925b07e1", "ood": "97fa6fab87a89793"},
    "cheetah-dir": {"train": "88d3f3afa5c592a6", "test": "88d3f3afa5c592a6"},
    "cheetah-faults": {"train": "2348de3870648ac9", "test": "112421c1d43051d6", "ood": "a70bc8f47f24812c"},
    "cheetah-vel": {"train": "c18a37797c503b2f", "test": "83d14a7d04a215a6", "ood": "6271203b0f2e5a98"},
    "fetch-pick-physics": {"train": "ece3d32227cbec47", "test": "513907d96761b15c", "ood": "f3ef348f2e95b4c9"},
    "hopper-params": {"train": "80e56531793a336e", "test": "6b0f0865124089ab", "ood": "ba713f42c21ffa4f"},
    "kitchen": {"train": "bc82ac4bb9080a17", "test": "e59a98efab5486b8", "ood": "556dfbf6c5ea2be1"},
    "ml1-push": {"train": "32e125aed78d921d", "test": "de5df5739338a329", "ood": "b9fd53a6d3b8a96f"},
    "ml10": {"train": "cbd0554d7ccbb8ce", "test": "3773ebbebabe3fbe"},
    "ml45": {"train": "cf3956b096d2b01b", "test": "0cf9d75ceb797827"},
    "point-robot": {"train": "9cdddd149d5bde97", "test": "a99a037718d32d84", "ood": "ff963dee44e019bb"},
    "reacher-goal": {"train": "658c90258f52c20c", "test": "6ecb8481fcf8bd77", "ood": "6e19b5f5bc747737"},
}


def digest(tasks: list[Task]) -> str:
    plain = [[task.to_json(), task.in_training_range] for task in tasks]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def keys(family: TaskFamily, split: str) -> set[frozenset[Any]]:
    return {frozenset(task.parameters.items()) for task in family.tasks(split)}


def family_of(distribution: Any, **splits: Split) -> PointRobot:
    """A family of one parameter, of which nothing is simulated."""
    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    number = Parameter(distribution=distribution, unit="1", doc="a number")
    return PointRobot(**(fields | {"name": "own", "parameters": {"one": number}, "splits": splits}))


def values(family: TaskFamily, split: str) -> list[Any]:
    return [task.parameters["one"] for task in family.tasks(split)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_lists_of_published_results_are_what_they_were(name: str) -> None:
    family = registry.load(name)
    assert {split: digest(family.tasks(split)) for split in PUBLISHED[name]} == PUBLISHED[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_family_has_tasks_to_choose_settings_on(name: str) -> None:
    family = registry.load(name)
    if family.shared_splits:
        assert keys(family, "validation") == keys(family, "test") == keys(family, "train")
        return
    assert not keys(family, "validation") & keys(family, "test")
    assert family.held_out("validation") == (name not in OF_TRAINING)
    assert len(family.tasks("validation")) >= 20 or name in OF_TRAINING
    assert ("validation-ood" in family.split_names) == ("ood" in family.splits) or name == "kitchen"
    if "validation-ood" in family.split_names:
        others = set.union(*(keys(family, split) for split in family.split_names if split != "validation-ood"))
        assert len(family.tasks("validation-ood")) == 20 and not keys(family, "validation-ood") & others
        assert {task.in_training_range for task in family.tasks("validation-ood")} == {False}
    if name not in ("ml10", "ml45"):
        assert {task.in_training_range for task in family.tasks("validation")} == {True}


def test_environments_of_ml10_and_ml45() -> None:
    """None of ml10 is trained or tested on; ml45 leaves none, so these are other goals of its training environments."""
    number = meta_world.number_of

    def environments(name: str, split: str) -> set[Any]:
        return {task.parameters["environment"] for task in registry.load(name).tasks(split)}

    assert environments("ml10", "validation") == {float(number(name)) for name in meta_world.ML10_VALIDATION}
    assert not environments("ml10", "validation") & (environments("ml10", "train") | environments("ml10", "test"))
    assert environments("ml45", "validation") == environments("ml45", "train")


def test_they_follow_from_the_seeds_and_ranges_of_test_and_ood() -> None:
    train, test = Split(n=5, seed=1), Split(n=5, seed=2, override={"one": Uniform(0.5, 0.6)})
    ood = Split(n=5, seed=3, override={"one": Uniform(2.0, 3.0)})
    family = family_of(Uniform(0.0, 1.0), train=train, test=test, ood=ood)
    assert family.split_names == ("train", "test", "ood", "validation", "validation-ood")
    assert len(set(values(family, "validation"))) == len(set(values(family, "validation-ood"))) == 20
    assert all(0.5 <= value <= 0.6 for value in values(family, "validation"))
    assert all(2.0 <= value <= 3.0 for value in values(family, "validation-ood"))
    assert [task.index for task in family.tasks("validation")] == list(range(20))
    assert family.task("validation:3") == family.tasks("validation")[3]
    again = family_of(Uniform(0.0, 1.0), train=replace(train, seed=9), test=test, ood=ood)
    assert values(again, "validation") == values(family, "validation")
    other = replace(family, splits={**family.splits, "test": replace(test, seed=4)})
    assert not set(values(other, "validation")) & set(values(family, "validation"))
    with pytest.raises(UserError, match="no split 'validation-ood'"):
        family_of(Uniform(0.0, 1.0), train=train, test=test).tasks("validation-ood")


def test_what_a_family_states_counts() -> None:
    own = family_of(
        Uniform(0.0, 1.0),
        train=Split(n=5, seed=1),
        validation=Split(listed=({"one": 0.25},)),
        test=Split(n=5, seed=2),
    )
    assert values(own, "validation") == [0.25] and own.split_names == ("train", "validation", "test")
    clash = replace(own, splits={**own.splits, "validation": Split(n=3, seed=2)})
    with pytest.raises(UserError, match="splits validation and test share a task"):
        clash.tasks("train")


def test_few_different_tasks_leave_as_many_as_there_are() -> None:
    family = family_of(Choice(tuple(range(6))), train=Split(n=2, seed=1), test=Split(n=2, seed=5))
    left = set(range(6)) - set(values(family, "train")) - set(values(family, "test"))
    assert left and set(values(family, "validation")) == left and len(values(family, "validation")) == len(left)


def test_where_none_is_left_the_training_tasks_serve_and_the_check_says_so() -> None:
    splits = {"train": Split(listed=({"one": 1.0}, {"one": 2.0})), "test": Split(listed=({"one": 3.0},))}
    ood = Split(listed=({"one": 9.0},))

    def build() -> PointRobot:
        return family_of(Uniform(0.0, 9.0), **splits, ood=ood)

    family = build()
    assert values(family, "validation") == [1.0, 2.0] and not family.held_out("validation")
    assert "validation-ood" not in family.split_names
    verdict = check_splits(Inspection(build))
    assert verdict.result == "warn" and "no other tasks are left for validation" in verdict.message


def test_beside_listed_test_tasks_they_are_drawn_like_the_training_tasks() -> None:
    family = family_of(Uniform(0.0, 1.0), train=Split(n=5, seed=1), test=Split(listed=({"one": 0.5},)))
    assert len(set(values(family, "validation"))) == 20 and family.held_out("validation")


def test_tasks_outside_that_lie_inside_are_found() -> None:
    def build() -> PointRobot:
        train, test, ood = Split(n=5, seed=1), Split(n=5, seed=2), Split(n=2, seed=3, override=outside)
        inside = {"validation-ood": Split(n=2, seed=4)}
        return family_of(Uniform(0.0, 1.0), train=train, test=test, ood=ood, **inside)

    outside = {"one": Uniform(2.0, 3.0)}
    verdict = check_ood(Inspection(build))
    assert verdict.result == "fail" and "a task of split validation-ood lies inside" in verdict.message
