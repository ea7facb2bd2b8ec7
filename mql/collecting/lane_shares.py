"""Lanes shared out to worker processes; each keeps its own from call to call, with the simulations in them.

What a lane plays follows from the seed, its place and its actions (`mql.collecting.lanes`), so how many processes there
are changes no number. A process that dies, or does not answer in time, takes the running episodes of its lanes with it:
they are faults, and its lanes begin their next ones in a new process, which does the same work again.

Shapes: N lanes.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from mql.collecting.lanes import MOST_FAULTS, Lanes, task_of
from mql.collecting.workers import WorkerLost
from mql.collecting.workforce import Pool, hire
from mql.stopping import GivenUp
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.types import OnCluster, Workforce, count_of

Result = TypeVar("Result")
Arrays = Mapping[str, npt.NDArray[Any]]


class LaneShares(Protocol):
    """The lanes of a run, wherever they are."""

    def each(self, work: Callable[..., Result], *args: Any, steps: int) -> tuple[list[Result], list[EpisodeFault]]:
        """Call ``work(lanes, *args)`` for every share of the lanes, and return what it returned, in the lanes' order.

        Args:
            work: a function of a module.
            steps: how many steps it takes, which says how long it may.

        Returns:
            Also the faults of processes that were lost.

        Raises:
            EpisodeFault: a lane can't play any episode.
        """
        ...

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `restore` needs, of all lanes."""
        ...

    def restore(self, arrays: Arrays) -> None:
        """Bring every lane to where it was.

        Raises:
            KeyError: an array is missing.
            EpisodeFault: an episode can't be played again.
        """
        ...

    def close(self) -> None:
        """Close all environments."""
        ...


def share_out(family: TaskFamily, n: int, *, seed: int, workers: Workforce) -> LaneShares:
    """Return `n` lanes, in this process or, where there are several `workers` or a cluster, shared out to processes."""
    if isinstance(workers, int) and (workers == 1 or n == 1):
        return _Here(family, n, seed=seed)
    return _InProcesses(family, n, seed=seed, workers=workers)


class _Here:
    def __init__(self, family: TaskFamily, n: int, *, seed: int) -> None:
        self._lanes = Lanes(family, n, seed=seed)

    def each(self, work: Callable[..., Result], *args: Any, steps: int) -> tuple[list[Result], list[EpisodeFault]]:
        del steps
        return [work(self._lanes, *args)], []

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return self._lanes.arrays()

    def restore(self, arrays: Arrays) -> None:
        self._lanes.restore(arrays)

    def close(self) -> None:
        self._lanes.close()


class _InProcesses:
    def __init__(self, family: TaskFamily, n: int, *, seed: int, workers: Workforce) -> None:
        self._family, self._n = family, n
        parts = np.array_split(np.arange(n), min(count_of(workers), n))
        one = replace(workers, count=1) if isinstance(workers, OnCluster) else 1
        self._shares = [_Share(family, n, seed, range(int(part[0]), int(part[-1]) + 1), hire(one)) for part in parts]
        self._pool = ThreadPoolExecutor(len(parts))
        self._end = weakref.finalize(self, _end, self._pool, [share.processes for share in self._shares])

    def each(self, work: Callable[..., Result], *args: Any, steps: int) -> tuple[list[Result], list[EpisodeFault]]:
        found = list(self._pool.map(partial(_asked, work=work, args=args, steps=steps), self._shares))
        return [result for result, _ in found], [fault for _, faults in found for fault in faults]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        parts, _ = self.each(Lanes.arrays, steps=1)
        merged = {name: array for part in parts for name, array in part.items()}
        return merged | {"lanes.begun": np.concatenate([part["lanes.begun"] for part in parts])}

    def restore(self, arrays: Arrays) -> None:
        rows = [array for name, array in arrays.items() if name.endswith(".actions")]
        self.each(Lanes.restore, dict(arrays), steps=max((len(actions) for actions in rows), default=0))

    def close(self) -> None:
        self._end()


def _end(pool: ThreadPoolExecutor, processes: list[Pool]) -> None:
    for each in processes:
        each.close()
    pool.shutdown()


@dataclass
class _Reply:
    value: Any
    begun: list[int]


_names = itertools.count()


class _Share:
    """Some of the lanes, and the process that plays them."""

    def __init__(self, family: TaskFamily, n: int, seed: int, places: range, processes: Pool) -> None:
        self._family, self._n, self._seed, self._places = family, n, seed, places
        self.processes = processes  # one
        self._name = next(_names)
        self._begun = [0] * len(places)  # episodes of each lane, as far as was told
        self._new = True  # no process holds the lanes: the next one begins after those

    def ask(self, work: Callable[..., Any], args: tuple[Any, ...], steps: int) -> tuple[Any, list[EpisodeFault]]:
        """Have ``work(lanes, *args)`` done, in a new process where one is lost; return what it gave, and faults."""
        # A whole episode has its time, and so has each beginning, in every lane.
        family = self._family
        timeout = family.episode_timeout * len(self._places) * (1.0 + steps / family.episode_length)
        call = self.processes.bound(_work, family, timeout=timeout)
        faults: list[EpisodeFault] = []
        for _ in range(MOST_FAULTS):
            new, self._new = self._new, False
            begun = self._begun if new else None
            try:
                reply = call(self._name, self._n, self._seed, self._places, begun, work, args)
            except GivenUp as stop:
                stop.unchanged = False  # the lanes were in the middle of their work, and are lost
                raise
            if not isinstance(reply, WorkerLost):
                self._begun = reply.begun
                return reply.value, faults
            self._new = True
            if new:
                self._begun = [count + 1 for count in self._begun]  # (it had begun those at least)
            faults += [self._fault(*each, str(reply)) for each in zip(self._places, self._begun, strict=True)]
        raise faults[-1]

    def _fault(self, place: int, begun: int, what: str) -> EpisodeFault:
        return episode_fault(task_of(self._family.tasks("train"), place, begun - 1, lanes=self._n), what)


def _asked(
    share: _Share, work: Callable[..., Any], args: tuple[Any, ...], steps: int
) -> tuple[Any, list[EpisodeFault]]:
    return share.ask(work, args, steps)


_held: dict[int, Lanes] = {}  # in a worker process: its lanes, by the name of their share


def _work(
    family: TaskFamily,
    name: int,
    n: int,
    seed: int,
    places: range,
    begun: list[int] | None,
    work: Callable[..., Any],
    args: tuple[Any, ...],
) -> _Reply:
    """Do a piece of work in a worker process, with the lanes that it holds; `begun`: it does not hold them yet."""
    if begun is not None:
        _held[name] = Lanes(family, n, seed=seed, share=places, begun=begun)
    if name not in _held:
        raise RuntimeError("the process that played these lanes was stopped in the middle of its work")
    value = work(_held[name], *args)
    return _Reply(value, _held[name].begun)
