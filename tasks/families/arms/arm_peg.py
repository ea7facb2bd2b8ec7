"""arm-peg: a 7-joint arm puts a peg into a hole that is not quite where it is seen.

Description: reward ``-d - 0.2 (1 - exp(-(d / 0.03)^2))`` at each of 50 steps of 0.05 s, with the distance d (m)
between the peg's end and the hole's bottom; an episode never ends early. The block with the hole is drawn anew for each
episode and seen; the flange is seen, the peg's end is not. The hole is 28 mm wide and 50 mm deep, the peg 20 mm thick.
Parameters: offset (m), by how much the hole is offset from where it is observed, uniform on the disc of radius 0.015;
tool_length (m), uniform in [0.11, 0.17]; friction, the coefficient between peg and block, loguniform in [0.1, 1]; gain,
a factor on the motors' stiffness, loguniform in [0.6, 1.8]. Tasks outside: offsets of 0.016 to 0.02 m.
Success: the peg's end is 25 mm deep in the hole in each of the last 10 steps; known at the last step.

Shapes: N tasks; observation [N, 11]: flange (place, velocity, way to where it is asked), the block's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from mql.tasks.distributions import Disc, LogUniform
from mql.tasks.families.arms.arm import OBSERVED_LENGTH, ArmFamily, arm_splits, closeness, gain, tip, tool_length
from mql.tasks.families.rewards import distance
from mql.tasks.family import Array, FloatArray
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import Change, change
from mql.tasks.stepping.state import Outcome, State

LARGEST_OFFSET = 0.015  # m, in training
HOLE_TOP, HOLE_BOTTOM = 0.05, 0.01  # m; the bottom is where the peg's end is best
HOLE_HALF_WIDTH = 0.014  # m
DEPTH = 0.025  # m; deeper than this in the hole the peg is in
BLOCKS = np.array([[0.45, -0.06], [0.55, 0.06]])  # m; corners of where blocks stand
START = (0.5, 0.0, 0.28)  # m; with the longest peg 6 cm above the block
PROBE_OVER = 10  # steps until the peg stands over the hole as it is seen, before it comes down
_BLOCK = ("block_x", "block_y")


@dataclass(frozen=True, kw_only=True, eq=False)
class ArmPeg(ArmFamily):
    """The arm with a peg and a hole."""

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return the hole's place in its block, and the friction between peg and block, too."""
        return {
            **super().changes(),
            "offset": (change("set", "body_pos", body="hole"),),
            "friction": (
                change("set", "geom_friction", geom="peg"),
                change("set", "geom_friction", body="hole"),
            ),
        }

    def place(self, rng: np.random.Generator) -> Mapping[str, float]:
        """Draw where the block stands."""
        return dict(zip(_BLOCK, rng.uniform(*BLOCKS), strict=True))

    def observe(self, state: State) -> Array:
        """Return the flange, and the block's place (dm, from where the flange starts): [N, 11]."""
        block = (self.joints(state.qpos, *_BLOCK) - np.array(self.start[:2])) / OBSERVED_LENGTH
        return np.concatenate([self.observe_flange(state), block], axis=1)

    def seen_joints(self, obs: Array) -> None:
        """Say nothing: a peg that presses on the block turns the flange by 15 to 24 degrees, which nobody sees."""
        del obs

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward being close to the hole's bottom."""
        end = tip(after, parameters["tool_length"])
        hole = self.joints(after.qpos, *_BLOCK) + parameters["offset"]
        bottom = np.concatenate([hole, np.full((len(hole), 1), HOLE_BOTTOM)], axis=1)
        away = distance(end, bottom)
        over = (np.abs(end[:, :2] - hole) <= HOLE_HALF_WIDTH).all(axis=1)
        inside = over & (end[:, 2] <= HOLE_TOP - DEPTH)
        return Outcome(closeness(away), at_goal=inside, info={"distance": away})


def probe(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Go over the hole as it is seen, come down, and move about on the block."""
    to_block = obs[9:11] - obs[:2]
    aside = np.zeros(2) if t < PROBE_OVER else 0.3 * np.array([np.sin(t), np.cos(t)])
    down = 0.0 if t < PROBE_OVER else -0.7
    return np.array([*np.clip(4.0 * to_block + aside, -1.0, 1.0), down], np.float32)


def arm_peg(variant: str = "") -> ArmPeg:
    """Build arm-peg, or its variant ``oracle``."""
    family = ArmPeg(
        name="arm-peg",
        summary="a 7-joint arm puts a peg into a hole that is offset from where it is observed",
        obs_dim=11,
        scene="peg",
        tool="peg",
        start=START,
        probe=probe,
        parameters={
            "offset": Parameter(
                distribution=Disc(LARGEST_OFFSET),
                unit="m",
                doc="x and y of the hole, from where it is seen",
                bounds=(-0.03, 0.03),
            ),
            "tool_length": tool_length(0.11, 0.17),
            "friction": Parameter(
                distribution=LogUniform(0.1, 1.0), unit="1", doc="coefficient of peg and block", bounds=(0.0, 5.0)
            ),
            "gain": gain(),
        },
        splits=arm_splits({"offset": Disc(0.02, inner_radius=0.016)}),
    )
    return {"": family, "oracle": family.as_oracle()}[variant]
