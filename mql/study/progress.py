"""Shows how a study goes, on standard error: a bar on a terminal, an occasional line anywhere else."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mql.api.progress import LINE_INTERVAL, duration
from mql.plain_text import plain
from mql.study.cells import Cell
from mql.study.folder import CellState, StudyDir


class Progress:
    """How far all runs of a study are; a context manager, so that an error leaves the terminal clean.

    Args:
        folder: where the runs are; only those at work are looked at again.
        cells: all of them.
        states: where each stands.
        workers: runs at a time.
        console: where to write; standard error when None.
        clock: seconds from any fixed start; tests hand in their own.
    """

    def __init__(
        self,
        folder: StudyDir,
        cells: Sequence[Cell],
        states: Sequence[CellState],
        *,
        workers: int,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._workers, self._clock = folder, workers, clock
        self._cells = {cell.label: cell for cell in cells}
        self._states = dict(zip(self._cells, (one.state for one in states), strict=True))
        # Env steps and seconds of each run so far.
        self._done = {
            label: (one.env_steps, one.wall_seconds or 0.0) for label, one in zip(self._cells, states, strict=True)
        }
        self._console = Console(stderr=True, soft_wrap=True) if console is None else console
        self._last_line = clock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._bar(), console=self._console, refresh_per_second=2, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        self._line()

    def look(self, at_work: Iterable[Cell]) -> None:
        """Look how far the runs at work are."""
        for cell in at_work:
            self._done[cell.label] = self._folder.env_steps_of(cell)
        if self._live:
            self._live.update(self._bar())
        elif self._clock() - self._last_line >= LINE_INTERVAL:
            self._line()

    def changed(self, states: Sequence[CellState]) -> None:
        """Say where all runs stand."""
        self._states = dict(zip(self._cells, (one.state for one in states), strict=True))
        for label, one in zip(self._cells, states, strict=True):
            self._done[label] = one.env_steps, one.wall_seconds or 0.0
        if self._live:
            self._live.update(self._bar())

    def note(self, text: str) -> None:
        """Write one line that stays, above the bar."""
        self._console.print(Text(plain(text)), soft_wrap=True)

    def status(self) -> str:
        """Return the present state as one line of text."""
        counts = Counter(self._states.values())
        parts = [f"{counts['finished']}/{len(self._cells)} runs finished"]
        parts += [f"{counts[state]} {state}" for state in ("running", "failed") if counts[state]]
        parts.append(f"{sum(self._steps().values()):,}/{self._total():,} env steps")
        if (left := self._seconds_left()) is not None and left > 0:
            parts.append(f"about {duration(left)} left")
        return " | ".join(parts)

    def _steps(self) -> dict[str, int]:
        """Return the env steps of each run, no more than it is to have: the last iteration may go beyond."""
        return {label: min(self._done[label][0], cell.config.train.env_steps) for label, cell in self._cells.items()}

    def _total(self) -> int:
        return sum(cell.config.train.env_steps for cell in self._cells.values())

    def _seconds_left(self) -> float | None:
        """Return the time left: each run at the pace of those of its family, method and variant, else of all."""
        steps = self._steps()
        paces: dict[tuple[str, ...], list[float]] = {}
        for label, cell in self._cells.items():
            for key in ((cell.family, cell.method, cell.variant), (cell.family, cell.method), (cell.family,), ()):
                if self._done[label][1] > 0.0 and steps[label]:
                    spent = paces.setdefault(key, [0.0, 0.0])
                    spent[0] += self._done[label][1]
                    spent[1] += steps[label]
        left = 0.0
        for label, cell in self._cells.items():
            if self._states[label] in ("finished", "failed"):
                continue
            keys = ((cell.family, cell.method, cell.variant), (cell.family, cell.method), (cell.family,), ())
            pace = next((paces[key] for key in keys if key in paces), None)
            if pace is None:
                return None
            left += (cell.config.train.env_steps - steps[label]) * pace[0] / pace[1]
        return left / self._workers

    def _line(self) -> None:
        self._last_line = self._clock()
        self.note(self.status())

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1))
        env_steps = sum(self._steps().values())
        row.add_row(ProgressBar(total=max(self._total(), 1), completed=env_steps, width=24), Text(self.status()))
        return row
