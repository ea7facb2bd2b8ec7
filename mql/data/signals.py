"""Observations that were not logged: computed by the family from logged joint positions and velocities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from mql.data.logged import LoggedEpisode
from mql.errors import UserError
from mql.tasks.family import TaskFamily

# What logs call the signals that families know by another name.
_NAMES = {"qpos": "positions", "qvel": "velocities", "joint_positions": "positions", "joint_velocities": "velocities"}


def observed_signals(
    family: TaskFamily, episode: LoggedEpisode, known: Mapping[str, object] = MappingProxyType({})
) -> LoggedEpisode:
    """Return an episode with the observations that `family` computes from its signals, where it has none itself.

    Args:
        family: whose observations they are to be.
        episode: what was logged; its own task parameters come before those of `known`.
        known: values of task parameters, of which observations may show some.

    Raises:
        UserError: the family can't, or needs other signals.
    """
    if episode.obs is not None or not episode.signals:
        return episode
    observe: Callable[[Mapping[str, Any]], Any] | None = getattr(family, "observed", None)
    told = {**known, **(episode.task or {})}
    signals: dict[str, Any] = {name: value for name, value in told.items() if name in family.parameters}
    signals |= {_NAMES.get(name, name): values for name, values in episode.signals.items()}
    signals |= {"actions": episode.action}
    if episode.time is not None:
        signals["time"] = episode.time
    try:
        obs = None if observe is None else observe(signals)
    except UserError as error:
        inner = f" ({error.where})" if error.where else ""
        raise UserError(f"{error.what}{inner}", where=episode.where(key="signals"), mend=error.mend) from None
    if obs is None:
        mend = f"log its {family.obs_dim} observations: {family.name} computes none from joint positions"
        raise UserError("there are no observations", where=episode.where(key="obs"), mend=mend)
    obs = np.asarray(obs)
    if obs.shape != (episode.length + 1, family.obs_dim):
        raise ValueError(f"{family.name}.observed gave shape {obs.shape}")
    note = f"observations are computed by {family.name} from {', '.join(episode.signals)}"
    return replace(episode, obs=obs, notes=(*episode.notes, note))
