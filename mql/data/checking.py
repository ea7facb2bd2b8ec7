"""Looks for what is wrong in logged episodes, by episode, step and key.

`faults` finds what nothing can be learned from, and `mql.data.fitting` refuses; `check` finds also what is odd.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mql.data.dynamics import move_found
from mql.data.findings import Finding, Level
from mql.data.logged import Column, LoggedEpisode
from mql.data.reference import FEW_STEPS, Reference, reference_of, sizes_compared
from mql.data.resampling import COARSEST, FINEST, GAP, at_control_rate
from mql.data.rewarding import KnownTask, computed_rewards, known_of, known_parameters
from mql.data.signals import observed_signals
from mql.errors import UserError
from mql.plain_text import counted
from mql.tasks.family import TaskFamily

ROUNDING = 1e-3  # by which an action may lie outside [-1, 1]
_AT_THE_LIMIT = 0.999
_OFTEN = 0.5  # the part of all steps at a limit that is told


def check(
    logged: Sequence[LoggedEpisode], family: TaskFamily | None = None, *, task: KnownTask = None
) -> list[Finding]:
    """Return all that is wrong or odd in logged episodes, errors first.

    Args:
        logged: as `mql.data.reading.read` returns them.
        family: whose episodes they are to be; None: only what needs no family is looked at.
        task: values of task parameters that are known beside those in the file.
    """
    found: list[Finding] = []
    seen: list[LoggedEpisode] = []
    for episode in logged:
        try:
            known = episode
            if family is not None:
                known = observed_signals(family, episode, known_parameters(family, task, where=episode.where()))
        except UserError as error:
            found.append(_of_error(error, episode))
            continue
        seen.append(known)
        found += faults(known, family)
        found += _odd(known, family)
        if family is not None:
            found += _rewards(known, family, task)
    found += _over_all(seen)
    if family is not None and seen and not any(each.level == "error" and each.key != "reward" for each in found):
        found += _compared(seen, family)
    return sorted(_merged(found), key=lambda each: each.level != "error")


def _compared(logged: Sequence[LoggedEpisode], family: TaskFamily) -> Iterator[Finding]:
    """Yield what doesn't look like the family's own episodes: the order of axes, signs, units, dead sensors."""
    reference = reference_of(family)
    sizes = list(sizes_compared(logged, reference))
    move = move_found(logged, reference, family.control_timestep, sizes)
    if move is not None and not list(sizes_compared([move.undone(episode) for episode in logged], reference)):
        yield move.finding(logged[0].file, family.name)
    else:
        yield from (each.finding for each in sizes)
    yield from _constant_observations(logged, reference)


def _merged(found: Sequence[Finding]) -> list[Finding]:
    """Tell what is the same in many episodes once, with the first of them."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for each in found:
        at = "" if each.episode is None or each.step is None else str(each.step)
        groups.setdefault((each.level, each.file, each.what, each.key, at), []).append(each)
    return [
        replace(group[0], what=f"{group[0].what}, in {len(group):,} episodes") if len(group) > 1 else group[0]
        for group in groups.values()
    ]


def faults(episode: LoggedEpisode, family: TaskFamily | None) -> Iterator[Finding]:
    """Yield what must be put right before an episode is used."""
    yield from _shapes(episode, family)
    for key in ("time", "obs", "action", "reward"):
        yield from _not_finite(episode, key, getattr(episode, key))
    for name, values in episode.signals.items():
        yield from _not_finite(episode, f"signals/{name}", values)
    yield from _outside(episode)
    yield from _time(episode, family)


def _finding(
    level: Level, episode: LoggedEpisode, what: str, mend: str, *, step: int | None = None, key: str = ""
) -> Finding:
    return Finding(level, what, mend, episode.file, episode.name, step, key)


def _of_error(error: UserError, episode: LoggedEpisode, key: str = "") -> Finding:
    inner = error.where or ""
    key = key or (inner.removeprefix(episode.where()).strip() if inner.startswith(episode.where()) else inner)
    return Finding("error", error.what, error.mend, episode.file, episode.name, None, key)


def _shapes(episode: LoggedEpisode, family: TaskFamily | None) -> Iterator[Finding]:
    if family is None:
        return
    for key, values, wide in (("obs", episode.obs, family.obs_dim), ("action", episode.action, family.action_dim)):
        if values is not None and values.shape[1] != wide:
            what = f"{key} has {counted(values.shape[1], 'value')} in a step, and {family.name} has {wide}"
            mend = "name the right columns, in the family's order, in a column map (--columns MAP.yaml)"
            yield _finding("error", episode, what, mend, key=key)
    if episode.obs is None:
        mend = "log observations, or joint positions and velocities of a family that computes them"
        yield _finding("error", episode, "there are no observations", mend, key="obs")


def _not_finite(episode: LoggedEpisode, key: str, values: Column | None) -> Iterator[Finding]:
    if values is None:
        return
    wrong = ~np.isfinite(values)
    if not wrong.any():
        return
    first = np.argwhere(wrong)[0]
    place = key if values.ndim == 1 else f"{key}[{first[1]}]"
    value = float(values[tuple(first)])
    count = int(wrong.sum())
    more = f", the first of {count:,}" if count > 1 else ""
    mend = "leave the episode out, or cut it before this step"
    yield _finding("error", episode, f"the value is {value}{more}", mend, step=int(first[0]), key=place)


def _outside(episode: LoggedEpisode) -> Iterator[Finding]:
    size = np.abs(np.nan_to_num(episode.action, nan=0.0, posinf=0.0, neginf=0.0))
    if not size.size or size.max() <= 1 + ROUNDING:
        return
    step, place = np.argwhere(size > 1 + ROUNDING)[0]
    value, largest = float(episode.action[step, place]), float(size.max())
    what = f"the action is {value:.4g}, outside [-1, 1] (the largest is {largest:.4g})"
    mend = f"scale actions to [-1, 1] in a column map (scale: {1 / largest:.3g}, or 1 / the limit of the command)"
    yield _finding("error", episode, what, mend, step=int(step), key=f"action[{place}]")


def _time(episode: LoggedEpisode, family: TaskFamily | None) -> Iterator[Finding]:
    time = episode.time
    if time is None or not np.isfinite(time).all():
        return
    steps = np.diff(np.asarray(time, np.float64))
    back = np.flatnonzero(steps <= 0)
    if len(back):
        step = int(back[0])
        kind = "stands still" if steps[step] == 0 else "goes back"
        what = f"time {kind}: {time[step]:.6g} s, then {time[step + 1]:.6g} s"
        yield _finding("error", episode, what, "sort the rows, or split the log there", step=step, key="time")
        return
    usual = float(np.median(steps))
    if family is not None:
        ratio = usual / family.control_timestep
        if not FINEST <= ratio <= COARSEST:
            what = f"a step takes {usual:.4g} s, and a control step of {family.name} {family.control_timestep:.4g} s"
            mend = f"state the unit of time in a column map ({_time_unit(ratio)})"
            yield _finding("error", episode, what, mend, key="time")
            return
        usual = max(usual, family.control_timestep)
    wide = np.flatnonzero(steps > GAP * usual * (1 if family is not None else 2))
    if len(wide):
        step = int(wide[0])
        more = f", the first of {len(wide)} gaps" if len(wide) > 1 else ""
        what = f"{steps[step]:.4g} s are missing between two rows ({usual:.4g} s apart otherwise){more}"
        yield _finding("error", episode, what, "split the log there into two episodes", step=step, key="time")


def _time_unit(ratio: float) -> str:
    units = {"ms": 1e3, "us": 1e6, "ns": 1e9, "s": 1.0}
    return f"unit: {min(units, key=lambda unit: abs(np.log(ratio / units[unit])))}"


def _odd(episode: LoggedEpisode, family: TaskFamily | None) -> Iterator[Finding]:
    """Yield what one episode shows that should be looked at."""
    if family is None:
        return
    if episode.length > family.episode_length:
        what = f"{episode.length} steps, and episodes of {family.name} have {family.episode_length}"
        yield _finding("warning", episode, what, "nothing to do: it is cut into several")
    if episode.time is None:
        what = f"no times are logged: a row is taken for a control step of {family.control_timestep:g} s"
        yield _finding("warning", episode, what, "log the time of each row", key="time")
    elif np.isfinite(episode.time).all() and not at_control_rate(episode.time, family.control_timestep):
        usual = float(np.median(np.diff(np.asarray(episode.time, np.float64))))
        what = f"a row every {usual:.4g} s, and {family.name} steps every {family.control_timestep:.4g} s"
        yield _finding("warning", episode, what, "nothing to do: it is resampled", key="time")


def _rewards(episode: LoggedEpisode, family: TaskFamily, task: KnownTask) -> Iterator[Finding]:
    """Say where rewards are missing, and whether the family computes them; and what is wrong with the task."""
    obs, action, where = episode.obs, episode.action, episode.where()
    try:
        known = known_of(family, task, episode.task, where=where)
    except UserError as error:
        yield _of_error(error, episode, "task")
        return
    if episode.reward is not None or obs is None:
        return
    if (obs.shape[1], action.shape[1]) != (family.obs_dim, family.action_dim):
        return
    if not np.isfinite(obs).all() or not np.isfinite(action).all():
        return
    try:
        computed_rewards(family, obs.astype(np.float32), action.astype(np.float32), known, where=where)
    except UserError as error:
        yield _of_error(error, episode, "reward")
        return
    yield _finding("warning", episode, "no rewards are logged", "nothing to do: the family computes them", key="reward")


def _over_all(logged: Sequence[LoggedEpisode]) -> Iterator[Finding]:
    """Yield what only all episodes of a file together show of their actions."""
    actions = _stacked([episode.action for episode in logged])
    if actions is None or len(actions) < FEW_STEPS:
        return
    file = logged[0].file
    for place in range(actions.shape[1]):
        values = actions[:, place]
        at_limit = float((np.abs(values) >= _AT_THE_LIMIT).mean())
        if values.min() == values.max():
            what, mend = f"the action is {values[0]:.4g} in every step", "check that the right column is named"
        elif at_limit > _OFTEN:
            what = f"the action is at its limit in {100 * at_limit:.0f} % of all steps"
            mend = "check its scale: it may be clipped"
        else:
            continue
        yield Finding("warning", what, mend, file, None, None, f"action[{place}]")


def _constant_observations(logged: Sequence[LoggedEpisode], reference: Reference) -> Iterator[Finding]:
    obs = _stacked([episode.obs for episode in logged if episode.obs is not None])
    if obs is None or len(obs) < FEW_STEPS:
        return
    for place in range(obs.shape[1]):
        values = obs[:, place]
        if values.min() == values.max() and reference.varies[place]:
            what = f"the value is {values[0]:.4g} in every step, and the family's varies"
            mend = "check that the sensor was on, and the right column is named"
            yield Finding("warning", what, mend, logged[0].file, None, None, f"obs[{place}]")


def _stacked(arrays: Sequence[Column]) -> Column | None:
    """Return the rows of all arrays one after the other; None where they don't fit together, or not all are finite."""
    if not arrays or len({values.shape[1] for values in arrays}) > 1:
        return None
    rows = np.concatenate(arrays)
    return rows if np.isfinite(rows).all() else None
