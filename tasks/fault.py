"""What goes wrong in one episode, and only there: the run drops that episode and goes on."""

from __future__ import annotations

from mql.tasks.family import Task

_LONGEST = 700  # characters of what happened: it is written into metrics.jsonl each time


class EpisodeFault(RuntimeError):
    """An episode that could not be finished: its environment raised, hung, died, changed its spaces or gave NaN.

    The message is one line that names the family, what happened and the task's parameters.
    """


def episode_fault(task: Task, what: str) -> EpisodeFault:
    """Return the fault of an episode of `task`: `what` says what happened, such as ``step 3 gave NaN``."""
    values = ", ".join(f"{name} {_short(value)}" for name, value in task.to_json().items())
    short = what if len(what) <= _LONGEST else f"{what[:_LONGEST]} ..."
    line = " ".join(f"family {task.family}: {short} (task {task.split} {task.index}: {values})".split())
    # What an environment says may be anything: it is written down and shown, and moves no cursor.
    return EpisodeFault("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line))


def _short(value: float | str | list[float]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        shown = [f"{component:.4g}" for component in value[:6]] + (["..."] if len(value) > 6 else [])
        return "(" + ", ".join(shown) + ")"
    return f"{value:.6g}"
