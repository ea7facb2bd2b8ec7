"""Limits of the real machine, which no command exceeds: what they are, and what is told of them in ``info``.

Shapes: N tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.tasks.control.actuators import Indices
from mql.tasks.control.kinematics import ArmKinematics
from mql.tasks.family import Array, BoolArray

VELOCITY = "limited_velocity"  # a joint's or the end effector's speed limit cut what the action asked for
WORKSPACE = "limited_workspace"  # the end effector was asked to leave its workspace


@dataclass(frozen=True, eq=False)
class Box:
    """Where a place may be: between two corners, in a frame of its own.

    Args:
        low: [3] m.
        high: [3] m.
        origin: [3] m, of the frame, in the world.
        axes: [3, 3], the frame's axes as columns, in the world; None: the world's.
    """

    low: Array
    high: Array
    origin: Array | None = None
    axes: Array | None = None

    def keep(self, before: Array, place: Array) -> tuple[Array, BoolArray]:
        """Return places [N, 3] within the box, and which [N] were not. What is outside before may stay or come back."""
        own, old = self._own(place), self._own(before)
        kept = np.minimum(np.maximum(own, np.minimum(self.low, old)), np.maximum(self.high, old))
        outside = (kept != own).any(axis=1)
        if not outside.any():
            return place, outside
        if self.axes is not None:
            kept = (kept[:, None] @ self.axes.T)[:, 0]
        if self.origin is not None:
            kept = kept + self.origin
        return np.where(outside[:, None], kept, place), outside

    def _own(self, place: Array) -> Array:
        if self.origin is not None:
            place = place - self.origin
        # Row by row: a product of whole matrices would round a task's numbers as its neighbours' number has it.
        return place if self.axes is None else (place[:, None] @ self.axes)[:, 0]


@dataclass(frozen=True, eq=False)
class EndLimits:
    """Limits of an end effector that is moved by joints.

    Args:
        kinematics: of the joints between it and the world.
        seconds: s; a control step.
        speed: m/s; None: any.
        workspace: None: anywhere.
    """

    kinematics: ArmKinematics
    seconds: float
    speed: float | None
    workspace: Box | None

    def keep(self, qpos: Array, places: Indices, before: Array, asked: Array) -> tuple[Array, BoolArray, BoolArray]:
        """Return joint targets [N, K] that ask the end effector for nothing beyond its limits.

        They are on the way from the targets `before` [N, K] to those `asked` for [N, K]: shorter where that would be
        too fast, and none at all where it would lead out of the workspace.

        Args:
            qpos: [N, Q], where all joints are.
            places: [K], the targets' joints in it.
            before: [N, K].
            asked: [N, K].

        Returns:
            The targets, which [N] were asked for too fast a way, and which [N] to leave the workspace.
        """
        rows = len(qpos)
        poses = np.concatenate([qpos, qpos])
        poses[:rows, places], poses[rows:, places] = before, asked
        ends = self.kinematics.flange(poses[:, self.kinematics.qpos]).position
        first, last = ends[:rows], ends[rows:]
        slow = outside = np.zeros(rows, np.bool_)
        if self.speed is not None:
            way, farthest = np.linalg.norm(last - first, axis=1), self.speed * self.seconds
            slow = way > farthest * (1.0 + 1e-9)
            if slow.any():
                share = np.where(slow, farthest / np.maximum(way, farthest), 1.0)[:, None]
                asked = np.where(slow[:, None], before + share * (asked - before), asked)
                poses[rows:, places] = asked
                last = self.kinematics.flange(poses[rows:, self.kinematics.qpos]).position
        if self.workspace is not None:
            outside = self.workspace.keep(first, last)[1]
            asked = np.where(outside[:, None], before, asked)
        return asked, slow, outside

    def exceeded(self, qpos: Array, qvel: Array) -> tuple[BoolArray, BoolArray]:
        """Return where [N] the end effector is too fast, and where it has left its workspace and goes on."""
        flange = self.kinematics.flange(qpos[:, self.kinematics.qpos])
        speeds = np.ascontiguousarray(qvel[:, self.kinematics.qvel])[:, :, None]
        velocity = (flange.jacobian[:, :3] @ speeds)[:, :, 0]
        slow = outside = np.zeros(len(qpos), np.bool_)
        if self.speed is not None:
            slow = np.linalg.norm(velocity, axis=1) >= self.speed
        if self.workspace is not None:
            outside = self.workspace.keep(flange.position, flange.position + self.seconds * velocity)[1]
        return slow, outside
