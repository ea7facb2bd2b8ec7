"""Numbers of environments' MuJoCo models that are drawn anew for each episode, on top of what their tasks changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mql.errors import UserError
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.nuisances import Nuisance


class VariedModels:
    """The models of a family's environments.

    Args:
        nuisances: what each episode draws.
        family: name of the family, for messages.
        control_timestep: s.
    """

    def __init__(self, nuisances: Sequence[Nuisance], family: str, control_timestep: float) -> None:
        self._nuisances, self._family, self._timestep = tuple(nuisances), family, control_timestep
        # By the model's identity: some environments have several, or build a new one.
        self._known: dict[int, tuple[mujoco.MjModel, EpisodePhysics]] = {}

    def put_back(self, environment: gymnasium.Env[Any, Any]) -> None:
        """Undo what the episode before drew, so that the environment can set the task's own numbers."""
        model = self._model(environment)
        if id(model) in self._known:
            self._known[id(model)][1].changes.apply(model, {})

    def draw(self, environment: gymnasium.Env[Any, Any], seed: int) -> None:
        """Draw what the episode with this seed has, on top of the numbers that the task has set.

        Raises:
            UserError: there is no MuJoCo model, or it lacks what is named.
        """
        model = self._model(environment)
        if id(model) not in self._known:
            self._known[id(model)] = (
                model,
                EpisodePhysics(
                    model,
                    {},
                    self._nuisances,
                    control_timestep=self._timestep,
                    where=lambda key: f"family {self._family}: {key}",
                ),
            )
        physics = self._known[id(model)][1]
        physics.changes.rebase(model)
        physics.apply(model, {}, physics.draw(np.random.default_rng(seed)))

    def _model(self, environment: gymnasium.Env[Any, Any]) -> mujoco.MjModel:
        model = getattr(environment.unwrapped, "model", None)
        if not isinstance(model, mujoco.MjModel):
            mend = f"leave out {self._nuisances[0].place}"
            what = "there is no MuJoCo model whose numbers could differ"
            raise UserError(what, where=f"family {self._family}", mend=mend)
        return model
