"""Faults made on purpose, of the kinds that people make: each is caught by the check of its name.

Every fault is a small family or definition that is sound but for one thing. A fault whose check is not in the table yet
waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from lab_definitions import PYTHON, REWARD, SUCCESS, write_parallel, write_python

from mql import tasks
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.distributions import Fixed, Uniform
from mql.tasks.families.small.point_robot import PointDynamics, PointRobot, point_robot
from mql.tasks.family import Array, Split, TaskFamily
from mql.tasks.parameter import Parameter
from mql.tasks.stepping.state import Outcome, State

Build = Callable[[], TaskFamily]
EFFORT = replace(QUICK, speed_seconds=0.005)
PLAIN = Parameter(distribution=Uniform(0.5, 2.0), unit="1", doc="varies")


@dataclass(frozen=True)
class Fault:
    """What is wrong, how the family is made in a folder, and the check that says so: fail, or warn."""

    check: str
    make: Callable[[Path], Build]
    text: str
    result: str = "fail"


# ---- definitions in YAML -------------------------------------------------------------------------------------------


def definition(folder: Path, **changed: str) -> Build:
    """The lab's cart, with other parameters, reward, success or env."""
    path = write_parallel(folder, **{"success": SUCCESS, **changed})
    return partial(tasks.from_file, path)


def replaced(folder: Path, old: str, new: str, **changed: str) -> Build:
    """The lab's cart, with a piece of its YAML exchanged."""
    path = write_parallel(folder, **{"success": SUCCESS, **changed})
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return partial(tasks.from_file, path)


def parameter(name: str, apply: str = "", low: float = 0.5, high: float = 2.0) -> str:
    changes = f", apply: [{{{apply}}}]" if apply else ""
    return f"  {name}: {{value: {{dist: uniform, low: {low}, high: {high}}}{changes}}}\n"


def with_class(folder: Path, old: str, new: str) -> Build:
    """The lab's cart with a Python class, in which a piece is exchanged."""
    assert old in PYTHON
    path = write_python(folder, code=PYTHON.replace(old, new))
    return partial(tasks.from_file, path, trust=True)


LIMP = """<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.005"/>
  <worldbody>
    <body name="arm">
      <joint name="lift" axis="0 1 0" range="-2 2" damping="0.2" armature="0.01"/>
      <geom name="arm" type="capsule" fromto="0 0 0 0.5 0 0" size="0.02" mass="2"/>
      <site name="tip" pos="0.5 0 0"/>
    </body>
  </worldbody>
  <actuator><position name="lift" joint="lift" kp="3" kv="0.5" ctrlrange="-1.5 1.5"/></actuator>
  <keyframe><key name="home" qpos="0" ctrl="0"/></keyframe>
</mujoco>
"""
LIMP_TASK = """schema: mql.task_family/1
name: limp
version: 1
description: Hold the tip where a hidden number says.
env: {mjcf: limp.xml, episode_length: 40, frame_skip: 10}
parameters:
  height: {value: {dist: uniform, low: -0.1, high: 0.1}, unit: m, doc: where the tip should be}
reward: {terms: {near: {expr: "-abs(info.site_tip[2] - task.height)"}}}
success: {expr: "abs(info.site_tip[2] - task.height) < 0.01", hold: 3}
splits: {train: {n: 6, seed: 1}, test: {n: 4, seed: 2}}
"""


def limp_arm(folder: Path) -> Build:
    """Two kilograms at the end of a servo of 3 N m/rad: asked to stay level, it hangs down."""
    (folder / "limp.xml").write_text(LIMP)
    (folder / "limp.yaml").write_text(LIMP_TASK)
    return partial(tasks.from_file, folder / "limp.yaml")


# ---- families in Python --------------------------------------------------------------------------------------------


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

    def place(self, qpos: Array, qvel: Array) -> State:
        self.strength *= 0.99
        return super().place(qpos, qvel)

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


def always(build: Build) -> Callable[[Path], Build]:
    return lambda folder: build


LINE = "abs(info.joint_rail - task.goal) < 0.05"

FAULTS: Mapping[str, Fault] = {
    # The interface.
    "four values from step": Fault("builds", always(around(AnswersWithFour)), "4"),
    "an expression with a name that is not there": Fault(
        "builds", lambda folder: replaced(folder, "info.joint_rail - task", "info.joint_rial - task"), "joint_rail"
    ),
    "a family that does not pickle": Fault(
        "pickle", always(point(probe=lambda env, obs, step: np.ones(2, np.float32))), "does not pickle"
    ),
    "pictures of fractions": Fault("render", always(point(Moving, motion=GreyFractions)), "uint8"),
    # The lists of tasks.
    "test tasks that are trained on": Fault("splits", always(point(Overlapping)), "share 40 tasks"),
    "ood within the training range": Fault(
        "ood",
        always(point_splits(ood=Split(n=5, seed=9, override={"goal": Uniform(-0.5, 0.5, 2)}))),
        "lies inside the training ranges",
    ),
    "ood that its override forgets": Fault(
        "ood",
        lambda folder: replaced(folder, "low: 0.6, high: 0.7", "low: 0.3, high: 0.7"),
        "lies inside the training ranges",
    ),
    # What is stated.
    "a parameter that nothing reads": Fault(
        "stated", lambda folder: definition(folder, parameters=parameter("colour")), "parameters.colour"
    ),
    "a factor on damping that is 0": Fault(
        "stated",
        lambda folder: definition(
            folder, parameters=parameter("loss", "field: dof_frictionloss, joint: rail, op: scale")
        ),
        "any factor of 0 is 0",
    ),
    "friction of what touches nothing": Fault(
        "stated",
        lambda folder: definition(folder, parameters=parameter("grip", "field: geom_friction, geom: box, op: scale")),
        "touches nothing",
    ),
    "a hold longer than the episode": Fault(
        "stated", lambda folder: definition(folder, success=SUCCESS.replace("hold: 2", "hold: 20")), "success.hold"
    ),
    "a term of weight 0": Fault(
        "stated", lambda folder: definition(folder, reward=REWARD.replace("weight: 2.0", "weight: 0")), "weight of 0"
    ),
    # What an episode depends on.
    "strength that no reset restores": Fault(
        "determinism", always(point(Moving, motion=Tiring)), "after a second reset"
    ),
    "chance that no seed governs": Fault("determinism", always(around(RollsItsOwnDice)), "differs from step 1 on"),
    "a task that changes what the last one left": Fault("determinism", always(around(KeepsTheLastTask)), "after a"),
    "a class that counts episodes": Fault(
        "determinism",
        lambda folder: with_class(
            folder,
            "        data.qpos[self.rail] = rng.uniform(-0.01, 0.01)",
            "        self.many = getattr(self, 'many', 0) + 1\n"
            "        data.qpos[self.rail] = rng.uniform(-0.01, 0.01) * self.many",
        ),
        "an episode differs from step 0 on",
    ),
    "the first task's wind for all": Fault(
        "agreement", always(point(Moving, motion=FirstTaskForAll)), "tasks that differ in 'goal'"
    ),
    "a mean over the tasks": Fault("agreement", always(point(Moving, motion=MeanOverRows)), "a row of its own"),
    "a place that belongs to the class": Fault("agreement", always(around(SharesItsPlace)), "the same task alone"),
    # Numbers.
    "a logarithm of a distance below 0": Fault(
        "finite",
        lambda folder: definition(
            folder, reward='reward: {terms: {near: {expr: "log(info.joint_rail - task.goal)"}}}\n'
        ),
        "the reward is nan (its term 'near')",
    ),
    "an observation outside of its space": Fault("finite", always(point(Windowed)), "widen the space"),
    # What the agent is told.
    "a hidden target that is observed": Fault(
        "hidden",
        lambda folder: definition(
            folder,
            parameters=parameter("target", "field: site_pos, site: tip, index: 2, op: add", -0.2, 0.2),
            env=", observe: [qpos, qvel, site_tip]",
        ),
        "the hidden target",
    ),
    "a start that shows the goal": Fault("hidden", always(point(StartsAtTheGoal)), "first observation"),
    # What is wanted.
    "a parameter without effect": Fault("effect", always(point_with(colour=PLAIN)), "no effect of 'colour'"),
    "a reward that ignores the task": Fault("effect", always(point(RewardsAnything)), "no effect of 'goal'"),
    "a parameter of one value": Fault(
        "effect", always(point_with(colour=replace(PLAIN, distribution=Fixed(1.0)))), "has one value", "warn"
    ),
    "success at the start": Fault(
        "success", lambda folder: definition(folder, success=SUCCESS.replace("< 0.05", "< 5.0")), "10 of 10"
    ),
    "a goal out of reach": Fault(
        "reachable",
        lambda folder: replaced(folder, LINE, "norm(info.site_tip - task.goal) < 0.05 and info.site_tip[2] > 3.0"),
        "no pose at rest was found",
        "warn",
    ),
    "tasks that nothing tells apart": Fault(
        "identifiability", always(point(HardlyTells)), "propensity has little", "warn"
    ),
    # Physics.
    "a robot that hangs down at action 0": Fault("rest", limp_arm, ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_the_check_of_its_name(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    if fault.check not in CHECKS:
        pytest.skip(f"there is no check {fault.check!r} yet")
    verdict = run_check(Inspection(fault.make(tmp_path), EFFORT), fault.check)
    assert verdict.result == fault.result and fault.text in verdict.message, verdict
    assert "\n" not in verdict.message and ": " in verdict.message


def sound(folder: Path) -> Build:
    return definition(folder, success=SUCCESS.replace("< 0.05", "< 0.01"))


@pytest.mark.parametrize("make", [sound, always(around(Slider)), always(point())], ids=["cart", "slider", "point"])
def test_without_the_fault_every_check_passes(make: Callable[[Path], Build], tmp_path: Path) -> None:
    inspection = Inspection(make(tmp_path), EFFORT)
    verdicts = {name: run_check(inspection, name) for name in CHECKS if name not in ("render", "pickle")}
    assert not {name: verdict for name, verdict in verdicts.items() if verdict.result != "pass"}


def test_there_are_at_least_twenty_of_them_and_every_check_but_the_speed_has_one() -> None:
    assert len(FAULTS) >= 20
    assert {fault.check for fault in FAULTS.values()} >= set(CHECKS) - {"speed"}
