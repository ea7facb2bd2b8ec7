"""Faults made on purpose, of the kinds that people make: each is caught by the check of its name.

Every fault is a small family or definition that is sound but for one thing. A fault whose check is not in the table yet
waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from faulty_families import (
    PLAIN,
    AnswersWithFour,
    Build,
    FirstTaskForAll,
    GreyFractions,
    HardlyTells,
    KeepsTheLastTask,
    MeanOverRows,
    Moving,
    Overlapping,
    RelabelsWithoutTheTask,
    RewardsAnything,
    RollsItsOwnDice,
    SharesItsPlace,
    Slider,
    StartsAtTheGoal,
    Tiring,
    Windowed,
    around,
    heavy_cheetah,
    point,
    point_splits,
    point_with,
)
from lab_definitions import PYTHON, REWARD, SUCCESS, write_parallel, write_python

from mql import tasks
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.distributions import Fixed, Uniform
from mql.tasks.family import Split

EFFORT = replace(QUICK, speed_seconds=0.005)


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
  <actuator><position name="lift" joint="lift" kp="300" kv="5" ctrlrange="-1.5 1.5" forcerange="-2 2"/></actuator>
  <keyframe><key name="home" qpos="0" ctrl="0"/></keyframe>
</mujoco>
"""
LIMP_ROBOT = """schema: mql.robot/1
name: limp
licence: MIT
source: our workshop
mjcf: limp.xml
end_effector: {site: tip}
control: {delta: {kind: position_delta, scale: 0.05, rate_hz: 20}}
"""
LIMP_TASK = """schema: mql.task_family/1
name: limp-task
version: 1
description: Bring the tip to a hidden height.
env: {robot: limp_robot.yaml, scene: room.xml, control: delta, episode_length: 40}
parameters:
  height: {value: {dist: uniform, low: -0.1, high: 0.1}, unit: m, doc: where the tip should be}
reward: {terms: {near: {expr: "-abs(info.site_tip[2] - task.height)"}}}
success: {expr: "abs(info.site_tip[2] - task.height) < 0.01", hold: 3}
splits: {train: {n: 6, seed: 1}, test: {n: 4, seed: 2}}
"""


def limp_arm(folder: Path) -> Build:
    """Two kilograms, which need 4.9 N m, at the end of a servo that gives 2: asked to stay level, it hangs down."""
    room = '<mujoco><worldbody><site name="robot_base"/></worldbody></mujoco>'
    texts = {"limp.xml": LIMP, "limp_robot.yaml": LIMP_ROBOT, "room.xml": room, "limp-task.yaml": LIMP_TASK}
    for name, text in texts.items():
        (folder / name).write_text(text)
    return partial(tasks.from_file, folder / "limp-task.yaml")


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
    "a relabelled reward of another task": Fault("reward", always(point(RelabelsWithoutTheTask)), "are not its own"),
    # Physics.
    "a mass that is written into a compiled model": Fault("recompiled", always(heavy_cheetah), "body_invweight0"),
    "a class that moves a geom of its model": Fault(
        "recompiled",
        lambda folder: with_class(
            folder,
            "        data.qpos[self.rail] = rng",
            "        model.geom('rod').pos[2] = 0.3\n        data.qpos[self.rail] = rng",
        ),
        "bvh_aabb",
    ),
    "a robot that hangs down at action 0": Fault("rest", limp_arm, "its servo gives 2 N m", "warn"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_caught_by_the_check_of_its_name(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
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
    assert {fault.check for fault in FAULTS.values()} == set(CHECKS) - {"speed"}
