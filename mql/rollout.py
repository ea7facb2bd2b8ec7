"""Collection: (policy, tasks, seeds) -> whole episodes, many tasks side by side. No state is kept between calls.

With several threads, each one runs its own share of the lanes, simulation and policy, from reset to end: no thread
waits for another at every control step.

Shapes: N lanes (a task and a seed each), T steps, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mql.agent import Agent
from mql.memory import side_by_side
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray, IntArray


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
        threads: shares of lanes that run at the same time.

    Raises:
        ValueError: noise or random actions without `rng`, or not one seed per task.
        FloatingPointError: the simulation gave an observation or reward that is not finite.
    """
    if rng is None and (exploration_noise or random_actions):
        raise ValueError("exploration needs a random generator")
    if len(tasks) != len(seeds):
        raise ValueError(f"{len(tasks)} tasks but {len(seeds)} seeds")
    shares = np.array_split(np.arange(len(tasks)), min(threads, len(tasks)) if family.native else 1)
    # Drawn for all lanes at once, so that random numbers do not depend on how lanes are shared out.
    shape = (family.episode_length, len(tasks), family.action_dim)
    given, noise = None, None
    if random_actions and rng is not None:
        given = rng.uniform(-1.0, 1.0, size=shape).astype(np.float32)
    elif exploration_noise and rng is not None:
        noise = exploration_noise * rng.standard_normal(shape, dtype=np.float32)

    def run(share: IntArray) -> list[Episode]:
        return _run(
            agent,
            family,
            [tasks[lane] for lane in share],
            [int(seeds[lane]) for lane in share],
            given=None if given is None else given[:, share],
            noise=None if noise is None else noise[:, share],
            policy_version=policy_version,
            threads=1 if family.native else threads,
        )

    return [episode for episodes in side_by_side(run, shares, threads=len(shares)) for episode in episodes]


def _run(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    given: FloatArray | None,
    noise: FloatArray | None,
    policy_version: int,
    threads: int,
) -> list[Episode]:
    """Run the lanes of one thread: with the actions `given` [T, N, A], or the policy's plus `noise` [T, N, A]."""
    batch = family.make_batch(tasks, threads=threads)
    try:
        lanes, steps = len(tasks), family.episode_length
        obs = np.zeros((steps + 1, lanes, agent.obs_dim), dtype=np.float32)
        action = np.zeros((steps, lanes, agent.action_dim), dtype=np.float32)
        reward = np.zeros((steps, lanes), dtype=np.float32)
        length = np.zeros(lanes, dtype=np.int64)
        success = np.zeros(lanes, dtype=bool)
        final: list[dict[str, float]] = [{} for _ in range(lanes)]
        running = np.ones(lanes, dtype=bool)
        obs[0] = batch.reset(seeds)
        context = agent.begin(lanes)
        t = 0
        while running.any():
            act: FloatArray = given[t] if given is not None else agent.act(obs[t], context)
            if noise is not None:
                act = np.clip(act + noise[t], -1.0, 1.0)
            step = batch.step(act)
            action[t], reward[t], obs[t + 1] = act, step.reward, step.obs
            if not (np.isfinite(step.obs).all() and np.isfinite(step.reward).all()):
                raise _not_finite(family, tasks, step.obs, step.reward, t)
            length += running
            if "success" in step.info:
                success |= running & step.info["success"]
            ended = running & (step.terminated | step.truncated)
            for lane in np.flatnonzero(ended):
                final[lane] = {name: float(values[lane]) for name, values in step.info.items() if name != "success"}
            running &= ~ended
            if given is None and running.any():
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
                seed=seed,
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
