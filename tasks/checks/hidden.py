"""Does the observation give a hidden task parameter away?

The first observation must not depend on it: two tasks with the same seed start with the same numbers, except where a
parameter says that an object's place shows from the start (`observed_start`). Later observations may depend on it by
way of the motion, but no number of them may simply be the parameter.

Shapes: N tasks, T steps, O observation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mql.robots.checks.verdict import Verdict, failed, passed, warned
from mql.tasks.checks.inspection import Episode, Inspection
from mql.tasks.checks.tasks import variants
from mql.tasks.family import TaskFamily

_TASKS = 8  # tasks that are compared; fewer can lie on a line by chance
_STEPS = 10  # steps over which a number that simply is a parameter shows
_PERFECT = 0.999  # a correlation beyond this is no chance
_SEED = 21

Array = npt.NDArray[np.float64]


def check_hidden(inspection: Inspection) -> Verdict:
    """Hidden parameters are not in the observation."""
    family = inspection.family
    hidden = [name for name, parameter in family.parameters.items() if parameter.hidden]
    at_start = [name for name in hidden if family.parameters[name].observed_start]
    names = [name for name in hidden if name not in at_start]
    if not hidden:
        return passed("the family hides nothing")
    note = f"; the first observation depends on {_list(at_start)}, as the family says" if at_start else ""
    if not names:
        return passed("no further hidden parameters" + note)
    tasks = variants(family, names, _TASKS)
    if len(tasks) < 2:
        return warned(
            f"no two training tasks differ in {_list(names)} alone, so nothing can be compared: "
            "list such tasks, or mark what the start shows with observed_start" + note
        )
    episodes = _episodes(inspection, names)
    copied = _copies(family, names, episodes)
    if copied:
        return failed(copied)
    if _first_differ(episodes):
        guilty = [name for name in names if _first_differ(_episodes(inspection, [name]))]
        places = sorted({place for episode in episodes for place in _places(episodes[0].obs[0], episode.obs[0])})
        where = f"at place {_places_text(places)}"
        return failed(
            f"the first observation depends on {_list(guilty or names)} ({where}): take it out, "
            "or mark the parameter hidden=False, or observed_start=True where it is an object's place that must show"
        )
    alike = all(np.array_equal(episodes[0].obs, episode.obs, equal_nan=True) for episode in episodes)
    seen = "the same observations all along" if alike else "the same first observation; later ones by the motion"
    return passed(f"{len(episodes)} tasks with one seed have {seen}{note}")


def _episodes(inspection: Inspection, names: Sequence[str]) -> list[Episode]:
    tasks = variants(inspection.family, names, _TASKS)
    return inspection.random_episodes(tasks, [_SEED] * len(tasks), _STEPS)


def _first_differ(episodes: Sequence[Episode]) -> bool:
    return any(_places(episodes[0].obs[0], episode.obs[0]) for episode in episodes[1:])


def _places(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> list[int]:
    return [int(place) for place in np.flatnonzero(~((one == other) | (np.isnan(one) & np.isnan(other))))]


def _copies(family: TaskFamily, names: Sequence[str], episodes: Sequence[Episode]) -> str | None:
    """Say which number of the observation is a hidden parameter, at the start or at every later step."""
    if len(episodes) < 3:
        return None  # two points always lie on a line
    length = min(len(episode.rewards) for episode in episodes)
    start = np.stack([episode.obs[0] for episode in episodes]).astype(np.float64)  # [N, O]
    later = np.concatenate([episode.obs[1 : length + 1] for episode in episodes]).astype(np.float64)  # [N T, O]
    for name in names:
        values = np.array([np.atleast_1d(episode.task.parameters[name]) for episode in episodes])
        for component in range(values.shape[1]):
            own = f"{name}[{component}]" if values.shape[1] > 1 else name
            value = values[:, component]
            for when, seen, known in (("the first", start, value), ("every later", later, np.repeat(value, length))):
                place = _perfect(seen, known)
                if place is not None:
                    return f"number {place} of {when} observation is the hidden {own}: take it out of the observation"
    return None


def _perfect(seen: Array, value: Array) -> int | None:
    """Return the first column of seen [M, O] that is an affine function of value [M], or None."""
    seen, value = np.nan_to_num(seen - seen.mean(axis=0)), value - value.mean()
    scale = np.linalg.norm(seen, axis=0) * np.linalg.norm(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.abs(value @ seen) / scale
    found = np.flatnonzero(np.nan_to_num(correlation) > _PERFECT)
    return int(found[0]) if len(found) else None


def _list(names: Sequence[str]) -> str:
    return " and ".join(repr(name) for name in names)


def _places_text(places: Sequence[int]) -> str:
    return ", ".join(map(str, places[:5])) + (", ..." if len(places) > 5 else "")
