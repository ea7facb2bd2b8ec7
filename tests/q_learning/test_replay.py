"""Returns by hand, time limits and terminations, rings that wrap, priorities, and content that comes back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mql.q_learning.replay import QBatch, QReplay
from mql.q_learning.settings import DQN, RAINBOW, QSettings


def settings(n_step: int = 1, capacity: int = 100, discount: float = 0.5, *, prioritised: bool = False) -> QSettings:
    return QSettings(n_step=n_step, replay_capacity=capacity, discount=discount, prioritised=prioritised)


def play(replay: QReplay, rewards: list[float], end: str = "", *, first: int = 0, lane_count: int = 1) -> None:
    """One episode, whose t-th observation is (first + t,), in all lanes alike."""
    for t, reward in enumerate(rewards):
        last = t == len(rewards) - 1
        obs, after = (np.full((lane_count, 1), first + t + k, dtype=np.float32) for k in (0, 1))
        flags = [[last and end == kind] * lane_count for kind in ("terminated", "truncated")]
        replay.add(obs, [t] * lane_count, [reward] * lane_count, *flags, after)


def known(replay: QReplay) -> dict[float, tuple[float, float, float]]:
    """Reward, discount and next observation by observation, of all that can be drawn."""
    batch = replay.sample(2000, np.random.default_rng(0))
    columns = (batch.obs[:, 0], batch.reward, batch.discount, batch.next_obs[:, 0])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {obs: (reward, discount, after if discount else -1.0) for obs, reward, discount, after in rows}


def test_a_return_ends_at_a_termination_without_a_bootstrap() -> None:
    replay = QReplay((1,), np.float32, settings(n_step=3))
    play(replay, [1.0, 2.0], "terminated")
    play(replay, [4.0], first=50)  # of the next episode: no return has it
    assert known(replay) == {0.0: (2.0, 0.0, -1.0), 1.0: (2.0, 0.0, -1.0)}


def test_a_return_that_a_time_limit_cuts_goes_on_from_the_final_observation() -> None:
    replay = QReplay((1,), np.float32, settings(n_step=3))
    play(replay, [1.0, 2.0], "truncated")
    play(replay, [4.0], first=50)
    assert known(replay) == {0.0: (2.0, 0.25, 2.0), 1.0: (2.0, 0.5, 2.0)}, "gamma^2 two steps on, gamma one step on"


def test_whole_returns_and_what_is_not_known_yet() -> None:
    replay = QReplay((1,), np.float32, settings(n_step=3))
    play(replay, [1.0, 2.0, 4.0, 8.0, 16.0])
    assert known(replay) == {0.0: (3.0, 0.125, 3.0), 1.0: (6.0, 0.125, 4.0)}
    replay.cut()
    play(replay, [1.0] * 4, first=50)
    assert set(known(replay)) == {0.0, 1.0, 50.0}


def test_one_step_returns_wait_for_what_follows() -> None:
    replay = QReplay((1,), np.float32, settings())
    play(replay, [1.0, 2.0, 3.0])
    assert known(replay) == {0.0: (1.0, 0.5, 1.0), 1.0: (2.0, 0.5, 2.0)}
    assert len(replay) == 2


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("lanes", [1, 3])
def test_a_ring_that_wraps_holds_the_newest_returns_and_no_others(n_step: int, lanes: int) -> None:
    """Against a list of all that happened, with episodes of all lengths."""
    rng, gamma, rows = np.random.default_rng(n_step), 0.5, 20
    replay = QReplay((1,), np.float32, settings(n_step, rows * lanes), lanes=lanes)
    stream: list[list[tuple[float, float, str]]] = [[] for _ in range(lanes)]  # observation, reward, how it ended
    finals: list[dict[int, float]] = [{} for _ in range(lanes)]
    count = 0.0
    after = np.zeros((lanes, 1), dtype=np.float32)
    obs = np.zeros((lanes, 1), dtype=np.float32)
    for _ in range(150):
        ends = rng.choice(["", "terminated", "truncated"], lanes, p=[0.7, 0.15, 0.15])
        reward = rng.normal(size=lanes).astype(np.float32)
        for lane in range(lanes):
            count += 1.0
            after[lane] = count
            if ends[lane] == "truncated":
                finals[lane][len(stream[lane])] = count
            stream[lane].append((float(obs[lane, 0]), float(reward[lane]), str(ends[lane])))
        replay.add(obs, np.zeros(lanes, int), reward, ends == "terminated", ends == "truncated", after)
        for lane in range(lanes):  # the next episode begins elsewhere
            count += ends[lane] != ""
            after[lane] = count if ends[lane] else after[lane]
        obs = after.copy()

    expected = {}
    for lane in range(lanes):
        steps = stream[lane]
        row_of, row = [], 0
        for *_, end in steps:
            row_of.append(row)
            row += 2 if end == "truncated" else 1
        for place in range(len(steps)):
            total, k = 0.0, 0
            while k < n_step and place + k < len(steps):
                total += gamma**k * steps[place + k][1]
                k += 1
                if steps[place + k - 1][2]:
                    break
            end = steps[place + k - 1][2]
            if not end and (k < n_step or place + k == len(steps)):
                continue  # not known yet
            if row_of[place] < row - rows:
                continue  # gone
            final = finals[lane][place + k - 1] if end == "truncated" else None
            following = final if final is not None else (-1.0 if end else steps[place + k][0])
            factor = 0.0 if end == "terminated" else gamma**k
            expected[steps[place][0]] = (np.float32(total).item(), factor, following)
    found = known(replay)
    assert found.keys() == expected.keys() and len(found) > 10 * lanes
    for key, values in expected.items():
        assert found[key] == pytest.approx(values, abs=1e-6)


def test_uniform_draws_are_uniform_and_have_weights_of_one() -> None:
    replay = QReplay((1,), np.float32, settings())
    play(replay, [0.0] * 40, "terminated")
    batch = replay.sample(20_000, np.random.default_rng(0))
    counts = np.bincount(batch.rows, minlength=40)
    assert ((counts - 500) ** 2 / 500).sum() < 80
    assert torch.equal(batch.weights, torch.ones(20_000))
    replay.learned(batch.rows[:4], np.full(4, 100.0))
    again = replay.sample(20_000, np.random.default_rng(0))
    assert np.array_equal(batch.rows, again.rows), "losses say nothing"


def test_priorities_and_weights_by_hand() -> None:
    replay = QReplay((1,), np.float32, settings(prioritised=True))
    play(replay, [0.0, 0.0], "terminated")
    replay.learned(np.array([0, 1]), np.array([1.0, 16.0]))
    batch = replay.sample(10_000, np.random.default_rng(0), beta=0.5)
    assert np.bincount(batch.rows).tolist() == [2000, 8000], "one from each of equal parts"
    for row, weight in ((0, 1.0), (1, 0.5)):
        assert batch.weights[batch.rows == row].unique().tolist() == [weight]
    assert replay.sample(50, np.random.default_rng(0), beta=1.0).weights.unique().tolist() == [0.25, 1.0]
    assert replay.sample(50, np.random.default_rng(0), beta=0.0).weights.unique().tolist() == [1.0]


def test_a_new_transition_has_the_largest_loss_so_far() -> None:
    replay = QReplay((1,), np.float32, settings(prioritised=True))
    play(replay, [0.0, 0.0], "terminated")
    replay.learned(np.array([0, 1]), np.array([9.0, 16.0]))
    replay.learned(np.array([0, 1]), np.array([0.0, 4.0]))
    play(replay, [0.0], "terminated")
    assert replay.arrays()["priority"][0, :3].tolist() == [1e-5, 2.0, 4.0]


def filled(method: QSettings, lanes: int, steps: int, replay: QReplay | None = None, start: int = 0) -> QReplay:
    replay = replay or QReplay((2, 4, 4), bool, method, lanes=lanes)
    for t in range(start, start + steps):
        rng = np.random.default_rng(t)
        obs, after = (rng.random((lanes, 2, 4, 4)) < 0.3 for _ in range(2))
        end, cut = (rng.random(lanes) < 0.1 for _ in range(2))
        replay.add(obs, rng.integers(3, size=lanes), rng.normal(size=lanes), end, cut, after)
        if t % 4 == 0 and len(replay) > 8:
            batch = replay.sample(8, rng)
            replay.learned(batch.rows, rng.exponential(size=8))
    return replay


def equal(a: QBatch, b: QBatch) -> bool:
    pairs = ((getattr(a, field.name), getattr(b, field.name)) for field in dataclasses.fields(QBatch))
    return all(np.array_equal(np.asarray(x), np.asarray(y)) and x.dtype == y.dtype for x, y in pairs)


@pytest.mark.parametrize("method", [DQN, RAINBOW])
@pytest.mark.parametrize("steps", [30, 137])  # before the rings are full, and after
def test_what_was_stored_comes_back_and_goes_on_bit_for_bit(method: QSettings, steps: int) -> None:
    method = method.model_copy(update={"replay_capacity": 150})
    whole = filled(method, 2, steps)
    resumed = filled(method, 2, 57, start=1000)  # holds something else
    resumed.restore(whole.arrays())
    for replay in (whole, resumed):
        filled(method, 2, 40, replay, start=steps)
    for seed in range(5):
        batches = [replay.sample(32, np.random.default_rng(seed), beta=0.6) for replay in (whole, resumed)]
        assert equal(*batches)
    for name, array in whole.arrays().items():
        assert np.array_equal(array, resumed.arrays()[name]), name
    assert len(whole) == len(resumed)


def test_arrays_are_copies_and_plain() -> None:
    replay = filled(DQN, 1, 40)
    arrays = replay.arrays()
    assert arrays["obs"].dtype == bool and arrays["obs"].shape[:1] == (1,) and arrays["obs"].shape[1] < 60
    before = {name: array.copy() for name, array in arrays.items()}
    filled(DQN, 1, 40, replay, start=40)
    assert all(np.array_equal(before[name], arrays[name]) for name in before)
    assert all(array.dtype != object for array in arrays.values())


def test_what_does_not_fit_is_refused() -> None:
    arrays = filled(DQN, 2, 30).arrays()
    other = QReplay((3, 4, 4), bool, DQN, lanes=2)
    with pytest.raises(ValueError, match="obs is bool"):
        other.restore(arrays)
    with pytest.raises(KeyError):
        QReplay((2, 4, 4), bool, DQN, lanes=2).restore({k: v for k, v in arrays.items() if k != "priority"})
    with pytest.raises(ValueError, match="no room"):
        QReplay((1,), np.float32, settings(3, 8), lanes=2)
    with pytest.raises(ValueError, match="no row"):
        QReplay((1,), np.float32, DQN).sample(4, np.random.default_rng(0))
