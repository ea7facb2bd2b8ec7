"""RL^2 as a method that the loop drives: an iteration collects trials of some tasks, then learns from them alone.

Every random number of iteration i comes from a stream named by (seed, purpose, i); what was played before is not needed
any more. So tensors and counters are all that the rest of a run depends on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

import torch

from mql.adaptation.adapters import Adaptation, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.baselines.rl2.agent import RL2Agent
from mql.baselines.rl2.ppo import PPO
from mql.baselines.rl2.trials import collect_trials, sequences_of
from mql.config.schema import AdaptConfig, Config
from mql.evaluation.held_out import mean_terms
from mql.learning.moments import Moments
from mql.learning.replay import Replay
from mql.learning.task_choice import TaskChoice
from mql.seeding import generator, torch_generator
from mql.tasks.family import TaskFamily
from mql.training.learning import Iteration
from mql.training.measured import MeasuredByAgent
from mql.types import COLLECTED_TERM, JSON, Episode

LEAST_TRIALS = 8  # of an iteration, however long they are


class RL2(MeasuredByAgent):
    """RL^2 in training, a `Learning`.

    Args:
        config: resolved; ``config.family`` names `family`.
        family: meta-trained on its ``train`` tasks.
    """

    first_live_episode = 0  # it learns from no old episode, and none is kept
    replay_bytes = 0

    def __init__(self, config: Config, family: TaskFamily) -> None:
        self.config, self.family = config, family
        self.tasks = family.tasks("train")
        seed = int(generator(config.seed, "agent").integers(2**31))
        self.agent = RL2Agent(family.obs_dim, family.action_dim, config.rl2, seed=seed, device=config.device)
        self.learner = PPO(self.agent, lr=config.rl2.lr)
        self.seen = Moments(family.obs_dim + 1, device=self.agent.device)  # of observations and rewards
        self._choice = TaskChoice(len(self.tasks), self._trials, worst=False, seed=config.seed)
        self.env_steps = 0
        self.iterations = 0

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.learner.updates

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`, if no episode ends early."""
        steps = self._trials * self.config.rl2.trial_episodes * self.family.episode_length
        return -(-env_steps // steps) * self.config.rl2.epochs * self.config.rl2.minibatches

    def iterate(self) -> Iteration:
        """Collect trials in parallel, and learn from them.

        Raises:
            EpisodeFault: not one of the trials could be finished.
        """
        config, begun = self.config, time.perf_counter()
        collected = collect_trials(
            self.agent,
            self.family,
            [self.tasks[place] for place in self._choice.tasks_of(self.iterations)],
            episodes=config.rl2.trial_episodes,
            seed=config.seed,
            iteration=self.iterations,
            policy_version=self.updates,
            workers=config.workforce,
        )
        self.env_steps += sum(episode.length for episode in collected.played)
        ready = time.perf_counter()
        noise = torch_generator(config.seed, "updates", self.iterations)
        losses = self.learner.learn(sequences_of(self.agent, collected.trials), config.rl2, generator=noise)
        self._take_up(collected.played)
        self.iterations += 1
        played = collected.played
        metrics: dict[str, JSON] = {
            "collected_return": _mean_return(played),
            "first_episode_return": _mean_return(collected.episodes(0)),
            "last_episode_return": _mean_return(collected.episodes(-1)),
            **{f"{COLLECTED_TERM}{name}": mean for name, mean in (mean_terms(played) or {}).items()},
            **({"faults": [str(fault) for fault in collected.faults]} if collected.faults else {}),
            **losses,
        }
        return Iteration(metrics, (), ready - begun, time.perf_counter() - ready)

    @property
    def _trials(self) -> int:
        """Trials of an iteration."""
        steps = self.config.rl2.trial_episodes * self.family.episode_length
        return max(-(-self.config.rl2.steps_per_iteration // steps), LEAST_TRIALS)

    def _take_up(self, episodes: Sequence[Episode]) -> None:
        """Scale what is read from now on by all that was seen so far."""
        obs = torch.cat([torch.from_numpy(episode.obs[:-1]) for episode in episodes])
        reward = torch.cat([torch.from_numpy(episode.reward) for episode in episodes])
        self.seen.add(torch.cat([obs, reward[:, None]], dim=1).to(self.agent.device))
        scaling, obs_dim = self.agent.scaling, self.agent.obs_dim
        scale = self.seen.scale()
        scaling.shift[:obs_dim], scaling.scale[:obs_dim] = self.seen.mean[:-1], scale[:-1]
        scaling.shift[-1], scaling.scale[-1] = self.seen.mean[-1], scale[-1]
        scaling.fitted.fill_(True)

    def adaptation(self, config: AdaptConfig) -> Adaptation:
        """Return what plays a trial on: zero-shot is its first episode, adapted the one after those of adaptation."""
        agent = self.agent
        nothing = Replay(n_tasks=1, obs_dim=agent.obs_dim, action_dim=agent.action_dim, capacity=1, episode_length=1)
        return prepare(MetaTraining(agent, nothing, self.family), config)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, their scaling, the optimiser, and the moments of what was seen."""
        return {
            **dict(self.agent.named_tensors()),
            **self.learner.optimizer_tensors(),
            **{f"seen.{name}": tensor for name, tensor in self.seen.named_tensors().items()},
            **{f"returns.{name}": tensor for name, tensor in self.learner.returns.named_tensors().items()},
        }

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return {"env_steps": self.env_steps, "iterations": self.iterations, "updates": self.updates}

    def restore(
        self,
        tensors: Mapping[str, torch.Tensor],
        counters: Mapping[str, JSON],
        episodes: Iterable[tuple[int, Episode]],
    ) -> None:
        """Take over tensors and counters.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        del episodes
        self.agent.load_tensors(tensors)
        self.learner.load_optimizer_tensors(tensors)
        for owner, moments in (("seen", self.seen), ("returns", self.learner.returns)):
            for name, place in moments.named_tensors().items():
                place.copy_(tensors[f"{owner}.{name}"])
        self.learner.updates = int(counters["updates"])
        self.env_steps, self.iterations = int(counters["env_steps"]), int(counters["iterations"])


def _mean_return(episodes: Sequence[Episode]) -> float:
    return sum(episode.episode_return for episode in episodes) / len(episodes)
