"""Actions that command joints by their actuators: targets, speeds or efforts, as a control mode says; or ranges.

Each actuator that a mode commands takes one number of an action, in the model's order; a gripper takes the last one.
Actuators that drive no single joint are commanded by their ranges in any mode. All others hold still.

Targets are remembered, so that an arm which gives way under a load does not creep, and what was asked for is reached a
little later. They stay within the joints' ranges, and an action never asks a joint for more than a short way ahead of
where it is. Gears and gains are counted: an action is about joints.

Limits of the real machine (`mql.tasks.control.limits`) hold for what is commanded. Of efforts, which command no speed,
those that speed up what is too fast already, or drive the end effector on where it has left its workspace, are cut.

Shapes: N tasks, Q positions, V velocities, U actuators, K actuators of joints, M others, A numbers of an action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import mujoco
import numpy as np

from mql.errors import UserError
from mql.tasks.control.actuators import Holding, Indices
from mql.tasks.control.controller import EpisodeDrive
from mql.tasks.control.effector import NO_FINGERS, Fingers, Stroke
from mql.tasks.control.limits import VELOCITY, WORKSPACE, EndLimits
from mql.tasks.family import Array, BoolArray

NOTHING: Indices = np.zeros(0, np.intp)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Actuators whose controls are ``middle + half * a`` for their numbers a of an action.

    Args:
        columns: [M], their numbers of an action.
        actuators: [M].
        middle: [M].
        half: [M].
    """

    columns: Indices = field(default_factory=lambda: NOTHING)
    actuators: Indices = field(default_factory=lambda: NOTHING)
    middle: Array = field(default_factory=lambda: np.zeros(0))
    half: Array = field(default_factory=lambda: np.zeros(0))

    def command(self, controls: Array, action: Array) -> None:
        """Write into controls [N, U] what an action [N, A] asks for."""
        if self.actuators.size:
            controls[:, self.actuators] = self.middle + self.half * action[:, self.columns]


@dataclass(frozen=True, eq=False)
class RangeControl:
    """Actions command actuators' whole ranges, and nothing else is known of them."""

    ranges: Ranges
    holding: Holding
    stays: bool = False

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        return self.ranges.actuators.size

    def begin(self, qpos: Array, resting: Array) -> RangeEpisode:
        """Start an episode of each task; `resting` [N, U] are controls that hold all as it is."""
        return RangeEpisode(self.ranges, resting)

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> EpisodeDrive:
        """Command one simulation."""
        return EpisodeDrive(self, model, data)


class RangeEpisode:
    """An episode of N tasks that remembers nothing."""

    def __init__(self, ranges: Ranges, resting: Array) -> None:
        self._ranges, self._controls = ranges, resting.copy()
        self.limited: Mapping[str, BoolArray] = {}

    def see(self, qpos: Array, qvel: Array) -> Mapping[str, Array]:
        """Look at nothing."""
        return {}

    def controls(self, action: Array) -> Array:
        """Return the controls [N, U] for an action [N, A]: valid until the next."""
        self._ranges.command(self._controls, action)
        return self._controls


@dataclass(frozen=True, kw_only=True, eq=False)
class JointControl(ABC):
    """What the modes of joints have in common.

    Args:
        columns: [K], the joints' numbers of an action.
        actuators: [K].
        places: [K], where the joints stand in qpos.
        dofs: [K], and in qvel.
        ratio: [K], an actuator's control for 1 rad or m, 1 rad/s or m/s, 1 N m or N.
        ranges: actuators that drive no single joint.
        fingers: the gripper.
        end: limits of the end effector; None: it has none.
        fastest: [K] rad/s or m/s; None: any speed.
        seconds: s; a control step.
        holding: what holds all that no action moves.
        stays: whether no action asks the joints to stay where an episode starts.
    """

    columns: Indices
    actuators: Indices
    places: Indices
    dofs: Indices
    ratio: Array
    ranges: Ranges = field(default_factory=Ranges)
    fingers: Fingers = NO_FINGERS
    end: EndLimits | None = None
    fastest: Array | None = None
    seconds: float
    holding: Holding
    stays: bool = False

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        return self.actuators.size + self.ranges.actuators.size + self.fingers.action_dim

    def drive(self, model: mujoco.MjModel, data: mujoco.MjData) -> EpisodeDrive:
        """Command one simulation."""
        return EpisodeDrive(self, model, data)

    @abstractmethod
    def begin(self, qpos: Array, resting: Array) -> JointEpisode[Any]:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""


Commands = TypeVar("Commands", bound=JointControl)


class JointEpisode(ABC, Generic[Commands]):
    """An episode of N tasks: what it keeps of the robots, and of limits."""

    def __init__(self, control: Commands, qpos: Array, resting: Array) -> None:
        self._control, self._controls = control, resting.copy()
        self._qpos, self._qvel = qpos, np.zeros((len(qpos), 0))
        none = np.zeros(len(qpos), np.bool_)
        self.limited: dict[str, BoolArray] = {}
        self._limit(none, none)

    def see(self, qpos: Array, qvel: Array) -> Mapping[str, Array]:
        """Look at qpos [N, Q] and qvel [N, V]."""
        self._qpos, self._qvel = qpos, qvel
        return {}

    def controls(self, action: Array) -> Array:
        """Return the controls [N, U] for an action [N, A] where the robots were last seen: valid until the next."""
        control = self._control
        self._controls[:, control.actuators] = self._of_joints(action[:, control.columns])
        control.ranges.command(self._controls, action)
        control.fingers.command(self._controls, action)
        return self._controls

    @abstractmethod
    def _of_joints(self, action: Array) -> Array:
        """Return the joints' controls [N, K] for their numbers [N, K] of an action."""

    def _limit(self, slow: BoolArray, outside: BoolArray) -> None:
        control = self._control
        if control.fastest is not None or (control.end is not None and control.end.speed is not None):
            self.limited[VELOCITY] = slow
        if control.end is not None and control.end.workspace is not None:
            self.limited[WORKSPACE] = outside


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetControl(JointControl):
    """Position servos that are asked for joint targets: about a fixed pose, or a stroke from the last ones.

    Args:
        low: [K] rad or m, lowest target.
        high: [K], highest.
        middle: [K], the targets of no action; None: those that were asked for last.
        stroke: what an action of 1 adds, [K].
    """

    low: Array
    high: Array
    middle: Array | None
    stroke: Stroke

    def action_at(self, qpos: Array) -> Array:
        """Return the action [A] that asks the joints for where they are at qpos [Q]; all other numbers are 0."""
        action = np.zeros(self.action_dim)
        if self.middle is not None:
            action[self.columns] = np.clip((qpos[self.places] - self.middle) / self.stroke.length, -1.0, 1.0)
        return action

    def begin(self, qpos: Array, resting: Array) -> TargetEpisode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        return TargetEpisode(self, qpos, resting)


class TargetEpisode(JointEpisode[TargetControl]):
    """An episode of N tasks: the targets that were asked for, and what the servos carry beyond them."""

    def __init__(self, control: TargetControl, qpos: Array, resting: Array) -> None:
        super().__init__(control, qpos, resting)
        self._targets = qpos[:, control.places]
        self._load = resting[:, control.actuators] - control.ratio * self._targets

    def _of_joints(self, action: Array) -> Array:
        control, before = self._control, self._targets
        if control.middle is None:
            asked = control.stroke.ask(before, action, self._qpos[:, control.places])
            # Where an episode starts outside of the range, no action still asks for nothing.
            low, high = np.minimum(control.low, before), np.maximum(control.high, before)
        else:
            asked = control.middle + control.stroke.length * action
            low, high = control.low, control.high
        asked = np.minimum(np.maximum(asked, low), high)
        slow = outside = np.zeros(len(action), np.bool_)
        if control.fastest is not None:
            step = control.fastest * control.seconds
            cut = np.minimum(np.maximum(asked, before - step), before + step)
            slow, asked = (cut != asked).any(axis=1), cut
        if control.end is not None:
            asked, end_slow, outside = control.end.keep(self._qpos, control.places, before, asked)
            slow = slow | end_slow
        self._limit(slow, outside)
        self._targets = asked
        return self._load + control.ratio * asked


@dataclass(frozen=True, kw_only=True, eq=False)
class SpeedControl(JointControl):
    """Velocity servos that are asked for joint speeds.

    Args:
        scale: [K] rad/s or m/s, of an action of 1.
    """

    scale: Array

    def begin(self, qpos: Array, resting: Array) -> SpeedEpisode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        return SpeedEpisode(self, qpos, resting)


class SpeedEpisode(JointEpisode[SpeedControl]):
    """An episode of N tasks that remembers nothing but what it saw last."""

    def _of_joints(self, action: Array) -> Array:
        control = self._control
        asked = control.scale * action
        slow = outside = np.zeros(len(action), np.bool_)
        if control.fastest is not None:
            cut = np.minimum(np.maximum(asked, -control.fastest), control.fastest)
            slow, asked = (cut != asked).any(axis=1), cut
        if control.end is not None:
            # The way of this step, as if the joints had these speeds at once.
            before = self._qpos[:, control.places]
            after, end_slow, outside = control.end.keep(
                self._qpos, control.places, before, before + control.seconds * asked
            )
            cut_short = (end_slow | outside)[:, None]
            asked = np.where(cut_short, (after - before) / control.seconds, asked)
            slow = slow | end_slow
        self._limit(slow, outside)
        return control.ratio * asked


@dataclass(frozen=True, kw_only=True, eq=False)
class EffortControl(JointControl):
    """Motors that are asked for efforts.

    Args:
        scale: [K] N m or N, of an action of 1.
    """

    scale: Array

    def begin(self, qpos: Array, resting: Array) -> EffortEpisode:
        """Start an episode of each task from qpos [N, Q]; `resting` [N, U] are controls that hold all as it is."""
        return EffortEpisode(self, qpos, resting)


class EffortEpisode(JointEpisode[EffortControl]):
    """An episode of N tasks that remembers nothing but what it saw last."""

    def _of_joints(self, action: Array) -> Array:
        control = self._control
        asked = control.scale * action
        slow = outside = np.zeros(len(action), np.bool_)
        speeds = self._qvel[:, control.dofs]
        speeding = asked * speeds > 0.0  # efforts that speed their joints up
        if control.fastest is not None:
            cut = speeding & (np.abs(speeds) >= control.fastest)
            slow, asked = np.any(cut, axis=1), np.where(cut, 0.0, asked)
        if control.end is not None:
            end_slow, outside = control.end.exceeded(self._qpos, self._qvel)
            slow, outside = slow | (end_slow & speeding.any(axis=1)), outside & speeding.any(axis=1)
            asked = np.where(speeding & (end_slow | outside)[:, None], 0.0, asked)
        self._limit(slow, outside)
        return control.ratio * asked


def check_ranges(model: mujoco.MjModel, *, where: str) -> None:
    """Refuse an actuator without a control range, which actions could be mapped to.

    Raises:
        UserError: there is one.
    """
    ranges_of(model, np.arange(model.nu), where=where)


def ranges_of(
    model: mujoco.MjModel, actuators: Indices, *, columns: Indices | None = None, where: str, modes: str = ""
) -> Ranges:
    """Return actuators [M] that actions command by their ranges.

    Args:
        model: the compiled model.
        actuators: [M].
        columns: [M], their numbers of an action; None: the first ones.
        where: the place of what chose it, for messages.
        modes: what a message offers besides.

    Raises:
        UserError: an actuator has no range.
    """
    for actuator in map(int, actuators):
        low, high = model.actuator_ctrlrange[actuator]
        if not model.actuator_ctrllimited[actuator] or not low < high:
            name = model.actuator(actuator).name or str(actuator)
            mend = f'give it ctrlrange="LOW HIGH", which actions from -1 to 1 are mapped to{modes}'
            raise UserError(f"actuator {name!r} has no control range", where=where, mend=mend)
    low, high = (np.array(end, np.float64) for end in model.actuator_ctrlrange[actuators].T)
    columns = np.arange(len(actuators)) if columns is None else columns
    return Ranges(columns, actuators, (high + low) / 2.0, (high - low) / 2.0)
