"""What may stand behind --task."""

from __future__ import annotations

import pytest

from mql.cli.app import _repeated
from mql.cli.task_argument import chosen_task, outside_training, task_parameters
from mql.errors import UserError
from mql.tasks import registry


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("goal=0.3,-0.5", [0.3, -0.5]),
        ("goal=(0.3,-0.5)", [0.3, -0.5]),
        ("goal=[0.3, -0.5]", [0.3, -0.5]),
        ("goal = ( 0.3 -0.5 )", [0.3, -0.5]),
        ("goal=(0.3,)", [0.3]),
        ("goal=[1]", [1.0]),
        ("goal=-1e-3", -1e-3),
        ("goal=bowl", "bowl"),
    ],
)
def test_values(text: str, value: object) -> None:
    assert task_parameters([text]) == {"goal": value}


@pytest.mark.parametrize("text", ["goal=()", "goal=", "goal=[0.3", "goal=0.3)", "goal=(0.3]", "goal=1;2", "goal=1,,2"])
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--task goal"):
        task_parameters([text])


def test_a_listed_task_is_that_task() -> None:
    family = registry.load("point-robot")
    assert chosen_task(family, ["test:3"]) is family.tasks("test")[3]
    assert family.task("ood:0") is family.tasks("ood")[0]
    for name in ("test:-1", "test:x", "test:20", "test:1.0"):
        with pytest.raises(UserError, match=f"there is no task '{name}' .*counted from 0 to 19"):
            chosen_task(family, [name])


def test_a_vector_that_the_shell_took_apart_is_put_together() -> None:
    words = ["adapt", "run", "--task", "goal=[0.3,", "-0.5]", "speed=1", "--out", "x"]
    assert _repeated(words) == ["adapt", "run", "--task", "goal=[0.3, -0.5]", "--task", "speed=1", "--out", "x"]
    assert _repeated(["--set", "agent.hidden_sizes=[32,", "32]"]) == ["--set", "agent.hidden_sizes=[32, 32]"]
    assert _repeated(["--task", "goal=[0.3", "--out", "x"]) == ["--task", "goal=[0.3", "--out", "x"]


def test_what_is_left_out_is_that_of_the_split_where_one_is_named() -> None:
    family = registry.load("arm-push")
    first = family.tasks("test")[0]
    task = chosen_task(family, ["friction=0.5"], split="test")
    assert task.parameters == {**first.parameters, "friction": 0.5} and task.split == "custom"
    assert chosen_task(family, [], split="ood") == family.tasks("ood")[0]
    with pytest.raises(UserError, match=r"'mass', .* are missing"):
        chosen_task(family, ["friction=0.5"])


def test_everything_that_is_missing_is_named_at_once() -> None:
    family = registry.load("walker-params")
    names = list(family.parameters)
    assert len(names) > 3
    with pytest.raises(UserError) as caught:
        chosen_task(family, [f"{names[0]}=1"])
    assert all(repr(name) in caught.value.what for name in names[1:]) and repr(names[0]) not in caught.value.what
    assert caught.value.mend is not None and all(name in caught.value.mend for name in names[1:])
    assert len(str(caught.value).splitlines()) == 1


def test_where_a_task_lies_outside_of_what_was_trained_is_said() -> None:
    family = registry.load("cheetah-vel")
    trained = [float(task.parameters["velocity"]) for task in family.tasks("train")]  # type: ignore[arg-type]
    assert outside_training(family, family.task({"velocity": 1.0})) is None
    near = outside_training(family, family.tasks("ood")[0])
    assert near is not None and near.startswith("note: ") and " far " not in near
    assert f"(these have {min(trained):.3g} to {max(trained):.3g})" in near
    far = outside_training(family, family.task({"velocity": 9.0}))
    assert far is not None and far.startswith("warning: ") and "far outside" in far and "velocity 9 m/s" in far


def test_of_a_vector_the_components_outside_are_named_the_farthest_first() -> None:
    family = registry.load("fetch-reach")
    said = outside_training(family, family.task({"goal": [0.0, -0.3, 0.2]}))
    assert said is not None and said.index("goal[1] -0.3 m") < said.index("goal[2] 0.2 m") and "goal[0]" not in said
