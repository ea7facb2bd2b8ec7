"""A process on a busy machine is not taken for one that hangs."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable

import pytest

from mql.collecting import patience
from mql.collecting.channel import Channel, Late
from mql.collecting.patience import Stopwatch
from mql.collecting.workers import WorkerLost, Workers


class Clock:
    """A clock, and a record of how long two threads of a process waited for a processor, both set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.queued = 100.0, {1: 7.0, 2: 0.0}
        monkeypatch.setattr(patience.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(patience, "_queued_seconds", lambda pid: self.queued and dict(self.queued))


def test_waiting_for_a_processor_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch(0)
    clock.now += 10.0
    assert watch.seconds() == 10.0  # it ran, or slept
    clock.queued[1] += 4.0
    assert watch.seconds() == 6.0
    clock.queued[2] += 6.0  # a thread that it waits for
    assert watch.seconds() == 4.0
    clock.queued[3] = 9.0  # a new one
    assert watch.seconds() == 1.0
    clock.queued = {}  # it has ended
    assert watch.seconds() == 10.0


def test_where_the_system_does_not_say_the_load_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(patience, "_queued_seconds", lambda pid: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    watch = Stopwatch(0)
    clock.now += 12.0
    for load, seconds in ((0.5, 12.0), (2.0, 12.0), (6.0, 4.0)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert watch.seconds() == seconds


class Poll:
    """Waits for a process that answers after `work` seconds of its own, of which the machine grants a quarter."""

    def __init__(self, clock: Clock, work: float) -> None:
        self.clock, self.left = clock, work

    def register(self, channel: object, event: int) -> None:
        pass

    def poll(self, milliseconds: float) -> bool:
        step = min(milliseconds / 1000.0, 4.0 * self.left)
        self.clock.now += step
        self.clock.queued[1] += 0.75 * step
        self.left -= 0.25 * step
        return self.left <= 1e-9


@pytest.mark.parametrize(("work", "in_time"), [(9.0, True), (11.0, False), (1e9, False)])
def test_the_limit_is_one_of_work(monkeypatch: pytest.MonkeyPatch, work: float, in_time: bool) -> None:
    clock = Clock(monkeypatch)
    ours, theirs = socket.socketpair()
    channel, watch = Channel(ours), Stopwatch(0)
    channel._poll = Poll(clock, work)  # type: ignore[assignment]
    with theirs, contextlib.nullcontext() if in_time else pytest.raises(Late):
        channel._wait(0, lambda: watch.seconds() >= 10.0)
    channel.close()
    assert clock.now - 100.0 == pytest.approx(36.0 if in_time else 40.0, abs=2.1)


@pytest.mark.parametrize("end", [lambda: time.sleep(3600), lambda: [None for _ in iter(int, 1)]], ids=["wait", "loop"])
def test_endless_waits_and_loops_are_found(end: Callable[[], object]) -> None:
    alone = Workers(1)
    try:
        lost = alone.bound(end, timeout=0.5)()
        assert isinstance(lost, WorkerLost) and lost.late
        assert alone.seconds >= 0.5
        assert isinstance(lost := alone.bound(os._exit, timeout=60.0)(3), WorkerLost) and not lost.late
    finally:
        alone.close()
