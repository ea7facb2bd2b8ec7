"""Whether other processes use the machine: what was timed beside them is no figure to publish.

The kernel counts the processor time of all processes together (/proc/stat, Linux only); what this process and those
that it started, directly or not, have used is taken off.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mql.errors import UserError

MOST_BY_OTHERS = 0.1  # cores: what a system does for itself stays below
LOOK_SECONDS = 2.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class Used:
    """Processor time used up to a moment, in seconds: by all processes (and lost to the host's others), by own ones."""

    at: float
    by_all: float
    by_own: float

    def others_since(self, before: Used) -> float:
        """Return how many cores other processes have used since an earlier moment, on average."""
        seconds = self.at - before.at
        used = (self.by_all - before.by_all) - (self.by_own - before.by_own)
        return max(used, 0.0) / seconds if seconds > 0 else 0.0


def used_so_far(proc: Path = _PROC) -> Used:
    """Read what has been used so far.

    Raises:
        UserError: this system does not say.
    """
    try:
        fields = [int(word) for word in (proc / "stat").read_text().splitlines()[0].split()[1:9]]
        user, nice, system, _, _, interrupts, soft, stolen = fields
    except (OSError, ValueError, IndexError) as error:
        mend = "measure on Linux"
        raise UserError("this system does not say what other processes use", where=str(proc), mend=mend) from error
    tick, own = os.sysconf("SC_CLK_TCK"), os.times()
    by_own = own.user + own.system + own.children_user + own.children_system + _by_descendants(proc) / tick
    return Used(time.perf_counter(), (user + nice + system + interrupts + soft + stolen) / tick, by_own)


def _by_descendants(proc: Path) -> int:
    """Return the ticks used by living processes that this one started, and by those that these have waited for."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                # Behind the name, which may hold anything: state, parent, ..., own ticks and those of ended children.
                words = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(words[1])
                ticks[int(folder.name)] = sum(map(int, words[11:15]))
            except (OSError, ValueError, IndexError):  # it has just ended
                continue
    found, generation = 0, {os.getpid()}
    while generation:
        generation = {child for child, parent in parents.items() if parent in generation}
        found += sum(ticks[child] for child in generation)
    return found


def check_idle(before: Used, after: Used) -> float:
    """Return how many cores others used between two moments.

    Raises:
        UserError: they used more than a machine does that is idle.
    """
    others = after.others_since(before)
    if others > MOST_BY_OTHERS:
        what = f"the machine is not idle: other processes used {others:.2f} cores"
        raise UserError(what, mend="wait until they have ended: only times of an idle machine are published")
    return others


def wait_and_check(seconds: float = LOOK_SECONDS, *, read: Callable[[], Used] = used_so_far) -> float:
    """Look for some seconds whether the machine is idle, and return how many cores others use.

    Raises:
        UserError: it is not.
    """
    before = read()
    time.sleep(seconds)
    return check_idle(before, read())
