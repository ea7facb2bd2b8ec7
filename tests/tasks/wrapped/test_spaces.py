"""Spaces of other people's environments: what becomes a row of numbers, and what is refused."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.distributions import Uniform
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.answers import BadAnswer
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.tasks.wrapped.spaces import FlatObservation, action_size, affine_to

pytestmark = pytest.mark.newest

GOALS = Dict({"lid": Box(-5, 5, (1,)), "knob": Box(-5, 5, (2,))})


def flat(space: Any, *keys: str) -> FlatObservation:
    return FlatObservation(space, keys, where="here")


def family_with(observation_space: Any, seen: Any, **options: Any) -> GymnasiumFamily:
    class Seeing(Cart):
        def _seen(self) -> Any:
            return seen

    def make(gain: float = 1.0) -> Any:
        env = Seeing(gain)
        env.observation_space = observation_space
        return env

    gain = {"gain": Uniform(0.5, 2.0)}
    return tasks.from_gymnasium(make, gain, name="carts", episode_length=10, **options)


@pytest.mark.parametrize(
    ("space", "seen", "expected"),
    [
        (Box(-1, 1, (2, 2)), [[1, 2], [3, 4]], [1, 2, 3, 4]),
        (Box(-1, 1, ()), 0.5, [0.5]),
        (Box(0, 255, (1, 2, 3), np.uint8), np.arange(6, dtype=np.uint8).reshape(1, 2, 3), [0, 1, 2, 3, 4, 5]),
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (Discrete(3), 1, [0, 1, 0]),
        (Discrete(3, start=5), np.int64(7), [0, 0, 1]),
        (MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (Tuple([Box(-1, 1, (1,)), Discrete(2)]), (np.array([0.25]), 0), [0.25, 1, 0]),
        # By the space's order, whatever the order of the answer: Gymnasium sorts the names of a Dict.
        (Dict({"b": Box(-1, 1, (1,)), "a": GOALS}), {"b": [9.0], "a": {"lid": [1], "knob": [2, 3]}}, [2, 3, 1, 9]),
    ],
)
def test_observations_become_one_row(space: Any, seen: Any, expected: list[float]) -> None:
    reader = flat(space)
    assert reader.size == len(expected) and reader(seen).tolist() == expected
    # An independent reference: Gymnasium flattens these spaces the same way.
    drawn = space.sample()
    assert np.allclose(reader(drawn), np.asarray(gymnasium.spaces.flatten(space, drawn), np.float64))


def test_a_dict_within_a_dict_is_seen_by_a_family_as_a_whole_or_by_its_outer_key() -> None:
    space = Dict({"state": Box(-5, 5, (2,)), "wanted": GOALS})
    seen = {"wanted": {"lid": np.ones(1), "knob": np.full(2, 2.0)}, "state": np.full(2, 3.0)}
    everything, goals = family_with(space, seen), family_with(space, seen, observed=("wanted",))
    assert (everything.obs_dim, goals.obs_dim) == (5, 3)
    task = everything.tasks("train")[0]
    assert everything.make(task).reset(seed=0)[0].tolist() == [3, 3, 2, 2, 1]
    assert goals.make(goals.tasks("train")[0]).reset(seed=0)[0].tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("space", "keys", "message"),
    [
        (Text(5), (), "observations of Text"),
        (Dict({"state": GOALS, "mission": Text(5)}), (), "'mission' of the observation is Text"),
        (Dict({"a": Dict({"b": Sequence(Box(0, 1))})}), (), "'a.b' of the observation is Sequence"),
        (Tuple([Box(0, 1), Graph(Box(0, 1), None)]), (), "'1' of the observation is Graph"),
        (Box(0, 255, (96, 96, 3), np.uint8), (), "a picture of 27648 numbers (here): wrap it; the agent sees no"),
        (Dict({"eye": Box(0, 255, (96, 96), np.uint8)}), (), "'eye' of the observation is Box"),
        (Discrete(5000), (), "5000 choices"),
        (Dict({"a": GOALS}), ("b",), "no 'b' in the observation (here)"),
        (Box(0, 1, (0,)), (), "hold no numbers"),
        (object(), (), "give a Gymnasium environment"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused_by_its_name(space: Any, keys: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        flat(space, *keys)
    assert message in str(caught.value)


def test_a_part_that_is_refused_may_be_left_out() -> None:
    assert flat(Dict({"state": GOALS, "mission": Text(5)}), "state").size == 3


@pytest.mark.parametrize(
    ("space", "seen", "message"),
    [
        (Dict({"a": GOALS}), {"a": {"knob": [1, 2]}}, "gave no 'a.lid' in the observation"),
        (Dict({"a": GOALS}), {"a": None}, "gave no 'a.knob' in the observation"),
        (Dict({"a": GOALS}), {"a": {"knob": [1], "lid": [1]}}, "gave 'a.knob' of the observation of 1 numbers, not 2"),
        (Discrete(3), 3, "gave 3 in an observation, which is none of 0 to 2"),
        (MultiDiscrete([2, 2]), [1], "gave an observation of 1 numbers, not 2"),
    ],
)
def test_an_observation_outside_its_space_is_named(space: Any, seen: Any, message: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        flat(space)(seen)
    assert str(caught.value) == message


def test_a_family_says_which_key_is_missing() -> None:
    family = family_with(Dict({"a": GOALS}), {"a": {"knob": [1, 2]}})
    with pytest.raises(EpisodeFault, match=r"reset gave no 'a\.lid' in the observation"):
        family.make(family.tasks("train")[0]).reset(seed=0)


@pytest.mark.parametrize(
    ("space", "action", "expected"),
    [
        (Box(-1, 1, (2,), np.float32), [0.5, -1], [0.5, -1]),
        (Box(-1, 1, (2, 1), np.float32), [0.5, -1], [[0.5], [-1]]),
        (Box(np.array([0, -4]), np.array([2, 4]), (2,), np.float64), [0.5, 0.5], [1.5, 2.0]),
        (Box(0, 10, (), np.float64), [0.0], 5.0),
        (Box(0, 3, (1,), np.int64), [0.4], [2]),
    ],
)
def test_actions_are_mapped_to_a_box_of_any_shape(space: Box, action: list[float], expected: Any) -> None:
    assert action_size(space, "here") == len(action)
    given = affine_to(space)(np.array(action))
    assert given.tolist() == expected and given.dtype == space.dtype and space.contains(given)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Discrete(2), "actions of Discrete(2) (here): wrap it into one with a finite Box: the agent's actions are num"),
        (Tuple([Box(-1, 1, (1,))]), "actions of Tuple"),
        (Box(-np.inf, np.inf, (1,)), "how large actions may be"),
        (Box(np.float32(0), np.finfo(np.float32).max, (1,)), "how large actions may be"),
        (Box(-1, 1, (0,)), "no numbers"),
    ],
)
def test_actions_that_do_not_fit_are_refused(space: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        action_size(space, "here")
    assert message in str(caught.value)


def test_a_space_of_the_older_package_says_what_helps() -> None:
    old = type("Box", (), {"__module__": "gym.spaces.box"})()
    with pytest.raises(UserError, match="shimmy"):
        flat(old)
    with pytest.raises(UserError, match="shimmy"):
        action_size(old, "here")
