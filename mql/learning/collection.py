"""The episodes of an iteration: whose tasks and seeds are its own, and whose policy may be an earlier one.

With ``train.collection_lag`` 0 an iteration's episodes are played by the agent as it is after all updates before. With
1 they are played while the updates of the iteration before are made, by a copy of the agent from before these: so
collecting and learning overlap, and a run still depends on nothing but its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from mql.agent.agent import Agent
from mql.agent.restoring import copy_named
from mql.collecting.exploration import explorer_for, random_actions
from mql.collecting.roll_in import RollIn
from mql.collecting.rollout import collect_each
from mql.config.schema import Config
from mql.learning.task_choice import TaskChoice
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import Episode

Outcomes = list[Episode | EpisodeFault]
ACTING = ("online.actor", "scaling.")  # what the names of tensors begin with that a policy is made of


@dataclass(frozen=True)
class Acting:
    """A policy that plays: that of an agent, and the updates behind it."""

    agent: Agent
    updates: int

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return what it acts by, by name."""
        return {name: tensor for name, tensor in self.agent.named_tensors() if name.startswith(ACTING)}

    @classmethod
    def restored(cls, agent: Agent, tensors: Mapping[str, torch.Tensor], updates: int) -> Acting:
        """Return a policy like that of `agent`, with what `tensors` gave.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape.
        """
        acting = cls(agent.copy(), updates)
        copy_named(acting.tensors().items(), tensors)
        return acting


class Collection:
    """Plays the episodes of iterations; every random number of one is drawn from streams named by its number."""

    def __init__(self, config: Config, family: TaskFamily, tasks: list[Task], choice: TaskChoice) -> None:
        self._config, self._family, self._tasks, self._choice = config, family, tasks, choice
        agent = config.agent
        self._warm_up = random_actions(family, config.train.random_actions)
        noise = explorer_for(family, agent.exploration, agent.exploration_noise, spread=agent.exploration_spread)
        share = config.train.random_share
        self._explorer = RollIn(self._warm_up, noise, share, family.episode_length) if share else noise

    def of(self, number: int, acting: Acting, *, env_steps: int) -> Callable[[], Outcomes]:
        """Return what plays the episodes of iteration `number`; its tasks are chosen now.

        Args:
            env_steps: collected so far; the first ones are random.
        """
        config = self._config
        tasks = [self._tasks[place] for place in self._choice.tasks_of(number)]
        return partial(
            collect_each,
            acting.agent,
            self._family,
            tasks,
            spawn_seeds(len(tasks), config.seed, "reset", number),
            explorer=self._warm_up if env_steps < config.train.random_steps else self._explorer,
            rng=generator(config.seed, "exploration", number),
            policy_version=acting.updates,
            workers=config.workforce,
        )
