"""The methods that can be trained, by the names of the key `method`; and training one of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mql.config.schema import Config
from mql.runs.prior_files import read_prior
from mql.runs.run_dir import RunDir
from mql.tasks.family import TaskFamily
from mql.training.learning import Learning
from mql.training.loop import Watcher, train
from mql.training.meta_q_learning import MetaQLearning
from mql.types import JSON

# A new method is a file with its `Learning`, a line here and its name in `Config.method`.
# It is called with the configuration, the family and, where a run has some, prior data (`mql.learning.prior`).
METHODS: dict[str, Callable[..., Learning]] = {"mql": MetaQLearning}


def meta_train(
    config: Config,
    family: TaskFamily,
    run: RunDir,
    *,
    resume: bool = False,
    checkpoint: int | None = None,
    watchers: tuple[Watcher, ...] = (),
) -> dict[str, JSON]:
    """Meta-train on the family's training tasks and return the last evaluation, made on ``evaluate.final_tasks``.

    Args:
        config: the resolved configuration of `run`; with `resume`, the one that it goes on with.
        run: open for writing; with `resume`, opened for that, and everything newer than its newest checkpoint is
            cut off first (a run without a checkpoint starts over).
        checkpoint: with `resume`, env steps of an earlier checkpoint to go on from; later ones are deleted.
        watchers: told of each iteration and evaluation.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the run was saved.
        UserError: the run directory can't be written or read.
        Diverged: a loss is not finite.
        EpisodeFault: not one episode of an iteration, or not one task of an evaluation, could be finished; the run was
            saved.
    """
    torch.set_num_threads(config.threads)
    prior = read_prior(run)
    learning = METHODS[config.method](config, family, *([prior] if prior else []))
    changed = config if resume else None
    return train(learning, config.train, run, resume=resume, checkpoint=checkpoint, config=changed, watchers=watchers)
