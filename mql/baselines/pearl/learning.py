"""PEARL as a method that the loop drives: trials of some tasks, updates, and its evaluation on held-out tasks.

An iteration collects K episodes (``pearl.trial_episodes``) of each of some tasks. z is drawn from the prior for the
first one, and from the belief that the trial's episodes so far give for every later one; it is held to the end of the
episode. Then come the updates that are due.

Every random number of iteration i comes from a stream named by (seed, purpose, i), so tensors, counters and stored
episodes are all that the rest of a run depends on.

Shapes: N tasks of an iteration, Z latent variable.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace

import numpy as np
import torch

from mql.adaptation.meta_training import MetaTraining
from mql.baselines.pearl.adaptation import BeliefAdaptation
from mql.baselines.pearl.agent import PearlAgent
from mql.baselines.pearl.drawing import Drawing
from mql.baselines.pearl.update import PEARL
from mql.collecting.exploration import explorer_for, random_actions
from mql.collecting.rollout import collect_each
from mql.config.schema import AdaptConfig, Config
from mql.evaluation.held_out import mean_terms
from mql.learning.mean_losses import MeanLosses
from mql.learning.prior import Prior, numbered
from mql.learning.replay import Replay
from mql.learning.reward_size import reward_remark
from mql.learning.task_choice import TaskChoice
from mql.learning.trainer import annealed_rate, fit_scaling, replay_size, updates_after
from mql.seeding import generator, spawn_seeds, torch_generator
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.training.learning import Iteration
from mql.training.measured import MeasuredByAgent
from mql.types import COLLECTED_TERM, JSON, Episode, FloatArray


class Pearl(MeasuredByAgent):
    """PEARL in training, a `Learning`.

    Args:
        config: resolved; ``config.family`` names `family`.
        family: meta-trained on its ``train`` tasks.
        prior: logged episodes that are learned from besides, each file's as a task of its own.
    """

    def __init__(self, config: Config, family: TaskFamily, prior: Prior = ()) -> None:
        self.config, self.family = config, family
        self.tasks = family.tasks("train")
        seed = int(generator(config.seed, "agent").integers(2**31))
        self.agent = PearlAgent(
            family.obs_dim, family.action_dim, config.agent, config.pearl, seed=seed, device=config.device
        )
        self.learner = PEARL(self.agent, lr=config.agent.lr)
        self.learner.kl_weight = config.pearl.kl_weight
        size = replace(replay_size(config, family, prior), context_dim=0)  # nothing of the encoder is kept
        names = [task.name for task in prior]
        self.replay = Replay(
            **asdict(size),
            device=config.device,
            folder=config.train.replay_on_disk,
            scaling=self.agent.scaling,
            prior=names,
        )
        for number, episode in numbered(prior, len(self.tasks)):
            self.replay.append(episode, number=number)
        self._choice = TaskChoice(len(self.tasks), trials_per_iteration(config), worst=False, seed=config.seed)
        self.env_steps = 0
        self.iterations = 0

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.learner.updates

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode in the replay."""
        return self.replay.first_live_episode

    @property
    def replay_bytes(self) -> int:
        """The most memory that the replay may take."""
        return self.replay.nbytes

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`."""
        return updates_after(self.config.train, env_steps)

    def iterate(self) -> Iteration:
        """Play trials of at least ``episodes_per_iteration`` episodes together, then make the updates that are due.

        Raises:
            EpisodeFault: not one of the episodes could be finished.
        """
        begun = time.perf_counter()
        warming_up = self.env_steps < self.config.train.random_steps
        episodes, faults = self._collect()
        for episode in episodes:
            self.replay.append(episode)
            self.env_steps += episode.length
        collected = time.perf_counter()
        losses = self._update()
        self.iterations += 1
        warmed_up = self.env_steps >= self.config.train.random_steps
        remark = self._remark() if warmed_up and (warming_up or self.iterations == 1) else None
        metrics: dict[str, JSON] = {
            "collected_return": sum(episode.episode_return for episode in episodes) / len(episodes),
            **{f"{COLLECTED_TERM}{name}": mean for name, mean in (mean_terms(episodes) or {}).items()},
            **({"faults": [str(fault) for fault in faults]} if faults else {}),
            **({"remark": remark} if remark else {}),
            **losses,
        }
        return Iteration(metrics, episodes, collected - begun, time.perf_counter() - collected)

    def _collect(self) -> tuple[list[Episode], list[EpisodeFault]]:
        """Play the trials of an iteration, all tasks in parallel: the first episode of each, then the second, ..."""
        config, number = self.config, self.iterations
        tasks = [self.tasks[place] for place in self._choice.tasks_of(number)]
        random = self.env_steps < config.train.random_steps
        explorer = (
            random_actions(self.family, config.train.random_actions)
            if random
            else explorer_for(
                self.family,
                config.agent.exploration,
                config.agent.exploration_noise,
                spread=config.agent.exploration_spread,
            )
        )
        trials: list[list[Episode]] = [[] for _ in tasks]
        faults: list[EpisodeFault] = []
        for turn in range(config.pearl.trial_episodes):
            outcomes = collect_each(
                self.agent,
                self.family,
                tasks,
                spawn_seeds(len(tasks), config.seed, "reset", number, turn),
                explorer=explorer,
                rng=generator(config.seed, "exploration", number, turn),
                policy_version=self.updates,
                workers=config.workforce,
                z=None if random else self._drawn(trials, torch_generator(config.seed, "pearl z", number, turn)),
            )
            for trial, outcome in zip(trials, outcomes, strict=True):
                if isinstance(outcome, Episode):
                    trial.append(outcome)
                else:
                    faults.append(outcome)
        episodes = [trial[turn] for turn in range(config.pearl.trial_episodes) for trial in trials if turn < len(trial)]
        if not episodes:
            raise faults[0]
        return episodes, faults

    def _drawn(self, trials: list[list[Episode]], noise: torch.Generator) -> FloatArray:
        """Draw z [N, Z] from what each trial's episodes so far say; one without any gives the prior."""
        beliefs = [self.agent.belief(trial) for trial in trials]
        return np.concatenate([self.agent.drawn(belief, noise)[None] for belief in beliefs])

    def _update(self) -> dict[str, float]:
        config, train = self.config, self.config.train
        due = self.updates_after(self.env_steps) - self.updates
        fit_scaling(self.agent.scaling, self.replay, train, self.env_steps)
        if due <= 0:
            return {}
        rng = generator(config.seed, "replay", self.iterations)
        noise = torch_generator(config.seed, "updates", self.iterations, device=config.device)
        self.learner.lr = annealed_rate(config.agent.lr, config.train, self.env_steps)
        drawing = Drawing(self.replay, config.pearl)
        losses = MeanLosses()
        for _ in range(due):
            losses.add(self.learner.update(drawing.batch(train.batch_size, rng), generator=noise))
        return losses.means()

    def _remark(self) -> str | None:
        """Judge the rewards of the random steps, as a loss sees them."""
        _, rewards = self.replay.observations_and_rewards()
        return reward_remark(rewards, float(self.agent.scaling.scale[-1]))

    def adaptation(self, config: AdaptConfig) -> BeliefAdaptation:
        """Return what finds out about new tasks; zero-shot, the agent acts by the prior's mean."""
        return BeliefAdaptation(MetaTraining(self.agent, self.replay, self.family), config, None)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, targets and optimisers."""
        return {**dict(self.agent.named_tensors()), **self.learner.optimizer_tensors()}

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return {"env_steps": self.env_steps, "iterations": self.iterations, "updates": self.updates}

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        """Take over tensors, counters and the replay's episodes.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        self.agent.load_tensors(tensors)
        self.learner.load_optimizer_tensors({n: v for n, v in tensors.items() if n.startswith("adam.")})
        self.learner.updates = int(counters["updates"])
        self.env_steps, self.iterations = int(counters["env_steps"]), int(counters["iterations"])
        for number, episode in episodes:
            self.replay.append(episode, number=number)


def trials_per_iteration(config: Config) -> int:
    """Return how many tasks an iteration collects: ``episodes_per_iteration`` in whole trials, rounded up."""
    return -(-config.train.episodes_per_iteration // config.pearl.trial_episodes)
