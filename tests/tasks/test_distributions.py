"""Distributions: draws lie in the support, survive writing and reading, and bad ones are refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks.distributions import (
    Angle,
    Choice,
    Disc,
    Distribution,
    Fixed,
    LogUniform,
    Normal,
    Uniform,
    ends_of,
    from_spec,
    to_spec,
)

ALL: list[Distribution] = [
    Uniform(0.0, 3.0),
    Uniform(-1.0, 1.0, 2),
    LogUniform(0.5, 4.0),
    LogUniform(0.1, 10.0, 3),
    Normal(1.0, 0.2),
    Normal(0.0, 1.0, 2),
    Choice((-1.0, 1.0)),
    Choice((1.0, 2.0, 3.0), 2),
    Angle(),
    Angle(2),
    Disc(0.2),
    Disc(0.21, 0.201),
    Fixed(1.5),
    Fixed((1.0, 2.0)),
    Uniform((0.1, -0.2), (0.3, 0.2)),
    LogUniform((0.1, 10.0), (0.2, 100.0)),
    Normal((0.0, 5.0, 9.0), (0.1, 0.2, 0.3)),
]


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_draws_lie_in_the_support(distribution: Distribution) -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        value = distribution.sample(rng)
        assert distribution.contains(value)
        components = value if isinstance(value, tuple) else (value,)
        assert isinstance(value, tuple) == (distribution.size is not None)
        assert len(components) == (distribution.size or 1)
        assert all(type(component) is float for component in components)
        ends = zip(components, *ends_of(distribution), strict=True)
        assert all(low <= component <= high for component, low, high in ends)


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_same_seed_same_draws(distribution: Distribution) -> None:
    first, second = (np.random.default_rng(5) for _ in range(2))
    assert [distribution.sample(first) for _ in range(5)] == [distribution.sample(second) for _ in range(5)]


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_written_and_read_back(distribution: Distribution) -> None:
    assert from_spec(json.loads(json.dumps(to_spec(distribution), allow_nan=False))) == distribution


@pytest.mark.parametrize("distribution", ALL, ids=str)
def test_a_value_of_the_wrong_size_is_not_contained(distribution: Distribution) -> None:
    wrong = 1.0 if distribution.size is not None else (1.0,)
    assert not distribution.contains(wrong)
    assert not distribution.contains(())


def test_contains_by_hand() -> None:
    assert Uniform(0.0, 3.0).contains(3.0) and not Uniform(0.0, 3.0).contains(3.01)
    assert not Uniform(0.0, 3.0).contains(math.nan)
    assert not Uniform(-1.0, 1.0, 2).contains((0.0, 1.5))
    assert Choice((-1.0, 1.0)).contains(-1.0) and not Choice((-1.0, 1.0)).contains(0.0)
    assert Angle().contains(7.0) and not Angle().contains(math.inf)
    assert Disc(1.0).contains((0.6, 0.8)) and not Disc(1.0).contains((0.8, 0.8))
    assert not Disc(1.0, 0.5).contains((0.1, 0.1))
    assert Normal(0.0, 1.0).contains(1e6)
    assert Fixed(2.0).contains(2.0) and not Fixed(2.0).contains(2.1)


def test_each_component_has_its_own_range() -> None:
    place = from_spec({"dist": "uniform", "low": [0.1, -0.2], "high": [0.3, 0.2]})
    assert place == Uniform((0.1, -0.2), (0.3, 0.2)) and place.size == 2
    drawn = np.array([place.sample(np.random.default_rng(seed)) for seed in range(500)])
    assert drawn.min(axis=0) == pytest.approx([0.1, -0.2], abs=0.01)
    assert drawn.max(axis=0) == pytest.approx([0.3, 0.2], abs=0.01)
    assert place.contains((0.1, 0.2)) and not place.contains((0.0, 0.2)) and not place.contains((0.2, 0.25))
    # A number goes with every component.
    assert Uniform((0.1, -0.2), 0.5) == Uniform((0.1, -0.2), (0.5, 0.5))
    # Equal ranges are drawn as before.
    same, each = Uniform(0.0, 1.0, 2), Uniform((0.0, 0.0), (1.0, 1.0))
    assert same.sample(np.random.default_rng(3)) == each.sample(np.random.default_rng(3))
    spread = Normal((0.0, 100.0), (1.0, 5.0))
    draws = np.array([spread.sample(np.random.default_rng(seed)) for seed in range(2000)])
    assert draws.mean(axis=0) == pytest.approx([0.0, 100.0], abs=0.5)
    assert draws.std(axis=0) == pytest.approx([1.0, 5.0], rel=0.1)


def test_disc_is_uniform_by_area() -> None:
    """A quarter of the area lies within half the radius."""
    rng = np.random.default_rng(0)
    radii = [math.hypot(*point) for point in (Disc(1.0).sample(rng) for _ in range(4000)) if isinstance(point, tuple)]
    assert np.mean(np.array(radii) < 0.5) == pytest.approx(0.25, abs=0.03)


def test_loguniform_is_uniform_in_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    draws = np.array([LogUniform(0.01, 100.0).sample(rng) for _ in range(4000)])
    assert np.mean(draws < 1.0) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dist": "unifrom", "low": 0, "high": 1}, "did you mean 'uniform'"),
        ({"dist": "uniform", "lo": 0, "high": 1}, "uniform has no field 'lo' (file.yaml:3): did you mean 'low'"),
        ({"dist": "uniform", "low": 0}, "uniform lacks 'high'"),
        ({"dist": "uniform", "low": 2, "high": 1}, "low < high"),
        ({"dist": "uniform", "low": "a", "high": 1}, "can't be read"),
        ({"dist": "uniform", "low": 0, "high": math.nan}, "low < high"),
        ({"dist": "loguniform", "low": 0, "high": 1}, "0 < low"),
        ({"dist": "loguniform", "low": [1, 0], "high": 2}, "0 < low"),
        ({"dist": "uniform", "low": [0, 2], "high": [1, 1]}, "low < high"),
        ({"dist": "uniform", "low": [0, 0], "high": [1, 1, 1]}, "low and high of different sizes"),
        ({"dist": "uniform", "low": [0, 0], "high": 1, "size": 3}, "different sizes"),
        ({"dist": "uniform", "low": [], "high": 1}, "different sizes"),
        ({"dist": "uniform", "low": ["a", "b"], "high": 1}, "can't be read"),
        ({"dist": "normal", "mean": [0, 1], "std": [1, 0]}, "std > 0"),
        ({"dist": "normal", "mean": 0, "std": 0}, "std > 0"),
        ({"dist": "choice", "options": []}, "at least one"),
        ({"dist": "choice", "options": [1, 1]}, "options that differ"),
        ({"dist": "uniform", "low": 0, "high": 1, "size": 0}, "size 0"),
        ({"dist": "disc", "radius": 1, "inner_radius": 2}, "inner_radius < radius"),
        ({"dist": "fixed", "value": math.inf}, "finite"),
        ({"low": 0, "high": 1}, "unknown distribution None"),
    ],
)
def test_bad_specs_are_refused(spec: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_spec(spec, where="file.yaml:3")
    assert message in str(caught.value)
    assert "file.yaml:3" in str(caught.value)
