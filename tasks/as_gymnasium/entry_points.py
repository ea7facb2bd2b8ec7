"""What ``gymnasium.make`` and ``gymnasium.make_vec`` call::

import gymnasium, mql
env = gymnasium.make("mql/cheetah-vel-v0")  # a training task at each reset
env = gymnasium.make("mql/cheetah-vel-v0", task={"velocity": 1.2})
envs = gymnasium.make_vec("mql/cheetah-vel-v0", num_envs=32, vectorization_mode="vector_entry_point", threads=2)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gymnasium.vector import AutoresetMode

from mql.tasks import registry
from mql.tasks.as_gymnasium.environment import FamilyEnvironment
from mql.tasks.as_gymnasium.vector import FamilyVectorEnvironment

Given = Mapping[str, object] | str


def make(family: str, task: Given | None = None, render_mode: str | None = None) -> FamilyEnvironment:
    """Build one environment of the family called `family`.

    Args:
        task: the task parameters, or a listed task such as ``test:0``; None: each reset draws a training task.
        render_mode: None or ``rgb_array``.

    Raises:
        UserError: unknown or forbidden parameters, an unknown family or render mode.
    """
    loaded = registry.load(family)
    return FamilyEnvironment(loaded, None if task is None else loaded.task(task), render_mode=render_mode)


def make_vec(
    family: str,
    num_envs: int = 1,
    task: Given | Sequence[Given] | None = None,
    render_mode: str | None = None,
    threads: int = 1,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
) -> FamilyVectorEnvironment:
    """Build `num_envs` environments of a family as a batch.

    Args:
        task: of every row, or a list of one for each; None: each reset of a row draws a training task.
        render_mode: None, or ``rgb_array`` for families that are stepped in parallel.
        threads: CPU threads; the numbers do not depend on it.
        autoreset_mode: what happens with a row whose episode has ended: ``NextStep`` (Gymnasium's default),
            ``SameStep`` or ``Disabled``.

    Raises:
        UserError: as `make`, or a count that is no whole number of at least 1.
    """
    return FamilyVectorEnvironment(
        registry.load(family),
        num_envs,
        task,
        render_mode=render_mode,
        threads=threads,
        autoreset_mode=autoreset_mode,
    )
