"""cheetah-dir: the half-cheetah runs forward or backward, and is not told which.

Description: reward ``direction * dx/dt - 0.05 sum(a^2)`` at each of 200 steps; an episode never ends early.
Parameters: direction, +1 (forward) or -1 (backward). These two are all the tasks there are: train and test share them.
Success: none is defined. An agent that runs forward always gets about 0 on average, so look at the worse task.

Variant: ``cheetah-dir-legacy`` also observes the torso's place, 20 numbers in all, as the published runs did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mql.tasks.distributions import Choice
from mql.tasks.families.locomotion.half_cheetah import CONTROL_COST_WEIGHT, HalfCheetahFamily
from mql.tasks.families.rewards import control_cost
from mql.tasks.family import Array, Split
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.state import Outcome, State

DIRECTIONS = (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class CheetahDir(HalfCheetahFamily):
    """The half-cheetah with a direction."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward speed in the wanted direction, and punish effort."""
        speed = self.forward_speed(before, after)
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        reward: Array = parameters["direction"] * speed - effort
        return Outcome(reward, info={"x_velocity": speed, "control_cost": effort})


def cheetah_dir() -> CheetahDir:
    """Build cheetah-dir."""
    both = Split(listed=tuple({"direction": direction} for direction in DIRECTIONS))
    return CheetahDir(
        name="cheetah-dir",
        summary="half-cheetah runs in a hidden direction, forward or backward",
        parameters={
            "direction": Parameter(
                distribution=Choice(DIRECTIONS), unit="1", doc="+1 forward, -1 backward", allowed=DIRECTIONS
            )
        },
        splits={"train": both, "test": both},
        shared_splits=True,
    )


def cheetah_dir_legacy() -> CheetahDir:
    """Build cheetah-dir with the 20 observed numbers of the published runs."""
    return cheetah_dir().as_legacy()


def cheetah_dir_oracle() -> CheetahDir:
    """Build cheetah-dir with the direction in the observation."""
    return cheetah_dir().as_oracle()
