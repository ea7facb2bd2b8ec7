"""Does a family say rightly what transitions are worth? Adaptation relabels stored ones of other tasks by it."""

from __future__ import annotations

import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed
from mql.tasks.checks.inspection import Inspection, name_tasks

_ENOUGH = 0.9  # R2: below, what is learned from relabelled transitions is mostly the error
_EXACT = 1e-4  # largest error that float32 observations explain
_FIRST_SEED = 83


def check_reward(inspection: Inspection) -> Verdict:
    """Rewards computed from observations are those of the environment, on random play."""
    family, amount = inspection.family, inspection.amount
    tasks = family.tasks("train")[: amount.side_by_side]
    seeds = range(_FIRST_SEED, _FIRST_SEED + len(tasks))
    true, found = [], []
    for episode in inspection.random_episodes(tasks, seeds, amount.steps):
        reward = family.reward(episode.obs[:-1], episode.obs[1:], episode.actions, episode.task)
        if reward is None:
            return passed("observations don't tell the rewards: transitions of other tasks can't be relabelled")
        if reward.shape != episode.rewards.shape or reward.dtype != np.float32:
            what = f"reward gave {reward.dtype} {list(reward.shape)}: return float32 {list(episode.rewards.shape)}"
            return failed(f"{what} [task {name_tasks([episode.task])}]")
        finite = np.isfinite(episode.rewards)
        true.append(episode.rewards[finite].astype(np.float64))
        found.append(reward[finite].astype(np.float64))
    truth = np.concatenate(true)
    error = np.concatenate(found) - truth
    if np.abs(error).max(initial=0.0) <= _EXACT:
        return passed(f"observations tell the rewards exactly, in {len(truth)} steps of {len(tasks)} tasks")
    explained = 1.0 - float(np.mean(error**2) / max(truth.var(), 1e-12))
    text = f"R2 {explained:.3f} in {len(truth)} steps of {len(tasks)} tasks"
    if not explained >= _ENOUGH:
        squares = [float(np.mean((one - other) ** 2)) for one, other in zip(found, true, strict=True)]
        worst = tasks[int(np.argmax(np.nan_to_num(squares, nan=np.inf)))]
        mend = "compute it as the environment does, or let it be None"
        return failed(
            f"{text}: the rewards computed from observations are not its own; {mend} [task {name_tasks([worst])}]"
        )
    return passed(f"{text}: an estimate, with an error of {np.sqrt(np.mean(error**2)):.3g} (root mean square)")
