"""Worker processes on a cluster's nodes, with the interface of `mql.collecting.workers.Workers`.

Each stands behind a relay, an actor of Ray. Values that come with every job (a policy, a family) and the files of a
family's definition are put into Ray's store once, known by their digests: each node fetches them once, and each worker
keeps the ones that it has. A relay that is lost with its node costs its job; the next job is given to a new relay,
which Ray places elsewhere.
"""

from __future__ import annotations

import pickle
import queue
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import cloudpickle
import ray
from ray.exceptions import RayActorError, RayError

from mql.collecting.cluster.connection import connect
from mql.collecting.cluster.relay import Answer, NodeFacts, Relay, Sent
from mql.collecting.cluster.sameness import check_same
from mql.collecting.workers import WorkerLost, parcel
from mql.errors import UserError, told
from mql.stopping import GivenUp, given_up
from mql.tasks.family import TaskFamily
from mql.types import OnCluster

KEPT = 32  # values that stay in Ray's store for the next call, the latest used ones
_LOOK_SECONDS = 0.5  # between two looks at whether waiting is over
_PLACE_SECONDS = 120.0  # for a relay to find a core, and come up: a cluster may have to start a node
_ELSEWHERE_SECONDS = 15.0  # for one that comes after a lost one; then it shares a core with another
_MOST_ATTEMPTS, _AGAIN_SECONDS = 10, 1.0  # to have a relay placed, where nodes are lost meanwhile
_END_SECONDS = 10.0  # for all relays to end


class ClusterWorkers:
    """A number of worker processes, placed on the cluster when they are first needed.

    Args:
        wanted: how many, and where.

    Raises:
        UserError: the cluster can't be reached.
    """

    def __init__(self, wanted: OnCluster) -> None:
        own = connect(wanted.address).own
        self._idle: queue.LifoQueue[_Place] = queue.LifoQueue()
        self._all = [_Place(shares=own) for _ in range(wanted.count)]
        for place in self._all:
            self._idle.put(place)
        self._put: OrderedDict[bytes, Sent] = OrderedDict()

    def bound(self, function: Callable[..., Any], *shared: Any, timeout: float) -> Callable[..., Any]:
        """Return a call of ``function(*shared, ...)`` that an idle worker makes: see `Workers.bound`.

        Raises:
            UserError: a value can't be sent; and from the call, no worker can be placed, or a node differs from here.
        """
        parcels = [self._sent(digest, blob) for digest, blob in map(parcel, (function, *shared))]
        families = [value.definition for value in shared if isinstance(value, TaskFamily)]
        files = [self._sent(one.digest.encode(), one.read) for one in families if one is not None]

        def call(*args: Any, **kwargs: Any) -> Any:
            job = cloudpickle.dumps((args, kwargs))
            place = None
            try:
                place = self._idle.get()
                return place.call(parcels, files, job, timeout)
            finally:
                if place is not None:
                    self._idle.put(place)

        return call

    @property
    def seconds(self) -> float:
        """How long the processes were at work in all calls that have ended."""
        return sum(place.seconds for place in self._all)

    def close(self) -> None:
        """End the processes; idle ones close their environments first."""
        if ray.is_initialized():
            ending = [reference for place in self._all if (reference := place.ending()) is not None]
            with suppress(RayError):
                ray.wait(ending, num_returns=len(ending), timeout=_END_SECONDS) if ending else None
        for place in self._all:
            place.stop()
        self._put.clear()

    def _sent(self, digest: bytes, value: bytes | Callable[[], Any]) -> Sent:
        if digest not in self._put:
            self._put[digest] = Sent(digest, ray.put(value if isinstance(value, bytes) else value()))
        self._put.move_to_end(digest)
        while len(self._put) > KEPT:
            self._put.popitem(last=False)
        return self._put[digest]


class _Place:
    """One relay, wherever it is. It is either idle or none: no call leaves an answer behind.

    Args:
        shares: it takes no core for itself, as all are this machine's.
    """

    def __init__(self, *, shares: bool) -> None:
        self._shares = shares
        self._relay: Any = None
        self._node, self._node_id = "a node", ""
        self._lost = False  # the last one was
        self.seconds = 0.0

    def call(self, parcels: Sequence[Sent], files: Sequence[Sent], job: bytes, timeout: float) -> Any:
        try:
            if self._relay is None:
                self._come_up_somewhere()
            answer: Answer = _awaited(self._relay.ask.remote(parcels, files, job, timeout))
        except RayError as error:
            self.stop()
            self._lost = True
            return WorkerLost(f"{self._node} was lost ({told(error, whole=False)})")
        except BaseException:
            # Ctrl-C above all: the answer is still to come, and the next call would wait for it.
            self.stop()
            raise
        self.seconds += answer.seconds
        if isinstance(answer.raised, RayError):  # what was sent got lost on the way
            return WorkerLost(f"{self._node} could not be served ({told(answer.raised, whole=False)})")
        if isinstance(answer.raised, ImportError):
            mend = "install it on every node, or define the family in a YAML file, which travels"
            raise UserError(f"{self._node} can't import {answer.raised.name}", mend=mend) from answer.raised
        if answer.raised is not None:
            raise answer.raised
        return pickle.loads(answer.value)

    def ending(self) -> Any:
        """Ask the relay to end its worker, and return what is done when it has; None: there is no relay."""
        return None if self._relay is None else self._relay.close.remote()

    def stop(self) -> None:
        """End the relay, and with it its worker."""
        relay, self._relay = self._relay, None
        if relay is not None and ray.is_initialized():
            with suppress(RayError):
                ray.kill(relay)

    def _come_up_somewhere(self) -> None:
        """Have a relay placed, again where it is lost before it is there: Ray takes a while to learn of a dead node.

        Raises:
            UserError: as of `_come_up`.
            RayError: they were all lost.
            GivenUp: this program was asked to stop.
        """
        for attempt in range(_MOST_ATTEMPTS):
            try:
                self._come_up()
                return
            except RayError:
                self.stop()
                self._lost = True
                if attempt == _MOST_ATTEMPTS - 1:
                    raise
            time.sleep(_AGAIN_SECONDS)
            if given_up():
                raise GivenUp("a worker process was asked for nothing more")

    def _come_up(self) -> None:
        """Have a relay placed, and make sure that its node is like this machine.

        Raises:
            UserError: there is no room, or the node has other versions.
            RayError: it was lost meanwhile.
        """
        facts = None
        if not self._shares:
            facts = self._placed(1, _ELSEWHERE_SECONDS if self._lost else _PLACE_SECONDS)
        if facts is None and (self._shares or self._lost):
            facts = self._placed(0, _PLACE_SECONDS)
        if facts is None:
            total, free = (_cores(found()) for found in (ray.cluster_resources, ray.available_resources))
            what = f"a worker found no room: {free:g} of the cluster's {total:g} cores are free"
            raise UserError(what, where="collect.workers", mend="use fewer, or add nodes")
        self._node, self._node_id = f"node {facts.node}", facts.node_id
        check_same(facts.node, facts.versions)
        self._lost = False

    def _placed(self, cores: int, seconds: float) -> NodeFacts | None:
        """Return what a new relay says of its node; None: it found no room in time."""
        actor = ray.remote(Relay).options(num_cpus=cores, scheduling_strategy="SPREAD", max_restarts=0)
        self._relay = actor.remote()
        try:
            found: NodeFacts = _awaited(self._relay.facts.remote(), seconds)
        except TimeoutError:
            self.stop()
            return None
        except RayActorError as error:
            if "ModuleNotFoundError" not in str(error):
                raise
            self.stop()
            mend = "install the same commit of mql on every node (docs/cluster.md)"
            raise UserError("a node has no mql", where="collect.address", mend=mend) from error
        return found


def _awaited(reference: Any, seconds: float | None = None) -> Any:
    """Return what a reference stands for, once it is there.

    Raises:
        GivenUp: this program was asked to stop.
        TimeoutError: it was not there within `seconds`.
        RayError: who makes it was lost.
    """
    future, waited = reference.future(), 0.0
    while True:
        try:
            return future.result(_LOOK_SECONDS)
        except TimeoutError:
            waited += _LOOK_SECONDS
        if given_up():
            raise GivenUp("a worker process was asked for nothing more")
        if seconds is not None and waited >= seconds:
            raise TimeoutError


def _cores(resources: dict[str, float]) -> float:
    return resources.get("CPU", 0.0)
