"""Families whose model each episode draws anew: side by side, one by one, through disturbances, or refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import mujoco
import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Sensing
from mql.tasks.family import TaskFamily
from mql.tasks.physics.nuisances import factors
from mql.tasks.stepping.rollout import MujocoFamily

FACTORS = {"body_mass": (0.7, 1.3), "dof_damping": (0.5, 2.0), "geom_friction": (0.5, 1.5)}
STEPS = 6


def played(family: TaskFamily, rows: list[int], seeds: list[int]) -> np.ndarray:
    """The observations of training tasks side by side, [T, N, O]."""
    batch: Any = family.make_batch([family.tasks("train")[row] for row in rows])
    seen = [batch.reset(seeds)]
    action = np.full((len(rows), family.action_dim), 0.4)
    seen += [batch.step(action).obs for _ in range(STEPS)]
    batch.close()
    return np.array(seen)


@pytest.mark.parametrize("name", ["cheetah-vel", "reacher-goal", "arm-push", "walker-params"])
def test_a_batch_repeats_each_task_alone_and_every_reset(name: str) -> None:
    family = registry.load(name).randomised(factors(FACTORS))
    together = played(family, [0, 1, 0], [5, 6, 7])
    np.testing.assert_array_equal(together, played(family, [0, 1, 0], [5, 6, 7]))
    np.testing.assert_array_equal(together[:, 1:2], played(pickle.loads(pickle.dumps(family)), [1], [6]))
    environment = family.make(family.tasks("train")[1])
    environment.reset(seed=9)
    environment.step(np.zeros(family.action_dim))
    np.testing.assert_array_equal(environment.reset(seed=6)[0], together[0, 1])
    for step in range(STEPS):
        obs = environment.step(np.full(family.action_dim, 0.4))[0]
        np.testing.assert_array_equal(obs, together[step + 1, 1])
    environment.close()


def test_the_first_observation_is_that_of_the_family_itself_and_later_ones_are_not() -> None:
    plain = registry.load("cheetah-vel")
    ours, theirs = played(plain.randomised(factors(FACTORS)), [0, 1], [5, 6]), played(plain, [0, 1], [5, 6])
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert not np.isclose(ours[-1], theirs[-1]).all(axis=1).any()


def test_factors_are_those_of_the_seed_one_for_each_body_or_joint() -> None:
    plain = registry.load("cheetah-vel")
    assert isinstance(plain, MujocoFamily)
    family = plain.randomised(factors({"body_mass": (0.5, 1.5), "geom_friction": (0.5, 1.5)}))
    physics, base = family.physics, plain.base()
    assert physics is not None
    rng = np.random.default_rng(4).spawn(1)[0]
    model = copy.deepcopy(base)
    physics.apply(model, {}, physics.draw(np.random.default_rng(4)))
    masses = rng.uniform(0.5, 1.5, base.nbody - 1)
    friction = rng.uniform(0.5, 1.5)
    np.testing.assert_allclose(model.body_mass[1:], base.body_mass[1:] * masses)
    np.testing.assert_allclose(model.geom_friction[:, 0], base.geom_friction[:, 0] * friction)
    np.testing.assert_array_equal(model.geom_friction[:, 1:], base.geom_friction[:, 1:])
    # What MuJoCo derives from masses is that of a model which has them.
    again = copy.deepcopy(model)
    mujoco.mj_setConst(again, mujoco.MjData(again))
    np.testing.assert_allclose(model.dof_invweight0, again.dof_invweight0)


def test_disturbed_families_are_randomised_within() -> None:
    noisy = disturbed(registry.load("cheetah-vel"), Sensing(noise=0.1, history=2))
    family = noisy.randomised(factors(FACTORS))
    assert family.obs_dim == noisy.obs_dim and type(family) is type(noisy)
    assert not np.array_equal(played(family, [0], [5]), played(noisy, [0], [5]))


def test_an_oracle_of_a_randomised_family_is_randomised() -> None:
    family = registry.load("cheetah-vel").randomised(factors(FACTORS))
    width = family.obs_dim
    np.testing.assert_array_equal(played(family.as_oracle(), [1], [5])[:, :, :width], played(family, [1], [5]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fetch-push-wrapped", "adroit-door"])
def test_environments_of_packages_put_the_number_of_before_back(name: str) -> None:
    pytest.importorskip("gymnasium_robotics")
    plain = registry.load(name)
    family = plain.randomised(factors({"body_mass": (0.5, 1.5)}))
    np.testing.assert_array_equal(played(family, [0, 1], [5, 6])[:, 1:], played(family, [1], [6]))
    bare, varied = (one.make(one.tasks("train")[1]) for one in (plain, family))
    bare.reset(seed=3)
    own = np.array(bare.inner.unwrapped.model.body_mass)  # type: ignore[attr-defined]
    for seed in (3, 4, 3):
        varied.reset(seed=seed)
        masses = np.array(varied.inner.unwrapped.model.body_mass)  # type: ignore[attr-defined]
        heavy = own > 0.0
        drawn = np.random.default_rng(seed).spawn(1)[0].uniform(0.5, 1.5, int(heavy[1:].sum()))
        np.testing.assert_allclose(masses[heavy & (np.arange(len(own)) > 0)], own[1:][heavy[1:]] * drawn)
    bare.close()
    varied.close()


@pytest.mark.parametrize(
    ("name", "field", "says"),
    [
        ("point-robot", "body_mass", r"no MuJoCo model .*point-robot.*: leave out env\.randomise\.body_mass"),
        (
            "cheetah-vel",
            "position_gain",
            r"no actuator with position_gain \(family cheetah-vel: env\.randomise\.position",
        ),
        ("cheetah-vel", "dof_frictionloss", r"all 0 in this model.*env\.randomise\.dof_frictionloss"),
    ],
)
def test_what_has_no_such_numbers_is_refused_in_one_line(name: str, field: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        registry.load(name).randomised(factors({field: (0.5, 2.0)}, section="env."))
    assert "\n" not in str(caught.value)


def test_a_family_without_nuisances_shares_its_models() -> None:
    """Nothing is copied where nothing differs: such families must not be slower."""
    family = registry.load("cheetah-vel")
    batch: Any = family.make_batch(family.tasks("train")[:3])
    models = batch._dynamics._models
    assert models[0] is models[1] is models[2] and batch._dynamics._varying is None
    batch.close()
