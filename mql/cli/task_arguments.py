"""Reads which task a command is about: ``--task NAME=VALUE ...``, or one of a split's list, ``--task test:3``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mql.errors import UserError
from mql.tasks.family import Task, TaskFamily

_LISTED = re.compile(r"\s*([A-Za-z_][\w-]*)\s*:\s*(\d+)\s*")


def task_of(family: TaskFamily, given: Sequence[str], *, split: str | None = None) -> Task:
    """Return the task that ``--task`` names.

    Args:
        family: the task's.
        given: the option's values: ``name=value`` texts, or one ``split:number`` that counts from 0.
        split: whose first task says what `given` leaves out; None: every parameter must be given.

    Raises:
        UserError: a value that is none, an unknown name or split, or a parameter that is missing.
    """
    listed = [match for text in given if (match := _LISTED.fullmatch(text))]
    if listed:
        if len(given) > 1:
            mend = "give either SPLIT:NUMBER or values"
            raise UserError(f"--task {listed[0][0].strip()!r} stands beside another --task", mend=mend)
        return _listed(family, listed[0][1], int(listed[0][2]))
    if split is None:
        return family.task(_values(given))
    first = family.tasks(split)[0]
    return family.task({**first.parameters, **_values(given)}) if given else first


def _listed(family: TaskFamily, split: str, number: int) -> Task:
    tasks = family.tasks(split)
    if number >= len(tasks):
        mend = f"they are numbered from 0 to {len(tasks) - 1}"
        raise UserError(f"there is no {split} task {number}", where=f"family {family.name}", mend=mend)
    return tasks[number]


def _values(given: Sequence[str]) -> Mapping[str, object]:
    """Read ``name=value`` texts: a number, or numbers with commas between them, with or without brackets around."""
    parameters: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            mend = "write it as --task NAME=VALUE, or --task SPLIT:NUMBER for one of a list"
            raise UserError(f"--task {text!r} has no '='", mend=mend)
        if name in parameters:
            raise UserError(f"task parameter {name!r} is given twice", where="--task", mend="give it once")
        bare = re.fullmatch(r"\s*(?:\(([^()\[\]]*)\)|\[([^()\[\]]*)\])\s*", value)
        inner = (bare[1] if bare[1] is not None else bare[2]) if bare else value
        try:
            numbers = [float(part) for part in inner.strip().removesuffix(",").split(",")]
        except ValueError:
            mend = "give a number, or numbers separated by commas"
            raise UserError(f"{value!r} is not a number", where=f"--task {name}", mend=mend) from None
        parameters[name] = numbers if bare or "," in value else numbers[0]
    return parameters
