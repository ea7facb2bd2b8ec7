"""Numbers that are task parameters, what is refused, and families that worker processes play."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lab_environments import Cart

from mql import tasks as suite
from mql.agent.agent import Agent
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.distributions import Uniform
from mql.tasks.disturbances.family import disturbed, remarks
from mql.tasks.disturbances.settings import Actuation, Sensed, Sensing
from mql.tasks.family import TaskFamily

pytestmark = pytest.mark.newest

POINT = registry.load("point-robot")


def carts() -> TaskFamily:
    """Carts whose sensor is the better or worse, by the task; a step is 0.05 s."""
    parameters = {"gain": Uniform(0.5, 2.0), "sigma": Uniform(0.0, 0.5), "late": Uniform(0.0, 0.2)}
    return suite.from_gymnasium(make_cart, parameters, name="carts", episode_length=10, info_keys=("place",))


def make_cart(gain: float, sigma: float, late: float, render_mode: str | None = None) -> Cart:
    return Cart(gain=gain, render_mode=render_mode)


def test_a_number_may_be_a_task_parameter_and_then_each_task_has_its_own() -> None:
    family = disturbed(carts(), Sensing(noise="task.sigma", delay_s="task.late"), Actuation(gain="task.sigma"))
    tasks = [family.task({"gain": 1.0, "sigma": sigma, "late": late}) for sigma, late in ((0.0, 0.1), (0.4, 0.0))]
    batch = family.make_batch(tasks)
    first = batch.reset([1, 1])
    steps = [batch.step(np.ones((2, 1))) for _ in range(10)]
    obs, places = np.stack([first, *(step.obs for step in steps)]), np.stack([step.info["place"] for step in steps])
    # The second number of a cart is its steps / 10.
    assert np.allclose(obs[:, 0, 1], np.maximum(np.arange(11) - 2, 0) / 10)
    assert 0.2 < (obs[:, 1, 1] - np.arange(11) / 10).std() < 0.6
    # An action of 0 moves a cart by 0.1, one of 0.4 by 0.22.
    assert np.allclose(np.diff(places, axis=0), [0.1, 0.22], atol=1e-6)


def test_parameters_of_disturbances_are_bounded_by_what_makes_sense() -> None:
    family = disturbed(carts(), Sensing(noise="task.sigma", delay_s="task.late"))
    assert family.parameters["sigma"].bounds == (0.0, np.inf) and family.parameters["sigma"].observed_start
    assert not family.parameters["late"].observed_start
    for name, value in (("sigma", -0.1), ("late", 0.5)):
        with pytest.raises(UserError, match=f"task parameter '{name}' can't be"):
            family.task({"gain": 1.0, "sigma": 0.1, "late": 0.1, name: value})


def test_a_hidden_noise_passes_the_checks() -> None:
    inspection = Inspection(
        build=lambda: disturbed(carts(), Sensing(noise="task.sigma"), Actuation(delay_s="task.late"))
    )
    for check in ("builds", "splits", "determinism", "finite", "hidden", "effect", "pickle"):
        assert run_check(inspection, check).result == "pass", (check, run_check(inspection, check).message)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_worker_processes_play_the_same_disturbed_episodes(workers: int) -> None:
    family = disturbed(carts(), Sensing(noise="task.sigma", bias=0.1, history=2), Actuation(delay_s=0.1))
    assert not family.native
    tasks, seeds = family.tasks("train")[:3], [4, 5, 6]
    agent = Agent(family.obs_dim, 1, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=0)
    for episode, task, seed in zip(collect(agent, family, tasks, seeds, workers=workers), tasks, seeds, strict=True):
        batch = family.make_batch([task])
        expected = [batch.reset([seed])[0], *(batch.step(action[None]).obs[0] for action in episode.action)]
        assert np.array_equal(episode.obs, expected)


@pytest.mark.parametrize(
    ("sensing", "actuation", "message"),
    [
        (Sensing(noise=-0.1), Actuation(), "noise is -0.1 (family point-robot, sensing.noise): give 0 or more"),
        (Sensing(bias=float("nan")), Actuation(), "bias is nan (family point-robot, sensing.bias): give a finite"),
        (Sensing(delay_s=-1.0), Actuation(), "delay_s is -1"),
        (Sensing(delay_s=2.0), Actuation(), "an episode lasts 2 s, 20 control steps; give less"),
        (Sensing(delay_s=0.04), Actuation(), "less than half a control step"),
        (Sensing(history=0), Actuation(), "history is 0"),
        (Sensing(history=22), Actuation(), "an episode has 21 observations"),
        (Sensing(noise="task.gaol"), Actuation(), "no task parameter 'gaol' (family point-robot, sensing.noise): did"),
        (Sensing(noise="task.goal"), Actuation(), "of train, which noise can't be"),
        (Sensing(), Actuation(delay_s=2.1), "family point-robot, actuation.delay_s"),
        (Sensing(), Actuation(gain=(1.0, 2.0, 3.0)), "gain has 3 numbers"),
        (Sensing(), Actuation(rate_limit=0.0), "give more than 0 (1/s)"),
        (Sensing(), Actuation(delay_s="task.goal"), "has 2 numbers (family point-robot, actuation.delay_s)"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(sensing: Sensing, actuation: Actuation, message: str) -> None:
    with pytest.raises(UserError) as caught:
        disturbed(POINT, sensing, actuation)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_history_too_large_for_memory_is_refused() -> None:
    long = dataclasses.replace(POINT, episode_length=60_000)
    with pytest.raises(UserError, match=r"have 110,000 numbers .*history.*at most 100,000 are allowed"):
        disturbed(long, Sensing(history=55_000))


def test_delays_that_are_rounded_are_said() -> None:
    inner = disturbed(POINT, Sensing(delay_s=0.14))
    assert remarks(disturbed(inner, actuation=Actuation(delay_s=0.36), section="env.")) == [
        "env.actuation.delay_s of 0.36 s counts as 0.4 s, whole control steps of 0.1 s",
        "sensing.delay_s of 0.14 s counts as 0.1 s, whole control steps of 0.1 s",
    ]
    assert remarks(disturbed(POINT, Sensing(delay_s=0.3, noise=0.1))) == [] == remarks(POINT)


def test_a_parameter_with_a_number_for_each_gives_each_its_own() -> None:
    family = disturbed(POINT, [Sensed(key="sensing", columns=(0, 1), sensing=Sensing())], Actuation(gain="task.goal"))
    task = family.task({"goal": [0.5, -1.0]})
    batch = family.make_batch([task])
    first = batch.reset([0])
    assert np.allclose(batch.step([[1.0, 1.0]]).obs - first, [[0.05, -0.1]], atol=1e-6)
