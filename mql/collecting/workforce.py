"""Who plays episodes: worker processes of this machine, or of a cluster, behind one interface."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

from mql.collecting.workers import Workers
from mql.errors import missing_package
from mql.types import OnCluster, Workforce


class Pool(Protocol):
    """Worker processes, wherever they are; `Workers` says what each method does."""

    def bound(self, function: Callable[..., Any], *shared: Any, timeout: float) -> Callable[..., Any]:
        """Return a call of ``function(*shared, ...)`` that an idle worker makes."""
        ...

    @property
    def seconds(self) -> float:
        """How long the processes were at work."""
        ...

    def close(self) -> None:
        """End the processes."""
        ...


def check_ray(where: str) -> None:
    """Refuse to go on without Ray; `where`: what asks for it.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("ray") is None:
        raise missing_package("ray", where=where)


_runs = 1  # at a time in this process


def share_among(runs: int) -> None:
    """Let the workers of this process be as many as so many runs need that are made at the same time."""
    global _runs
    _runs = runs


@cache
def workers(workforce: Workforce) -> Pool:
    """Return this program's worker processes of this kind; they live until it ends."""
    made = hire(workforce * _runs if isinstance(workforce, int) else workforce)
    atexit.register(made.close)
    return made


def hire(workforce: Workforce) -> Pool:
    """Return worker processes that are the caller's own to close.

    Raises:
        UserError: the cluster can't be reached, or Ray is not installed.
    """
    if isinstance(workforce, OnCluster):
        check_ray("collect.engine")
        from mql.collecting.cluster.workers import ClusterWorkers

        return ClusterWorkers(workforce)
    return Workers(workforce)
