"""Collection that lags behind the updates: against a plain loop that keeps an older policy, in turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mql.collecting.exploration import explorer_for, random_actions
from mql.collecting.rollout import collect_each
from mql.config.loading import override
from mql.config.schema import Config
from mql.learning import collection
from mql.learning.trainer import Trainer, fit_scaling
from mql.seeding import generator, spawn_seeds
from mql.stopping import GivenUp
from mql.tasks import registry
from mql.types import Episode

SETTINGS = [
    "agent.hidden_sizes=[8]", "agent.context_dim=4", "agent.normalize=true", "train.batch_size=32",
    "train.episodes_per_iteration=5", "train.random_steps=150", "train.env_steps=600", "train.task_sampling=worst",
]  # fmt: skip


def trainer(*settings: str) -> Trainer:
    config = override(Config(family="point-robot"), [*SETTINGS, *settings])
    return Trainer(config, registry.load("point-robot"))


def lagging(*settings: str) -> Trainer:
    return trainer("train.collection_lag=1", *settings)


def state(trained: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trained.tensors().items() if not name.startswith("ahead.")}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def in_turn(trained: Trainer, iterations: int) -> list[Episode]:
    """Iterate as `Trainer` says that it does with a lag of 1: an agent copied before updates plays what is next."""
    config, family, found = trained.config, trained.family, []
    agent = config.agent
    explorer = explorer_for(family, agent.exploration, agent.exploration_noise, spread=agent.exploration_spread)
    acting, version, steps_then = trained.agent, 0, 0
    for number in range(iterations):
        tasks = [trained.tasks[place] for place in trained._choice.tasks_of(number)]
        played = collect_each(
            acting,
            family,
            tasks,
            spawn_seeds(len(tasks), config.seed, "reset", number),
            explorer=random_actions(family, config.train.random_actions) if steps_then < 150 else explorer,
            rng=generator(config.seed, "exploration", number),
            policy_version=version,
        )
        for episode in played:
            assert isinstance(episode, Episode)
            trained.store(episode)
            trained._choice.note(episode)
            trained.env_steps += episode.length
            found.append(episode)
        fit_scaling(trained.agent.scaling, trained.replay, trained.config.train, trained.env_steps)
        acting, version, steps_then = trained.agent.copy(), trained.updates, trained.env_steps
        trained._update(found[-len(tasks) :])
        trained.iterations += 1
    return found


@pytest.mark.parametrize("workers", [1, 3])
def test_it_is_the_loop_in_turn(workers: int) -> None:
    plain, ahead = trainer(), lagging(f"collect.workers={workers}")
    expected = in_turn(plain, 6)
    episodes = [episode for _ in range(6) for episode in ahead.iterate().episodes]
    assert ahead.updates == plain.updates > 0
    for ours, theirs in zip(episodes, expected, strict=True):
        assert np.array_equal(ours.obs, theirs.obs) and np.array_equal(ours.action, theirs.action)
        assert (ours.task, ours.seed, ours.policy_version) == (theirs.task, theirs.seed, theirs.policy_version)
    assert_equal(state(ahead), state(plain))


def test_it_is_another_run_than_one_without_a_lag() -> None:
    plain, ahead = trainer(), lagging()
    for _ in range(5):
        plain.iterate()
        ahead.iterate()
    assert not torch.equal(state(plain)["online.actor.output.weight"], state(ahead)["online.actor.output.weight"])


def test_without_a_lag_nothing_of_it_is_stored() -> None:
    plain = trainer()
    plain.iterate()
    assert "ahead" not in plain.counters()
    assert not [name for name in plain.tensors() if name.startswith("ahead.")]


def test_episodes_are_played_while_updates_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The updates wait here until an episode of the next iteration has begun, in another thread."""
    ahead = lagging()
    begun, seen = threading.Event(), []
    play: Callable[..., Any] = collection.collect_each

    def told(*args: Any, **more: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            begun.set()
        return play(*args, **more)

    monkeypatch.setattr(collection, "collect_each", told)
    update = ahead._update

    def after_that(episodes: list[Episode]) -> dict[str, float]:
        seen.append(begun.wait(60.0))
        return update(episodes)

    monkeypatch.setattr(ahead, "_update", after_that)
    ahead.iterate()
    assert seen == [True]


def test_all_updates_are_made_with_one_thread_those_of_the_last_iteration_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number of threads rounds differently, and a run that is made longer has no last iteration there."""
    ahead = lagging("train.env_steps=200")
    update, threads = ahead._update, []

    def counted(episodes: list[Episode]) -> dict[str, float]:
        threads.append(torch.get_num_threads())
        return update(episodes)

    monkeypatch.setattr(ahead, "_update", counted)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        while ahead.env_steps < 200:
            ahead.iterate()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert threads == [1] * len(threads) and threads


def test_what_was_given_up_is_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, ahead = lagging(), lagging()
    for _ in range(5):
        expected.iterate()
    play: Callable[..., Any] = collection.collect_each

    def given_up(*args: Any, **more: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            raise GivenUp
        return play(*args, **more)

    monkeypatch.setattr(collection, "collect_each", given_up)
    for _ in range(5):
        ahead.iterate()
    assert_equal(dict(ahead.tensors()), dict(expected.tensors()))


def test_an_error_of_the_updates_waits_for_the_episodes_and_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = lagging()

    def fails(episodes: list[Episode]) -> dict[str, float]:
        raise ArithmeticError("as in a loss")

    monkeypatch.setattr(ahead, "_update", fails)
    threads = threading.active_count()
    with pytest.raises(ArithmeticError, match="as in a loss"):
        ahead.iterate()
    assert threading.active_count() == threads


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_a_checkpoint_holds_the_policy_that_plays_next(iterations: int) -> None:
    whole = lagging()
    episodes: list[Episode] = []
    for number in range(6):
        if number == iterations:
            tensors = {name: tensor.clone() for name, tensor in whole.tensors().items()}
            counters, stored = whole.counters(), list(episodes)
        episodes += whole.iterate().episodes
    resumed = lagging()
    resumed.restore(tensors, counters)
    for number, episode in enumerate(stored):
        resumed.store(episode, number=number)
    for _ in range(iterations, 6):
        resumed.iterate()
    assert_equal(dict(resumed.tensors()), dict(whole.tensors()))


def test_a_checkpoint_without_that_policy_is_refused() -> None:
    ahead = lagging()
    ahead.iterate()
    tensors = {name: tensor for name, tensor in ahead.tensors().items() if name != "ahead.online.actor.output.bias"}
    with pytest.raises(KeyError):
        lagging().restore(tensors, ahead.counters())
