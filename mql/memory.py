"""How this process uses memory and cores: settings of the C libraries below PyTorch and numpy.

A learning step makes and drops tensors of some megabytes. glibc takes such blocks straight from the kernel and gives
them back at once, so that every step pays for fresh pages again: 20 to 40 % of an update, measured on two cores.
"""

from __future__ import annotations

import ctypes
import platform

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
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    torch.set_num_threads(threads)
