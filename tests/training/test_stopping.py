"""Which signals training takes for requests to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mql.stopping import LeftOff, given_up, interrupt
from mql.training import stopping
from mql.training.stopping import StopRequests, stop_requests, stopping_threads

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("handler", [signal.SIG_DFL, interrupt], ids=["default", "of the command"])
def test_a_request_is_noted_also_where_the_command_handles_the_signal(number: int, handler: Any) -> None:
    """`mql` raises KeyboardInterrupt for some of them, which would end training without a save."""
    signal.signal(number, handler)
    with stop_requests() as requests:
        os.kill(os.getpid(), number)
        assert requests.asked
    assert signal.getsignal(number) == handler


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU])
def test_a_signal_that_is_ignored_or_somebody_else_s_stays_so(number: int) -> None:
    taken: list[int] = []
    for handler in (signal.SIG_IGN, lambda signum, frame: taken.append(signum)):
        signal.signal(number, handler)
        with stop_requests() as requests:
            os.kill(os.getpid(), number)
            assert not requests.asked
    assert taken == [number]


def in_threads(*loops: Callable[[StopRequests], object]) -> list[object]:
    """Send this process SIGTERM when all loops are at work, each in a thread of its own; return what they return."""
    answers: list[object] = [None] * len(loops)
    at_work = threading.Barrier(len(loops) + 1)

    def work(number: int) -> None:
        with stop_requests() as requests:
            at_work.wait(60.0)
            answers[number] = loops[number](requests)

    with stopping_threads() as stop:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(loops))]
        for thread in threads:
            thread.start()
        at_work.wait(60.0)
        os.kill(os.getpid(), signal.SIGTERM)
        for thread in threads:
            thread.join(60.0)
        assert stop.asked and not any(thread.is_alive() for thread in threads)
    assert not given_up()
    return answers


def until_left(block: Callable[[StopRequests], Any]) -> Callable[[StopRequests], object]:
    """A loop in a block that computes for ever."""

    def loop(requests: StopRequests) -> object:
        try:
            with block(requests):
                end = time.monotonic() + 60.0
                while time.monotonic() < end:
                    sum(range(100))
        except LeftOff:
            return "left", requests.asked
        return "never left", requests.asked

    return loop


def test_loops_in_threads_leave_evaluations_at_once_and_iterations_that_take_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    evaluating, iterating = until_left(StopRequests.evaluating), until_left(StopRequests.iterating)
    assert in_threads(evaluating, iterating, evaluating) == [("left", True)] * 3


def test_an_iteration_in_a_thread_that_ends_in_time_is_not_left() -> None:
    def loop(requests: StopRequests) -> object:
        with requests.iterating():
            while not requests.asked:
                time.sleep(0.001)
        for _ in range(1000):  # saving
            time.sleep(0.0)
        return "saved"

    assert in_threads(loop, loop) == ["saved", "saved"]


def test_what_did_not_reach_a_block_in_a_thread_reaches_nothing_after_it() -> None:
    """A request in the last moment of an evaluation, many times, beside a save that must not be disturbed."""

    def loop(requests: StopRequests) -> object:
        saved = 0
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            try:
                with requests.evaluating():
                    pass
            except LeftOff:
                return "left", saved == 10 * (saved // 10)
            for _ in range(10):
                saved += 1
        return "never left", saved

    assert in_threads(*[loop] * 8) == [("left", True)] * 8


def test_a_loop_that_begins_after_the_request_knows_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    answers: list[object] = []

    def work() -> None:
        with stop_requests() as requests:
            answers.append(until_left(StopRequests.iterating)(requests))

    with stopping_threads():
        os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(60.0)
    assert answers == [("left", True)]
