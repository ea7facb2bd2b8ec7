"""The replay: whole episodes in rings, and contexts that never cross an episode's start."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mql.agent.encoders import GRUEncoder
from mql.config.schema import AgentConfig
from mql.learning.contexts import Segments, Windows
from mql.learning.replay import Replay
from mql.types import Batch, Context, Episode

OBS, ACTION = 2, 1
CODE = 1000  # an observation is (episode, step): rows can be told apart


def episode(number: int, length: int, task: int = 0, *, terminated: bool = False) -> Episode:
    steps = np.arange(length + 1, dtype=np.float32)
    return Episode(
        obs=np.stack([np.full(length + 1, number, dtype=np.float32), steps], axis=1),
        action=(number * CODE + steps[:-1, None]).astype(np.float32),
        reward=-(number * CODE + steps[:-1]).astype(np.float32),
        terminated=terminated,
        truncated=not terminated,
        task=task,
        seed=number,
    )


def replay(capacity: int = 40, n_tasks: int = 1, episode_length: int = 10) -> Replay:
    return Replay(n_tasks=n_tasks, obs_dim=OBS, action_dim=ACTION, capacity=capacity, episode_length=episode_length)


def check(batch: Batch, lengths: dict[int, int], *, window: int | None = None) -> None:
    """Each transition is consistent, and its contexts are exactly the steps before it in its own episode."""
    t = batch.transition
    reads = 1 if batch.context.read is None else batch.context.read.shape[1]
    for b in range(len(t.obs)):
        if batch.weights[b] == 0:
            continue
        number, step = int(t.obs[b, 0]), int(t.obs[b, 1])
        assert 0 <= step < lengths[number]
        assert t.next_obs[b].tolist() == [number, step + 1]
        assert t.action[b].item() == number * CODE + step == -t.reward[b].item()
        for context, end in ((batch.context, step), (batch.next_context, step + 1)):
            row, column = divmod(b, reads)
            first = 0 if context.start is None else int(context.start[row])
            last = len(context.elements) if context.read is None else int(context.read[row, column])
            seen, read = context.elements[first:last, row], last - first
            steps = list(range(end - read, end))
            assert steps == [] or steps[0] >= 0
            assert seen[:, 1].tolist() == steps
            assert (seen[:, 0] == number).all()
            assert seen[:, 2].tolist() == [number * CODE + s for s in steps]
            if window is not None:
                assert read == min(window, end)


@pytest.mark.parametrize("plan", [Windows(4), Segments(3, 4), Segments(10, 0), Segments(16, 5)])
def test_contexts_stay_in_their_episode_after_circular_overwrite(plan: Windows | Segments) -> None:
    buffer = replay(capacity=40)
    rng = np.random.default_rng(0)
    lengths = {}
    for number in range(23):  # several times round the ring, with episodes of many lengths
        lengths[number] = int(rng.integers(1, 11))
        buffer.append(episode(number, lengths[number], terminated=number % 2 == 0))
    size = 60 if isinstance(plan, Windows) else 60 * plan.length
    batch = buffer.sample(size, plan, rng)
    assert batch.weights.sum() == pytest.approx(len(batch.weights), rel=1e-5)
    check(batch, lengths, window=plan.length if isinstance(plan, Windows) else None)
    held = set(batch.transition.obs[:, 0].int().tolist())
    assert min(held) >= buffer.first_live_episode
    assert buffer.transitions == sum(lengths[n] for n in range(buffer.first_live_episode, 23))


def test_target_context_is_shifted_by_one_real_step_at_an_episode_start() -> None:
    buffer = replay()
    buffer.append(episode(1, 10))
    rows = buffer.all_rows()
    batch = buffer.gather(rows[:2], Windows(4))
    for context, seen in ((batch.context, [0, 1]), (batch.next_context, [1, 2])):
        assert context.start is not None
        assert (len(context.elements) - context.start).tolist() == seen  # at first none, and no made-up first element


def test_only_termination_is_stored_as_termination() -> None:
    buffer = replay()
    buffer.append(episode(0, 5, terminated=True))
    buffer.append(episode(1, 5, terminated=False))
    batch = buffer.gather(buffer.all_rows(), Windows(2))
    ends = {
        int(o[0]): t.item()
        for o, t in zip(batch.transition.obs, batch.transition.terminated, strict=True)
        if int(o[1]) == 4
    }
    assert ends == {0: 1.0, 1: 0.0}
    assert batch.transition.terminated.sum() == 1.0


def test_segments_start_from_the_state_carried_since_the_reset() -> None:
    """So that z is, up to rounding, what the policy that carries its state had: also far into an episode."""
    torch.manual_seed(0)
    encoder = GRUEncoder(OBS + ACTION + 1, AgentConfig(context_dim=5))
    buffer = Replay(n_tasks=2, obs_dim=OBS, action_dim=ACTION, capacity=60, episode_length=12, context_dim=5)
    rng = np.random.default_rng(0)
    for number in range(17):
        made = episode(0, int(rng.integers(3, 13)), task=number % 2)
        noise = [rng.standard_normal(a.shape).astype(np.float32) for a in (made.obs, made.action, made.reward)]
        buffer.append(dataclasses.replace(made, obs=noise[0], action=noise[1], reward=noise[2]))
    buffer.refresh_states(encoder)
    rows = buffer.all_rows()
    carried = {}  # z of every row, by stepping through the episodes
    for row in rows:
        task, place = divmod(int(row), buffer.rows)
        if buffer.step[task, place] == 0:
            state = torch.zeros(1, 5)
        carried[tuple(buffer.table[row].tolist())] = state
        state = encoder(Context(buffer.table[row][None, None], initial=state))
    batch = buffer.gather(buffer.sample_rows(50, rng), Segments(4, 2), rng=rng)
    elements = torch.cat([batch.transition.obs, batch.transition.action, batch.transition.reward[:, None]], dim=1)
    for z, element, weight in zip(encoder(batch.context), elements, batch.weights, strict=True):
        if weight > 0:
            assert torch.allclose(z, carried[tuple(element.tolist())][0], atol=2**-11)  # kept in half precision


def test_capacity_bounds_memory_and_old_episodes_go_first() -> None:
    buffer = replay(capacity=40)
    bytes_before = buffer.nbytes
    for number in range(50):
        buffer.append(episode(number, 10))
    assert buffer.transitions == 40
    assert buffer.nbytes == bytes_before
    assert buffer.first_live_episode == 46
    with pytest.raises(ValueError, match="does not fit"):
        buffer.append(episode(51, 60))


def test_tasks_are_sampled_equally_whatever_they_hold() -> None:
    buffer = replay(capacity=400, n_tasks=2)
    buffer.append(episode(0, 10, task=0))
    for number in range(1, 16):
        buffer.append(episode(number, 10, task=1))
    rows = buffer.sample_rows(20_000, np.random.default_rng(0))
    share = float(np.mean(rows < buffer.rows))
    assert abs(share - 0.5) < 0.02


def test_every_transition_counts_the_same_in_segments() -> None:
    """Also near the ends of an episode, where a segment sticks out: expected weights are equal."""
    buffer = replay(capacity=100, episode_length=20)
    buffer.append(episode(0, 20))
    buffer.append(episode(1, 3))
    plan = Segments(6, 2)
    batch = buffer.sample(6 * 40_000, plan, np.random.default_rng(0))
    total = {}
    for (number, step), weight in zip(batch.transition.obs.int().tolist(), batch.weights.tolist(), strict=True):
        total[number, step] = total.get((number, step), 0.0) + weight
    share = np.array([total[0, s] for s in range(20)] + [total[1, s] for s in range(3)]) / len(batch.weights)
    assert np.allclose(share, 1 / 23, rtol=0.06)


def test_density_sets_the_expected_weight() -> None:
    buffer = replay(capacity=100, episode_length=20)
    buffer.append(episode(0, 20))
    rows = buffer.all_rows()
    rng = np.random.default_rng(0)
    density = np.zeros(len(buffer.table), dtype=np.float32)
    density[rows] = rng.random(20) * (rng.random(20) < 0.7)
    drawn = rng.choice(rows, size=40_000, p=density[rows] / density[rows].sum(dtype=np.float64))
    batch = buffer.gather(drawn, Segments(5, 2), rng=rng, density=density)
    total = np.zeros(20)
    np.add.at(total, batch.transition.obs[:, 1].int().numpy(), batch.weights.numpy())
    assert np.allclose(total / total.sum(), density[rows] / density[rows].sum(), atol=0.004)


def test_importance_multiplies_weights() -> None:
    buffer = replay()
    buffer.append(episode(0, 8))
    importance = np.arange(len(buffer.table), dtype=np.float32)
    rows = buffer.all_rows()
    batch = buffer.gather(rows, Windows(3), importance=importance)
    assert batch.weights.tolist() == importance[rows].tolist()


def test_whole_episodes_give_each_transition_once_in_order() -> None:
    buffer = replay(capacity=80)
    for number, length in enumerate((10, 4, 7)):
        buffer.append(episode(number, length))
    for plan in (Windows(3), Segments(4, 2)):
        rows = buffer.all_rows()
        batch = buffer.whole_episodes(buffer.episode_starts(rows), plan)
        check(batch, {0: 10, 1: 4, 2: 7})
        valid = batch.weights > 0
        assert torch.equal(batch.transition.obs[valid], buffer.table[torch.from_numpy(rows)][:, :OBS])
        assert batch.weights[valid].unique().numel() == 1
        assert batch.weights.sum() == pytest.approx(len(batch.weights), rel=1e-5)
        if isinstance(plan, Segments):  # the state carried since the reset: everything before is seen
            assert batch.context.read[2].tolist() == list(range(10))  # newest first: the oldest is row 2


def test_scoring_takes_the_newest_whole_episodes_of_all_tasks() -> None:
    buffer = replay(capacity=200, n_tasks=2)
    for number in range(8):
        buffer.append(episode(number, 10, task=number % 2))
    chosen = buffer.table[torch.from_numpy(buffer.all_rows(at_most=45))][:, 0]
    assert sorted(chosen.int().unique().tolist()) == [4, 5, 6, 7]
    assert len(buffer.all_rows()) == 80


@pytest.mark.parametrize(("tasks", "at_most"), [(50, 300), (50, 137), (7, 80), (60, 40)])
def test_every_task_is_scored_however_few_rows_there_may_be(tasks: int, at_most: int) -> None:
    """Not the tasks of low index alone (of 500 training tasks, 200 were seen)."""
    buffer = replay(capacity=20 * tasks, n_tasks=tasks)
    for number in range(2 * tasks):
        buffer.append(episode(number, 10 if number % 3 else 4, task=number % tasks))
    rows = buffer.all_rows(at_most=at_most)
    covered, counts = np.unique(rows // buffer.rows, return_counts=True)
    assert len(set(rows.tolist())) == len(rows) <= at_most
    assert len(covered) == min(tasks, at_most)
    numbers, steps = buffer.table[torch.from_numpy(rows)][:, :2].int().T.tolist()
    lengths = {number: 10 if number % 3 else 4 for number in range(2 * tasks)}
    if sum(lengths[number] for number in range(tasks, 2 * tasks)) > at_most:  # one stretch of the newest episode each
        assert min(numbers) >= tasks and at_most - len(rows) < tasks
        assert set(counts) - {4} in ({max(counts)}, set())
        assert np.array_equal(np.diff(steps)[np.diff(numbers) == 0], np.ones(len(rows) - len(covered)))
        if tasks < at_most:
            assert {0, 9} <= set(steps)  # early in one task, late in another
    else:  # the newest whole episode of each, and as many older ones as have room, not those of the lowest tasks
        older = {number for number in numbers if number < tasks}
        assert len(rows) == sum(lengths[number] for number in {*older, *range(tasks, 2 * tasks)})
        assert older and max(older) > tasks // 2 and at_most - len(rows) < 10


def test_fewer_transitions_than_tasks_of_one_step() -> None:
    """What is chosen is then all that there is to share out."""
    buffer = replay(n_tasks=3)
    for number in range(3):
        buffer.append(episode(number, 1, task=number))
    rows = buffer.all_rows(at_most=2)
    assert len(set((rows // buffer.rows).tolist())) == 2 == len(rows)


def test_same_draws_after_reloading_the_live_episodes() -> None:
    """The ring may lie elsewhere after a reload; what is drawn does not depend on that."""
    first, second = replay(capacity=40), replay(capacity=40)
    for number in range(9):
        first.append(episode(number, 7))
    for number in range(first.first_live_episode - 1, 9):
        second.append(episode(number, 7), number=number)
    assert second.first_live_episode == first.first_live_episode
    assert second.appended == first.appended
    batches = [b.sample(30, Segments(3, 2), np.random.default_rng(5)) for b in (first, second)]
    assert torch.equal(batches[0].transition.obs, batches[1].transition.obs)
    assert torch.equal(batches[0].weights, batches[1].weights)
