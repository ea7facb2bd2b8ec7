"""What a learning curve shows: the same held-out tasks throughout, from the records of a run's evaluations.

The final evaluation is usually made on other and more tasks than those while training: on test tasks, which nobody has
looked at before. A line from one to the other would show other tasks, not learning: so a curve keeps to the tasks of
all evaluations on one split, and the final one stands beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mql.evaluation.statistics import summarize

Record = Mapping[str, Any]
COLUMNS = ("zero_shot", "adapted")


@dataclass(frozen=True)
class Point:
    """What one policy got in one evaluation: over tasks, mean and worst return, 95 % interval, share solved.

    ``low`` and ``high`` are None where the tasks are too few for an interval.
    """

    env_steps: int
    mean: float
    low: float | None
    high: float | None
    worst: float
    success: float | None  # in [0, 1]; None where the family has no success


@dataclass(frozen=True)
class LearningCurve:
    """A curve over `n_tasks` tasks, and the final evaluation (empty while a run is unfinished) over `n_final_tasks`.

    ``kind`` and ``final_kind`` say which tasks these are: a split, or training, where a split has the training tasks.
    Points and final points are by column, ``zero_shot`` and ``adapted``; a column that was never measured is missing,
    and `env_steps` lists all evaluations, so that a gap in a column can be seen.
    ``random_return`` and ``random_success`` are those of random actions in the curve's tasks, None where unknown.
    """

    kind: str
    n_tasks: int
    env_steps: list[int]
    points: dict[str, list[Point]]
    final_kind: str
    n_final_tasks: int
    final: dict[str, Point]
    random_return: float | None
    random_success: float | None


def learning_curve(evaluations: Sequence[Record], *, finished: bool) -> LearningCurve:
    """Return the curve over those tasks that all evaluations on one split share: that of the last one while training.

    The final evaluation belongs to the curve where it is on that split, too.

    Args:
        evaluations: records of evaluations.jsonl, at least one.
        finished: the last of them is the final evaluation.

    Raises:
        ValueError: there is no evaluation, or no task that each of them could finish.
    """
    last = evaluations[-1] if evaluations else {}
    evaluations, places = shared_tasks(evaluations, finished=finished)
    tables = [record["tasks"] for record in evaluations]
    points: dict[str, list[Point]] = {}
    for record in evaluations:
        for column, point in _points(record, [record["tasks"][place] for place in places]).items():
            points.setdefault(column, []).append(point)
    complete = [row for row in last["tasks"] if "fault" not in row]
    return LearningCurve(
        kind=_kind(evaluations[-1]),
        n_tasks=len(places),
        env_steps=[record["env_steps"] for record in evaluations],
        points=points,
        final_kind=_kind(last),
        n_final_tasks=len(complete) if finished else 0,
        final=_points(last, complete) if finished else {},
        random_return=_random(tables, places, "random_return"),
        random_success=_random(tables, places, "random_success"),
    )


def shared_tasks(evaluations: Sequence[Record], *, finished: bool) -> tuple[list[Record], list[int]]:
    """Return the evaluations that make a curve, and the places in their tables of the tasks that all of them share.

    Raises:
        ValueError: there is no evaluation, or no task that each of them could finish.
    """
    if not evaluations:
        raise ValueError("a learning curve needs at least one evaluation")
    split = (evaluations[-2] if finished and len(evaluations) > 1 else evaluations[-1])["split"]
    chosen = [record for record in evaluations if record["split"] == split]
    tables = [record["tasks"] for record in chosen]
    # A split is a fixed list, of which evaluations take the first tasks: a place in it names a task.
    places = [place for place in range(min(map(len, tables))) if _same([table[place] for table in tables])]
    if not places:
        raise ValueError("the evaluations have no task in common that each of them could finish")
    return chosen, places


def _kind(record: Record) -> str:
    return "training" if record.get("shared_splits") else str(record["split"])


def _same(rows: Sequence[Record]) -> bool:
    """Whether the rows are of one task that no evaluation failed in."""
    return not any("fault" in row or row["parameters"] != rows[0]["parameters"] for row in rows)


def _points(record: Record, rows: Sequence[Record]) -> dict[str, Point]:
    points = {}
    for column in COLUMNS:
        returns = [row[f"{column}_return"] for row in rows]
        if None in returns:  # not adapted in this evaluation
            continue
        summary = summarize(returns)
        successes = [row[f"{column}_success"] for row in rows if row.get(f"{column}_success") is not None]
        success = sum(successes) / len(successes) if successes else None
        low, high = summary["ci95"] or (None, None)
        points[column] = Point(record["env_steps"], summary["mean"], low, high, summary["min"], success)
    return points


def _random(tables: Sequence[Sequence[Record]], places: Sequence[int], key: str) -> float | None:
    """Return the mean of what random actions got in the tasks at `places`, from an evaluation that played them."""
    for table in tables:
        values = [table[place].get(key) for place in places]
        known = [float(value) for value in values if value is not None]  # they may fail where the agent does not
        if known:
            return sum(known) / len(known)
    return None
