"""Checks of episodes as such: the same ones come again, and their numbers are finite and of the announced shape.

Shapes: T steps, O observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed
from mql.tasks.checks.inspection import Episode, Inspection, name_tasks, play_environment
from mql.tasks.family import Task, TaskFamily

_SEED, _OTHER_SEED = 11, 12
_TERMS_NAMED = 6


def check_determinism(inspection: Inspection) -> Verdict:
    """The same task and seed give the same episode, bit for bit, also after other tasks and other seeds."""
    family, steps = inspection.family, inspection.amount.steps
    task, other = _two_tasks(family)
    # A copy of the family that has played nothing yet says how the episode should be.
    right = inspection.play_alone(task, _SEED, steps, family=inspection.build())
    inspection.play_alone(other, _OTHER_SEED, steps)
    for moment, played in (
        ("after another task has run", inspection.play_alone(task, _SEED, steps)),
        ("after a second reset of its environment", _second_episode(inspection, task, steps)),
    ):
        step = right.first_difference(played)
        if step is not None:
            return _drift(task, step, moment, "set all that a task changes from saved original values at every reset")
    return passed(f"{len(right.rewards)} steps come again bit for bit, also after another task")


def check_finite(inspection: Inspection) -> Verdict:
    """Observations and rewards of whole random episodes are finite, and of the announced shape and type."""
    family = inspection.family
    places = (0, -1)[: inspection.amount.finite_tasks]
    tasks = [family.tasks(split)[place] for split in family.splits for place in places]
    tasks = list({tuple(task.parameters.values()): task for task in tasks}.values())
    fault = _environment_types(inspection, tasks[0]) or _batch_types(inspection, tasks[0])
    if fault:
        return failed(f"{fault} [task {name_tasks(tasks[:1])}]")
    episodes = inspection.random_episodes(tasks, list(range(len(tasks))), inspection.amount.longest)
    for episode in episodes:
        fault = _unfit(family, episode)
        if fault:
            return failed(f"{fault} [task {name_tasks([episode.task])}]")
    steps = sum(len(episode.rewards) for episode in episodes)
    return passed(f"{steps} steps of {len(tasks)} tasks, all finite{_terms(episodes)}")


def _terms(episodes: Sequence[Episode]) -> str:
    """Say how much each named term of the reward is worth at a random step."""
    names = list(episodes[0].terms)
    means = [(name, float(np.mean([episode.terms.get(name, 0.0) for episode in episodes]))) for name in names]
    shown = ", ".join(f"{name} {mean:.3g}" for name, mean in means[:_TERMS_NAMED])
    more = ", ..." if len(means) > _TERMS_NAMED else ""
    return f"; a step of random actions is rewarded by {shown}{more}" if means else ""


def _two_tasks(family: TaskFamily) -> tuple[Task, Task]:
    tasks = family.tasks("train")
    return tasks[0], tasks[-1] if len(tasks) > 1 else family.tasks("test")[-1]


def _second_episode(inspection: Inspection, task: Task, steps: int) -> Episode:
    """Play another seed first, in the same environment."""
    family = inspection.family
    with inspection.playing(task):
        env = family.make(task)
        try:
            play_environment(family, env, task, _OTHER_SEED, steps)
            return play_environment(family, env, task, _SEED, steps)
        finally:
            env.close()


def _drift(task: Task, step: int, moment: str, mend: str) -> Verdict:
    return failed(f"{moment}, an episode differs from step {step} on: {mend} [task {name_tasks([task])}]")


def _environment_types(inspection: Inspection, task: Task) -> str | None:
    family = inspection.family
    with inspection.playing(task):
        env: Any = family.make(task)
        try:
            obs, _ = env.reset(seed=0)
            answer = [obs, *env.step(np.zeros(family.action_dim, np.float32))]
        finally:
            env.close()
    for name, seen in (("reset", answer[0]), ("step", answer[1])):
        fault = _array_fault(f"the observation of {name}", seen, (family.obs_dim,))
        if fault:
            return fault
    kinds = (("reward", answer[2], float), ("terminated", answer[3], bool), ("truncated", answer[4], bool))
    for name, value, kind in kinds:
        if not isinstance(value, kind):
            return f"step gave a {name} of type {type(value).__name__}: return a {kind.__name__}"
    if family.has_success and "success" not in answer[5]:
        return "info has no success: return it at every step, or build the family with has_success=False"
    return None


def _batch_types(inspection: Inspection, task: Task) -> str | None:
    family = inspection.family
    with inspection.playing(task):
        batch: Any = family.make_batch([task, task])
        try:
            obs = batch.reset([0, 1])
            step = batch.step(np.zeros((2, family.action_dim), np.float32))
        finally:
            batch.close()
    expected = (
        ("the observation of a batch", obs, (2, family.obs_dim), np.float32),
        ("the observation of a batch", step.obs, (2, family.obs_dim), np.float32),
        ("the reward of a batch", step.reward, (2,), np.float32),
        ("terminated of a batch", step.terminated, (2,), np.bool_),
        ("truncated of a batch", step.truncated, (2,), np.bool_),
    )
    return next((fault for name, *rest in expected if (fault := _array_fault(name, *rest))), None)


def _array_fault(name: str, value: Any, shape: tuple[int, ...], kind: Any = np.float32) -> str | None:
    found = f"{getattr(value, 'dtype', type(value).__name__)} {list(np.shape(value))}"
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype != kind:
        return f"{name} is {found}: return {np.dtype(kind)} {list(shape)}"
    return None


def _unfit(family: TaskFamily, episode: Episode) -> str | None:
    if episode.obs.shape[1:] != (family.obs_dim,):
        return f"the observation has shape {list(episode.obs.shape[1:])}: it must keep {[family.obs_dim]} all along"
    for what, values in (("observation", episode.obs[1:]), ("reward", episode.rewards[:, None])):
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            step, place = (int(index) for index in bad[0])
            at = f" at place {place} of the observation" if what == "observation" else ""
            return (
                f"step {step + 1} gave the {what} {values[step, place]}{at}: look for a division by zero or a blow-up"
            )
    space = family.observation_space
    outside = np.argwhere(~((episode.obs >= space.low) & (episode.obs <= space.high)))
    if len(outside):
        step, place = (int(index) for index in outside[0])
        value = episode.obs[step, place]
        limits = f"[{space.low[place]:g}, {space.high[place]:g}]"
        return f"number {place} of the observation is {value:.4g} after step {step}, outside {limits}: widen the space"
    return None
