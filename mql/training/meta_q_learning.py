"""Meta-Q-Learning as a method that the loop drives: the trainer, and its evaluation on held-out tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from mql.adaptation.adapters import prepare
from mql.adaptation.meta_training import MetaTraining
from mql.agent.agent import Agent
from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.evaluation.held_out import TaskResult, mean_terms
from mql.learning.prior import Prior
from mql.learning.trainer import Trainer, updates_after
from mql.runs.newest import from_newest
from mql.runs.prior_files import read_prior
from mql.runs.run_dir import RunDir
from mql.tasks.family import Task, TaskFamily
from mql.training.learning import Iteration, restore
from mql.training.records import evaluate_in_training, line_of, measure_agent, record_of
from mql.types import COLLECTED_TERM, JSON, Episode


class MetaQLearning:
    """A `Trainer` as a `Learning`; `evaluate` measures its agent zero-shot and adapted."""

    def __init__(self, config: Config, family: TaskFamily, prior: Prior = ()) -> None:
        self.trainer = Trainer(config, family, prior)

    @property
    def env_steps(self) -> int:
        """Environment steps collected so far."""
        return self.trainer.env_steps

    @property
    def updates(self) -> int:
        """Updates made so far."""
        return self.trainer.updates

    @property
    def iterations(self) -> int:
        """Iterations made so far."""
        return self.trainer.iterations

    @property
    def first_live_episode(self) -> int:
        """Number of the oldest episode in the replay."""
        return self.trainer.replay.first_live_episode

    @property
    def replay_bytes(self) -> int:
        """The most memory that the replay may take."""
        return self.trainer.replay.nbytes

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there will have been after `env_steps`."""
        return updates_after(self.trainer.config.train, env_steps)

    def iterate(self) -> Iteration:
        """Collect one episode in each of some tasks, then make the updates that are due.

        Raises:
            EpisodeFault: not one of the episodes could be finished.
        """
        iterated = self.trainer.iterate()
        metrics: dict[str, JSON] = {
            "collected_return": sum(episode.episode_return for episode in iterated.episodes) / len(iterated.episodes),
            **{f"{COLLECTED_TERM}{name}": mean for name, mean in (mean_terms(iterated.episodes) or {}).items()},
            **({} if iterated.relabelled is None else {"relabelled": iterated.relabelled}),
            **({"faults": [str(fault) for fault in iterated.faults]} if iterated.faults else {}),
            **({"remark": iterated.remark} if iterated.remark else {}),
            **iterated.losses,
        }
        return Iteration(metrics, iterated.episodes, iterated.collect_seconds, iterated.update_seconds)

    def evaluate(
        self, *, final: bool, with_random: bool, on_task: Callable[[int, int], None] | None = None
    ) -> dict[str, JSON]:
        """Evaluate on ``evaluate.tasks`` validation tasks.

        At the end: on ``evaluate.final_tasks`` tasks of ``evaluate.split``, where it always adapts.
        """
        config, family = self.trainer.config, self.trainer.family
        return evaluate_in_training(self, config, family, final=final, with_random=with_random, on_task=on_task)

    def measure(
        self,
        tasks: Sequence[Task],
        *,
        config: Config,
        split: str,
        adapt: bool,
        with_random: bool = False,
        on_task: Callable[[int, TaskResult], None] | None = None,
    ) -> list[TaskResult]:
        """Evaluate the agent on the first tasks of a split, zero-shot and adapted; see `Learning`.

        Raises:
            EpisodeFault: no task could be evaluated.
        """
        trainer = self.trainer
        replay = trainer if adapt and METHODS[config.method].adapts else None
        return _results(config, trainer.family, tasks, trainer.agent, replay, split, with_random, on_task)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Networks, targets, optimisers and, where a checkpoint needs them, the replay's states."""
        return self.trainer.tensors()

    def counters(self) -> dict[str, JSON]:
        """Environment steps, iterations and updates."""
        return self.trainer.counters()

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
        self.trainer.restore(tensors, counters)
        for number, episode in episodes:
            self.trainer.store(episode, number=number)


def load_trainer(run: RunDir, family: TaskFamily, config: Config, *, env_steps: int | None = None) -> Trainer:
    """Load the agent and the replay of a run's checkpoint (by default the newest)."""
    prior = read_prior(run)

    def load(steps: int | None) -> Trainer:
        learning = MetaQLearning(config, family, prior)
        restore(learning, run.load_checkpoint(steps))
        return learning.trainer

    return load(env_steps) if env_steps is not None else from_newest(run, load)


def meta_training(trainer: Trainer, agent: Agent | None = None) -> MetaTraining:
    """Return what a trainer leaves to adaptation; `agent` in the place of its own."""
    return MetaTraining(agent or trainer.agent, trainer.replay, trainer.family, trainer.learner.optimizer_tensors())


def evaluation(
    trainer: Trainer,
    *,
    split: str | None = None,
    tasks: int,
    adapt: bool,
    with_random: bool = False,
    on_task: Callable[[int, int], None] | None = None,
) -> dict[str, JSON]:
    """Evaluate the agent in training on the first `tasks` tasks of a split (None: ``evaluate.split``).

    Draws from streams of its own: whether and how often a run evaluates does not change what it learns. `on_task` is
    called with (done, tasks), with 0 first.
    """
    config = trainer.config
    split = config.evaluate.split if split is None else split
    chosen = trainer.family.tasks(split)[:tasks]
    if on_task:
        on_task(0, len(chosen))
    record = evaluation_record(
        config,
        trainer.family,
        chosen,
        trainer.agent,
        trainer if adapt else None,
        split=split,
        with_random=with_random,
        on_task=(lambda index: on_task(index + 1, len(chosen))) if on_task else None,
    )
    return line_of(record)


def evaluation_record(
    config: Config,
    family: TaskFamily,
    tasks: list[Task],
    agent: Agent,
    trainer: Trainer | None,
    *,
    split: str,
    with_random: bool = False,
    on_task: Callable[[int], None] | None = None,
    on_result: Callable[[TaskResult], None] | None = None,
) -> dict[str, JSON]:
    """Evaluate `agent` on `tasks`, adapted too if `trainer` is there to give its replay: what `mql evaluate` prints.

    With `with_random`, what uniform random actions get stands beside it. `on_task` is called with the place of a task
    that is done, `on_result` with its result.
    """

    def tell(index: int, result: TaskResult) -> None:
        if on_task:
            on_task(index)
        if on_result:
            on_result(result)

    results = _results(config, family, tasks, agent, trainer, split, with_random, tell)
    return record_of(config, family, results, split=split)


def _results(
    config: Config,
    family: TaskFamily,
    tasks: Sequence[Task],
    agent: Agent,
    trainer: Trainer | None,
    split: str,
    with_random: bool,
    on_task: Callable[[int, TaskResult], None] | None,
) -> list[TaskResult]:
    return measure_agent(
        agent,
        family,
        tasks,
        config=config,
        split=split,
        adaptation=prepare(meta_training(trainer, agent), config.adapt) if trainer else None,
        with_random=with_random,
        on_task=on_task,
    )
