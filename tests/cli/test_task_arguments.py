"""Reading which task a command is about."""

from __future__ import annotations

import pytest

from mql.cli.task_arguments import task_of
from mql.errors import UserError
from mql.tasks import registry


@pytest.mark.parametrize("text", ["goal=0.3,-0.5", "goal=(0.3,-0.5)", "goal=[0.3, -0.5]", "goal = ( 0.3 , -0.5 ,)"])
def test_a_vector_may_stand_in_brackets(text: str) -> None:
    assert task_of(registry.load("point-robot"), [text]).parameters == {"goal": (0.3, -0.5)}


def test_one_of_a_list_is_counted_from_zero() -> None:
    family = registry.load("cheetah-faults")
    assert task_of(family, ["test:3"]) == family.tasks("test")[3]
    assert task_of(family, [], split="ood") == family.tasks("ood")[0]


def test_what_is_left_out_is_that_of_the_split_where_one_is_named() -> None:
    family = registry.load("arm-push")
    first = family.tasks("test")[0]
    task = task_of(family, ["friction=0.5"], split="test")
    assert task.parameters == {**first.parameters, "friction": 0.5} and task.split == "custom"
    with pytest.raises(UserError, match="'mass' is missing"):
        task_of(family, ["friction=0.5"])


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["goal"], "has no '='"),
        (["goal=far"], "'far' is not a number"),
        (["goal=(1,2"], "is not a number"),
        (["goal=1,2", "goal=1,2"], "given twice"),
        (["test:99"], "numbered from 0 to 19"),
        (["tset:1"], "did you mean 'test'"),
        (["test:1", "goal=1,2"], "stands beside another"),
        (["gaol=1,2"], "did you mean 'goal'"),
    ],
)
def test_mistakes_are_said(given: list[str], text: str) -> None:
    with pytest.raises(UserError, match=text.replace("(", r"\(")):
        task_of(registry.load("point-robot"), given)
