"""Collection: (policy, tasks, seeds) -> whole episodes, many tasks in parallel. No state is kept between calls.

Batched families are shared out to two threads: each one runs its own episodes, simulation and policy, from reset to
end, and waits for no other at every control step; with more, each has several to simulate its tasks. All other families
go to worker processes, one whole episode at a time; and on a cluster both do. How many threads or processes there are,
and where, changes no bit of an episode: BLAS rounds by the number of rows that it multiplies, so the policy computes as
many rows in a share as it would for all episodes at once.

An episode has a task and a seed of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mql.agent.agent import Agent
from mql.collecting.episodes import play
from mql.collecting.exploration import Explorer, begin
from mql.collecting.workers import WorkerLost
from mql.collecting.workforce import workers as worker_processes
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.threads import side_by_side
from mql.types import Episode, FloatArray, IntArray, Workforce, count_of

# Shares of one machine's threads: what a share does in Python waits for the others, so more cores simulate its tasks.
SHARES = 2
ALONE = 8  # episodes whose actions are computed together, where an episode must not depend on how many others there are


def collect(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    *,
    explorer: Explorer | None = None,
    rng: np.random.Generator | Sequence[np.random.Generator] | None = None,
    policy_version: int = 0,
    workers: Workforce = 1,
) -> list[Episode]:
    """Run one episode of each of `tasks`, reset with the seed beside it, and return them in the same order.

    Args:
        agent: acts deterministically, from the context of its own episode only.
        explorer: changes the agent's actions; None: they are taken as they are.
        rng: draws what the explorer needs: one generator for all episodes, or one for each.
        workers: shares of the episodes, or worker processes, that run at the same time; or processes on a cluster.

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
        workers=workers,
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
    alone: bool = False,
    policy_version: int = 0,
    workers: Workforce = 1,
    z: FloatArray | None = None,
) -> list[Episode | EpisodeFault]:
    """Do as `collect`, but let the fault stand in the place of an episode that could not be finished.

    With ``alone``, and a generator for each where there is an explorer, an episode depends on its own task, seed and
    generator only, bit for bit; otherwise the number of episodes shows in how actions are rounded. With ``z`` [N, Z],
    each episode begins with a context variable of its own (one that holds it has it to the end).

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
    places = np.arange(len(tasks))
    threads = 1  # that simulate a share
    if family.native:
        at_once = min(count_of(workers), len(tasks))
        if isinstance(workers, int) and not alone and at_once > SHARES:
            at_once, threads = SHARES, workers // SHARES
        shares = np.split(places, places[ALONE::ALONE]) if alone else np.array_split(places, at_once)
    else:
        shares = np.split(places, places[1:])
    play_there: Callable[..., list[Episode | EpisodeFault] | WorkerLost] = partial(
        play, family, policy, threads=threads
    )
    if not (family.native and isinstance(workers, int)):
        longest = max(map(len, shares), default=1)
        timeout = family.episode_timeout * longest
        play_there = worker_processes(workers).bound(play, family, policy, timeout=timeout)

    def padding(share: IntArray) -> tuple[int, int]:
        if not family.native:
            return 0, 0
        return (0, ALONE - len(share)) if alone else (int(share[0]), len(tasks) - 1 - int(share[-1]))

    def run(share: IntArray) -> list[Episode | EpisodeFault]:
        outcome = play_there(
            [tasks[place] for place in share],
            [int(seeds[place]) for place in share],
            None if exploration is None else exploration.share(share),
            policy_version=policy_version,
            padding=padding(share),
            z=None if z is None else z[share],
        )
        if isinstance(outcome, WorkerLost):
            return [episode_fault(tasks[place], str(outcome)) for place in share]
        _check_answer(outcome, [(tasks[place].index, int(seeds[place])) for place in share])
        return outcome

    return [outcome for part in side_by_side(run, shares, threads=count_of(workers)) for outcome in part]


def _check_answer(outcomes: Sequence[Episode | EpisodeFault], asked: Sequence[tuple[int, int]]) -> None:
    """Compare the tasks and seeds that episodes name with those asked for: another answer is an error."""
    if len(outcomes) != len(asked):
        raise RuntimeError(f"{len(outcomes)} episodes came back, {len(asked)} were asked for")
    for outcome, (task, seed) in zip(outcomes, asked, strict=True):
        if isinstance(outcome, Episode) and (outcome.task, outcome.seed) != (task, seed):
            got = f"task {outcome.task} with seed {outcome.seed}"
            raise RuntimeError(f"an episode of {got} came back, one of task {task} with seed {seed} was asked for")
