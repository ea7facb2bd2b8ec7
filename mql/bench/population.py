"""`mql bench population`: learners in threads of one process, against as many processes with one learner each.

Updates are those of an iteration of training with the fast profile, drawing included, as in `mql bench learner`. Both
sides take turns; each learner has one CPU thread and, on a GPU, a stream of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from mql.bench import learner
from mql.bench.timing import Call, Results, alternate, announce, medians, until_done
from mql.threads import keep_freed_memory, limit_threads


@dataclass(frozen=True)
class Sizes(learner.Sizes):
    """HalfCheetah's sizes; a turn is `updates` updates of each of `agents` learners."""

    transitions: int = 20_000
    agents: int = 2


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time `agents` learners side by side, in threads and in processes; updates per second are those of all of them.

    Raises:
        UserError: PyTorch sees no such device.
    """
    sizes = learner.on_device(sizes)
    announce(f"population: {sizes.agents} learners in threads and in processes, {sizes.rounds} rounds")
    with ExitStack() as opened:
        contenders: dict[str, Call] = {
            "processes": _in_processes(sizes, opened),
            "threads": _in_threads(sizes, opened),
        }
        seconds = medians(alternate(contenders, rounds=sizes.rounds))
    updates = {name: sizes.agents * sizes.updates / spent for name, spent in seconds.items()}
    return {
        "agents": sizes.agents,
        "one_process": {"updates_per_s": updates["threads"]},
        "process_each": {"updates_per_s": updates["processes"]},
        "one_process_vs_process_each": updates["threads"] / updates["processes"],
    }


def learner_of(sizes: Sizes, seed: int) -> Call:
    """Return a call that makes a turn's updates of one learner and waits for them."""
    update = learner.updating(sizes, learner.config_of("fast", sizes), sizes.fast_batch, seed=seed)

    def turn() -> None:
        update()
        if sizes.device == "cuda":
            torch.cuda.current_stream().synchronize()

    return turn


def _in_threads(sizes: Sizes, opened: ExitStack) -> Call:
    """Return a call that lets all learners make a turn at the same time, each in its own thread."""
    limit_threads(1)
    pools = [opened.enter_context(ThreadPoolExecutor(1)) for _ in range(sizes.agents)]
    streams = [torch.cuda.Stream() if sizes.device == "cuda" else None for _ in pools]  # type: ignore[no-untyped-call]

    def on_stream(number: int, work: Callable[[], Any]) -> Any:
        stream = streams[number]
        with torch.cuda.stream(stream) if stream is not None else nullcontext():
            return work()

    def at_once(work: Sequence[Callable[[], Any]]) -> list[Any]:
        asked = [pool.submit(on_stream, number, work[number]) for number, pool in enumerate(pools)]
        return [each.result() for each in asked]

    learners = [
        pool.submit(on_stream, number, partial(learner_of, sizes, number)).result() for number, pool in enumerate(pools)
    ]
    return until_done(lambda: at_once(learners), sizes.device)


def _in_processes(sizes: Sizes, opened: ExitStack) -> Call:
    """Return a call that lets all learners make a turn at the same time, each in its own process."""
    context = get_context("spawn")
    pipes = []
    for number in range(sizes.agents):
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(sizes, number, there), daemon=True)
        process.start()
        there.close()
        opened.callback(process.join)
        opened.callback(here.close)  # which ends it
        pipes.append(here)

    def turn() -> None:
        for pipe in pipes:
            pipe.send(None)
        for pipe in pipes:
            pipe.recv()

    return turn


def _serve(sizes: Sizes, number: int, pipe: Any) -> None:
    """Make a turn whenever the other side asks for one, until it hangs up."""
    keep_freed_memory()
    limit_threads(1)
    turn = learner_of(sizes, number)
    try:
        while True:
            pipe.recv()
            turn()
            pipe.send(None)
    except (EOFError, BrokenPipeError):
        sys.exit(0)
