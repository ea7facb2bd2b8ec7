"""How long another process has been at its work. The time that it waits for a processor, which others use, is left out.

A limit in seconds on the clock would call a process hanging because the machine is busy. What counts is the time in
which it ran or waited for something of its own: an endless loop and an endless wait both reach any limit.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


class Stopwatch:
    """The seconds that process `pid` has been at work since this was made."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun = time.monotonic()
        self._queued = _queued_seconds(pid)

    def seconds(self) -> float:
        """Return the time on the clock less that in which the process waited for a processor."""
        passed = time.monotonic() - self._begun
        before, now = self._queued, _queued_seconds(self._pid)
        if before is None:
            # No Linux. With three jobs for each processor, a third of the time is left for this one.
            return passed / max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        # Where threads wait for each other, only one of them can be what holds the process up.
        waited = max((seconds - before.get(thread, 0.0) for thread, seconds in (now or {}).items()), default=0.0)
        return max(passed - waited, 0.0)


def _queued_seconds(pid: int) -> dict[int, float] | None:
    """Return how long each thread has waited for a processor so far; None where the system does not say."""
    queued = {}
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            try:
                _, waited, _ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
            except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                continue
            queued[int(thread)] = int(waited) / 1e9
    except (OSError, ValueError):
        return None
    return queued or None
