"""How far an evaluation is, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def task_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how many tasks are done; nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, tasks: progress.update(task, completed=done, total=tasks)
