"""Brings logged episodes into the form of a family's own: observations, control rate, length, rewards, float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mql.data.checking import faults
from mql.data.logged import Column, LoggedEpisode
from mql.data.resampling import Rewards, acted_at, at_control_rate, control_times, earned_in, observed_at
from mql.data.rewarding import KnownTask, computed_rewards, known_of, known_parameters
from mql.data.signals import observed_signals
from mql.errors import UserError
from mql.tasks.family import TaskFamily
from mql.types import JSON, Episode

LEAST_STEPS = 2  # of a piece: a shorter rest is left out


@dataclass(frozen=True)
class Fitted:
    """Episodes of a family, and what was done to them.

    Args:
        episodes: in the order of the file; seed, task index and policy version are 0.
        notes: a line for each kind of change, with how many episodes it was made in.
        names: of the logged episode that each comes from.
    """

    episodes: list[Episode]
    notes: tuple[str, ...]
    names: tuple[str, ...]

    def to_json(self) -> dict[str, JSON]:
        """Return the counts and notes as plain data."""
        return {
            "episodes": len(self.episodes),
            "steps": sum(episode.length for episode in self.episodes),
            "notes": list(self.notes),
        }


def episodes_for(
    family: TaskFamily,
    logged: Sequence[LoggedEpisode],
    *,
    task: KnownTask = None,
    resample: bool = True,
    rewards: Rewards = "mean",
) -> list[Episode]:
    """Return `fit`'s episodes."""
    return fit(family, logged, task=task, resample=resample, rewards=rewards).episodes


def fit(
    family: TaskFamily,
    logged: Sequence[LoggedEpisode],
    *,
    task: KnownTask = None,
    resample: bool = True,
    rewards: Rewards = "mean",
) -> Fitted:
    """Make a family's episodes of logged ones.

    What is already right stays bit for bit. Observations that are missing are computed from signals, and rewards from
    observations, by the family. Where rows were not written once a control step, observations are interpolated
    linearly, each control step has the action in force at its beginning, and rewards are computed anew where the family
    can, else averaged over the control step (or summed). An episode longer than the family's is cut.

    Args:
        family: whose episodes they are to be.
        logged: as `mql.data.reading.read` returns them.
        task: values of task parameters that are known beside those in the file, a task, or the name of a listed one.
        resample: to the control rate; False: refuse what was logged at another one.
        rewards: how logged rewards are resampled where the family can't compute them.

    Raises:
        UserError: the first thing that is wrong, with file, episode, step and key.
    """
    episodes: list[Episode] = []
    names: list[str] = []
    counted: dict[str, int] = {}
    for each in logged:
        notes: list[str] = []
        for episode in _fitted(family, each, task, resample, rewards, notes):
            episodes.append(episode)
            names.append(each.name)
        for note in notes:
            counted[note] = counted.get(note, 0) + 1
    if not episodes:
        where = logged[0].file if logged else f"family {family.name}"
        mend = f"an episode has at least {LEAST_STEPS} control steps"
        raise UserError("there is no episode that could be used", where=where, mend=mend)
    told = tuple(f"{note} ({count} of {len(logged)} episodes)" for note, count in counted.items())
    return Fitted(episodes, told, tuple(names))


def _fitted(
    family: TaskFamily, logged: LoggedEpisode, task: KnownTask, resample: bool, rewards: Rewards, notes: list[str]
) -> list[Episode]:
    told = known_parameters(family, task, where=logged.where())
    seen = observed_signals(family, logged, told)
    notes += seen.notes
    for fault in faults(seen, family):
        raise fault.error()
    where = seen.where()
    known = known_of(family, task, seen.task, where=where)
    whole = _at_control_rate(family, seen, known, resample, rewards, notes)
    assert whole.obs is not None
    obs = whole.obs.astype(np.float32)
    action = whole.action.astype(np.float32)
    if not np.isfinite(obs).all():
        step, place = (int(index) for index in np.argwhere(~np.isfinite(obs))[0])
        what, mend = "the value is too large for float32", "state the unit in a column map"
        raise UserError(what, where=seen.where(step, f"obs[{place}]"), mend=mend)
    if (np.abs(action) > 1).any():
        notes.append("actions a hair outside [-1, 1] are clipped")
        action = np.clip(action, -1.0, 1.0)
    if whole.reward is None:
        notes.append(f"rewards are computed by {family.name}")
        reward = computed_rewards(family, obs, action, known, where=seen.where(key="reward"))
    else:
        reward = whole.reward.astype(np.float32)
        if not np.isfinite(reward).all():
            step = int(np.flatnonzero(~np.isfinite(reward))[0])
            what = "the value is too large for float32"
            raise UserError(what, where=seen.where(step, "reward"), mend="state its scale in a column map")
    episode = Episode(
        obs=obs,
        action=action,
        reward=reward,
        terminated=seen.terminated,
        truncated=seen.truncated,
        task=0,
        seed=0,
        success=seen.success,
    )
    return _cut(episode, family.episode_length, notes)


def _at_control_rate(
    family: TaskFamily,
    seen: LoggedEpisode,
    known: dict[str, object],
    resample: bool,
    rewards: Rewards,
    notes: list[str],
) -> LoggedEpisode:
    """Return an episode with a row for each control step, and its rewards where they are known."""
    step = family.control_timestep
    if seen.time is None or at_control_rate(seen.time, step):
        return seen
    usual = float(np.median(np.diff(np.asarray(seen.time, np.float64))))
    if not resample:
        what = f"a row every {usual:.4g} s, and {family.name} steps every {step:.4g} s"
        raise UserError(what, where=seen.where(key="time"), mend="allow resampling, or log at the control rate")
    times = control_times(seen.time, step)
    if len(times) <= LEAST_STEPS:
        what = f"it lasts {float(seen.time[-1] - seen.time[0]):.4g} s, fewer than {LEAST_STEPS} control steps"
        raise UserError(what, where=seen.where(key="time"), mend="leave the episode out")
    assert seen.obs is not None
    obs = observed_at(times, seen.time, seen.obs)
    action = acted_at(times, seen.time, seen.action)
    notes.append(f"resampled from a row every {usual:.4g} s to control steps of {step:.4g} s")
    reward: Column | None = None
    if seen.reward is not None:
        try:
            clipped = np.clip(action, -1, 1).astype(np.float32)
            reward = computed_rewards(family, obs.astype(np.float32), clipped, known, where=seen.where(key="reward"))
            notes.append(f"rewards of the resampled steps are computed by {family.name}")
        except UserError:
            reward = earned_in(times, seen.time, seen.reward, rewards)
            verb = "averaged over" if rewards == "mean" else "summed over"
            notes.append(f"logged rewards are {verb} each control step")
    return replace(seen, obs=obs, action=action, reward=reward, time=times, signals={})


def _cut(episode: Episode, longest: int, notes: list[str]) -> list[Episode]:
    """Cut an episode into pieces of at most `longest` steps."""
    if episode.length <= longest:
        return [episode]
    pieces = []
    success = None if episode.success else episode.success  # in which of them the goal was reached is not known
    for first in range(0, episode.length, longest):
        last = min(first + longest, episode.length)
        if last - first < LEAST_STEPS:
            break
        end = last == episode.length
        pieces.append(
            replace(
                episode,
                obs=episode.obs[first : last + 1].copy(),
                action=episode.action[first:last].copy(),
                reward=episode.reward[first:last].copy(),
                terminated=episode.terminated and end,
                truncated=episode.truncated if end else True,
                success=success,
            )
        )
    notes.append(f"cut into pieces of {longest} steps, as long as an episode of the family")
    return pieces
