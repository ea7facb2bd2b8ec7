"""Runs the checks of families in worker processes, so that one that hangs or dies takes nothing else with it.

Each slot has a process of its own and does one family after another, check by check. A process that is lost is
replaced, and the family's other checks go on in the new one.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from mql.collecting.workers import WorkerLost, Workers
from mql.robots.checks.verdict import Verdict, failed, warned
from mql.robots.drawing.opengl import NO_OPENGL
from mql.tasks.checks.effort import Effort
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, CheckResult, builds_at_all, run_check
from mql.tasks.family import TaskFamily

Build = Callable[[], TaskFamily]


@dataclass(frozen=True)
class FamilyResults:
    """All lines of one family, in the order of the checks, and how long they took together."""

    family: str
    results: list[CheckResult]
    seconds: float


def check_families(
    builds: Mapping[str, Build], effort: Effort, *, opengl: bool, slots: int, checks: Sequence[str] = tuple(CHECKS)
) -> Iterator[FamilyResults]:
    """Check families, `slots` of them at a time, and yield each one's lines as soon as they are there.

    Args:
        builds: name -> a function of a module, or a `functools.partial` of one, that builds the family afresh.
        effort: how much to play, and the time limits.
        opengl: whether MuJoCo can draw here.
        slots: worker processes.
        checks: which checks, in this order.
    """
    stop = threading.Event()
    slots = max(1, min(slots, len(builds)))
    idle = [Workers(1) for _ in range(slots)]
    everyone = list(idle)

    def one(name: str, build: Build) -> FamilyResults:
        worker = idle.pop()
        try:
            return _check_family(worker, name, build, effort, checks, opengl=opengl, stop=stop)
        finally:
            idle.append(worker)

    pool = ThreadPoolExecutor(slots)
    try:
        for done in as_completed([pool.submit(one, name, build) for name, build in builds.items()]):
            yield done.result()
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in everyone:
            worker.close()


def _check_family(
    worker: Workers,
    name: str,
    build: Build,
    effort: Effort,
    checks: Sequence[str],
    *,
    opengl: bool,
    stop: threading.Event,
) -> FamilyResults:
    results: list[CheckResult] = []
    begin, before = time.monotonic(), worker.seconds
    with tempfile.TemporaryDirectory() as folder:
        inspection = Inspection(build, effort, opengl, Path(folder) / "at-hand")
        for check in checks:
            if stop.is_set():
                break
            left = effort.family_seconds - (worker.seconds - before)
            verdict = _check_once(worker, inspection, check, min(left, effort.check_seconds))
            results.append(CheckResult(name, check, verdict.result, verdict.message))
            if check == "builds" and not builds_at_all(verdict):
                break
        if not stop.is_set():
            worker.bound(_forget, inspection, timeout=effort.check_seconds)()
    return FamilyResults(name, results, time.monotonic() - begin)


def _check_once(worker: Workers, inspection: Inspection, check: str, seconds: float) -> Verdict:
    """Do one check within `seconds`."""
    if seconds <= 0:
        total = inspection.effort.family_seconds
        return failed(
            f"check {check} was not started: the checks before it used up the family's {total:g} s; "
            "fix those first, or make the environment faster"
        )
    diary = inspection.diary
    if diary is not None:
        diary.write_text("", encoding="utf-8")
    # Values that come with every job are kept by the worker: the family is built and played once for all checks.
    verdict = worker.bound(run_check, inspection, timeout=seconds)(check)
    if isinstance(verdict, Verdict):
        return verdict
    at_hand = diary.read_text(encoding="utf-8") if diary is not None else ""
    task = f" [task {at_hand}]" if at_hand else ""
    if verdict.late:
        return failed(f"check {check} did not finish within {seconds:.0f} s{task}: look for an endless loop or a wait")
    if check == "render" and not inspection.opengl:
        return warned(NO_OPENGL)
    return failed(f"check {check} ended its process: {_reason(verdict)}{task}: look for a crash in compiled code")


def _forget(inspection: Inspection) -> None:
    """Let a worker process free what it kept of a family."""
    inspection.forget()


def _reason(lost: WorkerLost) -> str:
    return str(lost).removeprefix("its process ")
