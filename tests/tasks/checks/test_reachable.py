"""The check that a success can be reached: poses of a definition's model, and what they can't tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_definitions import PYTHON, REWARD, write_parallel, write_python

from mql import tasks
from mql.tasks import registry
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.definitions.poses import reachable
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.family import TaskFamily

EXAMPLES = Path(__file__).parents[3] / "examples"
REACH = 0.55  # m; of the arm below, stretched out

ARM = """<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <light pos="0 0 2"/>
    <body name="upper">
      <joint name="shoulder" axis="0 0 1" range="-2.5 2.5" damping="0.1"/>
      <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.03" mass="0.5"/>
      <body name="fore" pos="0.3 0 0">
        <joint name="elbow" axis="0 0 1" range="-2.5 2.5" damping="0.1"/>
        <geom type="capsule" fromto="0 0 0 0.25 0 0" size="0.02" mass="0.3" rgba="0.9 0.6 0.2 1"/>
        <site name="tip" pos="0.25 0 0"/>
      </body>
    </body>
    BODIES
  </worldbody>
  <actuator>
    <motor joint="shoulder" gear="0.5" ctrlrange="-1 1"/>
    <motor joint="elbow" gear="0.5" ctrlrange="-1 1"/>
  </actuator>
</mujoco>
"""
DISTANCE = "norm(info.site_tip[0:2] - task.target)"
YAML = """schema: mql.task_family/1
name: lab-arm
version: 1
description: Bring the tip of a planar arm to a hidden place.
env: {{mjcf: arm.xml, episode_length: 20, frame_skip: 2}}
parameters:
  target: {{value: {{dist: uniform, low: {low}, high: {high}, size: 2}}, unit: m, doc: where the tip should be}}
reward: {{terms: {{near: {{expr: "-{distance}"}}}}}}
success: {{expr: "{success}", hold: 3}}
splits: {{train: {{n: 8, seed: 1}}, test: {{n: 6, seed: 2}}}}
"""


def arm(
    folder: Path,
    *,
    low: float = 0.2,
    high: float = 0.35,
    distance: str = DISTANCE,
    success: str = DISTANCE + " < 0.01",
    bodies: str = "",
) -> TaskFamily:
    """A planar arm that should bring its tip, or something else, to a target."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arm.xml").write_text(ARM.replace("BODIES", bodies))
    (folder / "arm.yaml").write_text(YAML.format(low=low, high=high, distance=distance, success=success))
    return tasks.from_file(folder / "arm.yaml")


def look(family: TaskFamily, *targets: Any) -> list[bool | None]:
    chosen = [family.task(target) for target in targets]
    return reachable(family, chosen, np.random.default_rng(0))


def verdict_of(family: TaskFamily, check: str = "reachable") -> Any:
    return run_check(Inspection(lambda: family, replace(QUICK, speed_seconds=0.005)), check)


@pytest.mark.parametrize(("low", "high", "result"), [(0.2, 0.35, "pass"), (2.1, 2.2, "warn")])
def test_a_target_3_m_away_fails_this_check_only(tmp_path: Path, low: float, high: float, result: str) -> None:
    family = arm(tmp_path, low=low, high=high)
    # Drawing may take the whole process down where there is no OpenGL.
    verdicts = {name: verdict_of(family, name) for name in CHECKS if name != "render"}
    found = verdicts.pop("reachable")
    assert found.result == result, found
    if result == "pass":
        assert found.message == "success is reached in 5 of 5 tasks by sampled poses"
    else:
        assert found.message.startswith(
            "success is reached in 0 of 5 tasks by sampled poses; no pose at rest was found for ["
        )
        assert "target=(2.1" in found.message and "and 2 more" in found.message
        assert found.message.endswith("move the goals nearer to where the robot's end can be, or widen the tolerance")
    assert not {name: v for name, v in verdicts.items() if v.result != "pass"}


def test_the_arm_s_reach_is_found_to_a_millimetre_of_what_geometry_says(tmp_path: Path) -> None:
    family = arm(tmp_path)
    directions = [np.array([np.cos(a), np.sin(a)]) for a in (0.0, 1.3, -2.0)]
    inside = [{"target": tuple((REACH + 0.0095) * d)} for d in directions]
    beyond = [{"target": tuple((REACH + 0.0105) * d)} for d in directions]
    assert look(family, *inside) == [True] * 3
    assert look(family, *beyond) == [False] * 3
    behind = np.pi - 0.3  # neither joint turns so far, but both together do
    assert look(family, {"target": (0.4 * np.cos(behind), 0.4 * np.sin(behind))}) == [True]
    assert look(family, {"target": (-REACH, 0.0)}) == [False]


def test_a_tolerance_of_a_tenth_of_a_millimetre_is_met_by_going_where_the_reward_rises(tmp_path: Path) -> None:
    family = arm(tmp_path, success=DISTANCE + " < 0.0001")
    assert look(family, {"target": (0.3, 0.2)}, {"target": (-0.1, -0.4)}) == [True, True]


def test_each_task_is_looked_at_in_its_own_model_and_the_shared_one_stays(tmp_path: Path) -> None:
    longer = """parameters:
  length: {value: {dist: uniform, low: 0.2, high: 0.3}, apply: [{field: site_pos, site: tip, index: 0, op: set}]}
"""
    arm(tmp_path)
    path = tmp_path / "arm.yaml"
    path.write_text(path.read_text().replace("parameters:\n", longer))
    family: Any = tasks.from_file(path)
    before = family.mechanism.model.site_pos.copy()
    far = {"target": (0.65, 0.0)}
    assert look(family, far | {"length": 0.25}, far | {"length": 0.36}) == [False, True]
    assert np.array_equal(family.mechanism.model.site_pos, before)


def test_slides_and_free_bodies_are_put_elsewhere_too(tmp_path: Path) -> None:
    """A cube that lies 3 m away can be anywhere; a drawer within its range only."""
    cube = '<body name="it" pos="3 0 0"><freejoint/><geom type="box" size="0.02 0.02 0.02" mass="0.1"/></body>'
    drawer = (
        '<body name="it" pos="3 0 0"><joint type="slide" axis="-1 0 0" range="0 0.5"/>'
        '<geom type="box" size="0.02 0.02 0.02" mass="0.1"/></body>'
    )
    distance = "norm(info.body_it[0:2] - task.target)"
    for name, body, nearer in (("cube", cube, 2.0), ("drawer", drawer, 2.6)):
        family = arm(tmp_path / name, bodies=body, distance=distance, success=distance + " < 0.01")
        assert look(family, {"target": (nearer, 0.0)}) == [True]
        # The cube may be anywhere; the drawer's end is at 2.5 m.
        assert look(family, {"target": (2.4, 0.0)}) == [name == "cube"]


def test_tasks_outside_the_training_range_are_looked_at_too(tmp_path: Path) -> None:
    near = arm(tmp_path)
    assert verdict_of(near).result == "pass"
    path = tmp_path / "arm.yaml"
    far = "ood: {n: 4, seed: 3, override: {target: {dist: uniform, low: 2.0, high: 2.1, size: 2}}}"
    path.write_text(path.read_text().replace("seed: 2}}", "seed: 2}, " + far + "}"))
    verdict = verdict_of(tasks.from_file(path))
    assert verdict.result == "warn" and "no pose at rest was found for" in verdict.message


def test_what_poses_cannot_tell_is_said(tmp_path: Path) -> None:
    moving = arm(tmp_path / "moving", success="abs(info.speed_elbow) > 1.0")
    assert look(moving, {"target": (0.3, 0.2)}) == [None]
    verdict = verdict_of(moving)
    assert verdict.result == "warn" and "which are at rest, and success reads speeds" in verdict.message
    slow = arm(tmp_path / "slow", success=DISTANCE + " < 0.01 and abs(info.speed_elbow) < 0.1")
    assert look(slow, {"target": (0.3, 0.2)}) == [True]
    unjudged = {
        "success reads the action": arm(tmp_path / "action", success=DISTANCE + " < 0.01 and norm(action) < 1"),
        "a Gymnasium id": tasks.from_file(EXAMPLES / "cheetah-vel-yaml.yaml"),
        "only definitions in YAML are": registry.build("reacher-goal"),
        "no success is defined": registry.build("point-robot"),
    }
    for text, family in unjudged.items():
        verdict = verdict_of(family)
        assert verdict.result == "pass" and text in verdict.message, verdict


def test_a_pose_of_a_python_class_is_judged_like_a_step(tmp_path: Path) -> None:
    family: Any = tasks.from_file(write_python(tmp_path), trust=True)
    environment = family.make_env()
    assert isinstance(environment, PythonEnvironment)
    environment.set_task({"goal": 0.3, "mass": 1.0})
    environment.reset(seed=0)
    assert environment.judge_pose(np.array([0.2, 0.0])) == (pytest.approx(-0.1), False)
    assert environment.judge_pose(np.array([0.28, 1.0])) == (pytest.approx(-0.02), True)


def test_success_of_a_python_class_is_looked_for(tmp_path: Path) -> None:
    drawer = tasks.from_file(EXAMPLES / "lab-drawer" / "lab-drawer.yaml", trust=True)
    rest = {"mass": 1.0, "damping": 5.0}
    # The rail ends at 0.25 m, and 1 cm is tolerated.
    assert look(drawer, {"opening": 0.1} | rest, {"opening": 0.3} | rest) == [True, False]
    cart = tasks.from_file(write_python(tmp_path), trust=True)
    assert look(cart, {"goal": 0.3, "mass": 1.0}) == [True]


def test_a_rail_without_ends_is_followed_as_far_as_the_reward_leads(tmp_path: Path) -> None:
    terms = REWARD.replace("  terms:", "  mode: replace\n  terms:")
    cart = tasks.from_file(write_parallel(tmp_path, reward=terms))
    assert look(cart, {"goal": 4.0, "mass": 1.0}) == [True]


def test_a_class_that_raises_in_a_pose_is_a_warning(tmp_path: Path) -> None:
    code = PYTHON.replace(
        "        return abs(data", "        assert data.qpos[0] < 0.1, 'off the rail'\n        return abs(data"
    )
    family = tasks.from_file(write_python(tmp_path, code=code), trust=True)
    verdict = verdict_of(family)
    assert verdict.result == "warn" and "AssertionError: off the rail" in verdict.message
    assert "goal=0." in verdict.message and verdict.message.endswith("then this can be looked at")
