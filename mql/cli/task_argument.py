"""What stands behind ``--task``: ``goal=0.3,-0.5``, ``'goal=(0.3, -0.5)'``, ``object=bowl``, or a listed task.

A listed task is written ``test:3``, counted from 0 as in the messages that name one.
"""

from __future__ import annotations

from collections.abc import Sequence

from mql.errors import UserError
from mql.tasks.family import Task, TaskFamily

_BRACKETS = {"(": ")", "[": "]"}


def chosen_task(family: TaskFamily, given: Sequence[str], *, split: str | None = None) -> Task:
    """Return the task that the texts behind ``--task`` describe.

    Args:
        family: the task's.
        given: the option's values.
        split: whose first task says what `given` leaves out; None: every parameter must be given.

    Raises:
        UserError: they can't be read, or the family has no such task.
    """
    listed = [text for text in given if "=" not in text and ":" in text]
    if not listed:
        if split is None:
            return family.task(task_parameters(given))
        first = family.tasks(split)[0]
        return family.task({**first.parameters, **task_parameters(given)}) if given else first
    if len(given) > 1:
        mend = "give either NAME=VALUE for every parameter, or one SPLIT:N"
        raise UserError(f"--task {listed[0]!r} is a whole task, and more is given", mend=mend)
    return family.task(listed[0])


def task_parameters(given: Sequence[str]) -> dict[str, object]:
    """Read ``name=value`` texts: a number, a name, or numbers with commas or spaces between them for a vector.

    Raises:
        UserError: a text of another form, or a parameter that is given twice.
    """
    parameters: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            mend = "write it as --task NAME=VALUE, or as SPLIT:N for a listed task"
            raise UserError(f"--task {text!r} has no '='", mend=mend)
        if name in parameters:
            raise UserError(f"task parameter {name!r} is given twice", where="--task", mend="give it once")
        parameters[name] = _value(value.strip(), f"--task {name}")
    return parameters


def _value(text: str, where: str) -> object:
    inner, vector = text, "," in text
    if text[:1] in _BRACKETS or text[-1:] in _BRACKETS.values():
        if _BRACKETS.get(text[:1]) != text[-1:]:
            mend = "write '(1, 2)', with quotes where there are spaces"
            raise UserError(f"{text!r} has a bracket at one end only", where=where, mend=mend)
        inner, vector = text[1:-1].strip().removesuffix(","), True
    if not vector and text.isidentifier() and text.lower() not in ("nan", "inf", "infinity"):
        return text  # a name: whether one is wanted, the parameter knows
    try:
        numbers = [float(part) for part in (inner.split(",") if "," in inner else inner.split())]
    except ValueError:
        numbers = []
    if not numbers:
        mend = "give a number, or numbers separated by commas"
        raise UserError(f"{text!r} is not a number", where=where, mend=mend) from None
    return numbers if vector else numbers[0]
