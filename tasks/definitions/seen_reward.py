"""A definition's reward as a function of observations: its own expressions, where all that they read is seen.

Seen is what an observation holds, before and after the step, the action, and the task parameters, whose values are
those of the task that is asked about; and places that are fixed in that task's world. What a task puts somewhere
otherwise is not seen in another task's observations. Nor are stages and ``last.action``, which depend on the episode so
far, and the reward of an environment or a class.

Shapes: N transitions, O observation, D components of a quantity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import mujoco
import numpy as np

from mql.tasks.definitions.judge import Scope, weighted
from mql.tasks.definitions.quantities import Quantity, read_rows
from mql.tasks.definitions.schema import Scaling
from mql.tasks.definitions.terms import Term, Terms
from mql.tasks.family import Array, TaskFamily
from mql.tasks.stepping.checked import Transitions

_FLAT = ("qpos", "qvel", "sensordata")  # arrays whose quantities are runs of numbers; of others they are rows
_PLACES = ("site_xpos", "xpos")
_COMPARED = 8  # tasks whose first observations are compared
PLACING = ("body_pos", "body_quat", "site_pos", "site_quat")  # arrays of a model that say where such places are
_KNOWN = ("action", "task", "obs", "last.obs")


@dataclass(frozen=True)
class Parts:
    """Where the named parts of an observation stand, and how their numbers are seen, (value - minus) / per.

    Args:
        slices: name -> place in the observation.
        minus: [O], without visible task parameters.
        per: [O].
    """

    slices: Mapping[str, slice]
    minus: Array
    per: Array


@dataclass(frozen=True)
class SeenReward:
    """What a definition's transitions are worth. `seen_reward` builds one.

    Args:
        terms: those of the reward.
        parts: of the observation.
        info: what expressions read below ``info`` and ``last.info`` -> where its numbers stand in an observation.
        fixed: what they read besides of places that are fixed in the world, where a task may have put them.
    """

    terms: tuple[Term, ...]
    parts: Parts
    info: Mapping[str, int | list[int]]
    fixed: Mapping[str, Quantity]

    @property
    def columns(self) -> list[int]:
        """The numbers of an observation that the expressions read, but for visible task parameters."""
        found = {column for place in self.info.values() for column in ([place] if isinstance(place, int) else place)}
        for root, name in (each for term in self.terms for each in term.expression.names):
            if root in ("obs", "last.obs"):
                place = self.parts.slices[name] if name else slice(0, len(self.parts.per))
                found.update(range(place.start, place.stop))
        return sorted(found)

    def __call__(self, transitions: Transitions, visible: Array, model: mujoco.MjModel | None = None) -> Array:
        """Return the rewards [N]; NaN where an observation after the step is not finite.

        Args:
            transitions: without visible task parameters.
            visible: those of the task that is asked about, as an observation shows them, [N, W].
            model: of that task; None where nothing is fixed in the world.
        """
        rows, places = len(transitions.action), {}
        if self.fixed and model is not None:
            data = mujoco.MjData(model)
            mujoco.mj_kinematics(model, data)
            arrays = {each.source: getattr(data, each.source)[None] for each in self.fixed.values()}
            places = {name: np.tile(value, (rows, 1)) for name, value in read_rows(self.fixed, arrays).items()}
        scope: Scope = {"action": transitions.action, "task": transitions.parameters}
        for root, obs in (("", transitions.after), ("last.", transitions.before)):
            values = obs * self.parts.per + self.parts.minus
            scope[f"{root}info"] = {name: values[:, columns] for name, columns in self.info.items()} | places
            scope[f"{root}obs"] = np.concatenate([obs, visible], axis=1)
            scope[f"{root}obs.NAME"] = {name: obs[:, place] for name, place in self.parts.slices.items()}
        reward = np.sum([*weighted(self.terms, scope, rows).values()], axis=0)
        return np.where(np.isfinite(transitions.after).all(axis=1), reward, np.nan)


def parts_of(widths: Mapping[str, int], scaling: Mapping[str, Scaling]) -> Parts:
    """Return the parts of an observation, name -> width, which stand one after another."""
    ends = np.cumsum([0, *widths.values()])
    slices = {name: slice(int(first), int(last)) for name, first, last in zip(widths, ends, ends[1:], strict=False)}
    minus, per = np.zeros(ends[-1]), np.ones(ends[-1])
    for name, place in slices.items():
        if name in scaling:
            minus[place], per[place] = scaling[name].minus, scaling[name].per
    return Parts(slices, minus, per)


def seen_reward(
    terms: Terms,
    parts: Parts,
    *,
    observed: Mapping[str, Quantity] = MappingProxyType({}),
    read: Mapping[str, Quantity] = MappingProxyType({}),
    fixed: Mapping[str, Quantity] = MappingProxyType({}),
) -> SeenReward | None:
    """Return the reward of a definition that has no other one beside it; None: it reads what is not seen.

    Args:
        terms: what the definition says.
        parts: of the observation.
        observed: the quantities of a model that it consists of, in its order; empty where it does of something else.
        read: the quantities that expressions read.
        fixed: those of them that are `fixed_places`.
    """
    needed = frozenset(name for term in terms.rewards for name in term.expression.names)
    columns = {number: column for column, number in enumerate(n for each in observed.values() for n in _numbers(each))}
    info: dict[str, int | list[int]] = {}
    known: dict[str, Quantity] = {}
    for root, name in needed:
        if root in _KNOWN and (root in ("action", "task") or not name or name in parts.slices):
            continue
        if root not in ("info", "last.info") or name not in read:
            return None
        if name in fixed:
            known[name] = fixed[name]
            continue
        places = [columns.get(number) for number in _numbers(read[name])]
        found = [place for place in places if place is not None]
        if len(found) < len(places):
            return None
        info[name] = found[0] if read[name].is_number else found
    return None if terms.stages or not terms.rewards else SeenReward(terms.rewards, parts, info, known)


def fixed_places(model: mujoco.MjModel, used: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return which of `used` are places that are fixed in the world: only changes of the model can move them."""
    found = {}
    for name, quantity in used.items():
        if quantity.source not in _PLACES or not isinstance(quantity.index, int):
            continue
        body = int(model.site_bodyid[quantity.index]) if quantity.source == "site_xpos" else quantity.index
        while body and not model.body_jntnum[body] and model.body_mocapid[body] < 0:
            body = int(model.body_parentid[body])
        if not body:
            found[name] = quantity
    return found


def shows_task(family: TaskFamily, columns: list[int]) -> bool:
    """Tell whether `columns` of a family's observations depend on the task before anything has been done.

    So it is with a goal that a task parameter puts somewhere and that is seen: with another task it would be elsewhere,
    and a stored observation doesn't say where.
    """
    tasks = family.tasks("train")[:_COMPARED]
    batch = family.make_batch(tasks)
    try:
        obs = batch.reset([0] * len(tasks))[:, columns]
    finally:
        batch.close()
    return not np.array_equal(obs, np.broadcast_to(obs[:1], obs.shape), equal_nan=True)


def _numbers(quantity: Quantity) -> list[tuple[str, int, int]]:
    """Tell a quantity's numbers from all others: (array, place in it, component of what is there)."""
    start = quantity.index.start if isinstance(quantity.index, slice) else quantity.index
    place = start if isinstance(start, int) else 0
    if quantity.source in _FLAT:
        return [(quantity.source, place + n, 0) for n in range(quantity.width)]
    return [(quantity.source, place, n) for n in range(quantity.width)]
