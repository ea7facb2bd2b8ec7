"""How this process uses memory and cores: settings of the C libraries below PyTorch and numpy.

A learning step makes and drops tensors of some megabytes. glibc takes such blocks straight from the kernel and gives
them back at once, so that every step pays for fresh pages again: 20 to 40 % of an update, measured on two cores.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from mql.stopping import give_up, go_on

if TYPE_CHECKING:
    import torch
    from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")
Result = TypeVar("Result")

# Parameters of glibc's mallopt (malloc.h), with the values that this module sets, in bytes.
_M_TRIM_THRESHOLD, _TRIM_THRESHOLD = -1, 1 << 30  # free memory at the heap's end that is kept before any goes back
_M_TOP_PAD, _TOP_PAD = -2, 64 << 20  # how much more than needed the heap grows by
_M_MMAP_THRESHOLD, _MMAP_THRESHOLD = -3, 32 << 20  # smaller blocks come from the heap (the most that glibc allows)

# What libraries with threads of their own look at when they are loaded.
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


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
    """Let numpy's, scikit-learn's and PyTorch's products use at most `threads` CPU threads each.

    That holds for libraries that are loaded later, too: they read the environment when they start.
    """
    import torch

    _set_variables(dict.fromkeys(VARIABLES, str(threads)))
    _pools().limit(limits=threads)
    torch.set_num_threads(threads)


def side_by_side(function: Callable[[Item], Result], items: Sequence[Item], *, threads: int) -> Iterator[Result]:
    """Yield ``function(item)`` of each item, in order, up to `threads` of them at work at the same time.

    Meanwhile no product starts threads of its own. Idle threads of a pool wait by spinning for a while, on cores that
    others could use. After Ctrl-C, or where the caller wants no more, items
    that wait for other processes give up (`mql.stopping`).
    """
    with one_thread_each():
        if threads == 1 or len(items) < 2:
            yield from map(function, items)
        else:
            yield from _in_pool(function, items, threads=min(threads, len(items)))


@contextmanager
def meanwhile(function: Callable[[], Result]) -> Iterator[Future[Result]]:
    """Let `function` work in a thread of its own while the body runs; what follows waits for both.

    No product starts threads of its own, on either side. Where Ctrl-C or the like comes, in the body or while it waits
    for `function` at its end, what `function` waits for gives up (`mql.stopping`).
    """
    with one_thread_each(), _pool(1) as pool:
        yield pool.submit(function)


def _in_pool(function: Callable[[Item], Result], items: Sequence[Item], *, threads: int) -> Iterator[Result]:
    with _pool(threads) as pool:
        yield from pool.map(function, items)


class _Pool(ThreadPoolExecutor):
    """Threads of which one can tell what they are still at: an interrupted `shutdown` believes that they have ended."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads, initializer=_begin, initargs=(_stream(),))
        self._under_way: set[Future[Any]] = set()

    def submit(self, function: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        future = super().submit(copy_context().run, function, *args, **kwargs)  # prints where its caller does
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return future

    def end(self) -> None:
        """Wait for all that was given, then for the threads."""
        wait(set(self._under_way))
        self.shutdown()

    def end_giving_up(self) -> None:
        """Do as `end`, where nobody waits for other processes any more until then.

        Interrupted once more, this leaves the threads behind: they still give up.
        """
        give_up()
        try:
            self.end()
        except BaseException:
            threading.Thread(target=self._go_on_after_end, daemon=True).start()
            raise
        go_on()

    def _go_on_after_end(self) -> None:
        wait(set(self._under_way))
        go_on()


@contextmanager
def _pool(threads: int) -> Iterator[_Pool]:
    """Yield a pool whose end waits for all its threads; left by Ctrl-C or the like, they give up waiting."""
    pool = _Pool(threads)
    try:
        try:
            yield pool
        except Exception:
            pool.end()
            raise
        pool.end()
    except BaseException as error:
        if isinstance(error, Exception):
            raise
        if threading.current_thread() is threading.main_thread():
            pool.end_giving_up()
        else:
            pool.end()
        raise


class _Limit:
    """How many blocks of `one_thread_each` a thread is in, and what resets the limit of them all."""

    def __init__(self) -> None:
        self.blocks, self.end = 0, ExitStack()


class _Here(threading.local):
    def __init__(self) -> None:
        self.limit = _Limit()


_here = _Here()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Keep products to one thread; afterwards libraries loaded meanwhile get the number that PyTorch had before.

    Blocks of one thread may overlap, as generators do that are read in turn: the last to end resets what the first set.
    """
    limit = _here.limit  # (another thread may end a generator, by collecting it)
    if not limit.blocks:
        limit.end.enter_context(_one_thread())
    limit.blocks += 1
    try:
        yield
    finally:
        limit.blocks -= 1
        if not limit.blocks:
            limit.end.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    known, before = _pools(), torch.get_num_threads()
    variables = {name: os.environ.get(name) for name in VARIABLES}
    _set_variables(dict.fromkeys(VARIABLES, "1"))
    try:
        with known.limit(limits=1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(before)
        _set_variables(variables)
        files = {library.filepath for library in known.lib_controllers}
        for library in _pools().lib_controllers:
            if library.filepath not in files:
                library.set_num_threads(before)


def _begin(stream: torch.cuda.Stream | None) -> None:
    """Give this thread what is each thread's own: one thread of OpenMP, and the stream of GPU work of who asks it."""
    import torch

    torch.set_num_threads(1)
    _pools().select(user_api="openmp").limit(limits=1)
    if stream is not None:
        torch.cuda.set_stream(stream)


def _stream() -> torch.cuda.Stream | None:
    """The stream that this thread's work on a GPU goes to; None where nothing has been done there yet."""
    import torch

    return torch.cuda.current_stream() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _pools() -> ThreadpoolController:
    """The thread pools of the libraries loaded so far.

    Looking for them takes milliseconds: it is done again only where modules were imported since.
    """
    import numpy  # noqa: F401
    import torch  # noqa: F401

    return _pools_of(len(sys.modules))


@lru_cache(maxsize=1)
def _pools_of(modules: int) -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
