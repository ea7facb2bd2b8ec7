"""Makes logged episodes of a file's columns: which column is what, units, and how many rows there must be.

A row is an observation, and the action taken there. Where observations have a row more than actions, the last one is
what came of the last action. Where both have as many, the action of the last row led to nothing that was recorded, and
is left out with its reward.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mql.data.column_map import ColumnMap, Columns, Source
from mql.data.logged import Column, LoggedEpisode
from mql.data.table import Table
from mql.errors import UserError
from mql.plain_text import counted
from mql.types import JSON

# What columns are called where no map says otherwise: ours, then those of Gymnasium, Minari, robomimic, D4RL, LeRobot.
ALIASES = {
    "episode": ("episode", "episode_index"),
    "time": ("time", "timestamp"),
    "obs": ("obs", "observations", "observation.state"),
    "next_obs": ("next_obs", "next_observations"),
    "action": ("action", "actions"),
    "reward": ("reward", "rewards", "next.reward"),
    "terminated": ("terminated", "terminations", "terminals"),
    "truncated": ("truncated", "truncations", "timeouts"),
    "success": ("success", "next.success"),
}
SIGNALS = "signals"  # columns signals/NAME, and signals.NAME_0, signals.NAME_1, ... in a CSV file
TASK = "task"  # columns task.NAME in a CSV file


def assemble(table: Table, columns: Columns | None) -> list[LoggedEpisode]:
    """Return the episodes of a table.

    Args:
        table: what a file holds.
        columns: the user's map; what it doesn't name is looked for under the usual names.

    Raises:
        UserError: a column is missing, holds no numbers, or has another number of rows than it must have.
    """
    known = resolve(table, columns)
    wanted = dict.fromkeys(name for _, source in known.sources() for name in source.names)
    flags = [name for name in (known.terminated, known.truncated, known.success) if name is not None]
    tasks = {name.removeprefix(f"{TASK}."): name for name in table.names if name.startswith(f"{TASK}.")}
    loaded = table.load(
        [*wanted, *(name for name in dict.fromkeys(flags) if name not in wanted)],
        [name for name in (known.episode, *tasks.values()) if name is not None],
    )
    parts = list(_split(table, loaded, known.episode))
    return [_Assembly(table, known, rows, name, tasks).episode() for name, rows in parts]


def resolve(table: Table, columns: Columns | None) -> ColumnMap:
    """Return a map that names every column that is to be read, and that there is.

    Raises:
        UserError: the user's map names a column that isn't there, or there are no actions.
    """
    given = columns.map if columns is not None else ColumnMap()
    where = columns.where if columns is not None else lambda key: table.where
    for key, source in given.sources():
        for name in source.names:
            if name not in table.names:
                raise table.missing(name, where=where(key))
    for key in ("episode", "terminated", "truncated", "success"):
        name = getattr(given, key)
        if name is not None and name not in table.names:
            raise table.missing(name, where=where(key))
    found: dict[str, Any] = {}
    for key in ALIASES:
        if key not in given.model_fields_set and (names := _usual(table, key)):
            several = key in ("obs", "next_obs", "action")
            source = Source(columns=tuple(names))
            found[key] = (source,) if several else source if key in ("time", "reward") else names[0]
    if "signals" not in given.model_fields_set:
        found["signals"] = {name: (Source(columns=tuple(names)),) for name, names in _usual_signals(table).items()}
    known = given.model_copy(update=found)
    if table.episode is not None:
        known = known.model_copy(update={"episode": None})
    if known.action is None:
        mend = f"it has {_some(table.names)}; name the actions in a column map (--columns MAP.yaml)"
        raise UserError("no column is called 'action'", where=table.where, mend=mend)
    if known.obs is None and not known.signals:
        mend = f"it has {_some(table.names)}; name the observations, or signals, in a column map (--columns MAP.yaml)"
        raise UserError("no column is called 'obs'", where=table.where, mend=mend)
    return known


def _usual(table: Table, key: str) -> list[str]:
    """Return the columns that usually are what `key` says: one, or ``obs_0``, ``obs_1`` and so on."""
    for alias in ALIASES[key]:
        if alias in table.names:
            return [alias]
        if numbered := _numbered(table.names, alias):
            return numbered
        inner = [name for name in table.names if name.startswith(f"{alias}/")]
        if inner and key in ("obs", "action"):
            mend = f"name its parts in a column map (--columns MAP.yaml), such as {key}: [{', '.join(inner[:3])}]"
            raise UserError(f"{alias!r} is a group of {counted(len(inner), 'column')}", where=table.where, mend=mend)
    return []


def _numbered(names: Iterable[str], stem: str) -> list[str]:
    found = {int(match[1]): name for name in names if (match := re.fullmatch(rf"{re.escape(stem)}_(\d{{1,6}})", name))}
    return [found[place] for place in sorted(found)] if sorted(found) == list(range(len(found))) else []


def _usual_signals(table: Table) -> dict[str, list[str]]:
    found = {name.removeprefix(f"{SIGNALS}/"): [name] for name in table.names if name.startswith(f"{SIGNALS}/")}
    stems = [match[1] for name in table.names if (match := re.fullmatch(rf"{SIGNALS}\.(.+)_0", name))]
    return found | {stem: _numbered(table.names, f"{SIGNALS}.{stem}") for stem in stems}


def _some(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 40 else f"{name[:40]}..." for name in names[:12]]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(shown) + more if names else "no columns"


def _split(table: Table, loaded: Mapping[str, Column], by: str | None) -> Iterator[tuple[str, dict[str, Column]]]:
    """Yield (name, columns) of every episode: where the column `by` changes, the next one begins."""
    if by is None:
        yield table.episode if table.episode is not None else "0", dict(loaded)
        return
    labels = loaded[by]
    if labels.ndim != 1 or any(len(values) != len(labels) for values in loaded.values()):
        mend = "it needs a row for each row of the other columns"
        raise UserError(f"the column {by!r} doesn't fit the others", where=table.where, mend=mend)
    begins = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(labels)]
    seen: set[str] = set()
    for first, last in pairwise(begins):
        if first == last:
            break
        name = _label(labels[first])
        if name in seen:
            mend = "sort the rows: those of an episode follow one another"
            raise UserError(f"episode {name} goes on in row {first} after another one", where=table.where, mend=mend)
        seen.add(name)
        yield name, {key: values[first:last] for key, values in loaded.items()}


def _label(value: Any) -> str:
    number = isinstance(value, np.generic) and value.dtype.kind == "f" and float(value).is_integer()
    return str(int(value)) if number else str(value)


class _Assembly:
    """Makes one episode of its columns."""

    def __init__(
        self, table: Table, known: ColumnMap, rows: Mapping[str, Column], name: str, tasks: Mapping[str, str]
    ) -> None:
        self._table, self._known, self._rows, self._tasks = table, known, rows, tasks
        self._episode = LoggedEpisode(np.zeros((0, 0)), file=table.file, name=name)
        self._notes: list[str] = []
        self._left_out: int | None = None  # the row of an action that led to nothing recorded

    def episode(self) -> LoggedEpisode:
        known = self._known
        action, obs = self._matrix("action", known.action), self._matrix("obs", known.obs)
        signals = {name: self._matrix(f"{SIGNALS}/{name}", parts) for name, parts in known.signals.items()}
        time, reward = self._vector("time", known.time), self._vector("reward", known.reward)
        assert action is not None
        main = obs if obs is not None else next(iter(signals.values()))
        assert main is not None
        actions, rows = len(action), len(main)
        key = "obs" if obs is not None else f"{SIGNALS}/{next(iter(signals))}"
        if rows == actions:
            after = self._matrix("next_obs", known.next_obs)
            if after is not None and obs is not None and actions:
                self._check_rows("next_obs", after, actions)
                self._check_follows(after, obs)
                obs = np.concatenate([obs, after[-1:]])
                if time is not None and len(time) == actions > 1:
                    time = np.append(time, 2 * time[-1] - time[-2])
            else:
                dropped, action = action[-1:], action[:-1]
                reward = reward[:-1] if reward is not None and len(reward) == actions else reward
                if np.isfinite(dropped).all() and actions:
                    self._left_out = actions - 1
                    self._notes.append("the last row's action is left out: nothing was recorded after it")
        elif rows != actions + 1:
            what = f"{key} has {counted(rows, 'row')} and action {actions}"
            raise self._error(key, what, "record one observation more than actions, or as many")
        steps = len(action)
        if steps < 1:
            raise self._error("action", "the episode has no step", "record at least one action and what came of it")
        for name, values in {"time": time, **{f"{SIGNALS}/{name}": value for name, value in signals.items()}}.items():
            if values is not None:
                self._check_rows(name, values, steps + 1)
        if reward is not None:
            self._check_rows("reward", reward, steps)
            if np.isnan(reward).all():
                reward = None
        terminated, truncated = self._end("terminated", steps), self._end("truncated", steps)
        success = self._flag("success")
        return LoggedEpisode(
            action=action,
            obs=obs,
            reward=reward,
            time=time,
            terminated=bool(terminated),
            truncated=not terminated if truncated is None else truncated,
            success=None if success is None else bool(success.any()),
            task=self._task(),
            signals={name: value for name, value in signals.items() if value is not None},
            file=self._episode.file,
            name=self._episode.name,
            notes=tuple(self._notes),
        )

    def _matrix(self, key: str, parts: Sequence[Source] | None) -> Column | None:
        """Put the columns of several sources side by side: [n, D]."""
        if parts is None:
            return None
        found = [self._values(key, name, part) for part in parts for name in part.names]
        rows = {len(values) for values in found}
        if len(rows) > 1:
            what = f"its columns have {' and '.join(map(str, sorted(rows)))} rows"
            raise self._error(key, what, "give all of them as many")
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def _vector(self, key: str, part: Source | None) -> Column | None:
        values = self._matrix(key, None if part is None else (part,))
        if values is None:
            return None
        if values.shape[1] != 1:
            raise self._error(
                key, f"a row has {counted(values.shape[1], 'value')}", "name a column with one, or add 'index: [0]'"
            )
        return values[:, 0]

    def _values(self, key: str, name: str, part: Source) -> Column:
        """Return a column in SI units, [n, D]; as it is stored where nothing is to be done."""
        values = self._rows[name]
        if values.ndim == 0 or values.ndim > 2:
            what = f"the column {name!r} has shape {list(values.shape)}"
            raise self._error(key, what, "a column has a number, or a list of numbers, in each row")
        values = values[:, None] if values.ndim == 1 else values
        if part.index is not None:
            if max(part.index) >= values.shape[1]:
                what = f"the column {name!r} has {values.shape[1]} entries and no entry {max(part.index)}"
                raise self._error(key, what, "entries are counted from 0")
            values = values[:, list(part.index)]
        if values.dtype.kind != "f" or values.dtype.itemsize < 4:
            values = values.astype(np.float64)
        if part.factor != 1.0 or part.offset != 0.0:
            values = values.astype(np.float64) * part.factor + part.offset
        return values

    def _end(self, key: str, steps: int) -> bool | None:
        """Return whether the episode ends with a flag; refuse one that is set while it goes on."""
        flags = self._flag(key)
        if flags is None:
            return None
        if self._left_out is not None and len(flags) == self._left_out + 1 > 1:
            flags = flags[:-1]  # the action that ended the episode is the one that is left out
        if flags.size > 1 and len(flags) not in (steps, steps + 1):
            self._check_rows(key, flags, steps)
        if flags.size > 1 and flags[: steps - 1].any():
            first = int(np.flatnonzero(flags)[0])
            mend = "split the log there, or name the column that counts episodes (episode: NAME) in a column map"
            raise UserError(f"{key}, and the episode goes on", where=self._episode.where(first, key), mend=mend)
        return bool(flags.any())

    def _flag(self, key: str) -> Column | None:
        name = getattr(self._known, key)
        value = self._rows[name] if name is not None else self._table.facts.get(key)
        if value is None:
            return None
        values = np.atleast_1d(np.asarray(value)).reshape(-1)
        if values.dtype.kind == "f":
            if np.isnan(values).all():
                return None
            values = np.nan_to_num(values, nan=0.0)
        if values.dtype.kind not in "fiub" or not np.isin(values, (0, 1)).all():
            raise self._error(key, "it holds something else than 0 and 1", "write 0 for no and 1 for yes")
        return values.astype(bool)

    def _task(self) -> dict[str, JSON] | None:
        known = {**(self._table.facts.get(TASK) or {}), **self._known.task}
        for name, column in self._tasks.items():
            values = self._rows[column]
            if not (values == values[0]).all():
                raise self._error(column, "the value changes within the episode", "a task parameter stays as it is")
            if str(values[0]) not in ("", "nan"):
                known.setdefault(name, self._vector_or_value(column, values[0].item()))
        return known or None

    def _vector_or_value(self, column: str, value: JSON) -> JSON:
        """Return a cell as it is, and one such as ``[0.1, 0.2]`` as a list."""
        if not isinstance(value, str) or not value.startswith("["):
            return value
        try:
            return [float(part) for part in value.strip("[]").split(",")]
        except ValueError:
            raise self._error(column, f"{value[:40]!r} is no list of numbers", "write [0.1, 0.2]") from None

    def _check_rows(self, key: str, values: Column, rows: int) -> None:
        if len(values) != rows:
            what = f"{key} has {counted(len(values), 'row')}, not {rows}"
            raise self._error(key, what, "there is one reward for each action, and one time for each observation")

    def _check_follows(self, after: Column, obs: Column) -> None:
        """Refuse rows of several episodes as one: what comes of an action is what is seen before the next one."""
        if after.shape != obs.shape:
            what = f"next_obs has {counted(after.shape[1], 'value')} in a step, and obs {obs.shape[1]}"
            raise self._error("next_obs", what, "give both the same")
        apart = ~np.isclose(after[:-1], obs[1:], rtol=1e-4, atol=1e-6, equal_nan=True)
        rows = apart.any(axis=1)
        if rows.any() and rows.mean() < 0.5:  # where most rows differ, both were measured, one after the other
            step, place = (int(index) for index in np.argwhere(apart)[0])
            what = f"the value is {after[step, place]:.6g}, and the next row's observation {obs[step + 1, place]:.6g}"
            mend = "another episode begins there: name the column that counts episodes (episode: NAME) in a column map"
            raise UserError(what, where=self._episode.where(step, f"next_obs[{place}]"), mend=mend)

    def _error(self, key: str, what: str, mend: str) -> UserError:
        return UserError(what, where=self._episode.where(key=key), mend=mend)
