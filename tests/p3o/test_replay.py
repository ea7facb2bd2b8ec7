"""Segments are taken down, stored and drawn as they were played."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mql.p3o.acting import Acted
from mql.p3o.agent import P3OAgent
from mql.p3o.distributions import Categorical, Gaussian
from mql.p3o.playing import Recorder
from mql.p3o.replay import SegmentReplay
from mql.p3o.segments import Segments
from tests.p3o.played import played

KINDS = [Gaussian(2), Categorical(3)]


def rows(segments: Segments) -> list[dict[str, torch.Tensor]]:
    """Each segment by itself, with its own final observations."""
    counts = segments.truncated[:, :-1].sum(dim=1).tolist()
    finals = segments.final.split(counts)
    names = [name for name in vars(segments) if name != "final"]
    return [{**{n: getattr(segments, n)[i] for n in names}, "final": finals[i]} for i in range(len(counts))]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_steps_are_taken_down_with_the_last_observations_of_what_a_time_limit_ended() -> None:
    recorder = Recorder(lanes=3, steps=3)
    flags = {  # step: terminated, truncated
        0: ([False, True, False], [False, True, True]),  # lane 1 terminates, whatever its limit says; lane 2 is cut
        1: ([False, False, False], [True, False, True]),
        2: ([False, False, True], [True, False, False]),
    }
    for t, (terminated, truncated) in flags.items():
        assert not recorder.full
        at = np.array([[100.0], [200.0], [300.0]], np.float32) + t
        acted = Acted(at.clip(-1, 1), 10.0 * at, np.concatenate([at, 0.0 * at], axis=1))
        reward = np.array([1.0, 2.0, 3.0]) * t
        recorder.add(at, acted, reward, np.array(terminated), np.array(truncated), at + 0.5)
    assert recorder.full
    taken = Segments.of(recorder.taken())
    assert taken.obs[..., 0].tolist() == [[100, 101, 102, 102.5], [200, 201, 202, 202.5], [300, 301, 302, 302.5]]
    assert taken.action[1, :, 0].tolist() == [2000, 2010, 2020] and taken.numbers[2, 1].tolist() == [301, 0]
    assert taken.reward.tolist() == [[0, 1, 2], [0, 2, 4], [0, 3, 6]]
    assert taken.terminated.nonzero().tolist() == [[1, 0], [2, 2]]
    assert taken.truncated.nonzero().tolist() == [[0, 1], [0, 2], [2, 0], [2, 1]]
    assert taken.final[:, 0].tolist() == [101.5, 300.5, 301.5]  # by lane, then by step; the last step's is in `obs`
    with pytest.raises(ValueError, match="0 steps were taken down, not 3"):
        recorder.taken()


def test_what_was_taken_stays_when_the_recorder_goes_on() -> None:
    agent = P3OAgent(2, Gaussian(1), seed=0)
    recorder = Recorder(lanes=1, steps=1)
    no, noise = np.zeros(1, bool), np.zeros((1, 1), np.float32)
    obs = np.ones((1, 2), np.float32)
    recorder.add(obs, agent.act(obs, noise), np.ones(1), no, ~no, 2 * obs)
    first = Segments.of(recorder.taken())
    recorder.add(5 * obs, agent.act(obs, noise), np.zeros(1), no, no, 6 * obs)
    assert first.obs.tolist() == [[[1, 1], [2, 2]]] and not recorder.taken().truncated.any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_segment_that_is_drawn_is_one_that_was_stored(kind: Gaussian | Categorical) -> None:
    """The oldest make room, and final observations stay with their segments."""
    agent = P3OAgent(3, kind, seed=0)
    replay = SegmentReplay(58, steps=5, obs_dim=3, distribution=kind)  # 11 places: rounds of 4 do not fit evenly
    stored: list[dict[str, torch.Tensor]] = []
    for step in range(7):
        fresh = played(agent, step, ends=0.35)
        replay.add(fresh)
        stored = (stored + rows(fresh))[-11:]
        assert len(replay) == len(stored) and replay.transitions == 5 * len(stored)
        drawn = rows(replay.draw(60, np.random.default_rng(step)))
        for each in drawn:
            assert sum(same(each, kept) for kept in stored) == 1
        found = [next(i for i, kept in enumerate(stored) if same(each, kept)) for each in drawn]
        assert len(set(found)) > len(stored) // 2
    assert any(len(each["final"]) > 1 for each in stored) and any(not len(each["final"]) for each in stored)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [0, 1, 2, 5])
def test_what_is_restored_is_drawn_and_goes_on_alike(kind: Gaussian | Categorical, rounds: int) -> None:
    agent = P3OAgent(3, kind, seed=0)
    replay, again = (SegmentReplay(58, steps=5, obs_dim=3, distribution=kind) for _ in range(2))
    again.add(played(agent, 99))  # what was there before counts no more
    for step in range(rounds):
        replay.add(played(agent, step))
    again.restore({name: tensor.clone() for name, tensor in replay.tensors().items()})
    for step in range(rounds, rounds + 4):
        assert replay.tensors().keys() == again.tensors().keys()
        assert same(replay.tensors(), again.tensors())
        if len(replay):
            one, other = (each.draw(20, np.random.default_rng(step)) for each in (replay, again))
            assert same(vars(one), vars(other))
        for each in (replay, again):
            each.add(played(agent, step))


def test_what_does_not_fit_is_refused() -> None:
    agent = P3OAgent(3, Gaussian(2), seed=0)
    with pytest.raises(ValueError, match="a segment of 5 steps does not fit into 4 transitions"):
        SegmentReplay(4, steps=5, obs_dim=3, distribution=agent.distribution)
    replay = SegmentReplay(15, steps=5, obs_dim=3, distribution=agent.distribution)
    with pytest.raises(ValueError, match="4 segments do not fit into 3 places"):
        replay.add(played(agent, 0))
    replay.add(played(agent, 0, lanes=3))
    tensors = replay.tensors()
    with pytest.raises(ValueError, match=r"action has shape \(3, 5\), not \(3, 5, 2\)"):
        replay.restore({**tensors, "action": torch.zeros(3, 5)})
    with pytest.raises(ValueError, match="final observations do not fit"):
        replay.restore({**tensors, "final": torch.zeros(77, 3)})
    with pytest.raises(KeyError, match="reward"):
        replay.restore({name: tensor for name, tensor in tensors.items() if name != "reward"})
