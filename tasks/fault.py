"""What goes wrong in one episode, and only there: the run drops that episode and goes on."""

from __future__ import annotations

from mql.tasks.family import Task


class EpisodeFault(RuntimeError):
    """An episode that could not be finished: its environment raised, hung, died, changed its spaces or gave NaN.

    The message is one line that names the family, what happened and the task's parameters.
    """


def episode_fault(task: Task, what: str) -> EpisodeFault:
    """Return the fault of an episode of `task`: `what` says what happened, such as ``step 3 gave NaN``."""
    values = ", ".join(f"{name} {_short(value)}" for name, value in task.to_json().items())
    return EpisodeFault(" ".join(f"family {task.family}: {what} (task {task.split} {task.index}: {values})".split()))


def _short(value: float | str | list[float]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        shown = [f"{component:.4g}" for component in value[:6]] + (["..."] if len(value) > 6 else [])
        return "(" + ", ".join(shown) + ")"
    return f"{value:.6g}"
