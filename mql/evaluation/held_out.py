"""Evaluation on held-out tasks, zero-shot and adapted, exactly k episodes per task.

Zero-shot means context only, no gradient step. Both policies act deterministically from the same reset seeds, so their
difference is paired. The episodes that the adaptation plays count in neither; each row says how many there were. What
uniform random actions get on the same tasks can stand beside them, so that a return means something.

All that is drawn for a task comes from streams of its own, named by the seed and the task's place: its result does not
depend on how many others are evaluated, and one of them can be evaluated again, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Semaphore

import numpy as np

from mql.adaptation.adapters import Adaptation
from mql.adaptation.playing import NewTask, carry_out, simulated
from mql.adaptation.result import Report
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect_each
from mql.evaluation.statistics import paired_gain, summarize
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.threads import side_by_side
from mql.types import JSON, Episode, NotFinite, Workforce, count_of

# Of an adaptation's report: these stand in every row, None where the method has no such figure; others as they come.
FIGURES = (
    "normalized_ess",
    "proximal_coef",
    "classifier_auc",
    "classifier_accuracy",
    "fraction_zero_weight",
    "step2_skipped",
    "tasks_covered",
    "task_weights",
    "episodes_charged",
    "accepted",
    "distance_moved",
    "distance_free",
    "adapt_seconds",
)


@dataclass(frozen=True)
class TaskResult:
    """What one task gave: its evaluation episodes before and after adaptation (``adapted`` None: not asked for).

    ``agent`` is the adapted one (None: not asked for; each takes megabytes). Where the adaptation failed, ``report``
    says so, and zero-shot stands for ``adapted``. ``fault`` says what went wrong where an episode could not be
    finished; then the task counts in no summary. ``random`` is an episode of random actions (None: not asked for), or
    what went wrong in it.
    """

    task: Task
    zero_shot: list[Episode]
    adapted: list[Episode] | None = None
    report: Report | None = None
    agent: Agent | None = None
    fault: str | None = None
    random: Episode | EpisodeFault | None = None

    def to_json(self) -> dict[str, JSON]:
        """One row of ``mql evaluate --json``."""
        by_chance = [self.random] if isinstance(self.random, Episode) else None
        return {
            "parameters": self.task.to_json(),
            "zero_shot_return": _mean_return(self.zero_shot),
            "adapted_return": _mean_return(self.adapted),
            "zero_shot_success": _success_rate(self.zero_shot),
            "adapted_success": _success_rate(self.adapted),
            "zero_shot_final": _final_info(self.zero_shot),
            "adapted_final": _final_info(self.adapted),
            "zero_shot_terms": mean_terms(self.zero_shot),
            "adapted_terms": mean_terms(self.adapted),
            **dict.fromkeys(FIGURES),
            **(self.report or {}),
            "random_return": _mean_return(by_chance),
            "random_success": _success_rate(by_chance),
            "random_final": _final_info(by_chance),
            **({"fault": self.fault} if self.fault else {}),
            **({"random_fault": str(self.random)} if isinstance(self.random, EpisodeFault) else {}),
        }


def evaluate(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    *,
    evaluation_episodes: int,
    seed: int,
    places: Sequence[int] | None = None,
    adaptation: Adaptation | None = None,
    with_random: bool = False,
    keep_agents: bool = False,
    threads: int = 1,
    workers: Workforce = 1,
    on_task: Callable[[int, TaskResult], None] | None = None,
) -> list[TaskResult]:
    """Evaluate `agent` on each of `tasks`; with an `adaptation`, also adapt to each and evaluate that.

    Args:
        evaluation_episodes: episodes per task, for zero-shot and adapted each.
        seed: every reset, noise and adaptation seed derives from it and the task's place.
        places: of the tasks in the list that they come from; None: `tasks` is that list, or its beginning.
        with_random: play an episode of uniform random actions in each task, too; all else stays what it is without.
        adaptation: of the same agent; its ``config.adaptation_episodes`` are the budget of each task.
        keep_agents: results hold the adapted agents.
        threads: tasks that are adapted at the same time, with one thread each.
        workers: as of `collect_each`. Results depend on neither.
        on_task: called with (index, result) as tasks finish, in order, before random actions are played.

    Raises:
        EpisodeFault: no task could be evaluated.
    """
    places = range(len(tasks)) if places is None else places
    resets = [spawn_seeds(evaluation_episodes, seed, "evaluation", place) for place in places]
    zero_shot = _episodes(agent, family, tasks, resets, workers=workers)
    adapting = Semaphore(threads)
    # A thread of this process simulates one task of a parallel family; to a worker process it only talks.
    each = 1 if family.native and isinstance(workers, int) else workers

    def one(index: int) -> TaskResult:
        task, before, place = tasks[index], zero_shot[index], places[index]
        if isinstance(before, EpisodeFault):
            return TaskResult(task, [], fault=str(before))
        if adaptation is None:
            return TaskResult(task, before)
        play = simulated(family, task, seed=seed, place=place, workers=each)
        try:
            with adapting:
                outcome = carry_out(adaptation.begin(new_task(adaptation, task, seed=seed + place)), play)
        except EpisodeFault as fault:
            return TaskResult(task, before, fault=str(fault))
        report, adapted = outcome.report, outcome.agent
        try:
            after = _episodes(adapted, family, [task], [resets[index]], workers=each)[0]
        except NotFinite as error:
            report, adapted = {**report, "failed": str(error)}, agent
        if report.get("failed"):
            after = before  # the agent is as it was, and so are its episodes
        if isinstance(after, EpisodeFault):
            return TaskResult(task, before, fault=str(after))
        return TaskResult(task, before, after, report, adapted if keep_agents else None)

    results = []
    # As many tasks under way as can be adapted or can play: while some wait for a worker, others are adapted.
    for index, result in enumerate(side_by_side(one, range(len(tasks)), threads=max(threads, count_of(workers)))):
        results.append(result)
        if on_task:
            on_task(index, result)
    if results and all(result.fault for result in results):
        raise EpisodeFault(f"no task could be evaluated; {results[0].fault}")
    if not with_random:
        return results
    return _beside_random(results, agent, family, [own[0] for own in resets], seed, places, workers)


def new_task(adaptation: Adaptation, task: Task, *, seed: int) -> NewTask:
    """Return what an adaptation is told of a task that is simulated: its parameters only where the reward is known."""
    config = adaptation.config
    return NewTask(config.adaptation_episodes, seed, known=task if config.reward == "known" else None)


def _beside_random(
    results: Sequence[TaskResult],
    agent: Agent,
    family: TaskFamily,
    resets: Sequence[int],
    seed: int,
    places: Sequence[int],
    workers: Workforce,
) -> list[TaskResult]:
    """Add an episode of random actions to each result, from the start that its first evaluation episode had."""
    rows = [row for row, result in enumerate(results) if result.fault is None]
    outcomes = collect_each(
        agent,
        family,
        [results[row].task for row in rows],
        [resets[row] for row in rows],
        explorer=random_actions(family),
        # A stream for each task: what is drawn for it does not depend on the other tasks.
        rng=[generator(seed, "random actions", places[row]) for row in rows],
        alone=True,
        workers=workers,
    )
    played = dict(zip(rows, outcomes, strict=True))
    return [replace(result, random=played.get(row)) for row, result in enumerate(results)]


def summarize_results(results: Sequence[TaskResult]) -> dict[str, JSON]:
    """The ``summary`` of ``mql evaluate --json``: over tasks, zero-shot, adapted, their paired difference, and random.

    ``failed``, where there were some, counts the adaptations that failed: there zero-shot stands. ``random`` (of random
    actions) is None where none were played, and leaves out tasks in which they failed.
    """
    results = [result for result in results if result.fault is None]
    zero_shot = [_mean_return(result.zero_shot) for result in results]
    adapted = [_mean_return(result.adapted) for result in results]
    by_chance = [result.random.episode_return for result in results if isinstance(result.random, Episode)]
    summary: dict[str, JSON] = {
        "zero_shot": summarize(np.array(zero_shot)),
        "adapted": None,
        "gain": None,
        "random": summarize(by_chance) if by_chance else None,
    }
    failed = sum(bool(result.report and result.report.get("failed")) for result in results)
    if failed:
        summary["failed"] = failed
    if all(value is not None for value in adapted):
        summary["adapted"] = summarize(np.array(adapted))
        summary["gain"] = paired_gain(np.array(zero_shot), np.array(adapted))
    return summary


def _episodes(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    seeds: Sequence[Sequence[int]],
    *,
    workers: Workforce,
) -> list[list[Episode] | EpisodeFault]:
    """Run len(seeds[i]) episodes of each task i, all in parallel; a fault stands for a task where one failed."""
    played = [task for task, own in zip(tasks, seeds, strict=True) for _ in own]
    flat = [seed for own in seeds for seed in own]
    outcomes = iter(collect_each(agent, family, played, flat, alone=True, workers=workers))
    return [_whole([next(outcomes) for _ in own]) for own in seeds]


def _whole(outcomes: Sequence[Episode | EpisodeFault]) -> list[Episode] | EpisodeFault:
    """Return all episodes of one task, or the first fault among them: exactly k episodes count, or none."""
    faults = [outcome for outcome in outcomes if isinstance(outcome, EpisodeFault)]
    return faults[0] if faults else [outcome for outcome in outcomes if isinstance(outcome, Episode)]


def _mean_return(episodes: Sequence[Episode] | None) -> float | None:
    return float(np.mean([episode.episode_return for episode in episodes])) if episodes else None


def _success_rate(episodes: Sequence[Episode] | None) -> float | None:
    if not episodes or episodes[0].success is None:
        return None
    return float(np.mean([bool(episode.success) for episode in episodes]))


def _final_info(episodes: Sequence[Episode] | None) -> dict[str, float] | None:
    if not episodes:
        return None
    return {name: float(np.mean([e.final_info[name] for e in episodes])) for name in episodes[0].final_info}


def mean_terms(episodes: Sequence[Episode] | None) -> dict[str, float] | None:
    """Return the mean over episodes of each reward term's sum, by the term's name.

    None where there are no episodes, or none whose family reports terms.
    """
    if not episodes or not episodes[0].reward_terms:
        return None
    names = dict.fromkeys(name for episode in episodes for name in episode.reward_terms)
    return {name: float(np.mean([episode.reward_terms.get(name, 0.0) for episode in episodes])) for name in names}
