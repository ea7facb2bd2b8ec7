"""Meta-World's own evaluation protocol for held-out tasks, run with our agents, beside an exact count.

The package (``metaworld.evaluation.metalearning_evaluation``) lets an agent act for 10 episodes in each
sub-environment, asks it to adapt, and then counts 3 evaluation episodes *per environment name*, whichever
sub-environments finish first. An episode ends with success there, so goals that are solved finish first: with several
goals in parallel the figure is too high (one goal solved of four can give 100 %). Therefore the same adapted agents
also play exactly as many episodes of every goal, and both figures are reported.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

import numpy as np

from mql.adaptation.adapters import Adaptation
from mql.adaptation.playing import NewTask, Process
from mql.agent.agent import Agent
from mql.collecting.exploration import explorer_for
from mql.collecting.rollout import collect
from mql.errors import UserError
from mql.evaluation.meta_world_agent import ProtocolAgent
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import Task, TaskFamily
from mql.threads import side_by_side
from mql.types import JSON, Episode, Workforce, count_of

if TYPE_CHECKING:
    from metaworld.evaluation import MetaLearningAgent

    from mql.tasks.families.meta_world.family import MetaWorldFamily

# The protocol's own numbers.
SUB_ENVIRONMENTS = 20
GOALS = 40  # of each environment
ADAPTATION_EPISODES = 10
EVALUATION_EPISODES = 3


def official_evaluation(
    agent: Agent,
    adaptation: Adaptation | None,
    family: TaskFamily,
    *,
    tasks: Sequence[Task],
    seed: int,
    adaptation_episodes: int = ADAPTATION_EPISODES,
    evaluation_episodes: int = EVALUATION_EPISODES,
    sub_environments: int = SUB_ENVIRONMENTS,
    threads: int = 1,
    workers: Workforce = 1,
    on_goals: Callable[[int], None] | None = None,
) -> dict[str, JSON]:
    """Run the package's protocol on `tasks`, and count the adapted agents' successes exactly.

    Adaptation uses the episodes that the protocol collects (each without its last step: what was seen after it never
    reaches the agent). Meta-World's resets are not random, and the agent acts deterministically (but for
    exploration noise while it collects): an exact count's episodes of one goal are all alike.

    Args:
        adaptation: of the same agent; None: nothing is adapted, context only. Its budget is what the protocol plays.
        family: ml1-*, ml10 or ml45.
        tasks: as many of each environment. The first of ``family.tasks("test")``, 40 (`GOALS`) of each environment,
            are what the protocol was made for: with 20 sub-environments, all goals get their turn.
        seed: of the order of goals, of noise and of adaptation.
        sub_environments: at most so many in parallel; the largest number that divides the goals is taken.
        threads: sub-environments whose agents are adapted at the same time, with one thread each.
        workers: worker processes for the exact count. Results depend on neither.
        on_goals: called with the number of goals done so far.

    Returns:
        plain data: ``official`` (the package's figures) and ``exact`` (``success_rate`` over all goals and episodes,
        and ``per_environment``), the counts that they stand on, and seconds of wall clock.

    Raises:
        UserError: another kind of family, no tasks, or not as many of each environment.
        EpisodeFault: an episode could not be finished.
    """
    from metaworld.evaluation import metalearning_evaluation

    from mql.tasks.families.meta_world.vector import current_tasks, make_vector

    family = meta_learning_family(family)
    begun = time.perf_counter()
    groups = _groups(family, tasks, sub_environments)
    envs = make_vector(family, groups, seed=seed)
    counts = _Counts()

    # A goal's random numbers are named by its place in `tasks`: other goals and their order change none.
    places = {id(task): place for place, task in enumerate(tasks)}

    def begin(goal: Task) -> Process:
        """Begin the adaptation to a goal: its reward is hidden, as everywhere in this protocol."""
        assert adaptation is not None
        own = spawn_seeds(1, seed, "meta-world", places[id(goal)])[0]
        return adaptation.begin(NewTask(adaptation_episodes, own))

    def finish(goals: Sequence[Task], adapted: Sequence[Agent]) -> None:
        """Count the adapted agents' successes."""
        counting = time.perf_counter()

        def play(one: tuple[Agent, Task]) -> list[Episode]:
            own, goal = one
            resets = spawn_seeds(evaluation_episodes, seed, "meta-world resets", places[id(goal)])
            return collect(own, family, [goal] * evaluation_episodes, resets, workers=workers)

        played = side_by_side(play, list(zip(adapted, goals, strict=True)), threads=count_of(workers))
        for goal, episodes in zip(goals, played, strict=True):
            counts.add(family.environment_name(goal), episodes)
        counts.seconds += time.perf_counter() - counting
        if on_goals is not None:
            on_goals(counts.goals)

    actor = ProtocolAgent(
        agent,
        count=len(groups),
        tasks=lambda: current_tasks(envs, family, groups),
        begin=begin if adaptation else None,
        finish=finish,
        explorer_of=lambda noise: explorer_for(family, agent.config.exploration, noise),
        rng_of=lambda goal: generator(seed, "meta-world noise", places[id(goal)]),
        threads=threads,
    )
    try:
        success, mean_return, per_environment = metalearning_evaluation(
            cast("MetaLearningAgent", actor),
            envs,
            num_evals=len(groups[0]),
            adaptation_episodes=adaptation_episodes,
            evaluation_episodes=evaluation_episodes,
        )
    finally:
        envs.close()
    return {
        "protocol": "metaworld.evaluation.metalearning_evaluation",
        "metaworld": version("metaworld"),
        "family": family.name,
        "seed": seed,
        "goals": counts.goals,
        "sub_environments": len(groups),
        "adaptation_episodes": adaptation_episodes,
        "evaluation_episodes": evaluation_episodes,
        "adapted": adaptation is not None,
        "official": {
            "success_rate": float(success),
            "mean_return": float(mean_return),
            "per_environment": {name.removesuffix("-v3"): float(rate) for name, rate in per_environment.items()},
        },
        "exact": counts.to_json(),
        "adaptation_env_steps": actor.env_steps,
        "wall_clock_s": time.perf_counter() - begun,
        "exact_count_s": counts.seconds,
    }


def meta_learning_family(family: TaskFamily) -> MetaWorldFamily:
    """Return `family`, one that the protocol is for.

    Raises:
        UserError: another kind of family.
    """
    from mql.tasks.disturbances.family import DisturbedFamily
    from mql.tasks.families.meta_world.family import MetaWorldFamily

    if isinstance(family, DisturbedFamily):
        what, mend = "the protocol plays the package's own environments, without env.*", "leave --protocol out"
        raise UserError(what, where=f"family {family.name}", mend=mend)
    if not isinstance(family, MetaWorldFamily) or family.shared_splits:
        mend = "use ml1-*, ml10 or ml45"
        raise UserError("not one of Meta-World's meta-learning families", where=f"family {family.name}", mend=mend)
    return family


def protocol_tasks(family: TaskFamily, split: str) -> list[Task]:
    """Return what the protocol looks at: the first 40 goals of each environment of a split.

    Raises:
        UserError: another kind of family, or there is no such split.
    """
    known, counts = meta_learning_family(family), Counter[str]()
    chosen = []
    for task in family.tasks(split):
        name = known.environment_name(task)
        counts[name] += 1
        if counts[name] <= GOALS:
            chosen.append(task)
    return chosen


@dataclass
class _Counts:
    """The exact count: successes and returns of every episode, by environment."""

    goals: int = 0
    seconds: float = 0.0
    successes: dict[str, list[bool]] = field(default_factory=dict)
    returns: list[float] = field(default_factory=list)

    def add(self, name: str, episodes: Sequence[Episode]) -> None:
        """Add all episodes of one goal."""
        self.goals += 1
        self.successes.setdefault(name, []).extend(bool(episode.success) for episode in episodes)
        self.returns.extend(episode.episode_return for episode in episodes)

    def to_json(self) -> dict[str, JSON]:
        """Rates over episodes; as each goal has as many, they are means over goals, too."""
        rates = {name: float(np.mean(own)) for name, own in self.successes.items()}
        return {
            "success_rate": float(np.mean(list(rates.values()))),
            "mean_return": float(np.mean(self.returns)),
            "episodes": len(self.returns),
            "per_environment": rates,
        }


def _groups(family: MetaWorldFamily, tasks: Sequence[Task], sub_environments: int) -> list[list[Task]]:
    """Share the tasks out to sub-environments as the package does: every n-th goal of an environment."""
    by_name: dict[str, list[Task]] = {}
    for task in tasks:
        by_name.setdefault(family.environment_name(task), []).append(task)
    sizes = {len(own) for own in by_name.values()}
    if len(sizes) != 1:
        mend = "give at least one, and as many of each environment"
        raise UserError(f"{len(tasks)} tasks of {len(by_name)} environments", where=f"family {family.name}", mend=mend)
    goals = sizes.pop()
    most = max(1, sub_environments // len(by_name))
    each = max(number for number in range(1, min(most, goals) + 1) if goals % number == 0)
    return [own[first::each] for own in by_name.values() for first in range(each)]
