"""Families that break one promise each: the check of that promise finds it, and all other checks pass."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest

from mql.cli.check import check_families
from mql.errors import UserError
from mql.tasks.checks.effort import QUICK, Effort
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.distributions import Fixed, Uniform
from mql.tasks.families.small.point_robot import PointDynamics, PointRobot, point_robot
from mql.tasks.family import Array, BatchStep, Split, TaskFamily
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.state import Outcome, State

EFFORT = replace(QUICK, speed_seconds=0.005)
IDLE = Parameter(distribution=Uniform(0.0, 1.0), unit="1", doc="does nothing")
_fresh_number = count()


def variant(kind: type[PointRobot] = PointRobot, **changes: Any) -> PointRobot:
    """point-robot as another class, with other fields."""
    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return kind(**(fields | changes))


def splits(**changes: Split) -> dict[str, Split]:
    return {**point_robot().splits, **changes}


class WideActions(PointRobot):
    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-2.0, 2.0, (2,), np.float32)


class NarrowSpace(PointRobot):
    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-1.02, 1.02, (2,), np.float32)


class SharedTasks(PointRobot):
    def tasks(self, split: str) -> list[Any]:
        return super().tasks("train" if split == "test" else split)


@dataclass
class Tired(PointDynamics):
    """From the fifth step of a second episode on, every step is a little short."""

    def __init__(self, goal: Array) -> None:
        super().__init__(goal)
        self.resets = self.steps = 0

    def place(self, start: PhysicsState) -> State:
        self.resets, self.steps = self.resets + 1, 0
        return super().place(start)

    def advance(self, action: Array) -> tuple[State, State]:
        self.steps += 1
        return super().advance(action * (0.999 if self.resets > 1 and self.steps >= 5 else 1.0))


class Crowded(PointDynamics):
    """A task is drawn towards its neighbours."""

    def advance(self, action: Array) -> tuple[State, State]:
        return super().advance(action + 1e-3 * (self._state.qpos.mean(axis=0) - self._state.qpos))


class GoalSeen(PointDynamics):
    """From the first step on, the third number is the goal's x."""

    def place(self, start: PhysicsState) -> State:
        return super().place(replace(start, qpos=np.hstack([start.qpos, np.zeros((len(start.qpos), 1))])))

    def advance(self, action: Array) -> tuple[State, State]:
        before = self._state
        moved = before.qpos[:, :2] + 0.1 * action
        self._state = State(np.hstack([moved, 2.0 * self._goal[:, :1] + 1.0]), before.qvel)
        return before, self._state


class FloatPictures(PointDynamics):
    def render(self, row: int) -> Any:
        return super().render(row) / 255.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Moving(PointRobot):
    """point-robot with other laws of motion."""

    motion: type[PointDynamics] = PointDynamics

    def dynamics(self, tasks: Any, threads: int) -> PointDynamics:
        return self.motion(np.array([task.parameters["goal"] for task in tasks]))

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        return super().outcome(before, State(after.qpos[:, :2], after.qvel), action, parameters)


class NearTheGoal(PointRobot):
    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Any]) -> tuple[Array, Array]:
        return 0.1 * np.array(parameters["goal"]) + rng.uniform(-0.5, 0.5, 2), np.zeros(0)


class NaNReward(PointRobot):
    """NaN only where three tasks are played side by side; an environment alone looks for NaN itself."""

    def make_batch(self, tasks: Any, *, threads: int = 1) -> Any:
        batch = super().make_batch(tasks, threads=threads)
        step = batch.step
        if len(tasks) != 3:
            return batch

        def stepped(actions: Any) -> BatchStep:
            result = step(actions)
            result.reward = np.where(np.abs(result.obs[:, 0]) > 1.0, np.float32(np.nan), result.reward)
            return result

        batch.step = stepped  # type: ignore[method-assign]
        return batch


class AlwaysSolved(PointRobot):
    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        return replace(super().outcome(before, after, action, parameters), at_goal=np.ones(len(action), np.bool_))


class FaintGoal(PointRobot):
    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        noise = np.sin(1e4 * after.qpos.sum(axis=1))  # hides what is left of the goal
        return Outcome(noise + 1e-5 * (after.qpos * parameters["goal"]).sum(axis=1))


class ZeroWhenAsked(PointRobot):
    def reward(self, before: Any, after: Any, action: Any, task: Any) -> Any:
        return np.zeros(len(action), np.float32)


def with_parameter(parameter: Parameter) -> PointRobot:
    return variant(parameters={**point_robot().parameters, "colour": parameter})


def other_tasks_each_time() -> PointRobot:
    return variant(splits=splits(train=Split(n=40, seed=100 + next(_fresh_number))))


VIOLATORS: dict[str, tuple[Callable[[], TaskFamily], str, str, str]] = {
    "wide actions": (partial(variant, WideActions), "builds", "fail", "action space"),
    "shared tasks": (partial(variant, SharedTasks), "splits", "fail", "share 40 tasks"),
    "shared and flagged": (partial(variant, SharedTasks, shared_splits=True), "splits", "warn", "unseen tasks"),
    "other tasks each time": (other_tasks_each_time, "splits", "fail", "another train split"),
    "ood inside": (
        partial(variant, splits=splits(ood=Split(n=5, seed=9, override={"goal": Uniform(-0.5, 0.5, 2)}))),
        "ood",
        "fail",
        "; trained on goal from -1 to 1): move",
    ),
    "drift": (partial(variant, Moving, motion=Tired), "determinism", "fail", "after a second reset"),
    "crowded tasks": (partial(variant, Moving, motion=Crowded), "agreement", "fail", "in a batch"),
    "NaN": (partial(variant, NaNReward), "finite", "fail", "gave the reward nan"),
    "narrow space": (partial(variant, NarrowSpace), "finite", "fail", "widen the space"),
    "start shows": (partial(variant, NearTheGoal), "hidden", "fail", "first observation"),
    "later shows": (
        partial(variant, Moving, motion=GoalSeen, obs_dim=3),
        "hidden",
        "fail",
        "number 2 of every later observation is the hidden goal[0]",
    ),
    "idle parameter": (partial(with_parameter, IDLE), "effect", "fail", "no effect of 'colour'"),
    "one value": (
        partial(with_parameter, replace(IDLE, distribution=Fixed(1.0))),
        "effect",
        "warn",
        "'colour' has one value",
    ),
    "always solved": (
        partial(variant, AlwaysSolved, has_success=True, hold_steps=1),
        "success",
        "fail",
        "succeed in 10 of 10",
    ),
    "faint goal": (partial(variant, FaintGoal), "identifiability", "warn", "propensity has little"),
    "zeros for rewards": (partial(variant, ZeroWhenAsked), "reward", "fail", "are not its own"),
    "lambda": (
        partial(variant, probe=lambda env, obs, step: np.ones(2, np.float32)),
        "pickle",
        "fail",
        "does not pickle",
    ),
    "float pictures": (partial(variant, Moving, motion=FloatPictures), "render", "fail", "uint8"),
}


def run_all(build: Callable[[], TaskFamily], effort: Effort = EFFORT) -> dict[str, Any]:
    inspection = Inspection(build, effort)
    return {name: run_check(inspection, name) for name in CHECKS}


@pytest.mark.parametrize("name", VIOLATORS)
def test_one_check_finds_it_and_the_others_pass(name: str) -> None:
    build, check, result, text = VIOLATORS[name]
    verdicts = run_all(build)
    assert (verdicts[check].result, text in verdicts[check].message) == (result, True), verdicts[check]
    assert not {other: found for other, found in verdicts.items() if other != check and found.result != "pass"}
    assert "\n" not in verdicts[check].message and ": " in verdicts[check].message


def test_every_check_that_can_fail_has_a_violator() -> None:
    # They look into a definition or a model, and have files of tests of their own.
    elsewhere = {"reachable", "recompiled", "rest", "stated"}
    assert {check for _, check, _, _ in VIOLATORS.values()} == set(CHECKS) - {"speed"} - elsewhere


class Raising(PointRobot):
    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        if (np.abs(after.qpos) > 1.02).any():
            raise ZeroDivisionError("off the plane\nby far")
        return super().outcome(before, after, action, parameters)


class GrowingObservation(PointRobot):
    def observe(self, state: State) -> Array:
        far = (np.abs(state.qpos) > 1.02).any()
        return np.hstack([state.qpos, state.qpos]) if far else state.qpos


@pytest.mark.parametrize("kind", [Raising, GrowingObservation])
def test_an_exception_is_one_line_that_names_the_task(kind: type[PointRobot]) -> None:
    verdicts = run_all(partial(variant, kind))
    assert verdicts["splits"].result == verdicts["ood"].result == "pass"
    finite = verdicts["finite"]
    assert finite.result == "fail" and "goal=(" in finite.message and "\n" not in finite.message
    if kind is Raising:
        assert "ZeroDivisionError: off the plane" in finite.message and "by far" not in finite.message


def test_a_family_that_cannot_be_built_says_why() -> None:
    def broken() -> TaskFamily:
        raise UserError("package x is missing", mend="install it with pip install x")

    verdict = run_check(Inspection(broken, EFFORT), "builds")
    assert verdict.result == "fail"
    assert verdict.message == "the family can't be built: package x is missing: install it with pip install x"


def sleeping_point() -> TaskFamily:
    def advance(self: PointDynamics, action: Array) -> tuple[State, State]:
        time.sleep(600 if len(action) == 32 else 0)
        return PointDynamics.advance(self, action)

    return variant(Moving, motion=type("Sleeping", (PointDynamics,), {"advance": advance}))


def dying_point() -> TaskFamily:
    def advance(self: PointDynamics, action: Array) -> tuple[State, State]:
        if len(action) == 32:  # only the measurement of speed has so many tasks
            os.abort()
        return PointDynamics.advance(self, action)

    return variant(Moving, motion=type("Dying", (PointDynamics,), {"advance": advance}))


def test_hangs_and_crashes_cost_their_check_only() -> None:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)  # the workers don't find test modules
    try:
        effort = replace(EFFORT, check_seconds=6.0)
        builds = {"sleeping": sleeping_point, "dying": dying_point}
        every = check_families(builds, effort, opengl=False, slots=2, checks=("builds", "speed", "hidden"))
        found = {each.family: {line.check: line for line in each.results} for each in every}
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    expected = {"sleeping": "did not finish within 6 s", "dying": "ended its process: died (signal SIGABRT)"}
    for name, text in expected.items():
        results = {check: line.result for check, line in found[name].items()}
        assert results == {"builds": "pass", "speed": "fail", "hidden": "pass"}, found[name]
        assert text in found[name]["speed"].message and "goal=(" in found[name]["speed"].message


def test_a_family_that_uses_up_its_time_says_which_checks_were_not_begun() -> None:
    effort = replace(EFFORT, family_seconds=0.0)
    (found,) = check_families({"point-robot": point_robot}, effort, opengl=False, slots=1, checks=("builds", "ood"))
    assert [line.result for line in found.results] == ["fail", "fail"]
    assert "check ood was not started" in found.results[1].message
