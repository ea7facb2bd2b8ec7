"""Collection: (policy, tasks, seeds) -> whole episodes, many tasks side by side. No state is kept between calls.

Native families are shared out to threads: each one runs its own lanes, simulation and policy, from reset to end, and
waits for no other at every control step. All other families go to worker processes, one whole episode at a time.

Lanes are episodes side by side: a task and a seed each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mql.agent.agent import Agent
from mql.collecting.episodes import play
from mql.collecting.exploration import Explorer, begin
from mql.collecting.workers import WorkerLost, workers
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.threads import side_by_side
from mql.types import Episode, IntArray


def collect(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    explorer: Explorer | None = None,
    rng: np.random.Generator | Sequence[np.random.Generator] | None = None,
    policy_version: int = 0,
    threads: int = 1,
) -> list[Episode]:
    """Run one episode of each of `tasks`, reset with the seed beside it, and return them in the same order.

    Args:
        agent: acts deterministically, from the context of its own episode only.
        explorer: changes the agent's actions; None: they are taken as they are.
        rng: draws what the explorer needs: one generator for all episodes, or one for each.
        threads: shares of lanes, or worker processes, that run at the same time.

    Raises:
        ValueError: an explorer without `rng`, or not one seed (or generator, where there are several) per task.
        EpisodeFault: an episode could not be finished.
    """
    episodes = []
    for outcome in collect_each(
        agent,
        family,
        tasks,
        seeds,
        explorer=explorer,
        rng=rng,
        policy_version=policy_version,
        threads=threads,
    ):
        if isinstance(outcome, EpisodeFault):
            raise outcome
        episodes.append(outcome)
    return episodes


def collect_each(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    explorer: Explorer | None = None,
    rng: np.random.Generator | Sequence[np.random.Generator] | None = None,
    policy_version: int = 0,
    threads: int = 1,
) -> list[Episode | EpisodeFault]:
    """Do as `collect`, but let the fault stand in the place of an episode that could not be finished.

    Raises:
        ValueError: an explorer without `rng`, or not one seed (or generator, where there are several) per task.
    """
    if explorer is not None and rng is None:
        raise ValueError("exploration needs a random generator")
    if len(tasks) != len(seeds):
        raise ValueError(f"{len(tasks)} tasks but {len(seeds)} seeds")
    # Begun for all episodes at once, so that random numbers do not depend on how episodes are shared out.
    exploration = None
    if explorer is not None and rng is not None:
        exploration = begin(explorer, len(tasks), rng)
    policy = agent.policy()
    if family.native:
        shares = np.array_split(np.arange(len(tasks)), min(threads, len(tasks)))
        play_there: Callable[..., list[Episode | EpisodeFault] | WorkerLost] = partial(play, family, policy)
    else:
        shares = np.array_split(np.arange(len(tasks)), len(tasks))
        play_there = workers(threads).bound(play, family, policy, timeout=family.episode_timeout)

    def run(share: IntArray) -> list[Episode | EpisodeFault]:
        outcome = play_there(
            [tasks[lane] for lane in share],
            [int(seeds[lane]) for lane in share],
            None if exploration is None else exploration.share(share),
            policy_version=policy_version,
        )
        if isinstance(outcome, WorkerLost):
            return [episode_fault(tasks[lane], str(outcome)) for lane in share]
        return outcome

    return [outcome for part in side_by_side(run, shares, threads=threads) for outcome in part]
