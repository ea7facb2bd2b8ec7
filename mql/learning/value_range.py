"""Over which values the bins of histogram critics lie: those that the configuration gives, or the returns of episodes.

An end that is not given is `ROOM` times the largest (or smallest) discounted return that any stored step has led to,
or 0, whichever is farther out; where a later episode goes beyond it, it moves on, to at least twice what it was. A time
limit is no end of rewards: they are taken to go on as they were on average.

Shapes: T steps of an episode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mql.agent.agent import Agent
from mql.agent.networks import HistogramCritic
from mql.learning.replay import Replay
from mql.types import Episode, FloatArray

ROOM = 1.5  # a learned policy does better than the episodes so far
CLIPPED = 0.05  # part of the targets beyond the ends from which on there is something to say


def fit_value_range(agent: Agent, replay: Replay, episodes: Sequence[Episode]) -> None:
    """Lay the bins over the returns of all that is stored; later on, move an end that one of `episodes` went beyond.

    Does nothing for critics without bins.

    Args:
        agent: changed in place; its scaling is as it will stay.
        replay: what is stored.
        episodes: the newest ones, which are stored, too.
    """
    critic = getattr(agent.online, "critic", None)
    if not isinstance(critic, HistogramCritic):
        return
    config, bins = agent.config, critic.bins
    fitted, scale = bool(bins.fitted), float(agent.scaling.scale[-1])
    steps = ((each.reward, each.terminated) for each in episodes) if fitted else _stored(replay)
    low, high = (scale * end for end in return_range(steps, discount=config.discount))
    if fitted:
        low = bins.low if low >= bins.low else min(ROOM * low, 2.0 * bins.low)
        high = bins.high if high <= bins.high else max(ROOM * high, 2.0 * bins.high)
    else:
        low, high = ROOM * low, ROOM * high
    low = low if config.value_min is None else scale * config.value_min
    high = high if config.value_max is None else scale * config.value_max
    if not low < high:  # nothing but zeros so far, or all on the wrong side of the end that is given
        low, high = (low, low + scale) if config.value_max is None else (high - scale, high)
    given = config.value_min is not None and config.value_max is not None
    if fitted and (given or (low, high) == (bins.low, bins.high)):
        return
    for networks in (agent.online, agent.target):
        networks.critic.place_bins(low, high, afresh=not fitted)
        networks.critic.bins.fitted.fill_(True)


def return_range(episodes: Iterable[tuple[FloatArray, bool]], *, discount: float) -> tuple[float, float]:
    """Return the smallest and the largest discounted return from any step on, 0 among them.

    Args:
        episodes: rewards [T] each, and whether it ended by termination.
        discount: with 1, nothing follows a time limit.
    """
    low = high = 0.0
    for reward, terminated in episodes:
        goes_on = not terminated and discount < 1.0
        value = float(reward.mean(dtype=np.float64)) / (1.0 - discount) if goes_on else 0.0
        for each in reward[::-1].tolist():
            value = each + discount * value
            low, high = min(low, value), max(high, value)
    return low, high


def clipping_remark(part: float, agent: Agent) -> str | None:
    """Say in one line that so large a `part` of the critics' targets lay beyond the ends, or return None."""
    if part <= CLIPPED:
        return None
    bins, scale = agent.online.critic.bins, float(agent.scaling.scale[-1])
    return (
        f"{part:.0%} of the critics' targets lie beyond what they can tell, {bins.low / scale:.3g} to "
        f"{bins.high / scale:.3g}: give a wider range by agent.value_min and agent.value_max"
    )


def _stored(replay: Replay) -> Iterator[tuple[FloatArray, bool]]:
    """Yield rewards, and whether it terminated, of each stored episode."""
    rewards = replay.table[:, -1].cpu().numpy()
    for start in replay.episode_starts(replay.all_rows()).tolist():
        task, row = divmod(start, replay.rows)
        places = (row + np.arange(replay.remaining[task, row])) % replay.rows
        yield rewards[task * replay.rows + places], bool(replay.terminated[task, places[-1]])
