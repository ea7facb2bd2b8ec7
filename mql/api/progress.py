"""Shows how training goes, on standard error: a bar on a terminal, an occasional line anywhere else.

The time left comes from the work that is known to be left, env steps and updates, each at its own rate in the last
minute or so. Random steps before the first update say nothing about it: until then no time is given.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mql.api.terminal import lasting
from mql.plain_text import counted, plain
from mql.types import COLLECTED_TERM

LINE_INTERVAL = 30.0  # seconds between lines where there is no terminal
TERMS_SHOWN = 4  # of the reward; more make the line too long
RATE_WINDOW = 60.0  # seconds of training over which rates are taken


@dataclass(frozen=True)
class _Work:
    """What was done, and the seconds that it took: collecting env steps, and updates."""

    env_steps: int = 0
    updates: int = 0
    collect_seconds: float = 0.0
    update_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        return self.collect_seconds + self.update_seconds

    def __add__(self, other: _Work) -> _Work:
        return _Work(
            self.env_steps + other.env_steps,
            self.updates + other.updates,
            self.collect_seconds + other.collect_seconds,
            self.update_seconds + other.update_seconds,
        )


def header(
    *, family: str, profile: str, seed: int, threads: int, device: str, replay_bytes: int, run_path: str | None = None
) -> str:
    """Return the line that says what is trained and the most memory that its replay may take."""
    parts = [
        f"{family} ({profile})",
        f"seed {seed}",
        f"{counted(threads, 'thread')} on {device}",
        f"replay up to {_size(replay_bytes)}",
    ]
    if run_path:
        parts.append(run_path)
    return " | ".join(parts)


class Progress:
    """The progress of one training run; a context manager, so that an error leaves the terminal clean.

    Args:
        total_env_steps: env steps at the end of the run.
        total_updates: updates at its end.
        env_steps: env steps behind the run already (a resumed one).
        updates: updates behind it.
        console: where to write; standard error when None.
        clock: seconds from any fixed start, for how often a line is written; tests hand in their own.
    """

    def __init__(
        self,
        total_env_steps: int,
        total_updates: int,
        *,
        env_steps: int = 0,
        updates: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._env_steps = total_env_steps, env_steps
        self._total_updates, self._updates = total_updates, updates
        self._console = Console(file=lasting(sys.stderr), soft_wrap=True) if console is None else console
        self._clock = clock
        self._past: deque[_Work] = deque()  # the iterations of the last RATE_WINDOW
        self._last_line = clock()
        self._evaluating: tuple[int, int] | None = None
        self._zero_shot: float | None = None
        self._adapted: float | None = None
        self._random: float | None = None
        self._terms: dict[str, float] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._bar(), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, record: Mapping[str, Any]) -> None:
        """Say how far training is: a line of metrics.jsonl, after each iteration."""
        env_steps, updates = int(record["env_steps"]), int(record["updates"])
        work = _Work(
            env_steps - self._env_steps,
            updates - self._updates,
            float(record["collect_seconds"]),
            float(record["update_seconds"]),
        )
        if work.updates and not self._spent().updates:
            self._past.clear()  # random actions are cheaper than the agent's
        self._env_steps, self._updates = env_steps, updates
        self._past.append(work)
        self._terms = {
            name.removeprefix(COLLECTED_TERM): float(value)
            for name, value in record.items()
            if name.startswith(COLLECTED_TERM)
        }
        while len(self._past) > 1 and self._spent().seconds - self._past[0].seconds >= RATE_WINDOW:
            self._past.popleft()
        self._show()

    def evaluating(self, done: int, tasks: int) -> None:
        """Say that an evaluation is under way and has finished `done` of its tasks."""
        self._evaluating = done, tasks
        self._show()

    def evaluated(self, *, zero_shot: float | None, adapted: float | None, random: float | None = None) -> None:
        """Show the mean returns of an evaluation; None where there is none, as `adapted` where nothing was adapted.

        `random` is that of random actions: where it is None, the one before stays.
        """
        self._evaluating = None
        self._zero_shot, self._adapted = zero_shot, adapted
        self._random = self._random if random is None else random
        if self._live:
            self._live.update(self._bar())
        else:
            self._line()

    def note(self, text: str) -> None:
        """Write one line that stays, above the bar."""
        self._console.print(Text(plain(text)), soft_wrap=True)

    def close(self) -> None:
        """Take the bar away and leave one last line. Closing again does nothing."""
        if self._live:
            self._live.stop()
            self._live = None
            self._line()

    def status(self) -> str:
        """Return the present state as one line of text."""
        parts = [f"{self._env_steps:,}/{self._total:,} env steps"]
        spent = self._spent()
        if spent.seconds > 0:
            parts.append(f"{spent.env_steps / spent.seconds:,.0f} env steps/s")
            parts.append(f"{spent.updates / spent.seconds:,.1f} updates/s")
        if self._zero_shot is not None:
            parts.append(f"zero-shot {self._zero_shot:.1f}")
        if self._adapted is not None:
            parts.append(f"adapted {self._adapted:.1f}")
        if self._random is not None:
            parts.append(f"random actions {self._random:.1f}")
        if self._terms:
            shown = [f"{name} {value:.1f}" for name, value in self._terms.items()][:TERMS_SHOWN]
            parts.append("collected terms " + ", ".join(shown) + (", ..." if len(self._terms) > TERMS_SHOWN else ""))
        if left := self._time_left():
            parts.append(left)
        if self._evaluating:
            done, tasks = self._evaluating
            parts.append(f"evaluating {min(done + 1, tasks)} of {tasks}")
        return " | ".join(parts)

    def _spent(self) -> _Work:
        return sum(self._past, _Work())

    def _time_left(self) -> str:
        """How long training goes on; empty at its end, and before anything was measured. Evaluations come on top."""
        env_steps, updates = self._total - self._env_steps, max(self._total_updates - self._updates, 0)
        spent = self._spent()
        if env_steps <= 0 or not spent.env_steps:
            return ""
        seconds = env_steps * spent.collect_seconds / spent.env_steps
        if updates:
            if not spent.updates:
                return "time left not known before the first update"
            seconds += updates * spent.update_seconds / spent.updates
        return f"{duration(seconds)} of training left"

    def _show(self) -> None:
        """Redraw the bar; where there is none, write a line if the last one is old."""
        if self._live:
            self._live.update(self._bar())
        elif self._clock() - self._last_line >= LINE_INTERVAL:
            self._line()

    def _line(self) -> None:
        self._last_line = self._clock()
        self.note(self.status())

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=max(self._total, 1), completed=self._env_steps, width=24), Text(self.status()))
        return row


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds, the two largest that it has."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
