"""Actions as a batch takes them: one row for each lane, finite, within [-1, 1].

Shapes: N lanes, A action.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.family import TaskFamily

Array = npt.NDArray[np.float64]


def checked_actions(family: TaskFamily, lanes: int, actions: npt.ArrayLike) -> Array:
    """Return a copy of `actions` as [N, A] float64, clipped to [-1, 1].

    Raises:
        UserError: actions not of shape [N, A], or not finite.
    """
    where = f"family {family.name}"
    action = np.array(actions, dtype=np.float64)
    expected = (lanes, family.action_dim)
    if action.shape != expected:
        raise UserError(
            f"actions have shape {list(action.shape)}",
            where=where,
            mend=f"give {list(expected)}: {expected[0]} lanes with {expected[1]} numbers each",
        )
    finite = np.isfinite(action).all(axis=1)
    if not finite.all():
        lane = int(np.flatnonzero(~finite)[0])
        mend = "look for NaN or infinity in the policy's output"
        raise UserError(f"the action of lane {lane} is not finite", where=where, mend=mend)
    return np.clip(action, -1.0, 1.0, out=action)
