"""Which signals training takes for requests to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from mql.stopping import interrupt
from mql.training.stopping import stop_requests

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
