"""The Fetch environments of Gymnasium-Robotics with hidden tasks: goal, masses and friction, actuation and sensing.

Shapes: an action is x, y, z displacement and gripper, [4]; an observation starts with the gripper's place (m) and,
where there is an object, the object's place and its place seen from the gripper.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.tasks.distributions import Value
from mql.tasks.families.robotics.environment import make_robotics
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import Change, change
from mql.tasks.scenes.source import MjcfFile

# The arm's joints from shoulder to wrist. The base is held by damping of 1e7 and more, and the head does nothing.
ARM_JOINTS = (
    "robot0:shoulder_pan_joint",
    "robot0:shoulder_lift_joint",
    "robot0:upperarm_roll_joint",
    "robot0:elbow_flex_joint",
    "robot0:forearm_roll_joint",
    "robot0:wrist_flex_joint",
    "robot0:wrist_roll_joint",
)
EPISODE_LENGTH = 50  # control steps: 2 s
DISPLACEMENT = slice(0, 3)  # of an action; the fourth number opens and closes the gripper
GRIPPER_PLACE = slice(0, 3)  # of an observation
OBJECT_FROM_GRIPPER = slice(6, 9)  # of an observation with an object

Array = npt.NDArray[Any]


def physics_of(*, drives: bool, has_object: bool) -> dict[str, tuple[Change, ...]]:
    """Return what task parameters can change in a Fetch model: name -> its changes.

    Args:
        drives: the fingers move; to reach and to push they stay shut.
        has_object: there is something on the table.
    """
    changes: dict[str, tuple[Change, ...]] = {"damping": (change("scale", "dof_damping", joint=ARM_JOINTS),)}
    if drives:
        changes["grip"] = (change("scale", "position_gain", actuator="*"),)
    if has_object:
        changes |= {
            "mass": (change("scale", "body_mass", body="object0"),),
            "friction": tuple(
                change("scale", "geom_friction", index=index, body=name)  # the pushing table's geom has no name
                for name in ("object0", "table0")
                for index in range(3)
            ),
        }
    return changes


def make_fetch(env_id: str, reward_type: str, render_mode: str | None = None) -> FetchTask:
    """Build one environment, without a step limit.

    Args:
        env_id: such as ``FetchPush-v4``.
        reward_type: ``dense`` (minus the distance in m) or ``sparse`` (-1 beyond 0.05 m, else 0).
        render_mode: None or ``rgb_array``.
    """
    return FetchTask(make_robotics(env_id, reward_type=reward_type, render_mode=render_mode))


class FetchTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A Fetch environment that takes its goal, physics, actuation and sensing from task parameters.

    Physics changes at once; the goal is placed after each reset, which otherwise draws one. Parameters that a task
    lacks stay as the environment has them.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        fetch: Any = env.unwrapped
        self._fetch = fetch
        self._parameters: Mapping[str, Value] = {}
        self._queue: deque[Array] = deque()
        changes = physics_of(drives=bool(fetch.model.nu), has_object=fetch.has_object)
        self._changed = tuple(changes)
        where = f"family {env.spec.id if env.spec is not None else 'fetch'}"
        self.physics_changes = PhysicsChanges(
            fetch.model, changes, where=lambda key: f"{where}: {key}", source=MjcfFile(Path(fetch.fullpath))
        )

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Change the physics, and keep the rest for the next episode."""
        self._parameters = parameters
        self.physics_changes.apply(self._fetch.model, {name: self._number(name, 1.0) for name in self._changed})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode, then place the goal; what the environment draws does not depend on the task."""
        obs, info = self.env.reset(seed=seed, options=options)
        if "goal" in self._parameters:
            self._fetch.goal = self._place_of_goal()
            obs["desired_goal"] = self._fetch.goal.copy()
        still = np.zeros(self.action_space.shape or (), dtype=np.float32)
        self._queue = deque(still for _ in range(int(self._number("action_delay", 0.0))))
        return self._seen(obs), info

    def step(self, action: Array) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Advance by one control step, with the action that the delay lets through.

        The first steps of a delayed task stand still. The gain scales the displacement; what then exceeds a full
        stroke is cut off, as the robot's own limit does.
        """
        self._queue.append(np.array(action))
        through = self._queue.popleft()
        through[DISPLACEMENT] = np.clip(through[DISPLACEMENT] * self._number("action_gain", 1.0), -1.0, 1.0)
        obs, reward, terminated, truncated, info = self.env.step(through)
        return self._seen(obs), reward, terminated, truncated, info

    def _seen(self, obs: dict[str, Array]) -> dict[str, Array]:
        """Shift the place where the gripper seems to be, and with it where it sees the object."""
        offset = self._parameters.get("sensor_offset")
        if offset is not None:
            obs["observation"][GRIPPER_PLACE] += offset
            if self._fetch.has_object:
                obs["observation"][OBJECT_FROM_GRIPPER] -= offset
        return obs

    def _place_of_goal(self) -> Array:
        """Return the goal's place [3] in m: where the environment itself draws it, with the task's offset."""
        fetch, goal = self._fetch, np.array(self._parameters["goal"])
        if not fetch.has_object:
            place: Array = fetch.initial_gripper_xpos[:3] + goal
            return place
        place = fetch.initial_gripper_xpos[:3] + np.append(goal, 0.0)
        place += fetch.target_offset
        place[2] = fetch.height_offset + max(0.0, self._number("goal_height", 0.0))
        return place

    def _number(self, name: str, default: float) -> float:
        value = self._parameters.get(name, default)
        assert not isinstance(value, tuple)
        return value
