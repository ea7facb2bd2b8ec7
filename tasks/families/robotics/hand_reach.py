"""hand-reach: a Shadow hand brings its thumb and a hidden finger together at a hidden place.

Description: 20 position targets of the joints are the actions. Reward at each of 50 steps: minus the distance (m) of
the five fingertips, taken together, to where they should be; an episode never ends early. The agent sees joints and
fingertips but no goal: it must infer from rewards which finger is meant, and where.
Parameters: finger that meets the thumb (0 to 3, first to little); offset (m) of the meeting point from a place above
the palm. Both as the package draws them, save that its offset is Gaussian with 0.005 m, and that a tenth of its goals
ask for no meeting at all.
Success: the five fingertips, taken together, are within 0.01 m of the goal at any step.

Shapes: action [20]; observation [63]: 24 joint angles, their speeds, five fingertips; goal [15]: five fingertips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.tasks.distributions import Choice, Uniform, Value
from mql.tasks.families.robotics.environment import PendingTask, make_robotics, set_task
from mql.tasks.family import Split
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

EPISODE_LENGTH = 50  # control steps: 2 s
CONTROL_TIMESTEP = 0.04  # s; 20 physics steps of 2 ms
FINGERS = (0.0, 1.0, 2.0, 3.0)  # first, middle, ring, little
THUMB = 4  # place of the thumb among the five fingertips
MEETING_PLACE = (0.0, -0.09, 0.05)  # m from the palm
FINGERTIP_RADIUS = 0.005  # m by which each of the two stays short of the meeting point, or they would overlap
OFFSETS = Uniform(-0.01, 0.01, size=3)  # m; two standard deviations of the package's draw
LARGER_OFFSETS = Uniform(0.012, 0.02, size=3)  # m
OFFSET_BOUNDS = (-0.2, 0.2)  # m; a hand's length, so beyond what the fingers reach


class HandTask(PendingTask):
    """The hand with a goal from task parameters."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, then place the goal."""
        obs, info = self.env.reset(seed=seed, options=options)
        if self._parameters:
            hand: Any = self.env.unwrapped
            hand.goal = goal_of(hand.initial_goal, hand.palm_xpos, self._parameters)
            obs["desired_goal"] = hand.goal.copy()
        return obs, info


def goal_of(
    fingertips: npt.NDArray[np.float64], palm: npt.NDArray[np.float64], parameters: Mapping[str, Value]
) -> npt.NDArray[np.float64]:
    """Return where the five fingertips should be, [15] in m.

    Args:
        fingertips: where they are at the start, [15] in m; the three that do not meet should stay there.
        palm: where the palm is, [3] in m.
        parameters: the task's finger and offset.
    """
    goal = fingertips.reshape(5, 3).copy()
    finger, offset = parameters["finger"], parameters["offset"]
    assert not isinstance(finger, tuple)
    meeting = palm + np.array(MEETING_PLACE)
    meeting += offset
    for tip in (THUMB, int(finger)):
        way = meeting - goal[tip]
        way /= np.linalg.norm(way)
        goal[tip] = meeting - FINGERTIP_RADIUS * way
    return goal.reshape(-1)


def make_hand(render_mode: str | None = None) -> HandTask:
    """Build one hand."""
    return HandTask(make_robotics("HandReach-v3", reward_type="dense", render_mode=render_mode))


def hand_reach() -> GymnasiumFamily:
    """Build hand-reach."""
    return GymnasiumFamily(
        name="hand-reach",
        summary="a hand brings its thumb and a hidden finger together",
        obs_dim=63,
        action_dim=20,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        make_env=make_hand,
        set_task=set_task,
        observed_keys=("observation",),
        success_key="is_success",
        has_success=True,
        parameters={
            "finger": Parameter(
                distribution=Choice(FINGERS),
                unit="1",
                doc="which finger meets the thumb: 0 first, 1 middle, 2 ring, 3 little",
                allowed=FINGERS,
            ),
            "offset": Parameter(
                distribution=OFFSETS,
                unit="m",
                doc="x, y and z of the meeting point, seen from 0.09 m before and 0.05 m above the palm",
                bounds=OFFSET_BOUNDS,
            ),
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override={"offset": LARGER_OFFSETS}),
        },
    )
