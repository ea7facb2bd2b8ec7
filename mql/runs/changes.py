"""What may change when a run goes on: only what leaves it the run that it would have been from the start."""

from __future__ import annotations

from collections.abc import Sequence

from mql.config.loading import flat
from mql.config.schema import Config
from mql.errors import UserError

# Keys and sections.
CHANGEABLE = (
    "train.env_steps",
    "train.keep_checkpoints",
    "train.replay_on_disk",
    "threads",
    "collect",
    "tracking",
    "wandb",
    "evaluate",
    "adapt",
)


def check_change(old: Config, new: Config, *, checkpoint: int, checkpoints: Sequence[int]) -> None:
    """Refuse a configuration with which a run can't go on.

    Args:
        old: the configuration so far.
        new: the one to go on with.
        checkpoint: env steps of the checkpoint that the run goes on from (0: there is none).
        checkpoints: env steps of all that are kept.

    Raises:
        UserError: a key that is not in CHANGEABLE differs, the run is already longer than its new length, or its
            learning rate has not been what it would have been in a run of the new length.
    """
    before, after = flat(old), flat(new)
    for key in after:
        if after[key] != before[key] and not {key, key.partition(".")[0]} & set(CHANGEABLE):
            what = f"{key} is {after[key]}, but the run was started with {before[key]}"
            raise UserError(what, where=key, mend="leave it as it was, or start a new run")
    steps = new.train.env_steps
    if steps < checkpoint and steps != old.train.env_steps:  # the last iteration may have gone a little beyond it
        what = f"train.env_steps is {steps}, but the run has a checkpoint at {checkpoint}"
        raise UserError(what, where="train.env_steps", mend=f"give at least {checkpoint}")
    if steps != old.train.env_steps and old.train.anneal_steps:
        _check_annealing(old, new, checkpoint, checkpoints)


def _check_annealing(old: Config, new: Config, checkpoint: int, checkpoints: Sequence[int]) -> None:
    """Refuse another length where the learning rate falls already: it would jump where the run goes on."""
    start, new_start = old.train.anneal_start, new.train.anneal_start
    if checkpoint <= min(start, new_start):
        return
    if checkpoint <= start:  # a shorter run, in which it would have begun to fall by now
        what = (
            f"the learning rate would fall from {new_start} env steps on, but the run has a checkpoint at {checkpoint}"
        )
        least = checkpoint + min(old.train.anneal_steps, checkpoint)
        raise UserError(what, where="train.env_steps", mend=f"give at least {least} (see train.anneal_steps)")
    earlier = [steps for steps in checkpoints if steps <= min(start, new_start)]
    what = (
        f"the learning rate has fallen since {start} env steps (train.anneal_steps), and would jump if the run went on"
    )
    if earlier:
        mend = (
            f"add --checkpoint {earlier[-1]} to continue from before that, which deletes the later checkpoints "
            "(copy the run first to keep them)"
        )
    else:
        mend = "start a new run of this length: no checkpoint from before that is kept (see train.keep_checkpoints)"
    raise UserError(what, where="train.env_steps", mend=mend)
