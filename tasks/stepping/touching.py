"""Whether geoms touch, and how hard: quantities for `mql.tasks.stepping.derived`.

Shapes: K contacts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import mujoco
import numpy as np

from mql.tasks.family import Array, BoolArray
from mql.tasks.stepping.derived import Derived, Needs, Reader

Between = Callable[[mujoco.MjData], BoolArray]


def touching(name: str, some: Sequence[int], others: Sequence[int]) -> Derived:
    """Return 1.0 where one of the geoms `some` has a contact with one of `others`, else 0.0.

    A contact is where they overlap, or come nearer than the margin that the MJCF gives them.
    """

    def bind(data: mujoco.MjData) -> Reader:
        between = _between(some, others)

        def read(model: mujoco.MjModel, out: Array) -> None:
            contact = data.contact
            out[0] = data.ncon > 0 and (between(data) & (contact.dist < contact.includemargin)).any()

        return read

    return Derived(name, 1, Needs.CONTACTS, bind)


def contact_force(name: str, some: Sequence[int], others: Sequence[int]) -> Derived:
    """Return the sum of the normal forces, N, of all contacts between the geoms `some` and `others`."""

    def bind(data: mujoco.MjData) -> Reader:
        between, force = _between(some, others), np.zeros(6)

        def read(model: mujoco.MjModel, out: Array) -> None:
            out[0] = 0.0
            for contact in np.flatnonzero(between(data)) if data.ncon else ():
                mujoco.mj_contactForce(model, data, int(contact), force)
                out[0] += force[0]

        return read

    return Derived(name, 1, Needs.FORCES, bind)


def can_touch(model: mujoco.MjModel, geom: int, other: int) -> bool:
    """Tell whether MuJoCo looks at all for contacts between two geoms."""
    bodies = int(model.geom_bodyid[geom]), int(model.geom_bodyid[other])
    if any({geom, other} == {int(a), int(b)} for a, b in zip(model.pair_geom1, model.pair_geom2, strict=True)):
        return True  # the MJCF asks for this pair, whatever else it says
    masks = model.geom_contype[[geom, other]], model.geom_conaffinity[[other, geom]]
    if not (masks[0] & masks[1]).any() or ((min(bodies) << 16) + max(bodies)) in _excluded(model):
        return False
    first, second = (int(model.body_weldid[body]) for body in bodies)
    if first == second:
        return False
    parents = [int(model.body_weldid[model.body_parentid[body]]) for body in (first, second)]
    filters = not model.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT.value
    return not (filters and first and second and (first == parents[1] or second == parents[0]))


def _excluded(model: mujoco.MjModel) -> set[int]:
    """Return the pairs of bodies between which the MJCF wants no contacts, smaller number first."""
    pairs = ((int(signature) >> 16, int(signature) & 0xFFFF) for signature in model.exclude_signature)
    return {(min(pair) << 16) + max(pair) for pair in pairs}


def _between(some: Sequence[int], others: Sequence[int]) -> Between:
    """Return a function that tells of each contact [K] whether it is between these geoms."""
    first, second = np.array(some), np.array(others)

    def between(data: mujoco.MjData) -> BoolArray:
        a, b = data.contact.geom.T
        found: BoolArray = (np.isin(a, first) & np.isin(b, second)) | (np.isin(a, second) & np.isin(b, first))
        return found

    return between
