"""Do tasks that are played in parallel get the episodes that each of them gets alone?

A batch shares one simulation, or one process, between its tasks. Whatever is kept once where each task needs its own
(a place that is written into the first task's model, a mean over the rows, a variable of a module) shows here, step for
step. The message says which task and number differ, which task parameter it hangs on, and what its author can do.

Shapes: N tasks, T steps, O observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed
from mql.tasks.checks.inspection import Episode, Inspection, name_tasks, play_batch
from mql.tasks.checks.tasks import variants
from mql.tasks.definitions.family import DefinedFamily
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import Task, TaskFamily
from mql.tasks.stepping.parallel import ParallelFamily

_FIRST_SEED = 51
_FEW = 3  # tasks among which the guilty parameter is looked for


@dataclass(frozen=True)
class _Difference:
    """Where an episode in parallel first differs from the one alone."""

    row: int
    step: int
    text: str


def check_agreement(inspection: Inspection) -> Verdict:
    """Tasks in parallel have the episodes that they have alone, bit for bit, on one thread and on two."""
    family, steps = inspection.family, inspection.amount.steps
    tasks = _tasks(family, inspection.amount.side_by_side)
    seeds = list(range(_FIRST_SEED, _FIRST_SEED + len(tasks)))
    # A copy of the family that has played nothing in parallel says how the episodes should be.
    fresh = inspection.build()
    alone = [inspection.play_alone(task, seed, steps, family=fresh) for task, seed in zip(tasks, seeds, strict=True)]
    threads = (1, 2) if family.native else (1,)
    for count in threads:
        found = _first_difference(alone, _side_by_side(inspection, tasks, seeds, steps, count))
        if found is not None:
            task = name_tasks([tasks[found.row]])
            on = "" if count == 1 else f" on {count} threads"
            return failed(
                f"task {found.row + 1} of {len(tasks)} in a batch{on} differs from the same task alone: {found.text}"
                f"{_cause(inspection, fresh, tasks, seeds, steps)}: {_advice(family)} [task {task}]"
            )
    played = sum(len(episode.rewards) for episode in alone)
    on = " on 1 and 2 threads" if len(threads) > 1 else ""
    return passed(f"{len(tasks)} tasks in a batch{on} repeat the {played} steps of each alone, bit for bit")


def _tasks(family: TaskFamily, n: int) -> list[Task]:
    """Return `n` tasks of all splits, the last ones too, in which parameters have as many values as may be."""
    lists = [family.tasks(split) for split in family.split_names]
    dealt = [tasks[place] for place in range(max(map(len, lists))) for tasks in lists if place < len(tasks)]
    different = list({tuple(task.parameters.values()): task for task in dealt}.values())
    chosen = different[:n]
    return chosen if len(chosen) > 1 else [*chosen, *chosen]


def _side_by_side(
    inspection: Inspection, tasks: Sequence[Task], seeds: Sequence[int], steps: int, threads: int = 1
) -> list[Episode]:
    family = inspection.family
    with inspection.playing(*tasks):
        batch = family.make_batch(tasks, threads=threads)
        try:
            return play_batch(family, batch, tasks, seeds, steps)
        finally:
            batch.close()


def _first_difference(alone: Sequence[Episode], together: Sequence[Episode]) -> _Difference | None:
    for row, (right, played) in enumerate(zip(alone, together, strict=True)):
        step = right.first_difference(played)
        if step is not None:
            return _Difference(row, step, _what(right, played, step))
    return None


def _what(right: Episode, played: Episode, step: int) -> str:
    """Say what differs at `step`, the observation before the reward."""
    if step >= len(right.obs) or step >= len(played.obs):
        return f"its episode has {len(played.rewards)} steps instead of {len(right.rewards)}"
    when = f"after step {step}" if step else "at the start"
    one, other = right.obs[step], played.obs[step]
    places = np.flatnonzero(~((one == other) | (np.isnan(one) & np.isnan(other))))
    if places.size:
        place = int(places[0])
        more = f" (and {places.size - 1} more)" if places.size > 1 else ""
        return f"number {place} of the observation{more} is {other[place]:.6g} {when}, alone {one[place]:.6g}"
    return f"the reward is {played.rewards[step - 1]:.6g} {when}, alone {right.rewards[step - 1]:.6g}"


def _cause(inspection: Inspection, fresh: TaskFamily, tasks: Sequence[Task], seeds: Sequence[int], steps: int) -> str:
    """Say what it hangs on, as far as a few more episodes tell: one task parameter, or being together at all."""
    family = inspection.family

    def disagree(chosen: Sequence[Task], own_seeds: Sequence[int]) -> bool:
        right = [
            inspection.play_alone(task, seed, steps, family=fresh) for task, seed in zip(chosen, own_seeds, strict=True)
        ]
        return _first_difference(right, _side_by_side(inspection, chosen, own_seeds, steps)) is not None

    if disagree([tasks[0]] * _FEW, list(seeds[:1]) * _FEW):
        return "; even equal tasks with one seed disagree"
    if disagree([tasks[0]] * _FEW, range(_FIRST_SEED, _FIRST_SEED + _FEW)):
        return "; so it is with equal tasks that start from other seeds"
    guilty = []
    for name in family.parameters:
        chosen = variants(family, [name], _FEW)
        if len(chosen) > 1 and disagree(chosen, [seeds[0]] * len(chosen)):
            guilty.append(repr(name))
    if not guilty:
        return ""
    one = guilty[0] if len(guilty) == 1 else f"each of {', '.join(guilty)}"
    return f"; it takes tasks that differ in {one}"


def _advice(family: TaskFamily) -> str:
    family = undisturbed(family)
    if isinstance(family, ParallelDefinedFamily):
        return (
            "the file is not to blame, mql is, so please report this line; until then change something else than what "
            "that parameter's 'apply' names, or add a class under env.python, whose tasks are stepped one by one"
        )
    if isinstance(family, DefinedFamily):
        return (
            "keep all that an episode depends on in 'self' and in 'data', not in variables of the module or the class"
        )
    if isinstance(family, ParallelFamily):
        return (
            "keep everything of a task in a row of its own ([N, ...] arrays, a model for each task); no mean, sum or "
            "random draw over the rows, and nothing written into a model that tasks share"
        )
    return "let an environment keep its state in itself, not in variables of the module or the class"
