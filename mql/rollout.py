"""Collection: (policy, tasks, seeds) -> whole episodes, many tasks side by side. No state is kept between calls.

Shapes: N lanes (a task and a seed each), T steps, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mql.agent import Agent
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray


def collect(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    exploration_noise: float = 0.0,
    random_actions: bool = False,
    rng: np.random.Generator | None = None,
    policy_version: int = 0,
    threads: int = 1,
) -> list[Episode]:
    """Run one episode of each of `tasks`, reset with the seed beside it, and return them in the same order.

    Args:
        agent: acts deterministically, from the context of its own episode only.
        exploration_noise: standard deviation of Gaussian noise on actions (clipped to [-1, 1]).
        random_actions: act uniformly at random instead (warm-up).
        rng: draws noise and random actions; needed for either.

    Raises:
        ValueError: noise or random actions without `rng`, or not one seed per task.
        FloatingPointError: the simulation gave an observation or reward that is not finite.
    """
    if rng is None and (exploration_noise or random_actions):
        raise ValueError("exploration needs a random generator")
    if len(tasks) != len(seeds):
        raise ValueError(f"{len(tasks)} tasks but {len(seeds)} seeds")
    batch = family.make_batch(tasks, threads=threads)
    try:
        lanes, steps = len(tasks), family.episode_length
        action_dim = agent.action_dim
        obs = np.zeros((steps + 1, lanes, agent.obs_dim), dtype=np.float32)
        action = np.zeros((steps, lanes, action_dim), dtype=np.float32)
        reward = np.zeros((steps, lanes), dtype=np.float32)
        length = np.zeros(lanes, dtype=np.int64)
        success = np.zeros(lanes, dtype=bool)
        final: list[dict[str, float]] = [{} for _ in range(lanes)]
        running = np.ones(lanes, dtype=bool)
        obs[0] = batch.reset(seeds)
        context = agent.begin(lanes)
        t = 0
        while running.any():
            if random_actions and rng is not None:
                act: FloatArray = rng.uniform(-1.0, 1.0, size=(lanes, action_dim)).astype(np.float32)
            else:
                act = agent.act(obs[t], context)
                if exploration_noise and rng is not None:
                    noise = exploration_noise * rng.standard_normal(act.shape, dtype=np.float32)
                    act = np.clip(act + noise, -1.0, 1.0)
            step = batch.step(act)
            action[t], reward[t], obs[t + 1] = act, step.reward, step.obs
            if not (np.isfinite(step.obs).all() and np.isfinite(step.reward).all()):
                raise _not_finite(family, tasks, step.obs, step.reward, t)
            length[running] += 1
            if "success" in step.info:
                success |= running & step.info["success"]
            ended = running & (step.terminated | step.truncated)
            for lane in np.flatnonzero(ended):
                final[lane] = {name: float(values[lane]) for name, values in step.info.items() if name != "success"}
            running &= ~ended
            if not random_actions and running.any():
                agent.observe(context, obs[t], act, step.reward)
            t += 1
        return [
            Episode(
                obs=obs[: n + 1, lane].copy(),
                action=action[:n, lane].copy(),
                reward=reward[:n, lane].copy(),
                terminated=bool(step.terminated[lane]),
                truncated=bool(step.truncated[lane]),
                task=task.index,
                seed=int(seed),
                policy_version=policy_version,
                success=bool(success[lane]) if family.has_success else None,
                final_info=final[lane],
            )
            for lane, (n, task, seed) in enumerate(zip(length, tasks, seeds, strict=True))
        ]
    finally:
        batch.close()


def _not_finite(
    family: TaskFamily, tasks: Sequence[Task], obs: FloatArray, reward: FloatArray, t: int
) -> FloatingPointError:
    bad = int(np.flatnonzero(~(np.isfinite(obs).all(axis=1) & np.isfinite(reward)))[0])
    return FloatingPointError(f"{family.name}: not finite at step {t} of the task {tasks[bad].to_json()}")
