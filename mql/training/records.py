"""What an evaluation is made with, and the record of it, whatever the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mql.adaptation.adapters import Adaptation
from mql.agent.agent import Agent
from mql.config.schema import WHILE_TRAINING, Config
from mql.evaluation.held_out import TaskResult, evaluate, summarize_results
from mql.seeding import generator
from mql.tasks.family import Task, TaskFamily
from mql.training.learning import Learning
from mql.types import JSON


def evaluation_seed(config: Config, split: str) -> int:
    """Return the seed that all random numbers of an evaluation, or an adaptation, on a split's tasks come from.

    It does not depend on the seed that the agent was trained with: agents of several seeds are compared from the same
    starts. (Runs from before ``evaluate.seed`` have null there, and keep their own.)
    """
    return int(generator(_seed(config), "evaluate", split).integers(2**31))


def measure_agent(
    agent: Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    *,
    config: Config,
    split: str,
    adaptation: Adaptation | None = None,
    with_random: bool = False,
    on_task: Callable[[int, TaskResult], None] | None = None,
) -> list[TaskResult]:
    """Evaluate an agent as a configuration says: what ``measure`` of a `Learning` comes down to.

    Args:
        tasks: in their order in the split, from its first one on.
        config: gives evaluation episodes, seed, threads and workers.
        adaptation: of the same agent; None: zero-shot only.
        with_random, on_task: as for `evaluate`.

    Raises:
        EpisodeFault: no task could be evaluated.
    """
    return evaluate(
        agent,
        family,
        tasks,
        evaluation_episodes=config.evaluate.evaluation_episodes,
        seed=evaluation_seed(config, split),
        adaptation=adaptation,
        with_random=with_random,
        threads=config.threads,
        workers=config.workforce,
        on_task=on_task,
    )


def record_of(config: Config, family: TaskFamily, results: Sequence[TaskResult], *, split: str) -> dict[str, JSON]:
    """Return what `mql evaluate` prints of these results."""
    return {
        "family": config.family,  # as it was asked for: an oracle's own name is another one
        "method": config.method,
        "split": split,
        "shared_splits": family.shared_splits or (split == WHILE_TRAINING and not family.held_out(split)),
        "seed": config.seed,
        "evaluation_seed": _seed(config),
        "tasks": [result.to_json() for result in results],
        "summary": summarize_results(results),
    }


def line_of(record: dict[str, JSON]) -> dict[str, JSON]:
    """Return a record as a line of evaluations.jsonl: what depends on the machine stands at the top."""
    return {**record, "adapt_seconds": [row.pop("adapt_seconds") for row in record["tasks"]]}


def evaluate_in_training(
    learning: Learning,
    config: Config,
    family: TaskFamily,
    *,
    final: bool,
    with_random: bool,
    on_task: Callable[[int, int], None] | None = None,
) -> dict[str, JSON]:
    """Do what ``evaluate`` of a `Learning` is to do, by its ``measure``.

    On ``evaluate.tasks`` validation tasks; at the end on ``evaluate.final_tasks`` tasks of ``evaluate.split``, where it
    always adapts. It draws from streams of its own: whether and how often a run evaluates does not change what it
    learns.
    """
    settings = config.evaluate
    split = settings.split_of(final=final)
    chosen = family.tasks(split)[: settings.final_tasks if final else settings.tasks]

    def tell(index: int, result: TaskResult) -> None:
        del result
        if on_task:
            on_task(index + 1, len(chosen))

    if on_task:
        on_task(0, len(chosen))
    results = learning.measure(
        chosen,
        config=config,
        split=split,
        adapt=final or settings.adapt_while_training,
        with_random=with_random,
        on_task=tell,
    )
    return line_of(record_of(config, family, results, split=split))


def _seed(config: Config) -> int:
    return config.seed if config.evaluate.seed is None else config.evaluate.seed
