"""Meta-training as a state and one verb: collect episodes of some tasks, then update.

Every random number of iteration i comes from a stream named by (seed, purpose, i), so this state (tensors, counters and
stored episodes) at the end of an iteration is all that the rest of the run depends on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

import torch

from mql.agent.agent import Agent
from mql.agent.scaling import Scaling
from mql.config.schema import Config, TrainConfig
from mql.learning.collection import Acting, Collection, Outcomes
from mql.learning.contexts import carried_state_dim
from mql.learning.prior import Prior, numbered
from mql.learning.priority import priority_for
from mql.learning.relabelling import relabelling_for
from mql.learning.replay import Replay
from mql.learning.replay_size import ReplaySize
from mql.learning.reward_size import reward_remark
from mql.learning.task_choice import TaskChoice
from mql.learning.updates import Updates, updates_for
from mql.learning.value_range import clipping_remark, fit_value_range
from mql.seeding import generator
from mql.stopping import GivenUp
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.threads import meanwhile, one_thread_each
from mql.types import JSON, Episode

AHEAD = "ahead."  # what the names of tensors begin with that play the next iteration, where not the agent's own
FINAL_LR = 0.1  # of the learning rate, at the end of an annealed run


@dataclass(frozen=True)
class TrainerIteration:
    """What one iteration did: new episodes and lost ones, mean losses (empty while warming up), and seconds spent.

    ``relabelled`` counts the episodes that were copied to other tasks, where that is asked for. ``remark`` is a line
    about the rewards that were found, where there is something to say.
    """

    episodes: list[Episode]
    faults: list[EpisodeFault]
    relabelled: int | None
    losses: dict[str, float]
    remark: str | None
    collect_seconds: float
    update_seconds: float


class Trainer:
    """The agent in training, its learner, the replay and the counters.

    Args:
        config: resolved; ``config.family`` names `family`.
        family: meta-trained on its ``train`` tasks.
        prior: logged episodes that are learned from besides, from the first update on.
    """

    def __init__(self, config: Config, family: TaskFamily, prior: Prior = ()) -> None:
        self.config, self.family, self.prior = config, family, prior
        self.tasks = family.tasks("train")
        seed = int(generator(config.seed, "agent").integers(2**31))
        self.agent = Agent(family.obs_dim, family.action_dim, config.agent, seed=seed, device=config.device)
        self._choice = TaskChoice(
            len(self.tasks),
            config.train.episodes_per_iteration,
            worst=config.train.task_sampling == "worst",
            seed=config.seed,
        )
        self._collection = Collection(config, family, self.tasks, self._choice)
        self._ahead: Acting | None = None  # whose policy plays the next iteration, where not the agent of then
        self._outcomes: Outcomes | None = None  # of the next iteration, where they are there already
        self._relabelling = relabelling_for(config, family)
        self.learner = self.agent.learner(lr=config.agent.lr)
        if config.agent.algorithm == "td3":  # not every target of SAC follows
            self.learner.proximal_c = config.proximal_c
        self.replay = self._empty_replay()
        self._updates: Updates | None = None  # until the first are due: `restore` may exchange the replay before
        self._append_prior()
        self._copied = 0  # episodes of the last iteration that were relabelled
        self.env_steps = 0
        self.iterations = 0
        self._clipping_said = False

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.learner.updates

    def _empty_replay(self) -> Replay:
        size = replay_size(self.config, self.family, self.prior)
        names = [task.name for task in self.prior]
        return Replay(
            **asdict(size),
            device=self.config.device,
            folder=self.config.train.replay_on_disk,
            scaling=self.agent.scaling,
            prior=names,
            priority=priority_for(self.config.train, self.family),
        )

    def _append_prior(self) -> None:
        """Put prior episodes into the rings behind those of the training tasks."""
        for number, episode in numbered(self.prior, len(self.tasks)):
            self.replay.append(episode, number=number)

    def iterate(self) -> TrainerIteration:
        """Collect ``episodes_per_iteration`` episodes in parallel, then make the updates that are due.

        With ``train.collection_lag``, the episodes were collected during the updates before.

        Raises:
            EpisodeFault: not one of the episodes could be finished.
        """
        begun = time.perf_counter()
        steps_before = self.env_steps
        episodes, faults = self._stored(self._collected())
        collected = time.perf_counter()
        fit_scaling(self.agent.scaling, self.replay, self.config.train, self.env_steps)
        losses = self._update_and_collect(episodes) if self.config.train.collection_lag else self._update(episodes)
        self.iterations += 1
        every = self.config.train.checkpoint_every
        if self.env_steps // every > steps_before // every:
            # A regular checkpoint: all states are computed afresh after it, so that it does not have to hold them.
            self.replay.forget_states()
        return TrainerIteration(
            episodes=episodes,
            faults=faults,
            relabelled=self._copied if self._relabelling else None,
            losses=losses,
            remark=self._remark(losses, steps_before),
            collect_seconds=collected - begun,
            update_seconds=time.perf_counter() - collected,
        )

    def _collected(self) -> Outcomes:
        """What this iteration's episodes are: those collected ahead, or those that are played now."""
        if self._outcomes is None:
            acting = self._ahead or Acting(self.agent, self.updates)
            return self._collection.of(self.iterations, acting, env_steps=self.env_steps)()
        return self._outcomes

    def _update_and_collect(self, episodes: list[Episode]) -> dict[str, float]:
        """Make the updates that are due while the agent as it is now plays the next iteration's episodes."""
        self._ahead = Acting(self.agent.copy(), self.updates)
        if self.env_steps >= self.config.train.env_steps:  # (a run that is made longer plays them)
            with one_thread_each():  # as where it is not the last iteration: another number rounds differently
                return self._update(episodes)
        with meanwhile(self._collection.of(self.iterations + 1, self._ahead, env_steps=self.env_steps)) as playing:
            losses = self._update(episodes)
        with suppress(GivenUp):  # (the next iteration plays them again, as the run that goes on from here does)
            self._outcomes = playing.result()
        return losses

    def _stored(self, outcomes: Outcomes) -> tuple[list[Episode], list[EpisodeFault]]:
        """Put an iteration's episodes into the replay; return them, and what stands in the place of lost ones."""
        self._copied = 0
        episodes = [outcome for outcome in outcomes if isinstance(outcome, Episode)]
        faults = [outcome for outcome in outcomes if isinstance(outcome, EpisodeFault)]
        self._outcomes = None
        if not episodes:
            raise faults[0]
        self._ahead = None
        for episode in episodes:
            self._copied += self.store(episode)
            self._choice.note(episode)
            self.env_steps += episode.length
        return episodes, faults

    def store(self, episode: Episode, *, number: int | None = None) -> bool:
        """Put an episode of the run into the replay, and behind it its copy, if it is relabelled: tell whether it is.

        `number` is the episode's number in its run, by default the next one.
        """
        number = self.replay.appended if number is None else number
        self.replay.append(episode, number=number)
        copy = self._relabelling.copy_of(number, episode) if self._relabelling else None
        if copy is not None:
            self.replay.append(copy, copy_of=number)
        return copy is not None

    def _update(self, episodes: list[Episode]) -> dict[str, float]:
        config, train = self.config, self.config.train
        due = updates_after(train, self.env_steps) - self.updates
        if due > 0:
            fit_value_range(self.agent, self.replay, episodes)
        if due > 0 and self.agent.state_dim:
            self.replay.refresh_states(self.agent.online.critic_encoder, at_most=due * train.refresh_rows_per_update)
        self.learner.lr = annealed_rate(config.agent.lr, train, self.env_steps)
        if self._updates is None:
            self._updates = updates_for(self.agent, self.learner, self.replay, train, seed=config.seed)
        return self._updates.make(due, iteration=self.iterations)

    def _remark(self, losses: Mapping[str, float], steps_before: int) -> str | None:
        """Judge the rewards of the random steps, as a loss sees them; later on, once, how many targets were clipped."""
        if not steps_before < max(self.config.train.random_steps, 1) <= self.env_steps:
            said = None if self._clipping_said else clipping_remark(losses.get("targets_clipped", 0.0), self.agent)
            self._clipping_said |= said is not None
            return said
        _, rewards = self.replay.observations_and_rewards()
        return reward_remark(rewards, float(self.agent.scaling.scale[-1]))

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of a checkpoint: networks, targets, optimisers and, where it needs them, the replay's states."""
        return {
            **dict(self.agent.named_tensors()),
            **self.learner.optimizer_tensors(),
            **self.replay.state_tensors(),
            **{f"{AHEAD}{name}": tensor for name, tensor in (self._ahead.tensors() if self._ahead else {}).items()},
        }

    def counters(self) -> dict[str, JSON]:
        """All else of a checkpoint that is not an episode."""
        own = {"env_steps": self.env_steps, "iterations": self.iterations, "updates": self.updates}
        said = {"clipping_said": True} if self._clipping_said else {}
        ahead = {"ahead": self._ahead.updates} if self._ahead else {}
        return {**own, **said, **ahead, **self._choice.counters()}

    def restore(self, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, JSON]) -> None:
        """Take over tensors and counters of a checkpoint; the caller gives its episodes to `store`.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        self.agent.load_tensors(tensors)
        self.learner.load_optimizer_tensors({n: v for n, v in tensors.items() if n.startswith("adam.")})
        if self.prior:  # whose kept states have to be there when they are appended
            self.replay = self._empty_replay()
        self.replay.restore_states(tensors)
        self._append_prior()
        self.learner.updates = int(counters["updates"])
        self.env_steps, self.iterations = int(counters["env_steps"]), int(counters["iterations"])
        self._clipping_said = bool(counters.get("clipping_said", False))
        self._choice.restore(counters)
        self._outcomes = self._ahead = None
        if "ahead" in counters:
            acting = {name.removeprefix(AHEAD): tensor for name, tensor in tensors.items() if name.startswith(AHEAD)}
            self._ahead = Acting.restored(self.agent, acting, int(counters["ahead"]))


def updates_after(train: TrainConfig, env_steps: int) -> int:
    """Return how many updates a run has made when it has collected `env_steps`, and will have made at its end."""
    return int(max(env_steps - train.random_steps, 0) / train.env_steps_per_update)


def replay_size(config: Config, family: TaskFamily, prior: Prior = ()) -> ReplaySize:
    """Return the size of the replay that a run with this configuration, and prior data, allocates."""
    return ReplaySize(
        n_tasks=len(family.tasks("train")) + len(prior),
        obs_dim=family.obs_dim,
        action_dim=family.action_dim,
        capacity=config.train.replay_capacity,
        episode_length=family.episode_length,
        context_dim=carried_state_dim(config.agent),
    )


def fit_scaling(scaling: Scaling, replay: Replay, train: TrainConfig, env_steps: int) -> None:
    """Take mean and spread from the random steps, once they are there.

    (Not only when the first update is due, which may be later: the policy acts on scaled numbers before.)
    """
    if scaling.normalize and not scaling.fitted and env_steps >= train.random_steps:
        scaling.fit(*replay.observations_and_rewards())


def annealed_rate(lr: float, train: TrainConfig, env_steps: int) -> float:
    """Return the learning rate after `env_steps`: `lr`, falling over the last ``anneal_steps`` to a tenth.

    Small steps at the end take out the noise that large ones keep in the policy. They take half of a run at most: one
    that is made short would otherwise never learn at the full rate.
    """
    span, left = train.env_steps - train.anneal_start, max(train.env_steps - env_steps, 0)
    return lr if left >= span else lr * (FINAL_LR + (1.0 - FINAL_LR) * left / span)
