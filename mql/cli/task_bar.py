"""How far an evaluation or an adaptation is, on standard error; and what is said where somebody stops it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress

from mql.api.progress import duration
from mql.cli.results import tell_aside

LINE_INTERVAL = 10.0  # seconds at least between lines, where there is no terminal


@contextmanager
def task_bar(
    what: str, *, of: str = "tasks", clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """Show how much is done: a bar on a terminal, an occasional line anywhere else.

    Args:
        what: is done, such as "evaluating".
        of: what is counted.
        clock: seconds from any fixed start, for how often a line is written; tests hand in their own.
    """
    console = Console(stderr=True)
    begun = last = clock()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            nonlocal last
            progress.update(task, completed=done, total=total)
            if not console.is_terminal and clock() - last >= LINE_INTERVAL:
                last = clock()
                tell_aside(f"{what}: {done} of {total} {of} after {duration(last - begun)}")

        yield show


@contextmanager
def told_if_stopped(says: Callable[[], str]) -> Iterator[None]:
    """Within this block Ctrl-C and SIGTERM end the command with a line of what is there now, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        tell_aside(f"stopped {says()}")
        raise typer.Exit(130) from None
