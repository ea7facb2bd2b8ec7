"""hopper-params: a one-legged hopper moves forward on physics that it must infer.

Description: reward ``dx/dt + 1 - 1e-3 sum(a^2)`` at each of 200 steps of 0.016 s (four of 0.004 s, as the paper's
walker has them); the episode ends early when the torso's height falls to 0.7 m, its pitch reaches 0.2 rad either way,
or any other number of the state reaches 100.
Parameters: 41 multipliers, 1.5^U(-3, 3) on 5 masses, 15 moments of inertia and 15 friction coefficients, 1.3^U(-3, 3)
on 6 dampings; mass and inertia are drawn independently. `mql.tasks.families.locomotion.planar_runner` says which
entries can't act. Tasks outside: friction 1.5^U(-4, -3.05) and damping 1.3^U(3.05, 4).
Success: none is defined; returns are compared.

Variant: ``hopper-params-v5`` has the clock of Gymnasium's Hopper v5, steps of 0.008 s (four of 0.002 s).

The reward of 1 is also given at the step that ends an episode, where Gymnasium's Hopper v5 gives none.

Shapes: N tasks; qpos [N, 6], qvel [N, 6]; observation [N, 11].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.robots.models.hopper import HOPPER
from mql.tasks.families.locomotion.planar_runner import PlanarRunner, clocked, multipliers, splits
from mql.tasks.family import BoolArray
from mql.tasks.stepping.state import State

LOWEST = 0.7  # m; the torso is at 1.25 m when upright, and below 0.7 m it has fallen
PITCH = 0.2  # rad; a hopper that leans further can't catch itself
STATE_LIMIT = 100.0  # m, rad, m/s or rad/s; beyond this the simulation is about to blow up


@dataclass(frozen=True, kw_only=True, eq=False)
class HopperParams(PlanarRunner):
    """The hopper with varied physics."""

    def fallen(self, after: State) -> BoolArray:
        """Tell where the torso is too low or leans too far, or a number is huge, [N]; the limits count as fallen."""
        height, pitch = after.qpos[:, 1], after.qpos[:, 2]
        huge = (np.abs(after.qpos[:, 2:]) >= STATE_LIMIT).any(axis=1) | (np.abs(after.qvel) >= STATE_LIMIT).any(axis=1)
        down: BoolArray = (height <= LOWEST) | (np.abs(pitch) >= PITCH) | huge
        return down


def hopper_params(variant: str = "") -> HopperParams:
    """Build hopper-params, or its variant ``oracle`` or ``v5``."""
    robot = clocked(HOPPER)
    family = HopperParams(
        name="hopper-params",
        summary="one-legged hopper moves forward with hidden mass, inertia, friction and damping",
        obs_dim=11,
        action_dim=3,
        control_timestep=robot.control_timestep,
        robot=robot,
        parameters=multipliers(HOPPER),
        splits=splits(HOPPER),
    )
    return {"": family, "oracle": family.as_oracle(), "v5": family.at_model_clock(HOPPER)}[variant]
