"""Meta-World's tasks as data: they are the package's own, bit for bit, and the splits keep them apart."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from typing import Any

import metaworld
import numpy as np
import pytest
from metaworld import env_dict

from mql.tasks import registry
from mql.tasks.families.meta_world import names
from mql.tasks.families.meta_world.draw_goals import OOD_SHIFT, OOD_TASKS, VALIDATION, draw_goals, draw_outside
from mql.tasks.families.meta_world.environment import package_class
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.families.meta_world.goals import SEED, Goals, load

FEW = 4  # goals drawn anew where all 50 would take seconds: the package draws one after another from one stream
GOALS = 50


def family(name: str) -> MetaWorldFamily:
    loaded = registry.load(name)
    assert isinstance(loaded, MetaWorldFamily)
    return loaded


def vectors_of(tasks: list[Any]) -> np.ndarray:
    return np.stack([pickle.loads(task.data)["rand_vec"] for task in tasks])


def vectors_in(name: str, split: str) -> np.ndarray:
    return np.array([task.parameters["rand_vec"] for task in family(name).tasks(split)])


def test_names_are_the_package_s() -> None:
    def plain(classes: Any) -> tuple[str, ...]:
        return tuple(name.removesuffix("-v3") for name in classes)

    assert plain(env_dict.ALL_V3_ENVIRONMENTS) == names.ENVIRONMENTS
    assert plain(env_dict.ML10_V3["train"]) == names.ML10_TRAIN
    assert plain(env_dict.ML10_V3["test"]) == names.ML10_TEST
    assert sorted(plain(env_dict.ML45_V3["train"])) == sorted(names.ML45_TRAIN)
    assert plain(env_dict.ML45_V3["test"]) == names.ML45_TEST
    assert plain(env_dict.MT10_V3) == names.MT10
    known = [name for name in registry.names() if name.startswith("ml1-")]
    assert [name for name in known if not name.endswith("-wrapped")] == [f"ml1-{n}" for n in names.ENVIRONMENTS]
    assert {name for name in known if name.endswith("-wrapped")} == {f"ml1-{n}-wrapped" for n in names.STEPPED}


def test_the_list_of_families_needs_no_simulator() -> None:
    code = "import sys; from mql.tasks import registry; registry.names(); print('metaworld' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["reach", "push", "window-close", "disassemble", "stick-push"])
def test_ml1_tasks_are_the_package_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    benchmark = metaworld.ML1(f"{name}-v3", seed=SEED)
    assert np.array_equal(vectors_in(f"ml1-{name}", "train")[:FEW], vectors_of(benchmark.train_tasks))
    assert np.array_equal(vectors_in(f"ml1-{name}", "test")[:FEW], vectors_of(benchmark.test_tasks))


def test_the_package_s_own_test_tasks_are_drawn_with_the_next_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a second benchmark of the next seed would train on what the first one is tested on."""
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    later = metaworld.ML1("reach-v3", seed=SEED + 1)
    assert np.array_equal(vectors_of(later.train_tasks), vectors_in("ml1-reach", "test")[:FEW])


def test_validation_goals_are_those_that_the_package_would_train_on_with_the_seed_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    later = metaworld.ML1("reach-v3", seed=SEED + 2)
    assert np.array_equal(vectors_of(later.train_tasks), vectors_in("ml1-reach", "validation")[:FEW])


@pytest.mark.slow
def test_all_stored_tasks_are_what_the_package_draws() -> None:
    stored, drawn = load(), draw_goals()
    for field in fields(Goals):
        assert np.array_equal(getattr(stored, field.name), getattr(drawn, field.name)), field.name


def test_train_and_test_goals_are_disjoint_and_complete() -> None:
    goals = load()
    for number, name in enumerate(names.ENVIRONMENTS):
        inside = [goals.ml1_train[number], goals.ml1_test[number], goals.ml1_validation[number]]
        rows = np.concatenate([*inside, goals.ml1_ood[number], goals.ml1_validation_ood[number]])
        assert len(np.unique(rows, axis=0)) == 3 * GOALS + 2 * OOD_TASKS, name


def test_classes_of_ml10_and_ml45_are_disjoint() -> None:
    for name, train, test in (
        ("ml10", names.ML10_TRAIN, names.ML10_TEST),
        ("ml45", names.ML45_TRAIN, names.ML45_TEST),
    ):
        environments = {
            split: [family(name).environment_name(task) for task in family(name).tasks(split)]
            for split in ("train", "test")
        }
        assert environments["train"] == [*train] * GOALS
        assert environments["test"] == [*test] * GOALS
        assert not set(train) & set(test)
        assert {task.in_training_range for task in family(name).tasks("train")} == {True}
        assert {task.in_training_range for task in family(name).tasks("test")} == {False}
    assert set(names.ML45_TRAIN) | set(names.ML45_TEST) == set(names.ENVIRONMENTS)


def test_the_first_class_of_ml10_has_the_tasks_of_ml1() -> None:
    """The package draws class by class from one stream; later classes get other numbers than in ML1."""
    goals = load()
    assert np.array_equal(goals.ml10_train[0], goals.ml1_train[names.number_of("reach")])
    assert not np.array_equal(goals.ml10_train[1], goals.ml1_train[names.number_of("push")])


def test_mt10_is_tested_on_the_tasks_it_learns() -> None:
    mt10 = family("mt10")
    assert mt10.shared_splits
    assert [mt10.environment_name(task) for task in mt10.tasks("train")] == [*names.MT10] * GOALS
    assert [task.parameters for task in mt10.tasks("train")] == [task.parameters for task in mt10.tasks("test")]
    assert not any(parameter.hidden for parameter in mt10.parameters.values())


def test_tasks_outside_leave_the_box_in_one_component() -> None:
    goals = load()
    for number, name in enumerate(names.ENVIRONMENTS):
        low, high = goals.low[number], goals.high[number]
        for split, rows in (
            ("train", goals.ml1_train),
            ("test", goals.ml1_test),
            ("validation", goals.ml1_validation),
        ):
            assert ((low <= rows[number]) & (rows[number] <= high)).all(), (name, split)
        below, above = low - goals.ml1_ood[number], goals.ml1_ood[number] - high
        beyond = np.maximum(below, above)
        assert ((beyond > 0).sum(axis=1) == 1).all(), name
        at = beyond.argmax(axis=1)
        share = beyond.max(axis=1) / (high - low)[at]
        assert OOD_SHIFT[0] - 1e-9 <= share.min() and share.max() <= OOD_SHIFT[1] + 1e-9
        assert (below.max(axis=1)[at % 3 == 2] <= 0).all(), f"{name}: below is the table"
    for name in ("reach", "push", "sweep"):
        assert {task.in_training_range for task in family(f"ml1-{name}").tasks("train")} == {True}
        assert {task.in_training_range for task in family(f"ml1-{name}").tasks("test")} == {True}
        assert {task.in_training_range for task in family(f"ml1-{name}").tasks("ood")} == {False}


def test_boxes_and_tasks_outside_are_made_from_the_package_s_ranges() -> None:
    for name in ("sweep", "reach"):
        number, space = names.number_of(name), package_class(name)()._random_reset_space
        size = load().size[number]
        assert size == len(space.low)
        assert np.array_equal(load().low[number][:size], space.low)
        assert np.array_equal(load().high[number][:size], space.high)
        assert np.array_equal(load().ml1_ood[number], draw_outside(name))
        assert np.array_equal(load().ml1_validation_ood[number], draw_outside(name, VALIDATION))
