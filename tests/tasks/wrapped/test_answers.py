"""Environments that answer otherwise than Gymnasium's interface says: taken where it is clear, else one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.distributions import Uniform
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

pytestmark = pytest.mark.newest

Answer = Callable[[tuple[Any, ...]], Any]


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raised(error: BaseException) -> Any:
    raise error


def carts(*, step: Answer = lambda five: five, reset: Answer = lambda two: two, limit: bool = False) -> GymnasiumFamily:
    """A family whose environment's answers are changed on their way out."""

    class Changed(Cart):
        def reset(self, **given: Any) -> Any:
            return reset(super().reset(**given))

        def step(self, action: Any) -> Any:
            return step(super().step(action))

    def make(gain: float = 1.0) -> Any:
        return gymnasium.wrappers.TimeLimit(Changed(gain), 10) if limit else Changed(gain)

    return tasks.from_gymnasium(make, {"gain": Uniform(0.5, 2.0)}, name="carts", episode_length=10)


def first_step(family: GymnasiumFamily) -> tuple[Any, ...]:
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    return env.step([0.0])


@pytest.mark.parametrize(
    "step",
    [
        lambda five: (five[0], np.array([five[1]]), np.bool_(False), np.array(False), {}),
        lambda five: (five[0], np.float32(five[1]), 0, np.array([0]), {}),
        lambda five: list(five),
        lambda five: (five[0].astype(np.float16).tolist(), np.array(five[1]), *five[2:]),
    ],
    ids=["arrays of one", "numbers for flags", "a list", "an observation as a list"],
)
def test_what_is_clear_is_taken(step: Answer) -> None:
    _, reward, terminated, truncated, _ = first_step(carts(step=step))
    plain = first_step(carts())
    assert reward == pytest.approx(plain[1]) and type(reward) is float
    assert terminated is False and truncated is False


def test_a_flag_that_is_an_array_ends_the_episode() -> None:
    _, _, terminated, truncated, _ = first_step(carts(step=lambda five: (*five[:2], np.array([True]), *five[3:])))
    assert terminated is True and truncated is False


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda five: (*five[:3], {}), "step 1 gave 4 values, not 5"),
        (lambda five: (*five, 1), "step 1 gave 6 values, not 5"),
        (lambda five: None, "step 1 gave nothing, not 5 values"),
        (lambda five: five[0], "step 1 gave ndarray, not 5 values"),
        (lambda five: (five[0], None, *five[2:]), "step 1 gave the reward as NoneType, not as a number"),
        (lambda five: (five[0], np.zeros(2), *five[2:]), "step 1 gave the reward as 2 numbers, not as one"),
        (lambda five: (five[0], "1", *five[2:]), "step 1 gave the reward as str, not as a number"),
        (lambda five: (*five[:2], np.zeros(2), *five[3:]), "step 1 gave terminated as 2 numbers"),
        (lambda five: (*five[:3], 0.5, {}), "step 1 gave truncated as 0.5, not as true or false"),
        (lambda five: (*five[:4], None), "step 1 gave info as NoneType, not as a dict"),
        (lambda five: ("far", *five[1:]), "step 1 gave an observation as str, not as numbers"),
        (lambda five: (None, *five[1:]), "step 1 gave an observation as NoneType, not as numbers"),
        (lambda five: raised(Unreadable()), "step 1 raised Unreadable (its text can't be read)"),
        (lambda five: raised(SystemExit("no display")), "step 1 raised SystemExit: no display"),
        (lambda five: raised(OSError("a\n  b" + "!" * 1000)), "step 1 raised OSError: a b!!!"),
        (lambda five: raised(KeyError()), "step 1 raised KeyError (task"),
    ],
)
def test_a_step_of_another_interface_is_one_line(step: Answer, message: str) -> None:
    with pytest.raises(EpisodeFault) as caught:
        first_step(carts(step=step))
    assert f"family carts: {message}" in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700


def test_four_values_that_a_wrapper_of_gymnasiums_meets_first_are_named_alike() -> None:
    with pytest.raises(EpisodeFault, match="step 1 gave 4 values, not 5"):
        first_step(carts(step=lambda five: (*five[:3], {}), limit=True))
    with pytest.raises(EpisodeFault, match=r"step 1 raised ValueError: not enough values to unpack"):
        first_step(carts(step=lambda five: [0 for one, other in [(1,)]]))  # the environment's own mistake


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        (lambda two: None, "reset gave nothing, not 2 values"),
        (lambda two: two[0], "reset gave ndarray, not 2 values"),
        (lambda two: (two[0],), "reset gave 1 value, not 2"),
        (lambda two: (0.5, 0.1), "reset gave info as float, not as a dict"),
        (lambda two: (two[0][:1], {}), "reset gave an observation of 1 numbers, not 2"),
        (lambda two: raised(Unreadable()), "reset raised Unreadable (its text can't be read)"),
    ],
)
def test_a_reset_of_another_interface_is_one_line(reset: Answer, message: str) -> None:
    with pytest.raises(EpisodeFault) as caught:
        first_step(carts(reset=reset))
    assert f"family carts: {message}" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda gain: None, "gave nothing, which has no 'reset'"),
        (lambda gain: 3.0, "gave float, which has no 'reset'"),
        (lambda gain: gymnasium.make_vec("Pendulum-v1", num_envs=2), "a vector of environments, not one"),
        (lambda gain: raised(Unreadable()), "raised Unreadable (its text can't be read)"),
        (lambda gain: raised(SystemExit(1)), "raised SystemExit: 1"),
    ],
)
def test_a_function_that_makes_no_environment_is_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        tasks.from_gymnasium(make, {"gain": Uniform(0.5, 2.0)}, name="carts", episode_length=10)
    assert message in str(caught.value) and "(family carts)" in str(caught.value)


def test_entries_of_info_that_are_no_numbers_are_one_line() -> None:
    class Wordy(Cart):
        def step(self, action: Any) -> Any:
            return (*super().step(action)[:4], {"place": "left", "won": "yes"})

    for options, message in (
        ({"info_keys": ("place",)}, "step 1 gave 'place' in info as str, not as a number"),
        ({"info_keys": ("speed",)}, "step 1 gave no 'speed' in info, only ['place', 'won']"),
        ({"success_key": "won"}, "step 1 gave 'won' in info as str, not as a number"),
    ):
        gain = {"gain": Uniform(0.5, 2.0)}
        family = tasks.from_gymnasium(Wordy, gain, name="carts", episode_length=10, **options)  # type: ignore[arg-type]
        with pytest.raises(EpisodeFault) as caught:
            first_step(family)
        assert message in str(caught.value)


def test_an_environment_that_cannot_be_closed_or_drawn_does_no_harm() -> None:
    class Stuck(Cart):
        def close(self) -> None:
            raise OSError("stuck")

        def render(self) -> Any:
            return None

    family = tasks.from_gymnasium(Stuck, {"gain": Uniform(0.5, 2.0)}, name="carts", episode_length=10)
    for task in family.tasks("train")[:6]:  # more than stay open
        family.make(task).close()
    env = family.make(family.tasks("train")[0], render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(EpisodeFault, match="render gave no picture"):
        env.render()
