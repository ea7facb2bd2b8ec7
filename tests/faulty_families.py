"""Families that are sound but for one thing, for the tests of the checks: variants of point-robot, and environments."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mql import tasks
from mql.tasks import registry
from mql.tasks.distributions import Uniform
from mql.tasks.families.locomotion.cheetah_vel import CheetahVel
from mql.tasks.families.small.point_robot import PointDynamics, PointRobot, point_robot
from mql.tasks.family import Array, Split, Task, TaskFamily
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.state import Outcome, State

Build = Callable[[], TaskFamily]
PLAIN = Parameter(distribution=Uniform(0.5, 2.0), unit="1", doc="varies")


def point(kind: type[PointRobot] = PointRobot, **changes: Any) -> Build:
    """point-robot as another class, with other fields."""
    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return lambda: kind(**(fields | changes))


def point_with(**parameters: Parameter) -> Build:
    return point(parameters={**point_robot().parameters, **parameters})


def point_splits(**changes: Split) -> Build:
    return point(splits={**point_robot().splits, **changes})


@dataclass(frozen=True, kw_only=True, eq=False)
class Moving(PointRobot):
    """point-robot with other laws of motion."""

    motion: type[PointDynamics] = PointDynamics

    def dynamics(self, tasks: Any, threads: int) -> PointDynamics:
        return self.motion(np.array([task.parameters["goal"] for task in tasks]))


class Tiring(PointDynamics):
    """Strength is never restored: every episode is a little weaker than the one before."""

    strength = 1.0

    def place(self, start: PhysicsState) -> State:
        self.strength *= 0.99
        return super().place(start)

    def advance(self, action: Array) -> tuple[State, State]:
        return super().advance(action * self.strength)


class FirstTaskForAll(PointDynamics):
    """Wind towards the first task's goal, in all tasks."""

    def advance(self, action: Array) -> tuple[State, State]:
        return super().advance(action + 0.1 * self._goal[:1])


class MeanOverRows(PointDynamics):
    """A statistic over the tasks that happen to be side by side."""

    def advance(self, action: Array) -> tuple[State, State]:
        return super().advance(action - 1e-3 * action.mean(axis=0))


class GreyFractions(PointDynamics):
    """Pictures from 0 to 1."""

    def render(self, row: int) -> Any:
        return super().render(row) / 255.0


class Windowed(PointRobot):
    """States a space that the robot leaves."""

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-1.02, 1.02, (2,), np.float32)


class Overlapping(PointRobot):
    """Test tasks are training tasks."""

    def tasks(self, split: str) -> list[Any]:
        return super().tasks("train" if split == "test" else split)


class StartsAtTheGoal(PointRobot):
    """A hidden goal is where episodes start."""

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Any]) -> tuple[Array, Array]:
        return 0.1 * np.array(parameters["goal"]) + rng.uniform(-0.5, 0.5, 2), np.zeros(0)


class RelabelsWithoutTheTask(PointRobot):
    """What transitions are worth in a task, computed for another one."""

    def reward(self, before: Any, after: Any, action: Any, task: Task) -> Any:
        return super().reward(before, after, action, self.task({"goal": (0.0, 0.0)}))


class RewardsAnything(PointRobot):
    """A reward that is the same whatever the goal."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        return Outcome(-np.linalg.norm(after.qpos, axis=1))


class HardlyTells(PointRobot):
    """What is left of the goal in the reward drowns."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        noise = np.sin(1e4 * after.qpos.sum(axis=1))
        return Outcome(noise + 1e-5 * (after.qpos * parameters["goal"]).sum(axis=1))


class Slider(gymnasium.Env[Any, Any]):
    """A point on a line, as somebody else's environment; subclasses do one thing wrong."""

    observation_space = gymnasium.spaces.Box(-20.0, 20.0, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, render_mode: str | None = None) -> None:
        self.gain, self.place = 1.0, 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = float(self.np_random.uniform(-1.0, 1.0))
        return np.array([self.place]), {}

    def step(self, action: Any) -> Any:
        self.place += 0.1 * self.gain * float(action[0])
        return np.array([self.place]), -abs(self.place), False, False, {}

    def set_gain(self, gain: float) -> None:
        self.gain = gain


class AnswersWithFour(Slider):
    """The step of before 2022."""

    def step(self, action: Any) -> Any:
        obs, reward, _, _, info = super().step(action)
        return obs, reward, False, info


class RollsItsOwnDice(Slider):
    """Chance that no seed governs."""

    def step(self, action: Any) -> Any:
        return super().step(np.asarray(action) + np.random.default_rng().normal(0.0, 0.01, 1))


class KeepsTheLastTask(Slider):
    """A task changes what the one before has left, not the original."""

    def set_gain(self, gain: float) -> None:
        self.gain *= gain


class SharesItsPlace(Slider):
    """The place belongs to the class: environments in one process push each other's point."""

    shared: dict[str, float] = {}  # noqa: RUF012 - the fault

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        obs, info = super().reset(seed=seed)
        self.shared["place"] = self.place
        return obs, info

    def step(self, action: Any) -> Any:
        self.place = self.shared["place"]
        answer = super().step(action)
        self.shared["place"] = self.place
        return answer


def set_gain(environment: gymnasium.Env[Any, Any], values: Mapping[str, Any]) -> None:
    environment.unwrapped.set_gain(values["gain"])  # type: ignore[attr-defined]


def around(kind: type[Slider], **options: Any) -> Build:
    return lambda: tasks.from_gymnasium(
        kind, {"gain": Uniform(0.5, 2.0)}, name="slider", set_task=set_gain, episode_length=20, **options
    )


class HeavyCheetah(CheetahVel):
    """A torso of twice the mass, in a model that is compiled already."""

    def model(self, task: Task) -> mujoco.MjModel:
        model = copy.deepcopy(super().model(task))
        model.body("torso").mass[0] *= 2.0
        return model


def heavy_cheetah() -> TaskFamily:
    plain = registry.load("cheetah-vel")
    return HeavyCheetah(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
