"""The cheap checks of a family, before an hour is spent on training it.

They are those of `mql tasks check` that take a second or two, in small: the family builds, its splits share no task,
its definition states nothing in vain, its numbers are finite, the observation gives no hidden parameter away, and every
parameter shows. The families of this package are known to pass, and so is a run that is continued; a single
environment hides nothing that could be checked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mql.api.display import say
from mql.collecting.workers import WorkerLost
from mql.collecting.workforce import workers
from mql.errors import UserError
from mql.robots.checks.verdict import FAIL
from mql.tasks import registry
from mql.tasks.checks.effort import BRIEF
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, finishes_an_episode, run_check
from mql.tasks.definitions.family import load_definition
from mql.tasks.family import TaskFamily

CHEAP = tuple(name for name in ("builds", "splits", "stated", "finite", "hidden", "effect") if name in CHECKS)


def check_before_training(family: TaskFamily, definition: Path | None, *, processes: int = 1) -> None:
    """Refuse a family that fails a cheap check. What takes too long is left out, and standard error says so.

    Families that are played by workers are checked in a worker: what hangs or dies takes nothing else with it.

    Args:
        family: the one that is to be trained on.
        definition: the file that defines it, where it is not one of a name; its Python may be run.
        processes: worker processes that the training is going to use; one of them plays what is checked.

    Raises:
        UserError: a check fails; the message says how to train all the same.
    """
    if registry.is_built_in(family.name) or not family.parameters:
        return
    inspection = Inspection(_build(family, definition), BRIEF, opengl=False)
    if family.native:
        inspection.__dict__["family"] = family
        _run(inspection, partial(run_check, inspection), partial(finishes_an_episode, inspection))
        return
    pool = workers(processes)
    bound = partial(pool.bound, timeout=BRIEF.check_seconds)
    _run(inspection, bound(run_check, inspection), bound(finishes_an_episode, inspection))
    pool.bound(Inspection.forget, inspection, timeout=BRIEF.check_seconds)()


def _run(inspection: Inspection, check: Callable[[str], object], finishes: Callable[[], object]) -> None:
    """Do the checks; `finishes` says whether episodes come to their end at all."""
    begin = time.monotonic()
    for name in CHEAP:
        if time.monotonic() - begin > BRIEF.family_seconds:
            say(f"the check {name} and those after it were left out: the ones before it took too long")
            return
        verdict = check(name)
        if isinstance(verdict, WorkerLost):
            say(f"the check {name} was left out: {verdict}; 'mql tasks check' plays it in full")
        elif getattr(verdict, "of_an_episode", False) and finishes() is True:
            # Training drops such episodes, and goes on with the others.
            say(f"the check {name} was left out: {getattr(verdict, 'message', '')}")
        elif getattr(verdict, "result", None) == FAIL:
            mend = "fix that, or train all the same with --no-check (check=False in Python)"
            raise UserError(f"the check {name} fails: {getattr(verdict, 'message', '')}", mend=mend)


def _build(family: TaskFamily, definition: Path | None) -> Callable[[], TaskFamily]:
    if definition is not None:
        return partial(load_definition, definition.resolve(), trust=True)
    return partial(_given, family)


def _given(family: TaskFamily) -> TaskFamily:
    """Return a family that the caller built: no other process could build it afresh."""
    return family
