"""How an adaptation meets its new task: it asks for episodes, somebody plays them, and in the end there is a result.

An adaptation is a generator. It yields a `Request`, is sent the episodes, and returns an `AdaptationResult`: so it
never knows whether a simulator, a robot, or another program's loop plays them, and can wait for days::

    process = adaptation.begin(NewTask(episodes=5, seed=0))
    result = carry_out(process, play)                # play(request) -> its episodes
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from mql.adaptation.result import AdaptationResult
from mql.agent.agent import Agent
from mql.collecting.exploration import explorer_for
from mql.collecting.one_environment import collect_from
from mql.collecting.rollout import collect_each
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import Episode, NotFinite, Workforce


@dataclass(frozen=True)
class NewTask:
    """What an adaptation is told of its new task.

    Attributes:
        episodes: how many may be played in it, whatever they are for (the budget).
        seed: of all that the adaptation draws.
        given: episodes of it that are there already.
        known: the task itself, where its reward may be used as a function; None: its parameters are hidden.
    """

    episodes: int
    seed: int
    given: Sequence[Episode] = ()
    known: Task | None = None


@dataclass(frozen=True)
class Request:
    """Episodes of the new task that an adaptation asks for: one of each of `starts`.

    Attributes:
        agent: acts in them.
        starts: numbers of the starts that the new task has. Two agents that are to be compared play the same ones:
            in a simulator, an episode of one number begins with one reset.
        noise: standard deviation of the exploration noise; 0: the agent's own actions.
    """

    agent: Agent
    starts: Sequence[int]
    noise: float = 0.0


Process = Generator[Request, Sequence[Episode], AdaptationResult]
Play = Callable[[Request], Sequence[Episode]]


def carry_out(process: Process, play: Play) -> AdaptationResult:
    """Play what `process` asks for, to its end, and return its result.

    A process whose agent does not act is told so (`NotFinite`).

    Raises:
        EpisodeFault: an episode could not be finished.
    """
    try:
        request = next(process)
        while True:
            try:
                episodes = play(request)
            except NotFinite as error:
                request = process.throw(error)
            else:
                request = process.send(episodes)
    except StopIteration as end:
        result: AdaptationResult = end.value
        return result


def nobody(request: Request) -> Sequence[Episode]:
    """Play for an adaptation with a budget of none, which has to do with what it is given."""
    raise RuntimeError(f"{len(request.starts)} episodes were asked for, but nobody plays")


def simulated(family: TaskFamily, task: Task, *, seed: int, place: int = 0, workers: Workforce = 1) -> Play:
    """Return what plays in the simulator: a start's episode depends on the agent, `seed`, `place` and its number only.

    Args:
        place: the task's place among those that are adapted to with this seed.
        workers: as of `collect_each`.
    """

    def play(request: Request) -> list[Episode]:
        explorer = explorer_for(family, request.agent.config.exploration, request.noise)
        outcomes = collect_each(
            request.agent,
            family,
            [task] * len(request.starts),
            _resets(request, seed, place),
            explorer=explorer,
            rng=[_noise(seed, place, start) for start in request.starts] if explorer else None,
            alone=True,
            workers=workers,
        )
        episodes = [outcome for outcome in outcomes if isinstance(outcome, Episode)]
        for outcome in outcomes:
            if isinstance(outcome, EpisodeFault):
                raise outcome
        return episodes

    return play


def in_environment(environment: gymnasium.Env[Any, Any], family: TaskFamily, *, seed: int) -> Play:
    """Return what plays in an environment of the caller's own, which has the family's spaces.

    What is returned raises UserError where it has others, or gives numbers that are not finite.
    """

    def play(request: Request) -> list[Episode]:
        explorer = explorer_for(family, request.agent.config.exploration, request.noise)
        return collect_from(
            request.agent,
            environment,
            _resets(request, seed, 0),
            most_steps=family.episode_length,
            explorations=[explorer.begin(1, _noise(seed, 0, start)) for start in request.starts] if explorer else None,
        )

    return play


def _resets(request: Request, seed: int, place: int) -> list[int]:
    drawn = spawn_seeds(max(request.starts) + 1, seed, "adaptation", place)
    return [drawn[start] for start in request.starts]


def _noise(seed: int, place: int, start: int) -> Any:
    return generator(seed, "adaptation noise", place, start)
