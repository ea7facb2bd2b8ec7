"""Definitions whose parameters are names: compared in expressions, handed to the environment, told to a class."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from lab_definitions import MJCF
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.family import TaskFamily

pytestmark = pytest.mark.newest

WEIGHTS = {"plate": 0.5, "bowl": 1.0, "jar": 2.0}
TEXT = """schema: mql.task_family/1
name: things
version: 1
description: Move a thing.
env: {env}
parameters:
  thing: {{value: {{dist: choice, options: [plate, bowl]}}, {thing}doc: what is moved}}
  gain: {{value: {{dist: uniform, low: 0.5, high: 2.0}}, doc: how hard it is pushed}}
reward: {{mode: {mode}, terms: {{near: {{expr: "{expr}"}}}}}}
splits:
  train: {{n: 20, seed: 1}}
  test: {{n: 5, seed: 2}}
  ood: {{n: 3, seed: 3, override: {{thing: {{dist: choice, options: [jar]}}}}}}
"""
EXPR = "2 * (task.thing == 'bowl') + 3 * ('jar' == task.thing) + (5 if task.thing != 'plate' else 0)"
WORTH = {"plate": 0.0, "bowl": 7.0, "jar": 8.0}
IN_ID = "{id: lab/Thing-v0}"
SIDE_BY_SIDE = "{mjcf: cart.xml, frame_skip: 2, episode_length: 10}"
IN_PYTHON = "{mjcf: cart.xml, frame_skip: 2, python: 'task.py:Task', episode_length: 10}"
CLASS = """class Task:
    def reset(self, model, data, task, rng):
        assert type(task.thing) is str and task["thing"] == task.thing
        self.thing = task.thing

    def observe(self, model, data):
        return [*data.qpos, *data.qvel]

    def reward(self, model, data, task, action):
        return {"own": 1.0 if task.thing == "bowl" else 0.0}
"""


class Thing(Cart):
    def __init__(self, thing: str = "plate", gain: float = 1.0, render_mode: str | None = None) -> None:
        assert type(thing) is str
        super().__init__(gain / WEIGHTS[thing], render_mode=render_mode)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register("lab/Thing-v0", entry_point=Thing, max_episode_steps=10)
    yield
    gymnasium.registry.pop("lab/Thing-v0")


def read(folder: Path, env: str, *, mode: str = "replace", expr: str = EXPR, thing: str = "") -> TaskFamily:
    (folder / "cart.xml").write_text(MJCF)
    (folder / "task.py").write_text(CLASS)
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(TEXT.format(env=env, mode=mode, expr=expr, thing=thing))
    return tasks.from_file(path, trust=True)


@pytest.mark.parametrize("env", [IN_ID, SIDE_BY_SIDE, IN_PYTHON], ids=["id", "side by side", "python"])
def test_expressions_compare_names_and_tasks_show_them(tmp_path: Path, env: str) -> None:
    family = pickle.loads(pickle.dumps(read(tmp_path, env)))
    chosen = [family.task({"thing": thing, "gain": 1.0}) for thing in ("plate", "bowl", "jar")]
    assert [task.in_training_range for task in chosen] == [True, True, False]
    for task in (*chosen, family.tasks("ood")[0]):
        one = family.make(task)
        one.reset(seed=0)
        assert one.step(np.zeros(1))[1] == WORTH[task.to_json()["thing"]]
        one.close()
    batch = family.make_batch(chosen)
    batch.reset([0, 1, 2])
    assert batch.step(np.zeros((3, 1))).reward.tolist() == [0.0, 7.0, 8.0]
    batch.close()


def test_a_class_gets_texts(tmp_path: Path) -> None:
    family = read(tmp_path, IN_PYTHON, mode="add", expr="0 * task.gain")
    rewards = []
    for thing in ("plate", "bowl"):
        one = family.make(family.task({"thing": thing, "gain": 1.0}))
        one.reset(seed=0)
        rewards.append(one.step(np.zeros(1))[1])
    assert rewards == [0.0, 1.0]


def test_an_environment_is_made_with_the_tasks_own_values(tmp_path: Path) -> None:
    """Names and numbers; one environment serves tasks of equal values, another one is built for others."""
    family = read(tmp_path, "{id: lab/Thing-v0, kwargs: {thing: task.thing, gain: task.gain}}", mode="add")
    for thing in ("jar", "plate", "jar"):
        one, plain = family.make(family.task({"thing": thing, "gain": 1.5})), Cart(1.5 / WEIGHTS[thing])
        assert np.array_equal(one.reset(seed=4)[0], plain.reset(seed=4)[0].astype(np.float32))
        assert one.step([0.2])[1] == pytest.approx(plain.step([1.6])[1] + WORTH[thing])
        one.close()


def test_an_effect_with_one_name_only_is_found(tmp_path: Path) -> None:
    expr = "task.gain if task.thing == '{}' else 0"
    for thing, result in (("plate", "pass"), ("bowl", "pass"), ("jar", "fail")):  # no training task has a jar
        family = read(tmp_path, SIDE_BY_SIDE, expr=expr.format(thing) + " + 9 * (task.thing == 'bowl')")
        assert run_check(Inspection(build=lambda family=family: family), "effect").result == result


def test_a_visible_name_is_seen_as_its_place(tmp_path: Path) -> None:
    for env in (IN_ID, SIDE_BY_SIDE):
        family = read(tmp_path, env, thing="hidden: false, ")
        seen = [family.make(task).reset(seed=0)[0][-1] for task in (family.task({"thing": "jar", "gain": 1.0}),)]
        assert seen == [2.0]


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"expr": "task.thing * 2"}, ("'task.thing' (column 1) is a name, no number", "compare it: task.thing == 'pl")),
        ({"expr": "task.thing == 'bwol'"}, ("'bwol'", "is no name of task.thing", "did you mean 'bowl'")),
        ({"expr": "task.thing < 'bowl'"}, ("compares a text with something else",)),
        ({"expr": "task.gain == 'bowl'"}, ("compares a text with something else", "task.object == 'bowl'")),
        ({"expr": "'bowl' == 'bowl'"}, ("compares a text with something else",)),
        ({"expr": "abs('bowl')"}, ("is not a number",)),
        ({"thing": "apply: [{field: body_mass, body: cart, op: set}], "}, ("thing is one of names, and apply", ":7")),
        ({"thing": "bounds: [0, 1], "}, ("thing is one of names, and bounds is for numbers",)),
        ({"env": "{id: lab/Thing-v0, kwargs: {thing: task.thnig}}"}, ("unknown parameter 'thnig'", "'thing'", ":5")),
        ({"env": SIDE_BY_SIDE + "\nstart: {joints: {rail: task.thing}}"}, ("task.thing is a name, and a number", ":6")),
        (
            {"env": SIDE_BY_SIDE + "\nstart: {joints: {rail: {dist: choice, options: [a, b]}}}"},
            ("where a number is due",),
        ),
        ({"env": "{id: lab/Thing-v0, kwargs: {gain: task.thing}}"}, ("gymnasium.make('lab/Thing-v0') raised TypeE",)),
    ],
)
def test_mistakes_are_one_line_with_the_place(
    tmp_path: Path, options: dict[str, Any], messages: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, **({"env": SIDE_BY_SIDE} | options))
    for message in messages:
        assert message in str(caught.value)
    assert "\n" not in str(caught.value) and ".yaml:" in str(caught.value)


def test_a_split_draws_names_where_the_parameter_does(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    text = TEXT.format(env="{id: lab/Thing-v0}", mode="add", expr="0", thing="")
    path.write_text(text.replace("{dist: choice, options: [jar]}", "{dist: uniform, low: 0, high: 1}"))
    with pytest.raises(UserError, match=r"thing is drawn from names and from numbers .*x\.yaml:13"):
        tasks.from_file(path)
    path.write_text(text.replace("[plate, bowl]", "[plate, on]"))  # which YAML reads as true
    with pytest.raises(UserError, match=r"options is True .*a name such as bowl, in quotes"):
        tasks.from_file(path)
