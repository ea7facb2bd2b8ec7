"""What stands behind ``--task``: ``goal=0.3,-0.5``, ``'goal=(0.3, -0.5)'``, ``object=bowl``, or a listed task.

A listed task is written ``test:3``, counted from 0 as in the messages that name one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mql.cli.results import tell_aside
from mql.errors import UserError
from mql.tasks.family import Task, TaskFamily
from mql.tasks.name_choice import Name

FAR = 1.5  # of the widths of a range: outside by more is far outside; listed ood tasks are nearer
MOST_NAMED = 3  # values that are told
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


def tell_if_outside(family: TaskFamily, task: Task) -> None:
    """Say on standard error, before anything is played, that a task lies outside what was trained on, and where."""
    if text := outside_training(family, task):
        tell_aside(text)


def outside_training(family: TaskFamily, task: Task) -> str | None:
    """Return a line that says where a task lies outside the range of the training tasks; None where it does not."""
    if task.in_training_range:
        return None
    found: list[tuple[float, str]] = []  # by how many widths of the range, and in words
    for name, value in task.parameters.items():
        trained = [each.parameters[name] for each in family.tasks("train")]
        if isinstance(value, Name):
            if str(value) not in map(str, trained):
                found.append((0.0, f"{name} {value} (no training task has it)"))
            continue
        unit = family.parameters[name].unit
        values = np.atleast_1d(np.asarray(value, np.float64))
        among = np.array(trained, np.float64).reshape(len(trained), -1)
        for place, (number, low, high) in enumerate(zip(values, among.min(axis=0), among.max(axis=0), strict=True)):
            beyond = max(low - number, number - high)
            if beyond > 0.0:
                which = f"{name}[{place}]" if len(values) > 1 else name
                own = f"{which} {number:g}" + (f" {unit}" if unit != "1" else "")
                found.append((beyond / (high - low or abs(high) or 1.0), f"{own} (these have {low:.3g} to {high:.3g})"))
    found.sort(key=lambda each: -each[0])
    far = found != [] and bool(found[0][0] > FAR)
    named = ", ".join(text for _, text in found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")
    where = "far outside" if far else "outside"
    text = f"the task is {where} the range of the training tasks" + (f": {named}" if named else "")
    return f"warning: {text}; the agent may fail there, adapted or not" if far else f"note: {text}"


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
