"""`mql bench adaptation`: the paper's adaptation to one new task and to thirty, and scoring the replay before.

The replay is real: random actions on the training tasks of cheetah-vel. The agents have random weights, which changes
no time as long as step 2 is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mql.adaptation.adapters import Adaptation, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Request, carry_out, nobody, simulated
from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.bench.timing import Results, alternate, announce, medians
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.loading import load_config
from mql.config.schema import AdaptConfig, Config
from mql.learning.replay import Replay
from mql.seeding import generator, spawn_seeds
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.threads import limit_threads, side_by_side
from mql.types import Episode

FAMILY = "cheetah-vel"
MILLION = 1_000_000


@dataclass(frozen=True)
class Sizes:
    """How much is in the replay, and how many held-out tasks there are; `overrides` change both profiles."""

    transitions: int = 400_000
    tasks: int = 30
    overrides: tuple[str, ...] = ()
    rounds: int = 3


FULL = Sizes()


@dataclass(frozen=True)
class Subject:
    """A profile's adaptation, ready, and the new tasks' episodes."""

    adaptation: Adaptation
    data: Sequence[Sequence[Episode]]

    @property
    def config(self) -> AdaptConfig:
        """How it adapts."""
        return self.adaptation.config

    def with_settings(self, **settings: object) -> Subject:
        """Return it with other settings of `AdaptConfig` that need no other preparation."""
        changed = self.config.model_copy(update=settings)
        return Subject(replace(self.adaptation, config=changed), self.data)

    def adapt(self, task: int) -> AdaptationResult:
        """Adapt to one of the tasks."""
        return carry_out(self.adaptation.begin(NewTask(0, task, self.data[task])), nobody)


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time adaptation with both packaged configurations in turn; thirty tasks once."""
    family = registry.load(FAMILY)
    configs = {
        p: load_config(FAMILY, overrides=[f"profile={p}", "adapt.method=paper", *sizes.overrides])
        for p in ("paper", "fast")
    }
    agents = {p: Agent(family.obs_dim, family.action_dim, config.agent, seed=0) for p, config in configs.items()}
    announce(f"adaptation: collecting {sizes.transitions:,} transitions")
    replay = _collect(family, agents["fast"], sizes, threads)
    announce("adaptation: scoring them on one thread")
    score = _time_scoring(agents["fast"], replay, configs["fast"].adapt, threads, sizes.rounds)
    subjects = {p: _subject(family, agents[p], replay, configs[p], sizes, threads) for p in configs}

    announce(f"adaptation: {sizes.rounds} rounds of one task, on {threads} threads")
    one = medians(alternate({p: _one_task(subject) for p, subject in subjects.items()}, rounds=sizes.rounds))
    results: Results = {}
    for profile, subject in subjects.items():
        announce(f"adaptation: {sizes.tasks} tasks with the {profile} profile")
        begun = time.perf_counter()
        adapted = _adapt_to_every_task(subject, threads)
        thirty = time.perf_counter() - begun
        if any(one_adapted.report["step2_skipped"] for one_adapted in adapted):
            raise RuntimeError(f"{profile}: an adaptation skipped step 2, so its time says nothing")
        results[profile] = {
            "one_task_s": one[profile],
            "thirty_tasks_s": thirty,
            "thirty_vs_one": thirty / one[profile],
            "min_weight": subject.config.min_weight,
        }
    return {**results, "paper_vs_fast_one_task": one["paper"] / one["fast"], "score_s_per_million": score}


def _adapt_to_every_task(subject: Subject, threads: int) -> list[AdaptationResult]:
    return list(side_by_side(subject.adapt, range(len(subject.data)), threads=threads))


def _one_task(subject: Subject) -> Callable[[], AdaptationResult]:
    return lambda: subject.adapt(0)


def _collect(family: TaskFamily, agent: Agent, sizes: Sizes, threads: int) -> Replay:
    """Collect whole episodes with random actions, one of each training task in parallel, until the replay is full."""
    tasks = family.tasks("train")
    replay = Replay(
        n_tasks=len(tasks),
        obs_dim=family.obs_dim,
        action_dim=family.action_dim,
        capacity=sizes.transitions,
        episode_length=family.episode_length,
        context_dim=agent.state_dim,
    )
    rng = generator(0, "bench exploration")
    for turn in range(max(sizes.transitions // (len(tasks) * family.episode_length), 1)):
        seeds = spawn_seeds(len(tasks), 0, "bench reset", turn)
        explorer = random_actions(family)
        for episode in collect(agent, family, tasks, seeds, explorer=explorer, rng=rng, workers=threads):
            replay.append(episode)
    return replay


def _time_scoring(agent: Agent, replay: Replay, config: AdaptConfig, threads: int, rounds: int) -> float:
    """Return the seconds on one thread that scoring the whole replay takes, per million transitions."""
    whole = config.model_copy(update={"scored_transitions": replay.transitions})
    limit_threads(1)
    try:
        seconds = medians(alternate({"score": lambda: prepare(MetaTraining(agent, replay), whole)}, rounds=rounds))[
            "score"
        ]
    finally:
        limit_threads(threads)
    return seconds * MILLION / replay.transitions


def _subject(family: TaskFamily, agent: Agent, replay: Replay, config: Config, sizes: Sizes, threads: int) -> Subject:
    """Collect the new tasks' episodes; where an untrained agent's weights would all be cut to zero, cut none."""
    request = Request(agent, range(max(config.adapt.adaptation_episodes, 1)), config.adapt.exploration_noise)
    tasks = family.tasks("test")[: sizes.tasks]
    played = [
        simulated(family, task, seed=0, place=place, workers=threads)(request) for place, task in enumerate(tasks)
    ]
    subject = Subject(prepare(MetaTraining(agent, replay, family), config.adapt), played)
    return subject.with_settings(min_weight=0.0) if _skips_step2(subject, threads) else subject


def _skips_step2(subject: Subject, threads: int) -> bool:
    """Whether any task's weights are all zero, found without an update."""
    weighed = _adapt_to_every_task(subject.with_settings(step1_updates=0, step2_updates=0), threads)
    return any(adapted.report["step2_skipped"] for adapted in weighed)
