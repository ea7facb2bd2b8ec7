"""One environment as a family of one task, for methods that learn one problem: ``Hopper-v5``, ``minatar-breakout``.

A name is that of an environment that is registered with Gymnasium, or ``minatar-`` and a game of MinAtar. Nothing is
hidden and nothing held out: every split is the one task there is, which has no parameters.
"""

from __future__ import annotations

from functools import partial

import gymnasium

from mql.tasks.family import Split
from mql.tasks.gymnasium_ids import GAMES
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.tasks.wrapped.minatar import LONGEST_EPISODE, MinAtar

ONE_TASK = {"train": Split(listed=({},)), "test": Split(listed=({},))}


def one_environment(name: str) -> GymnasiumFamily:
    """Return the environment `name` as a family of one task.

    Raises:
        UserError: there is none, it can't be built, or its spaces are neither numbers nor choices.
    """
    if name in GAMES:
        return from_gymnasium(
            partial(MinAtar, GAMES[name]),
            {},
            name=name,
            summary=f"MinAtar's {GAMES[name]}",
            splits=ONE_TASK,
            shared_splits=True,
            choices=True,
            episode_length=LONGEST_EPISODE,
        )
    return from_gymnasium(
        partial(gymnasium.make, name), {}, name=name, splits=ONE_TASK, shared_splits=True, choices=True
    )
