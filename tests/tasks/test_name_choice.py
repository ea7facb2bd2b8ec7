"""Task parameters that choose among names: text for people and environments, a place among the names for arrays."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.distributions import Choice, Uniform, from_spec, to_spec
from mql.tasks.family import Split
from mql.tasks.fault import episode_fault
from mql.tasks.name_choice import Name, NameChoice
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

pytestmark = pytest.mark.newest

THINGS = NameChoice(("plate", "bowl", "cup"))
WEIGHTS = {"plate": 0.5, "bowl": 1.0, "cup": 2.0, "jar": 4.0}


class Thing(Cart):
    """A cart as heavy as a thing with a name."""

    def __init__(self, thing: str = "plate", gain: float = 1.0, render_mode: str | None = None) -> None:
        assert type(thing) is str
        super().__init__(gain / WEIGHTS[thing], render_mode=render_mode)
        self.thing = thing


def take(environment: Any, values: Mapping[str, Any]) -> None:
    assert type(values["thing"]) is str
    environment.unwrapped.gain = values["gain"] / WEIGHTS[values["thing"]]


def family_of(**options: Any) -> GymnasiumFamily:
    parameters = {"thing": THINGS, "gain": Uniform(0.5, 2.0)}
    jar = {"thing": NameChoice(("jar",))}
    splits = {"train": Split(n=30, seed=1), "test": Split(n=10, seed=2), "ood": Split(n=3, seed=3, override=jar)}
    given = {"name": "things", "episode_length": 10, "splits": splits} | options
    return tasks.from_gymnasium(Thing, parameters, **given)


def test_a_name_is_a_number_for_arrays_and_a_text_for_people() -> None:
    bowl = THINGS.named("bowl")
    assert np.asarray([bowl, 2.0]).tolist() == [1.0, 2.0] and bowl == 1.0
    assert (str(bowl), repr(bowl), f"{bowl:.4g}") == ("bowl", "'bowl'", "bowl")
    for other in (pickle.loads(pickle.dumps(bowl)), copy.deepcopy(bowl)):
        assert isinstance(other, Name) and other.text == "bowl" and other == 1.0


def test_each_name_is_drawn_equally_often_and_only_those() -> None:
    rng = np.random.default_rng(0)
    drawn = [THINGS.sample(rng).text for _ in range(3000)]
    counts = {name: drawn.count(name) for name in set(drawn)}
    assert counts == pytest.approx(dict.fromkeys(THINGS.options, 1000), abs=90)
    assert THINGS.contains(Name(0, "cup")) and not THINGS.contains(Name(0, "jar")) and not THINGS.contains(1.0)


def test_plain_data_are_a_choice_of_texts() -> None:
    spec = {"dist": "choice", "options": ["plate", "bowl", "cup"]}
    assert to_spec(THINGS) == spec and from_spec(spec, names=True) == THINGS
    assert isinstance(from_spec({"dist": "choice", "options": [1, 2]}), Choice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["plate", 2], "2 is an option beside names"),
        (["plate", "plate"], "options that differ"),
        (["a plate"], "'a plate' is an option beside names"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_spec({"dist": "choice", "options": options}, where="here", names=True)
    with pytest.raises(UserError, match="a choice among names where a number is due"):
        from_spec({"dist": "choice", "options": ["plate", "bowl"]})
    with pytest.raises(UserError, match="build a NameChoice"):
        Choice(("plate", "bowl"))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"set_task": take}], ids=["a new environment", "set_task"])
def test_environments_get_texts_and_tasks_show_them(options: dict[str, Any]) -> None:
    family = family_of(**options)
    task = family.task({"thing": "cup", "gain": 1.0})
    assert task.to_json() == {"thing": "cup", "gain": 1.0} and task.in_training_range
    env, plain = family.make(task), Cart(0.5)
    assert np.array_equal(env.reset(seed=3)[0], plain.reset(seed=3)[0].astype(np.float32))
    assert env.step([0.4])[1] == pytest.approx(plain.step([2.2])[1])
    assert "thing cup, gain 1" in str(episode_fault(task, "nothing happened"))
    assert {each.to_json()["thing"] for each in family.tasks("train")} == set(THINGS.options)


def test_names_of_all_splits_have_one_order() -> None:
    family = family_of()
    assert family.names_of["thing"].options == ("plate", "bowl", "cup", "jar")
    jar = family.tasks("ood")[0]
    assert jar.parameters["thing"] == 3.0 and not jar.in_training_range
    assert not family.task({"thing": "jar", "gain": 1.0}).in_training_range
    listed = {"train": Split(listed=({"thing": "cup", "gain": 1.0},)), "test": Split(n=2, seed=1)}  # type: ignore[dict-item]
    assert family_of(splits=listed).tasks("train")[0].to_json() == {"thing": "cup", "gain": 1.0}


def test_mistakes_are_one_line() -> None:
    family = family_of()
    with pytest.raises(UserError, match=r"task parameter 'thing' is 'bowll' .*did you mean 'bowl'"):
        family.task({"thing": "bowll", "gain": 1.0})
    with pytest.raises(UserError, match=r"task parameter 'thing' is 1\.0 .*choose one of bowl, cup, jar, plate"):
        family.task({"thing": 1.0, "gain": 1.0})
    with pytest.raises(UserError, match="'thing' is drawn from names and from numbers"):
        splits = {"train": Split(n=3, seed=1), "test": Split(n=3, seed=2, override={"thing": Uniform(0.0, 1.0)})}
        family_of(splits=splits).tasks("train")


def test_the_oracle_sees_the_place_and_checks_see_an_effect() -> None:
    family = family_of().as_oracle()
    obs, _ = family.make(family.task({"thing": "cup", "gain": 1.5})).reset(seed=0)
    assert obs[-2:].tolist() == [2.0, 1.5]
    for check in ("splits", "ood", "hidden", "effect", "identifiability", "pickle", "determinism"):
        verdict = run_check(Inspection(build=family_of), check)
        assert verdict.result != "fail", verdict.message
