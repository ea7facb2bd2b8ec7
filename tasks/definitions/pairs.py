"""Names of what two geoms or bodies do with each other: ``touching_A_B`` and ``force_A_B``.

A and B may have underscores of their own, so a name is looked at in all ways in which it can be divided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import mujoco

from mql.errors import UserError, nearest
from mql.tasks.stepping.derived import Derived
from mql.tasks.stepping.touching import can_touch, contact_force, touching

PAIRED: Mapping[str, Callable[[str, Sequence[int], Sequence[int]], Derived]] = {
    "touching": touching,
    "force": contact_force,
}


@dataclass(frozen=True)
class Side:
    """A geom or a body: ``said`` as the MJCF has it, ``clear`` as a name says it that nothing else has."""

    said: str
    clear: str
    geoms: tuple[int, ...]


@dataclass(frozen=True)
class Meaning:
    """What a name may mean, as in `Side`."""

    said: str
    clear: str
    some: tuple[int, ...]
    others: tuple[int, ...]


class Pairs:
    """Finds two geoms or bodies of a model by a name.

    Args:
        model: the model.
        plain: how a name of the MJCF is said.
    """

    def __init__(self, model: mujoco.MjModel, plain: Callable[[str], str]) -> None:
        self._model, self._plain = model, plain

    def find(self, name: str) -> tuple[Derived, list[Meaning]] | None:
        """Return how the quantity `name` is computed, and what else it may mean after that; None: it is none."""
        what, _, rest = name.partition("_")
        meanings = self._meanings(what, rest) if what in PAIRED else []
        if not meanings:
            return None
        return PAIRED[what](name, meanings[0].some, meanings[0].others), meanings

    def check(self, name: str, *, where: str) -> None:
        """Refuse a name that says ``touching`` or ``force`` of what is not there, or never touches.

        Raises:
            UserError: one of these.
        """
        what, _, rest = name.partition("_")
        if what not in PAIRED:
            return
        meanings = self._meanings(what, rest)
        if not meanings:
            half = self._half(rest)
            missing = rest[len(half) + 1 :] if half else rest.partition("_")[0]
            fault = f"{name!r}: {missing!r} is no geom of the model, nor a body with geoms"
            raise UserError(fault, where=where, mend=f"write {what}_A_B; {nearest(missing, self._sides)}")
        if not any(can_touch(self._model, a, b) for m in meanings for a in m.some for b in m.others):
            mend = "look at contype, conaffinity and <exclude>, and whether a joint is between them"
            raise UserError(f"{name!r}: {meanings[0].said} never touch", where=where, mend=mend)

    def _meanings(self, what: str, rest: str) -> list[Meaning]:
        """Return what the rest of a name may mean; of those that mean the same geoms, one."""
        found: dict[frozenset[tuple[int, ...]], Meaning] = {}
        for first, second in _divided(rest):
            for a in self._sides.get(first, ()):
                for b in self._sides.get(second, ()):
                    meaning = Meaning(f"{a.said} and {b.said}", f"{what}_{a.clear}_{b.clear}", a.geoms, b.geoms)
                    found.setdefault(frozenset((a.geoms, b.geoms)), meaning)
        return list(found.values())

    def _half(self, rest: str) -> str:
        """Return the longest beginning of `rest` that is the name of something; "": there is none."""
        return max((first for first, _ in _divided(rest) if first in self._sides), key=len, default="")

    @cached_property
    def _sides(self) -> Mapping[str, list[Side]]:
        model, found = self._model, dict[str, list[Side]]()
        geoms = [("geom", model.geom(number).name, (number,)) for number in range(model.ngeom)]
        bodies = [
            ("body", model.body(number).name, tuple(range(start, start + count)))
            for number, (start, count) in enumerate(zip(model.body_geomadr, model.body_geomnum, strict=True))
            if count
        ]
        for kind, name, numbers in (*geoms, *bodies):
            if name:
                clear = f"{kind}_{self._plain(name)}"
                for called in (clear, self._plain(name)):
                    found.setdefault(called, []).append(Side(f"{kind} {name!r}", clear, numbers))
        return found


def _divided(rest: str) -> Iterator[tuple[str, str]]:
    """Yield all ways of dividing a text at one of its underscores."""
    for place, letter in enumerate(rest):
        if letter == "_":
            yield rest[:place], rest[place + 1 :]
