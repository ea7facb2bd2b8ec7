"""How this process uses memory and cores: settings of the C libraries below PyTorch and numpy.

A learning step makes and drops tensors of some megabytes. glibc takes such blocks straight from the kernel and gives
them back at once, so that every step pays for fresh pages again: 20 to 40 % of an update, measured on two cores.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

# Parameters of glibc's mallopt (malloc.h), with the values that this module sets, in bytes.
_M_TRIM_THRESHOLD, _TRIM_THRESHOLD = -1, 1 << 30  # free memory at the heap's end that is kept before any goes back
_M_TOP_PAD, _TOP_PAD = -2, 64 << 20  # how much more than needed the heap grows by
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 32 << 20  # smaller blocks come from the heap (the most that glibc allows)


def keep_freed_memory() -> None:
    """Let freed blocks of up to 32 MB stay with this process, up to 1 GB in all, instead of going back to the system.

    For a process that learns, called once at its start. Does nothing where the C library is not glibc.
    """
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in (
        (_M_MMAP_THRESHOLD, _MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _TRIM_THRESHOLD),
        (_M_TOP_PAD, _TOP_PAD),
    ):
        mallopt(parameter, value)


def limit_threads(threads: int) -> None:
    """Let numpy's, scikit-learn's and PyTorch's products use at most `threads` CPU threads each."""
    import torch

    _pools().limit(limits=threads)
    torch.set_num_threads(threads)


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], *, threads: int) -> Iterator[Result]:
    """Yield ``function(item)`` of each item, in order, up to `threads` of them at work at the same time.

    Meanwhile no product starts threads of its own. Idle threads of a pool wait by spinning for a while, on cores that
    others could use.
    """
    import torch

    before = torch.get_num_threads()
    with _pools().limit(limits=1):
        torch.set_num_threads(1)
        try:
            if threads == 1 or len(items) < 2:
                yield from map(function, items)
            else:
                # OpenMP's number of threads is each thread's own.
                with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    yield from pool.map(function, items)
        finally:
            torch.set_num_threads(before)


@cache
def _pools() -> ThreadpoolController:
    """The thread pools of the libraries loaded so far (looking for them takes milliseconds, so it is done once)."""
    import numpy  # noqa: F401
    import torch  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
