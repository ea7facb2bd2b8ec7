"""arm-drawer: a 7-joint arm moves a drawer to a hidden opening, with its tool between the drawer's front and handle.

Description: reward ``-e - 0.2 (1 - exp(-(e / 0.03)^2)) - r`` at each of 50 steps of 0.05 s, with the distance e (m)
between the opening and the goal, and the distance r (m) of the tool's end from the gap behind the handle; an episode
never ends early. The drawer starts open by about 0.16 m and is seen; the goal shows in rewards only. In the gap the
tool can push and pull.
Parameters: opening (m), the goal, uniform in [0.03, 0.13]; mass (kg) of the drawer, loguniform in [0.5, 4]; damping
(N s/m) and friction (N) of its rail, loguniform in [4, 40] and [1, 8]; tool_length (m), uniform in [0.09, 0.15]: with
the shortest the arm must first reach down into the gap; gain, a factor on the motors' stiffness, loguniform in
[0.6, 1.8].
Tasks outside: opening in [0.005, 0.025] and mass in [4.2, 6].
Success: the opening is within 0.01 m of the goal in each of the last 10 steps; known at the last step.

Shapes: N tasks; observation [N, 11]: flange (place, velocity, way to where it is asked), opening and its speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from mql.robots.description import View
from mql.robots.models.arm7 import ARM7
from mql.tasks.distributions import LogUniform, Uniform
from mql.tasks.families.arms.arm import OBSERVED_LENGTH, ArmFamily, arm_splits, closeness, gain, tip, tool_length
from mql.tasks.family import Array, FloatArray
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import SMALLEST_SCALE, Change, change
from mql.tasks.stepping.state import Outcome, State

GOAL_TOLERANCE = 0.01  # m
OPEN = 0.16  # m; where the drawer starts
OPEN_NOISE = 0.002  # m, uniform; the tool starts free in the gap all the same
WIDEST = 0.24  # m; the end of the rail
GAP_AT_SHUT = 0.584  # m; x of the gap's middle when the drawer is shut; it comes nearer as the drawer opens
GAP = np.array([0.01, 0.06])  # m; how far from its middle, along x and y, the tool's end is still in the gap
GAP_TOP = 0.13  # m; below this height the tool's end is well in the gap
START = (GAP_AT_SHUT - OPEN, 0.0, 0.25)  # m
VIEW = View(body="link7", distance=1.5, azimuth=70.0, elevation=-20.0)  # from the robot's side, on the handle
PROBE_DESCENT = 12  # steps down into the gap, before pushing and pulling
PROBE_TURN = 10  # steps in each direction


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmDrawer(ArmFamily):
    """The arm with a drawer."""

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return the drawer's mass and its rail, too."""
        return {
            **super().changes(),
            "mass": (change("set", "body_mass", body="drawer"),),
            "damping": (change("set", "dof_damping", joint="drawer"),),
            "friction": (change("set", "dof_frictionloss", joint="drawer"),),
        }

    def place(self, rng: np.random.Generator) -> Mapping[str, float]:
        """Draw how far the drawer is open."""
        return {"drawer": rng.uniform(OPEN - OPEN_NOISE, OPEN + OPEN_NOISE)}

    def observe(self, state: State) -> Array:
        """Return the flange, and the opening (dm, from where it starts) and its speed: [N, 11]."""
        opening = (self.joints(state.qpos, "drawer") - OPEN) / OBSERVED_LENGTH
        speed = self.joints(state.qvel, "drawer") / OBSERVED_LENGTH
        return np.concatenate([self.observe_flange(state), opening, speed], axis=1)

    def seen_joints(self, obs: Array) -> Mapping[str, Array]:
        """Return the opening."""
        return {"drawer": obs[:, 9] * OBSERVED_LENGTH + OPEN}

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward an opening near the goal, and the tool being in the gap."""
        opening = self.joints(after.qpos, "drawer")[:, 0]
        end = tip(after, parameters["tool_length"])
        beside = np.abs(end[:, :2] - np.stack([GAP_AT_SHUT - opening, np.zeros_like(opening)], axis=1)) - GAP
        outside = np.maximum(np.concatenate([beside, end[:, 2:] - GAP_TOP], axis=1), 0.0)
        away = np.abs(opening - parameters["opening"])
        reward: Array = closeness(away) - np.sqrt((outside * outside).sum(axis=1))
        return Outcome(reward, at_goal=away <= GOAL_TOLERANCE, info={"distance": away})


def probe(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Reach down into the gap, then push and pull."""
    if t < PROBE_DESCENT:
        return np.array([0.0, 0.0, -0.5], np.float32)
    push = (t - PROBE_DESCENT) // PROBE_TURN % 2 == 0
    return np.array([1.0 if push else -1.0, 0.0, 0.0], np.float32)


def arm_drawer(variant: str = "") -> ArmDrawer:
    """Build arm-drawer, or its variant ``oracle``."""
    family = ArmDrawer(
        name="arm-drawer",
        summary="a 7-joint arm moves a drawer of hidden weight and friction to a hidden opening",
        obs_dim=11,
        scene="drawer",
        robot=replace(ARM7, view=VIEW),
        start=START,
        start_noise=0.002,
        probe=probe,
        parameters={
            "opening": Parameter(
                distribution=Uniform(0.03, 0.13), unit="m", doc="the hidden goal", bounds=(0.0, WIDEST)
            ),
            "mass": Parameter(
                distribution=LogUniform(0.5, 4.0), unit="kg", doc="of the drawer", bounds=(SMALLEST_SCALE, 100.0)
            ),
            "damping": Parameter(
                distribution=LogUniform(4.0, 40.0), unit="N s/m", doc="of the drawer's rail", bounds=(0.0, 1000.0)
            ),
            "friction": Parameter(
                distribution=LogUniform(1.0, 8.0), unit="N", doc="dry friction of the rail", bounds=(0.0, 100.0)
            ),
            "tool_length": tool_length(0.09, 0.15),
            "gain": gain(),
        },
        splits=arm_splits({"opening": Uniform(0.005, 0.025), "mass": LogUniform(4.2, 6.0)}),
    )
    return {"": family, "oracle": family.as_oracle()}[variant]
