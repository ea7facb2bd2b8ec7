"""This program's connection to Ray: made once, quiet, and closed when the program ends.

A cluster that was started for this program ends with it. From one that was there before, only our processes go.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from mql.config.section import ADDRESS
from mql.errors import UserError, told

REACH_SECONDS = 5.0  # in which a cluster answers that is there
STORE_BYTES = 512 << 20  # of memory, at most, for what a cluster of our own passes on: policies and episodes
# What Ray looks at as it starts. No questions, no reports to others, and nothing that ends processes as memory fills.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # workers are what the cores are for
    "GRPC_VERBOSITY": "NONE",
}


@dataclass(frozen=True)
class Connection:
    """What this program is connected to.

    Attributes:
        address: as it was asked for.
        own: it was started for this program.
    """

    address: str | None
    own: bool


_connected: list[Connection] = []  # none or one: Ray knows one for each process
_lock = threading.Lock()


def connect(address: str | None) -> Connection:
    """Connect this program to a Ray cluster, if it is not.

    Args:
        address: ``host:port``, or ``auto`` for the cluster that this machine is part of; None: start one here.

    Raises:
        UserError: the address is none, no cluster answers there, or the program is connected to another one.
    """
    if address is not None and not re.fullmatch(ADDRESS, address):
        raise UserError(f"{address!r} is no address of a Ray cluster", mend="write HOST:PORT, or auto")
    with _lock:
        if not _connected:
            _connected.append(_connect(address))
            atexit.register(disconnect)
        if _connected[0].address != address:
            what = f"this program uses {_named(_connected[0].address)}, and {_named(address)} is asked for"
            raise UserError(what, where="collect.address", mend="use one cluster in a program")
        return _connected[0]


def disconnect() -> None:
    """Close the connection, and end the cluster that was started for this program."""
    if _connected:
        _connected.clear()
        with _signals_as_they_are():
            ray.shutdown()


def _connect(address: str | None) -> Connection:
    if ray.is_initialized():  # by whoever uses this package from Python
        return Connection(address, own=False)
    os.environ |= {name: os.environ.get(name, value) for name, value in _QUIET.items()}
    settings: dict[str, Any] = {"address": address or "local"}
    if address is None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        settings |= {"num_cpus": 1, "include_dashboard": False, "object_store_memory": min(STORE_BYTES, memory // 8)}
    else:
        _check_answers(address)
    try:
        with _signals_as_they_are():
            ray.init(**settings, log_to_driver=False, logging_level="CRITICAL", namespace=f"mql-{os.getpid()}")
    except Exception as error:  # of many kinds, as what failed is
        if address is None:
            mend = "free some memory and space in /tmp, or leave collect.engine at local"
            raise UserError(f"Ray could not start ({told(error, whole=False)})", mend=mend) from error
        raise _unreachable(address, told(error, whole=False)) from error
    return Connection(address, own=address is None)


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for a minute."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, told(error)) from None


def _unreachable(address: str, why: str) -> UserError:
    mend = "start it with 'ray start --head', on each other node 'ray start --address HOST:6379' (docs/cluster.md)"
    return UserError(f"{_named(address)} can't be reached ({why})", where="collect.address", mend=mend)


def _named(address: str | None) -> str:
    return "a Ray of its own" if address is None else f"the Ray cluster {address}"


@contextmanager
def _signals_as_they_are() -> Iterator[None]:
    """Leave what signals do as it is: Ray sets some of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [(number, signal.getsignal(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            if handler is not None:  # else it was set by C
                signal.signal(number, handler)
