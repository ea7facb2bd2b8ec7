"""The newest checkpoint of a run that somebody else may be writing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mql.errors import UserError
from mql.runs.run_dir import RunDir

Loaded = TypeVar("Loaded")


def from_newest(run: RunDir, load: Callable[[int | None], Loaded]) -> Loaded:
    """Return what `load` makes of the newest checkpoint (None: there is none).

    Once more, where that was removed meanwhile: a process that writes the run keeps the newest ones only.
    """
    while True:
        known = run.checkpoints()
        try:
            return load(known[-1] if known else None)
        except UserError:
            if not known or known[-1] in run.checkpoints():
                raise
