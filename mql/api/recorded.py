"""Episodes that were recorded elsewhere, from files or in memory, as what an agent learns from.

Shapes: T steps, O observation, A action.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mql.config.schema import Config
from mql.errors import UserError
from mql.files import as_data
from mql.learning.prior import Prior, PriorTask
from mql.tasks.family import Task, TaskFamily
from mql.types import JSON, Episode, FloatArray

if TYPE_CHECKING:
    from mql.data.column_map import Columns
    from mql.data.fitting import Fitted
    from mql.data.logged import LoggedEpisode

ROUNDING = 1e-3  # by which an action may be larger than 1
LEAST_STEPS = 2  # of new data: fewer tell the adaptation nothing
MEMORY = "memory"  # where episodes come from that were given as objects

FilePath: TypeAlias = "str | os.PathLike[str]"
Data: TypeAlias = "FilePath | Sequence[FilePath | Episode | LoggedEpisode]"
KnownTask: TypeAlias = "Task | Mapping[str, Any] | None"
ColumnMap: TypeAlias = "FilePath | Mapping[str, JSON] | Columns"


@dataclass(frozen=True)
class Recorded:
    """Episodes in a family's form, and what is said of them: where they come from, and what was done to them."""

    episodes: list[Episode]
    sources: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, JSON]:
        """What a report says of them, as plain data."""
        steps = sum(episode.length for episode in self.episodes)
        return {"files": self.sources, "episodes": len(self.episodes), "steps": steps, "notes": self.notes}


def in_memory(family: TaskFamily, episodes: object) -> Recorded:
    """Take episodes of one task that are there as objects.

    Raises:
        UserError: they are something else, or don't fit the family.
    """
    return Recorded(checked_episodes(episodes, obs_dim=family.obs_dim, action_dim=family.action_dim), [MEMORY])


def recorded(family: TaskFamily, data: Data, columns: ColumnMap | None = None, task: KnownTask = None) -> Recorded:
    """Read episodes of one task.

    Args:
        family: whose form they get.
        data: a file or several, or episodes as objects.
        columns: a column map for files, or the YAML file that holds one.
        task: the one that they are of, or values of some of its parameters, where these are known: they tell
            observations and rewards that were not recorded.

    Raises:
        UserError: a file can't be read, or what is in it does not fit the family.
    """
    given: Sequence[Any]
    given = [data] if isinstance(data, str | os.PathLike) else data
    if isinstance(given, Episode | Mapping) or not isinstance(given, Iterable):
        what = f"the data is {type(data).__name__}, no list and no path"
        raise UserError(what, where="data", mend="give the path of a file, a list of paths, or a list of mql.Episode")
    given = list(given)
    if columns is not None and not any(isinstance(each, str | os.PathLike) for each in given):
        raise UserError("a column map is for files, and none is given", where="columns", mend="leave it out")
    episodes: list[Episode] = []
    found = Recorded(episodes)
    for own, group in groupby(given, lambda each: isinstance(each, Episode)):
        if own:
            episodes += group
            found.sources.append(MEMORY)
            continue
        logged: list[LoggedEpisode] = []  # of several files: what is done to them is counted over all
        for each in group:
            is_file = isinstance(each, str | os.PathLike)
            logged += _read(each, columns) if is_file else [each]
            found.sources.append(os.fspath(each) if is_file else MEMORY)
        fitted = _fitted(family, logged, task)
        episodes += fitted.episodes
        found.notes.extend(fitted.notes)
    sources = list(dict.fromkeys(found.sources))
    checked = checked_episodes(episodes, obs_dim=family.obs_dim, action_dim=family.action_dim, where="data")
    return Recorded(checked, sources, list(dict.fromkeys(found.notes)))


def prior_of(config: Config, family: TaskFamily) -> Prior:
    """Read ``train.prior_data``: a task of its own for each file, or for each task that a file's episodes name.

    Raises:
        UserError: a file can't be read, or does not fit the family.
    """
    prior: list[PriorTask] = []
    if config.train.prior_columns is not None and not config.train.prior_data:
        mend = "give train.prior_data, or leave it out"
        raise UserError("there are no files for a column map", where="train.prior_columns", mend=mend)
    for path in config.train.prior_data:
        by_task: dict[str, list[LoggedEpisode]] = {}
        for episode in _read(path, config.train.prior_columns):
            by_task.setdefault(repr(as_data(episode.task)) if episode.task else "", []).append(episode)
        for logged in by_task.values():
            known, fitted = logged[0].task, _fitted(family, logged, None)
            facts = {"file": path, "task": as_data(known) if known else None, "notes": list(fitted.notes)}
            prior.append(PriorTask(f"prior:{len(prior)}", fitted.episodes, facts))
    return tuple(prior)


def checked_episodes(episodes: object, *, obs_dim: int, action_dim: int, where: str = "episodes") -> list[Episode]:
    """Return episodes in float32; refuse those that an agent can't learn from.

    Raises:
        UserError: none, or one of other sizes or with numbers that are not finite.
    """
    if isinstance(episodes, Episode | str | Mapping) or not isinstance(episodes, Iterable):
        what = f"the episodes are {type(episodes).__name__}, not a list"
        raise UserError(what, where=where, mend="give a list of mql.Episode")
    checked: list[Episode] = []
    for number, episode in enumerate(episodes):
        at = f"{where}[{number}]"
        if not isinstance(episode, Episode):
            raise UserError(f"it is {type(episode).__name__}", where=at, mend="give an mql.Episode")
        steps = np.size(episode.reward)
        if not steps:
            raise UserError("it has no steps", where=at, mend="leave the episode out")
        wanted = {"obs": (steps + 1, obs_dim), "action": (steps, action_dim), "reward": (steps,)}
        arrays = {name: _numbers(getattr(episode, name), name, at) for name in wanted}
        for name, shape in wanted.items():
            if arrays[name].shape != shape:
                mend = f"it must be {shape}: obs [T+1, O], action [T, A], reward [T], with T of at least 1"
                raise UserError(f"{name} has shape {arrays[name].shape}", where=at, mend=mend)
            if not np.isfinite(arrays[name]).all():
                raise UserError(f"{name} holds numbers that are not finite", where=at, mend="leave the episode out")
        checked.append(
            dataclasses.replace(episode, obs=arrays["obs"], action=arrays["action"], reward=arrays["reward"])
        )
        largest = float(np.abs(arrays["action"]).max())
        if largest > 1 + ROUNDING:
            mend = "give actions in [-1, 1], as the policy returns them"
            raise UserError(f"action holds numbers as large as {largest:g}", where=at, mend=mend)
    if not checked:
        raise UserError("there are no episodes to adapt to", mend="give at least one")
    if sum(episode.length for episode in checked) < LEAST_STEPS:
        raise UserError("there is only one step to adapt to", where=where, mend="give a longer episode, or more")
    return checked


def _numbers(values: object, name: str, where: str) -> FloatArray:
    """Return an episode's numbers as float32."""
    try:
        return np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        mend = "give an array of numbers, [T+1, O], [T, A] or [T]"
        raise UserError(f"{name} is no array of numbers", where=where, mend=mend) from None


def _read(path: FilePath, columns: ColumnMap | None) -> list[LoggedEpisode]:
    from mql.data.column_map import columns_of
    from mql.data.reading import read

    return read(path, columns=columns_of(columns) if isinstance(columns, Mapping) else columns)


def _fitted(family: TaskFamily, logged: Sequence[Any], task: KnownTask) -> Fitted:
    from mql.data.fitting import fit
    from mql.data.logged import LoggedEpisode

    for each in logged:
        if not isinstance(each, LoggedEpisode):
            what = f"an episode is {type(each).__name__}"
            raise UserError(what, where="data", mend="give the path of a file, or an mql.Episode")
    return fit(family, logged, task=task)
