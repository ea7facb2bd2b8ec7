"""What stands on a node: it passes jobs on to one worker process there, and answers back.

It plays nothing itself. What crashes, hangs or is late is the worker's, and is dealt with as on the machine that asks;
only where the node or the relay itself is lost must the one who asks find another.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import cloudpickle
import ray

from mql.collecting.cluster.sameness import versions
from mql.collecting.workers import Workers
from mql.tasks.travelling import FOLDER, cache, unpack


@dataclass(frozen=True)
class Sent:
    """What is sent by reference, once: a value's pickle, or a definition's files; who knows the digest has read it."""

    digest: bytes
    reference: Any = field(repr=False)

    def read(self) -> Any:
        """Return what is sent, from wherever it is."""
        return ray.get(self.reference)


@dataclass(frozen=True)
class Answer:
    """What a call gave: what it returned, or what it raised; and the seconds that the worker was at work.

    The value is pickled: what Ray itself reads from its store is only lent, and fills the store while it is kept.
    """

    value: bytes
    raised: Exception | None
    seconds: float


@dataclass(frozen=True)
class NodeFacts:
    """Which node a process is on, and the versions there."""

    node: str
    node_id: str
    versions: Mapping[str, str]


def node_facts() -> NodeFacts:
    """Say on which node this process is."""
    address = ray.util.get_node_ip_address()
    return NodeFacts(f"{platform.node()} ({address})", ray.get_runtime_context().get_node_id(), versions())


class Relay:
    """An actor that owns one worker process."""

    def __init__(self) -> None:
        self._workers = Workers(1)
        self._unpacked: set[bytes] = set()
        os.environ[FOLDER] = str(cache())  # the worker inherits it

    def facts(self) -> NodeFacts:
        """Say where this is, and with what."""
        return node_facts()

    def ask(self, parcels: Sequence[Sent], definitions: Sequence[Sent], job: bytes, timeout: float) -> Answer:
        """Make a call, as `Workers.ask` does it."""
        before = self._workers.seconds
        value, raised = None, None
        try:
            for each in definitions:
                if each.digest not in self._unpacked:
                    unpack(each.digest.decode(), each.read())
                    self._unpacked.add(each.digest)
            value = self._workers.ask([(each.digest, partial(Sent.read, each)) for each in parcels], job, timeout)
        except Exception as error:
            raised = error
        return Answer(cloudpickle.dumps(value), raised, self._workers.seconds - before)

    def close(self) -> None:
        """End the worker; it closes its environments first."""
        self._workers.close()
