"""The figures of published results: what stands in a row of the page, computed from the rows of tasks alone.

Shapes: S seeds, N tasks that all of them finished.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.evaluation.statistics import Estimate, across_runs
from mql.report.page.facts import numeric
from mql.report.page.groups import mean, task_key
from mql.report.published.folder import Method, Record, Seed

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Figures:
    """One row: a method's last evaluation, or one of those beside it. What was not measured is None.

    Attributes:
        kind: ``final``, ``ood`` or ``again``.
        split: that of the tasks; ``training`` where these are the training tasks.
        tasks: N; ``faults`` more could not be finished by some seed and are left out.
        env_steps, updates: of each seed.
        planned: env steps that an unfinished run was made for; None: it has come to its end.
        random: mean return of random actions, and the share of episodes that they solve; ``random_tasks``: in how many
            of the tasks.
        zero_shot, adapted, gain: mean over S x N values, with interval; ``gain`` is paired.
        worst: lowest return of one seed in one task, zero-shot and adapted.
        success: shares in [0, 1], zero-shot and adapted.
        how: how the adapted returns came about.
    """

    kind: str
    split: str
    seeds: tuple[int, ...]
    tasks: int
    faults: int
    env_steps: tuple[int, ...]
    updates: tuple[int, ...]
    planned: int | None
    random: float | None
    random_success: float | None
    random_tasks: int
    zero_shot: Estimate
    adapted: Estimate | None
    gain: Estimate | None
    worst: tuple[float, float | None]
    success: tuple[Estimate | None, Estimate | None]
    how: str


def figures_of(method: Method) -> list[Figures]:
    """Return the row of the last evaluations, then those of what lies beside them.

    Raises:
        UserError: there is no task that all seeds finished.
    """
    rows = [_figures("final", [(seed, seed.last) for seed in method.seeds])]
    kinds: dict[str, Callable[[Seed], Record | None]] = {"again": lambda s: s.again, "ood": lambda s: s.ood}
    for kind, of in kinds.items():
        found = [(seed, record) for seed in method.seeds if (record := of(seed)) is not None]
        if found:
            rows.append(_figures(kind, found))
    return rows


def _figures(kind: str, found: Sequence[tuple[Seed, Record]]) -> Figures:
    tables = [
        {task_key(row["parameters"]): row for row in record["tasks"] if "fault" not in row} for _, record in found
    ]
    keys = [key for key in tables[0] if all(key in table for table in tables)]
    if not keys:
        mend = "evaluate it again, or take the seed away that finished none"
        raise UserError("there is no task that all seeds finished", where=str(found[0][0].path.parent), mend=mend)
    zero_shot = _matrix(tables, keys, "zero_shot_return")
    assert zero_shot is not None  # `check_record` has seen them
    adapted = _matrix(tables, keys, "adapted_return")
    (by_chance, in_tasks), (solved, _) = (_random(found, keys, f"random_{what}") for what in ("return", "success"))
    seed, record = found[0]
    return Figures(
        kind=kind,
        split="training" if record.get("shared_splits") else str(record["split"]),
        seeds=tuple(seed.seed for seed, _ in found),
        tasks=len(keys),
        faults=len(record["tasks"]) - len(keys),
        env_steps=tuple(int(record["env_steps"]) for _, record in found),
        updates=tuple(int(seed.last["updates"]) for seed, _ in found if "updates" in seed.last),
        planned=None if all(seed.finished for seed, _ in found) else seed.planned,
        random=by_chance,
        random_success=solved,
        random_tasks=in_tasks,
        zero_shot=across_runs(zero_shot, mean),
        adapted=None if adapted is None else across_runs(adapted, mean),
        gain=None if adapted is None else across_runs(adapted - zero_shot, mean),
        worst=(float(zero_shot.min()), None if adapted is None else float(adapted.min())),
        success=(_share(tables, keys, "zero_shot_success"), _share(tables, keys, "adapted_success")),
        how="" if adapted is None else _how(seed, record),
    )


def _complete(record: Record) -> dict[str, Record]:
    """Return the rows without a fault by their task."""
    return {task_key(row["parameters"]): row for row in record["tasks"] if "fault" not in row}


def _matrix(tables: Sequence[dict[str, Record]], keys: Sequence[str], column: str) -> Array | None:
    """Return a column [S, N]; None where a value is missing."""
    values = [[numeric(table[key].get(column)) for key in keys] for table in tables]
    return None if any(None in row for row in values) else np.array(values, dtype=np.float64)


def _share(tables: Sequence[dict[str, Record]], keys: Sequence[str], column: str) -> Estimate | None:
    values = _matrix(tables, keys, column)
    return None if values is None else across_runs(values, mean)


def _random(found: Sequence[tuple[Seed, Record]], keys: Sequence[str], column: str) -> tuple[float | None, int]:
    """Return the mean over seeds and tasks of what random actions get, and the number of tasks where it is known."""
    values: dict[str, list[float]] = {}
    for seed, record in found:
        here = {task_key(row["parameters"]): row for row in record["tasks"]}
        for key in keys:
            for row in (here[key], seed.random.get(key, {})):
                value = numeric(row.get(column))
                if value is not None:
                    values.setdefault(key, []).append(value)
                    break
    flat = [value for own in values.values() for value in own]
    return (float(np.mean(flat)), len(values)) if flat else (None, 0)


def _how(seed: Seed, record: Record) -> str:
    """Say how it was adapted, and from how many episodes (their mean, where tasks differ)."""
    if "how" in record:
        return str(record["how"])
    rows = [row for row in record["tasks"] if "fault" not in row]
    named: Any = rows[0].get("method")
    charged = [numeric(row.get("episodes_charged")) for row in rows]
    known = [value for value in charged if value is not None]
    episodes = float(np.mean(known)) if known else None
    if seed.method == "mql":  # earlier evaluations did not say it, and there was one way at first
        named = named or seed.settings.get("adapt.method", "paper")
        episodes = numeric(seed.settings.get("adapt.adaptation_episodes")) if episodes is None else episodes
    text = "" if episodes is None else f"{episodes:.3g} episode{'' if episodes == 1 else 's'}"
    return ", ".join(part for part in (str(named or ""), text) if part)
