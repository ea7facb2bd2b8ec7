"""How much memory this process may still take: what the machine, a container's limit or the GPU leaves.

A container's limit is that of a Linux control group, in version 2 (``memory.max``) or version 1
(``memory.limit_in_bytes``); those of the groups around it count, too. Pages of files that were read count as used
there, but are given up when memory is short: they are available.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

KIBIBYTE = 1024


@dataclass(frozen=True)
class AvailableMemory:
    """Bytes that can still be taken, and what sets that limit, as in "2.1 GB are free `where`"."""

    nbytes: float
    where: str


def available_memory(device: str, *, root: Path = Path("/")) -> AvailableMemory:
    """Return what is left of the memory of `device`; infinitely much where the system does not say.

    Args:
        device: "cpu" or "cuda".
        root: where the files of the system lie.
    """
    if device == "cuda":
        return AvailableMemory(float(torch.cuda.mem_get_info()[0]), "on this GPU")
    limits = [_of_machine(root), *(AvailableMemory(left, "in this container") for left in _of_control_groups(root))]
    return min(limits, key=lambda limit: limit.nbytes)


def _of_machine(root: Path) -> AvailableMemory:
    """What the kernel says is available; else (macOS) all the memory that there is."""
    where = "on this machine"
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return AvailableMemory(int(value.split()[0]) * KIBIBYTE, where)
    if "SC_PHYS_PAGES" in os.sysconf_names:
        return AvailableMemory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), where)
    return AvailableMemory(math.inf, where)


def _of_control_groups(root: Path) -> Iterator[float]:
    """What each control group around this process has left, where it has a limit."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be one of the machine outside: then the mounted folder itself is the group's.
        group = Path(path.strip("/"))
        for folder in (group, *group.parents):
            yield from _left(mount / folder, *names)


def _left(folder: Path, limit_name: str, used_name: str, cache_name: str) -> Iterator[float]:
    limit, used = _text(folder / limit_name).strip(), _text(folder / used_name).strip()
    if not limit.isdigit() or not used.isdigit():  # "max", or no such file
        return
    cache = [line.split()[1] for line in _text(folder / "memory.stat").splitlines() if line.split()[:1] == [cache_name]]
    yield float(max(int(limit) - int(used) + (int(cache[0]) if cache else 0), 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
