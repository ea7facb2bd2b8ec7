"""Splits: what a family states of its lists of tasks, and the lists that follow where it does not state them.

Whoever looks at the test tasks while choosing settings chooses them for these tasks. So ``test`` and ``ood`` are for
final figures. Beside each is a list to choose settings on, ``validation`` and ``validation-ood``, drawn from the same
distributions with another seed, without a task that any other list has. What there is when nothing can be drawn says
`derived`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mql.tasks.distributions import Value

VALIDATION, VALIDATION_OOD = "validation", "validation-ood"
OUTSIDE = ("ood", VALIDATION_OOD)  # splits whose tasks lie outside the training ranges
N_TASKS = 20
TRIES = 50  # draws for each of them: most are in vain where few different tasks are left

# Where the tasks of a list are drawn: as those of the first of these that the family has.
LIKE: Mapping[str, tuple[str, ...]] = {VALIDATION: ("test", "train"), VALIDATION_OOD: ("ood",)}

Parameters = Mapping[str, Value]


@dataclass(frozen=True)
class Split:
    """A fixed list of `n` tasks, drawn with `seed` from the family's distributions or those in `override`.

    ``listed`` names the tasks one by one instead; then `n` and `seed` are not used.
    """

    n: int = 0
    seed: int = 0
    override: Mapping[str, Any] = field(default_factory=dict, hash=False)
    listed: tuple[Mapping[str, Value], ...] = field(default=(), hash=False)

    @property
    def size(self) -> int:
        """Number of tasks."""
        return len(self.listed) or self.n


def derived(
    splits: Mapping[str, Split],
    lists: Mapping[str, Sequence[Parameters]],
    draw: Callable[[Split, np.random.Generator], Parameters],
    *,
    shared: bool,
) -> dict[str, list[Parameters]]:
    """Return the task parameters of the lists that `splits` lack and that there can be: validation, validation-ood.

    - `shared`: where all splits are the same few tasks, validation has them, too.
    - Else up to `N_TASKS` are drawn like those of test (ood), with a seed that follows from theirs. Where the test
      tasks are listed one by one, they are drawn like those of train.
    - Where nothing can be drawn, because train is listed, too, or because all tasks there are stand in other lists,
      validation has the first training tasks: so choosing settings tells nothing about the test tasks.

    Args:
        splits: what the family states.
        lists: the task parameters of these.
        draw: draws the parameters of one task of a split.
        shared: the splits of the family are the same tasks.
    """
    found: dict[str, list[Parameters]] = {}
    for name, like in LIKE.items():
        stated = [split for split in like if split in splits]
        if name in splits or not stated:
            continue
        if shared:
            tasks = list(lists[stated[0]])
        else:
            drawn = next((splits[split] for split in stated if not splits[split].listed), None)
            tasks = _unseen(name, drawn, {**lists, **found}, draw) if drawn else []
        if not tasks and name == VALIDATION:
            tasks = list(lists.get("train", ()))[:N_TASKS]
        if tasks:
            found[name] = tasks
    return found


def _unseen(
    name: str,
    split: Split,
    lists: Mapping[str, Sequence[Parameters]],
    draw: Callable[[Split, np.random.Generator], Parameters],
) -> list[Parameters]:
    """Draw up to `N_TASKS` different tasks that stand in none of `lists`."""
    rng = np.random.default_rng([split.seed, *name.encode()])
    known = {frozenset(values.items()) for each in lists.values() for values in each}
    found: list[Parameters] = []
    for _ in range(TRIES * N_TASKS):
        values = draw(split, rng)
        if (key := frozenset(values.items())) not in known:
            known.add(key)
            found.append(values)
            if len(found) == N_TASKS:
                break
    return found
