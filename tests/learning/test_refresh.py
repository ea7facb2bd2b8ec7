"""Refreshing encoder states by a budget: new episodes at once, then the longest untouched; and going on exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.agent.encoders import GRUEncoder
from mql.config.schema import AgentConfig
from mql.learning.replay import Replay
from mql.types import Episode

OBS, ACTION, STATE, TASKS = 2, 1, 3, 2


def encoder(seed: int) -> GRUEncoder:
    torch.manual_seed(seed)
    return GRUEncoder(OBS + ACTION + 1, AgentConfig(context_dim=STATE))


def episode(number: int, length: int) -> Episode:
    rng = np.random.default_rng(number)
    obs, action = (rng.standard_normal((n, d)) for n, d in ((length + 1, OBS), (length, ACTION)))
    return Episode(
        obs=obs.astype(np.float32),
        action=action.astype(np.float32),
        reward=rng.standard_normal(length).astype(np.float32),
        terminated=False,
        truncated=True,
        task=number % TASKS,
        seed=number,
    )


def replay(capacity: int = 200) -> Replay:
    return Replay(
        n_tasks=TASKS, obs_dim=OBS, action_dim=ACTION, capacity=capacity, episode_length=10, context_dim=STATE
    )


def filled(numbers: range, capacity: int = 200) -> Replay:
    buffer = replay(capacity)
    for number in numbers:
        buffer.append(episode(number, 4 + number % 7), number=number)
    return buffer


def states(buffer: Replay) -> dict[int, torch.Tensor]:
    """The states of every episode held, found by its first reward."""
    numbers = {float(episode(number, 4 + number % 7).reward[0]): number for number in range(buffer.appended)}
    rows = buffer.all_rows()
    steps = buffer.step.ravel()[rows]
    found = {}
    for place in np.flatnonzero(steps == 0):
        length = int(buffer.remaining.ravel()[rows[place]])
        index = torch.from_numpy(rows[place : place + length])
        found[numbers[buffer.table[index[0], -1].item()]] = buffer.states[index].clone()
    return found


def refreshed(buffer: Replay, by: GRUEncoder, at_most: int | None) -> set[int]:
    """Refresh, and return the numbers of the episodes whose states changed."""
    before = states(buffer)
    buffer.refresh_states(by, at_most=at_most)
    return {number for number, now in states(buffer).items() if not torch.equal(now, before[number])}


def test_new_episodes_at_once_and_then_the_longest_untouched() -> None:
    buffer = filled(range(6))  # of 4, 5, 6, 7, 8 and 9 steps
    assert refreshed(buffer, encoder(0), 0) == set(range(6))
    assert refreshed(buffer, encoder(1), 9) == {0, 1}
    assert refreshed(buffer, encoder(2), 7) == {2, 3}  # begun is finished: no episode is too long for its turn
    buffer.append(episode(6, 10))
    assert refreshed(buffer, encoder(3), 17) == {4, 5, 6}
    assert refreshed(buffer, encoder(4), 16) == {0, 1, 2, 3}
    assert refreshed(buffer, encoder(5), 0) == set()
    assert refreshed(buffer, encoder(6), None) == set(range(7))


def test_a_budget_above_the_replay_is_a_full_refresh() -> None:
    one, two = filled(range(9)), filled(range(9))
    for seed in range(3):
        one.refresh_states(encoder(seed), at_most=10**6)
    two.refresh_states(encoder(2))
    assert torch.equal(one.states, two.states)


def test_forgetting_makes_all_new() -> None:
    buffer = filled(range(5))
    buffer.refresh_states(encoder(0))
    assert buffer.state_tensors()
    buffer.forget_states()
    assert buffer.state_tensors() == {}
    assert refreshed(buffer, encoder(1), 0) == set(range(5))


def test_forgotten_episodes_cost_nothing() -> None:
    buffer = filled(range(14), capacity=60)
    buffer.refresh_states(encoder(0))
    first = buffer.first_live_episode
    for number in range(14, 17):
        buffer.append(episode(number, 4 + number % 7))
    assert first < buffer.first_live_episode < 14
    assert refreshed(buffer, encoder(1), 1) == {buffer.first_live_episode, 14, 15, 16}


@pytest.mark.parametrize("capacity", [200, 40])  # all are held; only the newest are
def test_a_reloaded_replay_goes_on_with_the_same_states(capacity: int) -> None:
    buffer = filled(range(12), capacity)
    buffer.refresh_states(encoder(0))
    for number in range(12, 15):
        buffer.append(episode(number, 4 + number % 7))
    buffer.refresh_states(encoder(1), at_most=20)
    buffer.append(episode(15, 5))  # has no states yet
    again = replay(capacity)
    again.restore_states(buffer.state_tensors())
    for number in range(buffer.first_live_episode, 16):  # the ring begins elsewhere
        again.append(episode(number, 4 + number % 7), number=number)
    for seed, at_most in ((2, 0), (3, 15), (4, 15), (5, 30)):
        for one in (buffer, again):
            one.refresh_states(encoder(seed), at_most=at_most)
        here, there = states(buffer), states(again)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[number], there[number]) for number in here)


def test_states_that_do_not_fit_are_refused() -> None:
    buffer = filled(range(4))
    buffer.refresh_states(encoder(0))
    kept = buffer.state_tensors()
    with pytest.raises(ValueError, match=r"replay.states has shape \(22, 2\), not \(22, 3\)"):
        replay().restore_states({**kept, "replay.states": kept["replay.states"][:, :2]})
    with pytest.raises(KeyError):
        replay().restore_states({"replay.states": kept["replay.states"]})
    other = replay()
    other.restore_states(kept)
    with pytest.raises(ValueError, match="episode 0 has 7 steps, not the 4 of its kept states"):
        other.append(episode(0, 7), number=0)


def test_a_view_has_states_of_its_own() -> None:
    """Scoring for an adaptation does not change what training goes on with."""
    buffer = filled(range(8))
    buffer.refresh_states(encoder(0))
    kept = states(buffer)
    rows = buffer.all_rows(at_most=20)
    view = buffer.with_states_of(encoder(1), rows)
    assert view.table is buffer.table
    assert all(torch.equal(kept[number], now) for number, now in states(buffer).items())
    buffer.refresh_states(encoder(1))
    index = torch.from_numpy(rows)
    assert torch.equal(view.states[index], buffer.states[index]) and view.states[index].any()
