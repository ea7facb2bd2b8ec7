"""The text of a new definition's files: YAML with a comment at what is to be changed, its scene, and its test."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Literal
from xml.sax.saxutils import quoteattr

import yaml

from mql.tasks.definitions.editor_schemas import TASK_FILE
from mql.tasks.definitions.new.goal import OUTSIDE, Axis, Goal

Hidden = Literal["goal", "physics"]

_SEEN: Mapping[Hidden, str] = {
    "goal": "Nothing here is seen by the agent (hidden: false would show it).",
    "physics": "The agent sees what says hidden: false, and nothing else.",
}
_HEAVIER = (3.1, 4.0)  # factors on what training tasks multiply by 3 at most

_HEAD = """# yaml-language-server: $schema={schema}
# A family of tasks: what is simulated, what differs from task to task, and what is wanted. It works as it stands.
# 'mql tasks check {name}.yaml' looks for mistakes; every field: docs/definitions.md of mql.
schema: mql.task_family/1
name: {quoted}
version: 1  # raise it when tasks or rewards change
description: {description}
env:
{env}
  episode_length: {length}  # control steps: {seconds:g} s
{observe}

# What differs from task to task. {seen} `apply` changes the
# model, always from its own value; a parameter without it is there for the expressions below, as task.NAME.
parameters:
{parameters}

# The reward of a step, a sum of weight * expr; and when a task counts as solved: expr is true for hold steps in a row.
reward:
  terms:
    distance: {{expr: "{distance}", weight: {weight:g}}}
    effort: {{expr: "-mean(action ** 2)", weight: 0.05}}
success: {{expr: "{success}", hold: 5}}

# Fixed lists of tasks. ood: outside the training ranges, for a look at what the agent does there. Choose settings on
# validation and validation-ood, which are drawn like test and ood; these two are for final figures.
splits:
  train: {{n: 60, seed: 1}}
  test: {{n: 20, seed: 2}}
  ood:
    n: 20
    seed: 3
    override:
{override}
"""

_OBSERVE_TIP = """\
  # The agent sees all positions and velocities of the joints, and where the end is. It could see less, such as
  # [{example}].
  observe: [qpos, qvel, {tip}]
  # Places are seen from where they start, in dm: networks ignore inputs that vary by only hundredths.
  scaling:
    {tip}: {{minus: {start}, per: 0.1}}"""
_OBSERVE_ALL = """\
  # The agent sees all positions and velocities of the joints, or what is listed, such as:
  # observe: [{example}]"""

_TEST = '''"""Facts about the task family that is defined beside this file; run them with: pytest {file}"""

from pathlib import Path

import numpy as np
import pytest

from mql import tasks

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
DEFINITIONS = [path for path in FILES if "schema: mql.task_family/1" in path.read_text(encoding="utf-8")]


@pytest.fixture(scope="module", params=DEFINITIONS, ids=lambda path: path.stem)
def family(request):
    return tasks.from_file(request.param)


def play(family, task, seed):
    """Play an episode of random actions; return its rewards and last observation."""
    environment = family.make(task)
    actions = np.random.default_rng(seed)
    rewards, truncated = [], False
    obs, _ = environment.reset(seed=seed)
    while not truncated:
        obs, reward, terminated, truncated, _ = environment.step(actions.uniform(-1.0, 1.0, family.action_dim))
        assert environment.observation_space.contains(obs) and np.isfinite(reward)
        rewards.append(reward)
        if terminated:
            break
    environment.close()
    return rewards, obs


def test_splits_share_no_task(family):
    lists = {{split: [str(task.to_json()) for task in family.tasks(split)] for split in family.split_names}}
    assert not set(lists["train"]) & set(lists["test"])
    assert not set(lists["train"]) & set(lists["ood"])
    assert not set(lists["validation"]) & {{*lists["train"], *lists["test"]}}


def test_a_random_episode_is_played_to_its_end(family):
    rewards, _ = play(family, family.tasks("train")[0], seed=0)
    assert len(rewards) == family.episode_length


def test_equal_seeds_give_equal_episodes(family):
    task = family.tasks("test")[0]
    (first, seen), (second, seen_again) = play(family, task, seed=1), play(family, task, seed=1)
    assert first == second and np.array_equal(seen, seen_again)
'''

_SCENE = """<!-- Where {robot} stands: the scene of {name}.yaml. Put here what it works with. Units: m, kg, s, rad. -->
<mujoco model="{name}">
  <compiler angle="radian"/>
  <visual>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.5 0.5 0.5"/>
  </visual>
  <asset>
    <texture name="scene_sky" type="skybox" builtin="gradient" rgb1="0.75 0.82 0.9" rgb2="0.95 0.96 0.98" width="64"
             height="64"/>
  </asset>
  <worldbody>
    <light pos="0 -1 3" dir="0 0.3 -1" diffuse="0.4 0.4 0.4"/>
{floor}    <!-- The robot stands here. -->
    <site name="robot_base" pos="0 0 0" size="0.005"/>
{target}  </worldbody>
</mujoco>
"""

_FLOOR = """    <!-- {touch} -->
    <geom name="{name}" type="plane" size="3 3 0.1" pos="0 0 0"{contact} rgba="0.85 0.87 0.9 1"/>
"""

_MODEL = """<!-- The model of {name}.yaml: {inner} as it is, and what the task adds to it. -->
<mujoco model="{name}">
  <include file="{inner}"/>
{body}</mujoco>
"""

_SENSOR = """  <sensor>
    <!-- Where the robot's end is: the frame of this body lies elsewhere. -->
    <framepos name="{sensor}" objtype="body" objname={body}/>
  </sensor>
"""

_TARGET = """    <!-- The target: each task puts it somewhere else{seen}. -->
    <site name="{target}" pos="{place}" size="{size:g}" rgba="0.1 0.7 0.2 0.7"/>
"""


def definition_text(
    name: str,
    env: Sequence[str],
    goal: Goal,
    target: str,
    *,
    title: str,
    rate: float,
    observe: str,
    hidden: Hidden = "physics",
) -> str:
    """Return the YAML of a definition.

    Args:
        name: of the family.
        env: the lines of ``env`` that say what is simulated.
        goal: what the task is made of.
        target: name of the target's site.
        title: what the robot is called.
        rate: control steps per second.
        observe: an example of quantities, with commas.
        hidden: ``physics`` where the agent sees its target, ``goal`` where it does not.
    """
    seen = hidden == "physics"
    load = " and ".join(f"a hidden {name}" for name in varied(goal))
    where = f"that it sees, with {load}" if seen else ""
    if goal.tip is not None:
        what = f"Bring {goal.tip.partition('_')[2]} of {title} to a {f'place {where}' if seen else 'hidden place'}."
        away = f"norm(info.{goal.tip} - info.site_{target})"
        if goal.free:  # its height is its own affair
            away = f"norm(info.{goal.tip}[0:2] - info.site_{target}[0:2])"
    else:
        joints = " and ".join(axis.name for axis in goal.axes)
        what = f"Bring {joints} of {title} to {f'positions {where}' if seen else 'hidden positions'}."
        away = " + ".join(f"abs(info.joint_{axis.name} - task.{_parameter(axis)})" for axis in goal.axes)
    length = round(goal.seconds * rate)
    return _HEAD.format(
        schema=TASK_FILE,
        name=name,
        quoted=quoted(name),
        description=quoted(what),
        env="\n".join(env),
        length=length,
        seconds=length / rate,
        observe=_observe(goal, observe, seen=seen),
        seen=_SEEN[hidden],
        parameters="\n".join(_parameters(goal, target, seen=seen)),
        distance=f"-({away})" if " + " in away else f"-{away}",
        # One unit of reward where the task is a box's half width away.
        weight=float(f"{1.0 / max(axis.half for axis in goal.axes):.1g}"),
        success=f"{away} < {goal.tolerance:g}",
        override="\n".join(_override(goal, seen=seen)),
    )


def varied(goal: Goal) -> tuple[str, ...]:
    """Return the parameters that change the robot's physics."""
    names = {"payload": goal.payload, "damping": goal.damped}
    return tuple(name for name, what in names.items() if what is not None)


def _observe(goal: Goal, example: str, *, seen: bool) -> str:
    # What moves freely has its place among the positions.
    if goal.tip is None or goal.free:
        return _OBSERVE_ALL.format(example=example)
    text = _OBSERVE_TIP.format(tip=goal.tip, example=example, start=[round(each, 3) for each in goal.start])
    lines = [f"    {_parameter(axis)}: {{per: 0.1}}" for axis in goal.axes] if seen else []
    return "\n".join([text, *lines])


def scene_text(
    name: str, goal: Goal, target: str, *, title: str, floor: bool, taken: Collection[str], hidden: Hidden = "physics"
) -> str:
    """Return the MJCF of a scene: a floor, a place for the robot, and the target."""
    floor_name = next(each for each in ("floor", "scene_floor", "scene_floor_2") if each not in taken)
    contact = "" if goal.free else ' contype="0" conaffinity="0"'
    touch = (
        "The floor." if goal.free else "A floor to look at. It can be touched when contype and conaffinity are deleted."
    )
    return _SCENE.format(
        name=name,
        robot=title,
        floor=_FLOOR.format(name=floor_name, contact=contact, touch=touch) if floor else "",
        target=_target(goal, target, hidden),
    )


def model_text(name: str, inner: str, goal: Goal, target: str, hidden: Hidden = "physics") -> str:
    """Return the MJCF of a model that includes another one and adds the target."""
    site = _target(goal, target, hidden)
    body = f"  <worldbody>\n{site}  </worldbody>\n" if site else ""
    if goal.measured is not None:
        sensor, measured = goal.measured
        body += _SENSOR.format(sensor=sensor, body=quoteattr(measured))
    return _MODEL.format(name=name, inner=inner, body=body)


def pytest_text(file: str) -> str:
    """Return a test of the definitions that lie beside it, for pytest."""
    return _TEST.format(file=file)


def _target(goal: Goal, target: str, hidden: Hidden) -> str:
    if goal.tip is None:
        return ""
    place = " ".join(f"{value:g}" for value in goal.place)
    unseen = ", and the agent does not see where" if hidden == "goal" else ""
    return _TARGET.format(target=target, place=place, size=goal.tolerance, seen=unseen)


def _parameter(axis: Axis) -> str:
    return f"target_{axis.name}"


def _parameters(goal: Goal, target: str, *, seen: bool) -> list[str]:
    lines = []
    for axis in goal.axes:
        low, high = (0.0, 0.0) if goal.tip is not None else (axis.middle, axis.middle)
        lines += [
            f"  {_parameter(axis)}:",
            f"    value: {{dist: uniform, low: {low - axis.half:.4g}, high: {high + axis.half:.4g}}}",
            *(["    hidden: false"] if seen else []),
            f"    unit: {axis.unit}",
        ]
        if goal.tip is None:
            lines.append(f"    doc: {quoted(f'where the joint {axis.name} should be')}")
            continue
        number = "xyz".index(axis.name)
        lines += [
            f"    doc: where the target is along {axis.name}, relative to {axis.middle:g} m",
            f"    apply: [{{field: site_pos, site: {target}, index: {number}, op: add}}]",
        ]
    if goal.payload is not None:
        lines += [
            "  payload:",
            "    # In kg, beside what the body has: value {dist: uniform, low: 0.0, high: 2.0}, unit: kg, and under",
            "    # apply op: add; under ood, kg outside that range. At the tool itself: docs/your-robot.md of mql.",
            "    value: {dist: loguniform, low: 0.5, high: 3.0}",
            f"    doc: {quoted(f'factor on the mass and inertia of {goal.payload}')}",
            f"    apply: [{{field: body_mass, body: {quoted(goal.payload)}, op: scale}}]",
        ]
    if goal.damped is not None and goal.own_damping > 0.0:
        lines += [
            "  damping:",
            "    value: {dist: loguniform, low: 0.3, high: 3.0}",
            f"    doc: {quoted(f'factor on the damping of {goal.damped}')}",
            f"    apply: [{{field: dof_damping, joint: {quoted(goal.damped)}, op: scale}}]",
        ]
    elif goal.damped is not None:
        lines += [
            "  damping:",
            f"    value: {{dist: uniform, low: 0.0, high: {goal.strong_damping:g}}}",
            "    unit: N s/m or N m s/rad",
            f"    doc: {quoted(f'damping of {goal.damped} (it has none by itself)')}",
            f"    apply: [{{field: dof_damping, joint: {quoted(goal.damped)}, op: set}}]",
        ]
    return lines


def _override(goal: Goal, *, seen: bool) -> list[str]:
    lines = []
    if seen:  # what is hidden is what an agent has to find out
        if goal.payload is not None:
            lines.append(f"      payload: {{dist: uniform, low: {_HEAVIER[0]:g}, high: {_HEAVIER[1]:g}}}")
        elif goal.own_damping > 0.0:
            lines.append(f"      damping: {{dist: uniform, low: {_HEAVIER[0]:g}, high: {_HEAVIER[1]:g}}}")
        else:
            low, high = (factor * goal.strong_damping for factor in OUTSIDE)
            lines.append(f"      damping: {{dist: uniform, low: {low:.4g}, high: {high:.4g}}}")
        return lines
    for axis in goal.axes:
        middle = 0.0 if goal.tip is not None else axis.middle
        low, high = sorted(middle + axis.side * factor * axis.half for factor in OUTSIDE)
        lines.append(f"      {_parameter(axis)}: {{dist: uniform, low: {low:.4g}, high: {high:.4g}}}")
    return lines


def quoted(text: str) -> str:
    """Return a text as YAML takes it: plain where that is the same text, else in quotes."""
    try:
        plain = yaml.safe_load(f"{{a: {text}}}") == {"a": text}
    except yaml.YAMLError:
        plain = False
    return text if plain else json.dumps(text)
