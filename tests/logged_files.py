"""Logs of a two-link arm as a lab would keep them, for the tests of data from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mql.data.logged import LoggedEpisode
from mql.tasks import registry
from mql.tasks.family import TaskFamily

FAMILY = "reacher-goal"  # 8 observations, 2 actions, 50 control steps of 0.02 s


@cache
def family() -> TaskFamily:
    return registry.load(FAMILY)


@cache
def good_log(count: int = 3, seed: int = 1, name: str = FAMILY) -> tuple[LoggedEpisode, ...]:
    """Episodes of the first training tasks with random actions, in float32, with times and task parameters."""
    rng = np.random.default_rng(seed)
    known = registry.load(name)
    tasks = known.tasks("train")[:count]
    batch = known.make_batch(tasks)
    obs = [batch.reset(list(range(count))).copy()]
    acted, rewards = [], []
    for _ in range(known.episode_length):
        action = rng.uniform(-1, 1, (count, known.action_dim)).astype(np.float32)
        step = batch.step(action)
        acted.append(action)
        obs.append(step.obs.copy())
        rewards.append(step.reward.copy())
    batch.close()
    time = known.control_timestep * np.arange(known.episode_length + 1)
    return tuple(
        LoggedEpisode(
            action=np.stack(acted)[:, place],
            obs=np.stack(obs)[:, place],
            reward=np.stack(rewards)[:, place],
            time=time,
            success=place == 0,
            task=tasks[place].to_json(),
            name=str(place),
        )
        for place in range(count)
    )


def changed(key: str, change: Any, *, episode: int = 1) -> list[LoggedEpisode]:
    """The good log with one array of one episode changed: `change` gets a copy of it and returns what it becomes."""
    log = list(good_log())
    log[episode] = replace(log[episode], **{key: change(np.array(getattr(log[episode], key)))})
    return log


def columns_of(log: list[LoggedEpisode]) -> dict[str, Any]:
    """The arrays of a log by the names that an NPZ file has."""
    return {
        f"episode_{episode.name}/{key}": getattr(episode, key)
        for episode in log
        for key in ("obs", "action", "reward", "time")
        if getattr(episode, key) is not None
    }


def save_npz(path: Path, arrays: dict[str, Any], *, pickled: bool = False) -> Path:
    np.savez(path, allow_pickle=pickled, **arrays)
    return path
