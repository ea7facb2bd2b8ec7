"""The one timer of all benchmarks, and the machine they ran on.

Contenders take turns, A B A B ..., so that a machine that slows down for a while slows all of them down; the median
over the rounds then forgets that while.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median

import torch

from mql.runs.machine import describe_environment
from mql.types import JSON

Results = dict[str, JSON]
Call = Callable[[], object]
Clock = Callable[[], float]

SGEMM_SIZE = 2048  # rows and columns of the matrices whose product is the machine's limit
SGEMM_GFLOP = 2 * SGEMM_SIZE**3 / 1e9


def alternate_calls(
    contenders: Mapping[str, Call], *, rounds: int, calls_per_round: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[list[float]]]:
    """Call the contenders in turn, after one call of each that does not count; time every call.

    Returns:
        For each contender ``rounds`` lists of ``calls_per_round`` numbers, in the clock's unit (seconds).
    """
    for call in contenders.values():
        call()
    seconds: dict[str, list[list[float]]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            marks = [clock()]
            for _ in range(calls_per_round):
                call()
                marks.append(clock())
            seconds[name].append([after - before for before, after in pairwise(marks)])
    return seconds


def alternate(
    contenders: Mapping[str, Call], *, rounds: int, calls_per_round: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Time as `alternate_calls` does; return for each contender the mean seconds per call of every round."""
    timed = alternate_calls(contenders, rounds=rounds, calls_per_round=calls_per_round, clock=clock)
    return {name: [fmean(calls) for calls in by_round] for name, by_round in timed.items()}


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return each contender's median over the rounds."""
    return {name: median(values) for name, values in seconds.items()}


def make_sgemm(device: str = "cpu") -> Call:
    """Return a call that multiplies two float32 matrices [2048, 2048] (SGEMM_GFLOP of arithmetic)."""
    a, b = torch.rand(2, SGEMM_SIZE, SGEMM_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    out = torch.empty_like(a)
    return until_done(lambda: torch.mm(a, b, out=out), device)


def until_done(call: Call, device: str) -> Call:
    """Return a call that ends when its work on `device` has: a GPU only queues it."""
    if device != "cuda":
        return call

    def wait_for() -> None:
        call()
        torch.cuda.synchronize()

    return wait_for


def measure_sgemm(*, rounds: int = 5) -> float:
    """Return how many GFLOP per second PyTorch multiplies matrices with, on the threads it has."""
    return SGEMM_GFLOP / medians(alternate({"sgemm": make_sgemm()}, rounds=rounds))["sgemm"]


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(threads: int, sgemm_gflops: float) -> Results:
    """Return the ``machine`` of ``mql bench --json``."""
    machine = describe_environment([])["machine"]
    facts = {name: machine[name] for name in ("cpu", "kernels")}
    return {"cores": usable_cores(), "threads": threads, "sgemm_gflops": sgemm_gflops, **facts}


def announce(text: str) -> None:
    """Tell on standard error what is being done now."""
    print(text, file=sys.stderr, flush=True)
