"""From logged episodes to a family's own: nothing changes that is right, and the rest is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_files import family, good_log

from mql.data.checking import check
from mql.data.fitting import episodes_for, fit
from mql.data.logged import LoggedEpisode
from mql.data.reading import read
from mql.data.resampling import earned_in
from mql.data.signals import observed_signals
from mql.data.writing import write
from mql.errors import UserError
from mql.tasks import registry


def at_rate(log: LoggedEpisode, step: float, count: int) -> LoggedEpisode:
    """An episode with observations that are straight lines in time, logged every `step` seconds."""
    time = step * np.arange(count + 1)
    slopes = np.linspace(-1, 1, 8)
    action = np.sin(3 * time[:-1])[:, None] * np.ones(2)
    return replace(log, time=time, obs=time[:, None] * slopes, action=action, reward=time[:-1].copy(), task=None)


@pytest.mark.parametrize("suffix", ["npz", "h5", "csv"])
def test_episodes_from_a_file_equal_those_in_memory(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"log.{suffix}", list(good_log()))
    fitted = fit(family(), read(tmp_path / f"log.{suffix}"))
    assert fitted.notes == ()
    for episode, own in zip(fitted.episodes, good_log(), strict=True):
        for key in ("obs", "action", "reward"):
            values = getattr(episode, key)
            assert values.dtype == np.float32 and np.array_equal(values, getattr(own, key))
        assert (episode.task, episode.seed, episode.success) == (0, 0, own.success)


def test_rewards_that_were_not_logged_are_the_familys() -> None:
    log = [replace(each, reward=None) for each in good_log()]
    fitted = fit(family(), log)
    assert fitted.notes == ("rewards are computed by reacher-goal (3 of 3 episodes)",)
    for episode, own in zip(fitted.episodes, good_log(), strict=True):
        assert own.reward is not None
        assert np.allclose(episode.reward, own.reward, atol=2e-3)


def test_a_reward_that_depends_on_an_unknown_task_is_refused() -> None:
    log = [replace(each, reward=None, task=None) for each in good_log()]
    with pytest.raises(UserError, match=r"depend on the task .*episode 0 reward.* target is .--task NAME=VALUE"):
        fit(family(), log)
    task = family().tasks("train")[0]
    by_task, by_name = episodes_for(family(), log[:1], task=task), episodes_for(family(), log[:1], task="train:0")
    assert np.array_equal(by_task[0].reward, by_name[0].reward)


def test_a_family_whose_reward_is_not_seen_says_so() -> None:
    class Blind:
        """The same family, whose observations don't tell its reward."""

        def __getattr__(self, name: str) -> Any:
            return getattr(family(), name)

        def reward(self, *_: Any) -> None:
            return None

    log = [replace(each, reward=None) for each in good_log()]
    with pytest.raises(UserError, match=r"no rewards are logged .*episode 0 reward"):
        fit(Blind(), log)  # type: ignore[arg-type]


def test_a_faster_log_is_resampled_to_the_control_rate() -> None:
    """Straight lines stay straight; the action is the last one before each control step."""
    fast = at_rate(good_log()[0], 0.004, 100)
    [episode] = episodes_for(family(), [fast])
    time = 0.02 * np.arange(21)
    assert episode.length == 20
    assert np.allclose(episode.obs, time[:, None] * np.linspace(-1, 1, 8), atol=1e-6)
    assert np.allclose(episode.action[:, 0], np.sin(3 * time[:-1]), atol=1e-6)
    # The mean of five logged rewards, which grow by 0.004 each.
    assert np.allclose(episode.reward, time[:-1] + 0.008, atol=1e-6)
    [summed] = episodes_for(family(), [fast], rewards="sum")
    assert np.allclose(summed.reward, 5 * (time[:-1] + 0.008), atol=1e-5)
    assert any("resampled from a row every 0.004 s" in note for note in fit(family(), [fast]).notes)
    with pytest.raises(UserError, match="allow resampling"):
        fit(family(), [fast], resample=False)


def test_a_slower_log_is_resampled_too() -> None:
    slow = at_rate(good_log()[0], 0.05, 8)
    [episode] = episodes_for(family(), [slow])
    time = 0.02 * np.arange(21)
    assert np.allclose(episode.obs, time[:, None] * np.linspace(-1, 1, 8), atol=1e-6)
    assert np.allclose(episode.action[:, 1], np.sin(3 * 0.05 * np.floor(time[:-1] / 0.05 + 1e-9)), atol=1e-6)


def test_rewards_of_control_steps_by_hand() -> None:
    times, time = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.5, 1.5, 2.0])
    reward = np.array([2.0, 4.0, 6.0])
    assert earned_in(times, time, reward, "mean").tolist() == [3.0, 5.0]  # half of 2 and half of 4; 4 and 6
    assert earned_in(times, time, reward, "sum").tolist() == [4.0, 8.0]  # 2 and half of 4; half of 4 and 6


def test_jitter_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    [log] = good_log(1)
    assert log.time is not None
    shaken = replace(log, time=log.time + rng.uniform(-0.001, 0.001, 51))
    [episode] = episodes_for(family(), [shaken])
    assert np.array_equal(episode.obs, log.obs)


def test_a_long_episode_is_cut() -> None:
    [log] = good_log(1)
    assert log.obs is not None and log.reward is not None
    long = replace(
        log,
        obs=np.concatenate([log.obs, log.obs[1:], log.obs[1:11]]),
        action=np.concatenate([log.action, log.action, log.action[:10]]),
        reward=np.concatenate([log.reward, log.reward, log.reward[:10]]),
        time=None,
        terminated=True,
        truncated=False,
    )
    pieces = episodes_for(family(), [long])
    assert [each.length for each in pieces] == [50, 50, 10]
    assert [each.terminated for each in pieces] == [False, False, True]
    assert [each.truncated for each in pieces] == [True, True, False]
    assert np.array_equal(pieces[1].obs[0], log.obs[-1])
    assert any("110 steps" in each.what for each in check([long], family()))


def test_observations_come_from_signals_where_the_family_computes_them() -> None:
    [log] = good_log(1)
    bare = replace(log, obs=None, signals={"qpos": np.ones((51, 2)), "velocities": np.zeros((51, 2))})

    class Seeing:
        """A family that sees positions and velocities, four times over."""

        obs_dim, name, parameters = 8, "seeing", family().parameters

        def observed(self, signals: dict[str, Any]) -> Any:
            assert set(signals) == {"positions", "velocities", "actions", "time", "target"}
            return np.concatenate([signals["positions"], signals["velocities"]] * 2, axis=1)

    seen = observed_signals(Seeing(), bare)  # type: ignore[arg-type]
    assert seen.obs is not None and seen.obs[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert "computed by seeing" in seen.notes[0]


def test_what_is_odd_is_a_warning() -> None:
    log = [replace(each, time=None, action=np.sign(each.action)) for each in good_log()]
    log = [replace(each, obs=np.where(np.arange(8) == 5, np.float32(0.1), each.obs)) for each in log]
    found = [each for each in check(log, family()) if "moves like" not in each.what]
    assert {each.level for each in found} == {"warning"}
    assert {each.key for each in found} == {"time", "action[0]", "action[1]", "obs[5]"}
    assert len([each for each in found if each.key == "time"]) == 1  # once for all three episodes


def test_a_sign_is_found_by_how_the_log_moves() -> None:
    known = registry.load("cheetah-vel")
    log = list(good_log(4, name="cheetah-vel"))
    assert not check(log, known)
    turned = [replace(each, action=each.action * np.where(np.arange(6) == 2, -1, 1)) for each in log]
    [finding] = check(turned, known)
    assert finding.key == "action[2]" and "sign" in finding.what


@pytest.mark.parametrize("pair", [(0, 1), (3, 11), (8, 15), (2, 16)])
def test_any_two_axes_of_a_cheetah_are_told_apart(pair: tuple[int, int]) -> None:
    order = list(range(17))
    order[pair[0]], order[pair[1]] = pair[1], pair[0]
    log = [
        replace(each, obs=None if each.obs is None else each.obs[:, order]) for each in good_log(4, name="cheetah-vel")
    ]
    [finding] = check(log, registry.load("cheetah-vel"))
    assert finding.key == f"obs[{pair[0]}]" and f"obs {pair[1]}" in finding.what


def test_success_of_a_cut_episode_is_not_that_of_every_piece() -> None:
    log = good_log()[0]
    long = replace(at_rate(log, 0.02, 120), success=True)
    assert [piece.success for piece in episodes_for(family(), [long])] == [None, None, None]
    assert [p.success for p in episodes_for(family(), [replace(long, success=False)])] == [False, False, False]


def test_a_task_that_contradicts_the_files_is_refused() -> None:
    log = [replace(good_log()[0], reward=None)]
    with pytest.raises(UserError, match=r"target is \[.*\] in the file, and \[0.1, 0.1\] was given .*episode 0"):
        fit(family(), log, task={"target": [0.1, 0.1]})
    fit(family(), log, task="train:0")  # the same one
    assert any("was given" in finding.what for finding in check(log, family(), task={"target": [0.1, 0.1]}))
    logged = [replace(good_log()[0], task={"payload": 2.0})]  # with rewards, too
    assert any("no such task parameter" in finding.what for finding in check(logged, family()))
