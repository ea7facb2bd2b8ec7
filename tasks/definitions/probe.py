"""An action of a definition that is held all along to let its task parameters show, for `mql tasks check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mql.errors import UserError
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.family import FloatArray


@dataclass(frozen=True)
class HeldAction:
    """Chooses one action again and again.

    Args:
        action: [A] in [-1, 1].
    """

    action: tuple[float, ...]

    def __call__(self, environment: Any, obs: FloatArray, step: int) -> FloatArray:
        """Return the action [A]."""
        return np.array(self.action, np.float32)


def probe_of(file: DefinitionFile, action_dim: int) -> HeldAction | None:
    """Return the probe of a definition; None: it has none, and random actions are played.

    Raises:
        UserError: it has not `action_dim` numbers.
    """
    held = file.definition.probe
    if not held:
        return None
    if len(held) != action_dim:
        what = f"an action has {action_dim} number{'s' if action_dim > 1 else ''}, the probe {len(held)}"
        raise UserError(what, where=file.where("probe"), mend="give one number in [-1, 1] for each")
    return HeldAction(held)
