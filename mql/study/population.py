"""Which runs of a study share a process (`several_runs`): as many of one family and device as somebody asks for.

On the CPU threads share Python's lock, and processes do not. On a GPU processes take turns, while
streams of one process work at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence

from mql.config.schema import Config
from mql.errors import UserError
from mql.study.cells import Cell


def next_group(waiting: Sequence[Cell], population: int, *, room: int) -> list[Cell]:
    """Return the next runs to be made by one process: the first that waits, and others of its family and device.

    Args:
        room: the most of them.
    """
    alike = [cell for cell in waiting if _kind(cell) == _kind(waiting[0])]
    return alike[: min(population, room)]


def check_population(cells: Sequence[Cell], population: int, *, workers: int | None, cluster: bool) -> None:
    """Refuse runs that are to share processes and can't.

    Args:
        population: how many share a process.
        workers: runs at the same time, where somebody says how many.

    Raises:
        UserError: names what stands against it.
    """
    if population == 1:
        return
    if cluster:
        what = f"runs on a cluster have a process each, and population is {population}"
        raise UserError(what, where="--cluster", mend="add --population 1")
    if workers is not None and workers < population:
        what = f"population is {population}, but no more than {workers} runs are made at the same time"
        raise UserError(what, where="workers", mend=f"let workers be {population} at least, or population smaller")
    for cell in cells:
        if (found := _own_process(cell.config)) is not None:
            key, why = found
            given = cell.given.get(key)
            where = given.where if given is not None and given.where else key
            what = f"{cell.label} can't share a process: {why}"
            raise UserError(what, where=where, mend="let population be 1, or change that key")


def _own_process(config: Config) -> tuple[str, str] | None:
    """Return the key that keeps a run from sharing its process, and why; None: there is none."""
    if config.threads > 1:
        return "threads", "the threads of products are those of the whole process, so each run may have only 1"
    if config.tracking == "wandb":
        return "tracking", "wandb tracks one run of a process"
    if config.collect.engine != "local":
        return "collect.engine", "a process has one connection to a cluster"
    return None


def _kind(cell: Cell) -> tuple[object, ...]:
    return cell.family, cell.config.family, cell.definition, cell.config.device
