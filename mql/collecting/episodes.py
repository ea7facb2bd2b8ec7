"""Episodes of a policy in tasks in parallel: what a thread or a worker process runs. It needs no PyTorch.

Shapes: N episodes (a task and a seed each), T steps, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mql.agent.acting import Policy
from mql.collecting.exploration import Exploration
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.types import REWARD_TERM, Episode, FloatArray, NotFinite


def play(
    family: TaskFamily,
    policy: Policy,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    exploration: Exploration | None,
    *,
    policy_version: int,
    padding: tuple[int, int] = (0, 0),
    z: FloatArray | None = None,
    threads: int = 1,
) -> list[Episode | EpisodeFault]:
    """Run one episode of each of `tasks`; the fault stands where an episode could not be finished.

    Args:
        exploration: of these episodes; None: the policy's own actions are taken.
        padding: empty rows before and after those of `tasks` in what the policy computes (BLAS rounds
            differently for other numbers of rows, so equal episodes need equal numbers).
        z: the context variable [N, Z] that each episode begins with; None: as the policy begins it.
        threads: that simulate the tasks; episodes do not depend on it.

    Raises:
        NotFinite: the policy computes actions that are not finite.
    """
    try:
        batch = family.make_batch(tasks, threads=threads)
    except EpisodeFault as fault:
        return [fault] * len(tasks)
    try:
        count, steps = len(tasks), family.episode_length
        rows = padding[0] + count + padding[1]
        own = slice(padding[0], padding[0] + count)
        obs = np.zeros((steps + 1, rows, family.obs_dim), dtype=np.float32)
        action = np.zeros((steps, rows, family.action_dim), dtype=np.float32)
        reward = np.zeros((steps, rows), dtype=np.float32)
        length = np.zeros(count, dtype=np.int64)
        success = np.zeros(count, dtype=bool)
        final: list[dict[str, float]] = [{} for _ in range(count)]
        terms: dict[str, npt.NDArray[np.float64]] = {}
        faults: dict[int, EpisodeFault] = {}
        running = np.ones(count, dtype=bool)
        follows_policy = exploration is None or exploration.follows_policy
        obs[0, own] = batch.reset(seeds)
        context = policy.begin(rows)
        if z is not None:
            context.state[own] = z
        t = 0
        while running.any():
            act: FloatArray = (policy.act(obs[t], context) if follows_policy else action[t])[own]
            if exploration is not None:
                act = exploration.act(act, obs[t, own], t)
            if not np.isfinite(act).all():
                raise NotFinite("the policy's actions are not finite")
            step = batch.step(act)
            broken = running & ~(np.isfinite(step.obs).all(axis=1) & np.isfinite(step.reward))
            for place in map(int, np.flatnonzero(broken)):
                faults[place] = episode_fault(tasks[place], f"step {t + 1} gave numbers that are not finite")
            if faults:
                running &= ~broken
                step.obs[list(faults)], step.reward[list(faults)] = 0.0, 0.0
            action[t, own], reward[t, own], obs[t + 1, own] = act, step.reward, step.obs
            length += running
            if "success" in step.info:
                success |= running & step.info["success"]
            for name, values in step.info.items():
                if name.startswith(REWARD_TERM):
                    term = terms.setdefault(name.removeprefix(REWARD_TERM), np.zeros(count))
                    term[running] += values[running]
            ended = running & (step.terminated | step.truncated)
            for place in map(int, np.flatnonzero(ended)):
                final[place] = {name: float(values[place]) for name, values in step.info.items() if name != "success"}
            running &= ~ended
            if follows_policy and running.any():
                policy.observe(context, obs[t], action[t], reward[t])
            t += 1
    except EpisodeFault as fault:  # an environment that raises ends its batch
        return [fault] * len(tasks)
    finally:
        batch.close()
    for place, task in enumerate(tasks):
        told = {**{name: sums[place] for name, sums in terms.items()}, **final[place]}
        odd = [name for name, value in told.items() if not np.isfinite(value)]
        if odd and place not in faults:
            faults[place] = episode_fault(task, f"{odd[0]!r} in info was not finite")
    return [
        faults[place]
        if place in faults
        else Episode(
            obs=obs[: n + 1, padding[0] + place].copy(),
            action=action[:n, padding[0] + place].copy(),
            reward=reward[:n, padding[0] + place].copy(),
            terminated=bool(step.terminated[place]),
            truncated=bool(step.truncated[place]),
            task=task.index,
            seed=seed,
            policy_version=policy_version,
            success=bool(success[place]) if family.has_success else None,
            final_info=final[place],
            reward_terms={name: float(sums[place]) for name, sums in terms.items()},
        )
        for place, (n, task, seed) in enumerate(zip(length, tasks, seeds, strict=True))
    ]
