"""A method by the name that the key `method` has for it (`mql.config.methods`): made, trained, loaded."""

from __future__ import annotations

import torch

from mql.agent.protocols import find
from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.learning.prior import Prior
from mql.runs.newest import from_newest
from mql.runs.prior_files import read_prior
from mql.runs.run_dir import RunDir
from mql.tasks.family import TaskFamily
from mql.training.learning import Learning, restore
from mql.training.loop import Watcher, train
from mql.types import JSON


def new_learning(config: Config, family: TaskFamily, prior: Prior = ()) -> Learning:
    """Return the method of a configuration, in its first state.

    Its class is called with the configuration, the family and, where a run has some, prior data (`mql.learning.prior`).
    """
    learning: Learning = find(METHODS[config.method].place)(config, family, *([prior] if prior else []))
    return learning


def load_learning(run: RunDir, family: TaskFamily, config: Config, *, env_steps: int | None = None) -> Learning:
    """Return the method of a run as it was at a checkpoint (by default the newest).

    Raises:
        UserError: there is no such checkpoint, or it is damaged.
    """
    prior = read_prior(run)

    def load(steps: int | None) -> Learning:
        learning = new_learning(config, family, prior)
        restore(learning, run.load_checkpoint(steps))
        return learning

    return load(env_steps) if env_steps is not None else from_newest(run, load)


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
    learning = new_learning(config, family, read_prior(run))
    changed = config if resume else None
    return train(learning, config.train, run, resume=resume, checkpoint=checkpoint, config=changed, watchers=watchers)
