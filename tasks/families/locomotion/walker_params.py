"""walker-params: a two-legged walker runs forward on physics that it must infer.

Description: reward ``dx/dt + 1 - 1e-3 sum(a^2)`` at each of 200 steps of 0.016 s (four of 0.004 s, as published); the
episode ends early when the torso's height leaves (0.8, 2.0) m or its pitch reaches 1 rad either way.
Parameters: 65 multipliers, 1.5^U(-3, 3) on 8 masses, 24 moments of inertia and 24 friction coefficients, 1.3^U(-3, 3)
on 9 dampings; mass and inertia are drawn independently. `mql.tasks.families.locomotion.planar_runner` says
which entries can't act. Tasks outside: friction 1.5^U(-4, -3.05) and damping 1.3^U(3.05, 4).
Success: none is defined; returns are compared.

Variants: ``walker-params-v5`` has the clock of Gymnasium's Walker2d v5, steps of 0.008 s (four of 0.002 s);
``walker-params-legacy`` has the older model, with less friction at the right foot. The reward of 1 is also given at the
step that ends an episode, where Walker2d v5 gives none.

Shapes: N tasks; qpos [N, 9], qvel [N, 9]; observation [N, 17].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.robots.models.walker2d import WALKER2D, WALKER2D_OLD
from mql.tasks.families.locomotion.planar_runner import PlanarRunner, clocked, multipliers, splits
from mql.tasks.family import BoolArray
from mql.tasks.stepping.state import State

HEIGHTS = (0.8, 2.0)  # m; the torso is at 1.25 m when upright, and below 0.8 m it has fallen
PITCH = 1.0  # rad; leaning this far, either way, is falling


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkerParams(PlanarRunner):
    """The walker with varied physics."""

    def fallen(self, after: State) -> BoolArray:
        """Tell where the torso is too low, too high or leans too far, [N]; the limits count as fallen."""
        height, pitch = after.qpos[:, 1], after.qpos[:, 2]
        down: BoolArray = (height <= HEIGHTS[0]) | (height >= HEIGHTS[1]) | (np.abs(pitch) >= PITCH)
        return down


def walker_params(variant: str = "") -> WalkerParams:
    """Build walker-params, or its variant ``oracle``, ``v5`` or ``legacy``."""
    robot = clocked(WALKER2D)
    family = WalkerParams(
        name="walker-params",
        summary="two-legged walker runs forward with hidden mass, inertia, friction and damping",
        obs_dim=17,
        action_dim=6,
        control_timestep=robot.control_timestep,
        robot=robot,
        parameters=multipliers(WALKER2D),
        splits=splits(WALKER2D),
    )
    legacy = family.variant("legacy", "older model", robot=clocked(WALKER2D_OLD))
    return {"": family, "oracle": family.as_oracle(), "v5": family.at_model_clock(WALKER2D), "legacy": legacy}[variant]
