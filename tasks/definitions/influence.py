"""Which task parameters of a definition its motion and its rewards depend on, as its text says."""

from __future__ import annotations

from collections.abc import Collection

from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.seen_reward import PLACING
from mql.tasks.definitions.start import DrawnStart
from mql.tasks.definitions.terms import Terms
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.fields import FIELDS


def moving(
    file: DefinitionFile,
    changes: Collection[str],
    drawn: DrawnStart,
    terms: Terms,
    physics: EpisodePhysics | None,
) -> frozenset[str]:
    """Return the parameters that motion or an episode's end depends on; all, where an episode's own physics may."""
    ends = {name for ending in terms.endings for root, name in ending.expression.names if root == "task"}
    if "" in ends or (physics is not None and physics.varies):
        return frozenset(file.definition.parameters)
    return drawn.parameters | ends | frozenset(changes)


def paying(file: DefinitionFile, terms: Terms, *, places: bool) -> frozenset[str]:
    """Return the parameters that rewards read; with `places`, also those that put something of the world elsewhere."""
    read = {name for term in terms.rewards for root, name in term.expression.names if root == "task"}
    if "" in read:
        return frozenset(file.definition.parameters)
    put = {
        name
        for name, spec in file.definition.parameters.items()
        if places and any(FIELDS[change.field].array in PLACING for change in spec.apply)
    }
    return frozenset(read | put)
