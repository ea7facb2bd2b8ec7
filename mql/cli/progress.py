"""Shows how training goes, on standard error: a bar on a terminal, an occasional line anywhere else.

Rates are those of the last minute or so: early random steps without updates would falsify the time left.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINE_INTERVAL = 30.0  # seconds between lines where there is no terminal
RATE_WINDOW = 60.0  # seconds over which rates are taken


def header(
    *, family: str, profile: str, seed: int, threads: int, device: str, replay_bytes: int, run_path: str | None = None
) -> str:
    """Return the line that says what is trained and the most memory that its replay may take."""
    parts = [
        f"{family} ({profile})",
        f"seed {seed}",
        f"{threads} thread{'' if threads == 1 else 's'} on {device}",
        f"replay up to {_size(replay_bytes)}",
    ]
    if run_path:
        parts.append(run_path)
    return " | ".join(parts)


class Progress:
    """The progress of one training run; a context manager, so that an error leaves the terminal clean.

    Args:
        total_env_steps: env steps at the end of the run.
        env_steps: env steps behind the run already (a resumed one).
        updates: updates behind it.
        console: where to write; standard error when None.
        clock: seconds from any fixed start; tests hand in their own.
    """

    def __init__(
        self,
        total_env_steps: int,
        *,
        env_steps: int = 0,
        updates: int = 0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._env_steps, self._updates = total_env_steps, env_steps, updates
        self._console = Console(stderr=True, soft_wrap=True) if console is None else console
        self._clock = clock
        self._past = deque([(clock(), env_steps, updates)])
        self._last_line = clock()
        self._zero_shot: float | None = None
        self._adapted: float | None = None
        self._random: float | None = None
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

    def update(self, *, env_steps: int, updates: int) -> None:
        """Say how far training is; call it as often as you like."""
        now = self._clock()
        self._env_steps, self._updates = env_steps, updates
        self._past.append((now, env_steps, updates))
        while len(self._past) > 2 and self._past[1][0] <= now - RATE_WINDOW:
            self._past.popleft()
        if self._live:
            self._live.update(self._bar())
        elif now - self._last_line >= LINE_INTERVAL:
            self._line()

    def evaluated(self, *, zero_shot: float, adapted: float | None, random: float | None = None) -> None:
        """Show the mean returns of an evaluation; `adapted` is None where nothing was adapted.

        `random` is that of random actions: where it is None, the one before stays.
        """
        self._zero_shot, self._adapted = zero_shot, adapted
        self._random = self._random if random is None else random
        if self._live:
            self._live.update(self._bar())
        else:
            self._line()

    def note(self, text: str) -> None:
        """Write one line that stays, above the bar."""
        self._console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        """Take the bar away and leave one last line. Closing again does nothing."""
        if self._live:
            self._live.stop()
            self._live = None
            self._line()

    def status(self) -> str:
        """Return the present state as one line of text."""
        parts = [f"{self._env_steps:,}/{self._total:,} env steps"]
        steps_per_s, updates_per_s = self._rates()
        if steps_per_s > 0:
            parts.append(f"{steps_per_s:,.0f} env steps/s")
            parts.append(f"{updates_per_s:,.1f} updates/s")
        if self._zero_shot is not None:
            parts.append(f"zero-shot {self._zero_shot:.1f}")
        if self._adapted is not None:
            parts.append(f"adapted {self._adapted:.1f}")
        if self._random is not None:
            parts.append(f"random actions {self._random:.1f}")
        if steps_per_s > 0 and self._env_steps < self._total:
            parts.append(f"{_duration((self._total - self._env_steps) / steps_per_s)} left")
        return " | ".join(parts)

    def _rates(self) -> tuple[float, float]:
        (start, first_steps, first_updates), (end, last_steps, last_updates) = self._past[0], self._past[-1]
        if end <= start:
            return 0.0, 0.0
        return (last_steps - first_steps) / (end - start), (last_updates - first_updates) / (end - start)

    def _line(self) -> None:
        self._last_line = self._clock()
        self.note(self.status())

    def _bar(self) -> Table:
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=max(self._total, 1), completed=self._env_steps, width=24), Text(self.status()))
        return row


def _duration(seconds: float) -> str:
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
