"""Checks of a family at work: chance must not solve it, how fast it steps, and whether it can be looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed, warned
from mql.robots.drawing.opengl import NO_OPENGL
from mql.tasks.checks.inspection import Inspection, name_tasks
from mql.tasks.family import Task

# Shares of random episodes that succeed. Ten episodes are few: a published task such as pressing a handle, where three
# of them do, is easy, but not solved already.
_TOO_EASY = 0.5
_EASY = 0.05
_JUDGED = 10  # episodes below which one success says little
_SIDE_BY_SIDE = 32  # of the batch whose speed is measured
_THREADS = 2
_FIRST_SEED = 61


def check_success(inspection: Inspection) -> Verdict:
    """A random policy does not already succeed."""
    family = inspection.family
    if not family.has_success:
        return passed("no success is defined; returns are compared")
    n = inspection.amount.success_episodes
    solved = _solved(inspection, n)
    if solved and n < _JUDGED:  # too few to call it chance or not
        n, solved = _JUDGED, _solved(inspection, _JUDGED)
    text = f"random actions succeed in {len(solved)} of {n} episodes"
    if len(solved) > _TOO_EASY * n:
        return failed(f"{text} [task {name_tasks([solved[0]])}]: demand more, or move the goals from the start")
    if len(solved) > _EASY * n:
        return warned(f"{text} [task {name_tasks([solved[0]])}]: some tasks may be solved by chance")
    return passed(text)


def _solved(inspection: Inspection, n: int) -> list[Task]:
    """Return the tasks of the random episodes, out of `n`, that succeed."""
    tasks = inspection.family.tasks("test")
    chosen = [tasks[place % len(tasks)] for place in range(n)]
    episodes = inspection.random_episodes(chosen, range(_FIRST_SEED, _FIRST_SEED + n))
    return [episode.task for episode in episodes if episode.success]


def check_speed(inspection: Inspection) -> Verdict:
    """Steps per second, of one environment and in parallel: for information."""
    family, seconds = inspection.family, inspection.effort.speed_seconds
    task = family.tasks("train")[0]
    with inspection.playing(task):
        env: Any = family.make(task)
        try:
            alone = _rate(lambda seed: env.reset(seed=seed), env.step, (family.action_dim,), inspection, seconds)
        finally:
            env.close()
    if not family.native:
        return passed(f"{alone:,.0f} env steps/s in one process")
    tasks = family.sample("train", _SIDE_BY_SIDE, np.random.default_rng(0))
    threads = min(_THREADS, os.cpu_count() or 1)
    with inspection.playing(*tasks):
        batch: Any = family.make_batch(tasks, threads=threads)
        try:
            shape = (_SIDE_BY_SIDE, family.action_dim)
            together = _SIDE_BY_SIDE * _rate(
                lambda seed: batch.reset([seed] * _SIDE_BY_SIDE), batch.step, shape, inspection, seconds
            )
        finally:
            batch.close()
    return passed(
        f"{alone:,.0f} env steps/s alone, {together:,.0f} with {_SIDE_BY_SIDE} in a batch on "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )


def check_render(inspection: Inspection) -> Verdict:
    """A picture can be drawn. It may take the whole process down, so this is the last check."""
    family = inspection.family
    task = family.tasks("test")[0]
    with inspection.playing(task):
        try:
            env: Any = family.make(task, render_mode="rgb_array")
            try:
                if not _draws(env):
                    return warned("the environment draws no pictures: rgb_array is not among its render_modes")
                env.reset(seed=0)
                env.step(np.zeros(family.action_dim, np.float32))
                picture = env.render()
            finally:
                env.close()
        except Exception:
            if inspection.opengl:
                raise
            return warned(NO_OPENGL)
    kind = getattr(picture, "dtype", type(picture).__name__)
    if not isinstance(picture, np.ndarray) or kind != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        return failed(f"render gave {kind} {list(np.shape(picture))}: return uint8 [height, width, 3]")
    if picture.min() == picture.max():
        return warned("the picture has one colour all over: point the camera at the robot")
    return passed(f"pictures of {picture.shape[1]} x {picture.shape[0]} pixels")


def _draws(env: Any) -> bool:
    """Tell whether an environment that wraps one of somebody else's can draw, by what that one says of itself."""
    inner = getattr(env, "inner", None)
    modes = (getattr(inner, "metadata", None) or {}).get("render_modes")
    return inner is None or modes is None or "rgb_array" in modes


def _rate(
    reset: Callable[[int], Any],
    step: Callable[[Any], Any],
    shape: tuple[int, ...],
    inspection: Inspection,
    seconds: float,
) -> float:
    """Return calls of `step` per second, with random actions of `shape`; resets are not counted."""
    length = inspection.family.episode_length
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (length, *shape)).astype(np.float32)
    calls, spent, seed = 0, 0.0, 0
    while spent < seconds:
        reset(seed)
        start = time.perf_counter()
        for action in actions:
            answer = step(action)
            calls += 1
            # An environment alone must be reset when it ends; a batch masks the tasks whose episodes have ended.
            if (isinstance(answer, tuple) and (answer[2] or answer[3])) or time.perf_counter() - start > seconds:
                break
        spent += time.perf_counter() - start
        seed += 1
    return calls / spent
