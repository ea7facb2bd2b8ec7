"""What transitions are worth by a definition's own expressions, evaluated on observations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lab_definitions import write_parallel, write_python

from mql import tasks
from mql.tasks.family import Task, TaskFamily

ALL = "[qpos, qvel]"
GOAL = (0.1, 0.5)


def reward_yaml(*terms: str) -> str:
    lines = [f"    term{number}: {{expr: {term!r}, weight: {number + 0.5}}}\n" for number, term in enumerate(terms)]
    return "reward:\n  mode: replace\n  terms:\n" + "".join(lines)


def played(family: TaskFamily, own: Task, steps: int = 12) -> tuple[np.ndarray, ...]:
    """One episode: observations before and after [T, O], actions [T, A] and rewards [T]."""
    batch = family.make_batch([own])
    actions = np.random.default_rng(1).uniform(-1.0, 1.0, (steps, 1, family.action_dim)).astype(np.float32)
    obs, rewards = [batch.reset([5])[0]], []
    for action in actions:
        step = batch.step(action)
        obs.append(step.obs[0])
        rewards.append(step.reward[0])
    batch.close()
    return np.array(obs[:-1]), np.array(obs[1:]), actions[:, 0], np.array(rewards)


def two_tasks(family: TaskFamily) -> tuple[Task, Task]:
    """Tasks of the same physics."""
    own = family.tasks("train")[0]
    return own, family.task({**own.parameters, "goal": GOAL[1]})


SEEN = {
    "a part of what is observed": ("-abs(info.joint_rail - task.goal)", ALL),
    "the action": ("-0.1 * sum(action ** 2) * task.goal", ALL),
    "before and after": ("(info.joint_rail - last.info.joint_rail) / 0.02 - last.info.speed_rail * task.goal", ALL),
    "numbers of the observation": ("obs[0] - last.obs[2] * task.goal", ALL),
    "a part of it by its name": ("-norm(obs.site_tip - last.obs.site_tip) + obs.joint_rail", "[site_tip, joint_rail]"),
    "a place": ("-abs(info.site_tip[0] - task.goal)", "[joint_pivot, site_tip]"),
    "something derived": ("info.velocity_tip[0] * task.goal", "[velocity_tip]"),
    "nothing at all": ("task.goal", ALL),
}


@pytest.mark.parametrize("name", SEEN)
def test_rewards_are_those_of_the_simulation_and_of_another_task(name: str, tmp_path: Path) -> None:
    text, observe = SEEN[name]
    env = f", observe: {observe}"
    if "site_tip" in observe:
        env += ", scaling: {site_tip: {minus: [0.1, 0.0, 0.3], per: 0.05}}"
    family = tasks.from_file(write_parallel(tmp_path, reward=reward_yaml(text, "0.25"), env=env))
    own, other = two_tasks(family)
    before, after, actions, rewards = played(family, own)
    asked = family.reward(before, after, actions, own)
    assert asked is not None and asked.dtype == np.float32
    assert np.abs(asked - rewards).max() < 1e-5
    found, truth = family.reward(before, after, actions, other), played(family, other)[3]
    assert np.abs(found - truth).max() < 1e-5  # type: ignore[operator]


UNSEEN = {
    "a place that is not observed": ("-info.site_tip[0]", ALL),
    "a sensor that is not observed": ("info.sensor_felt[0]", ALL),
    "the time": ("info.time * task.goal", ALL),
    "the action before": ("-sum((action - last.action) ** 2)", ALL),
    "half of a place": ("info.speed_rail - info.joint_rail", "[speed_rail]"),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_there_is_no_reward_where_something_is_not_seen(name: str, tmp_path: Path) -> None:
    text, observe = UNSEEN[name]
    family = tasks.from_file(write_parallel(tmp_path, reward=reward_yaml(text), env=f", observe: {observe}"))
    own = family.tasks("train")[0]
    before, after, actions, _ = played(family, own)
    assert family.reward(before, after, actions, own) is None


def test_stages_depend_on_the_episode_so_far(tmp_path: Path) -> None:
    reward = """reward:
  stages:
    - {name: reach, until: "info.joint_rail > 0.01", terms: {near: {expr: "-info.joint_rail"}}}
    - {name: stay, terms: {calm: {expr: "-sum(action ** 2) * task.goal"}}}
"""
    family = tasks.from_file(write_parallel(tmp_path, reward=reward))
    own = family.tasks("train")[0]
    assert family.reward(*played(family, own)[:3], own) is None


def test_visible_parameters_are_those_of_the_task_that_is_asked_about(tmp_path: Path) -> None:
    path = write_parallel(tmp_path, reward=reward_yaml("-abs(obs[0] - obs[4])"), env=f", observe: {ALL}")
    path.write_text(path.read_text().replace("unit: m, doc", "hidden: false, unit: m, doc"))
    family = tasks.from_file(path)
    assert family.obs_dim == 5
    own, other = two_tasks(family)
    before, after, actions, rewards = played(family, own)
    assert np.abs(family.reward(before, after, actions, own) - rewards).max() < 1e-5  # type: ignore[operator]
    truth = played(family, other)[3]
    assert np.abs(family.reward(before, after, actions, other) - truth).max() < 1e-5  # type: ignore[operator]


def test_an_oracles_numbers_are_cut_off(tmp_path: Path) -> None:
    path = write_parallel(tmp_path, reward=reward_yaml("-abs(info.joint_rail - task.goal)"))
    family = tasks.from_file(path).as_oracle()
    own, other = two_tasks(family)
    before, after, actions, rewards = played(family, own)
    assert np.abs(family.reward(before, after, actions, own) - rewards).max() < 1e-5  # type: ignore[operator]
    assert np.abs(family.reward(before, after, actions, other) - rewards).max() > 0.01  # type: ignore[operator]


def test_a_place_that_the_task_moves_is_no_ground_for_another_tasks_reward(tmp_path: Path) -> None:
    """A tool's length moves the tip: what is seen of it is that of the task that was played."""
    apply = "[{field: site_pos, site: tip, index: 0, op: set}]"
    moved = f"  length: {{value: {{dist: uniform, low: 0.1, high: 0.4}}, apply: {apply}}}\n"
    for text, told in (("-info.site_tip[0]", False), ("-info.joint_rail * task.length", True)):
        folder = tmp_path / str(told)
        path = write_parallel(
            folder, parameters=moved, reward=reward_yaml(text), env=", observe: [site_tip, joint_rail]"
        )
        family = tasks.from_file(path)
        own = family.tasks("train")[0]
        assert (family.reward(*played(family, own)[:3], own) is not None) == told


def test_a_python_class_with_a_reward_of_its_own_has_none_that_is_seen(tmp_path: Path) -> None:
    family = tasks.from_file(write_python(tmp_path / "own"), trust=True)
    own = family.tasks("train")[0]
    assert family.reward(*played(family, own)[:3], own) is None


def test_expressions_over_a_python_classs_observation(tmp_path: Path) -> None:
    reward = reward_yaml("-abs(obs[0] - task.goal)", "-sum(action ** 2)")
    family = tasks.from_file(write_python(tmp_path, reward=reward), trust=True)
    own, other = two_tasks(family)
    before, after, actions, rewards = played(family, own)
    assert np.abs(family.reward(before, after, actions, own) - rewards).max() < 1e-5  # type: ignore[operator]
    truth = played(family, other)[3]
    assert np.abs(family.reward(before, after, actions, other) - truth).max() < 1e-5  # type: ignore[operator]


def test_a_gymnasium_environment_by_its_observation_and_not_by_its_info(tmp_path: Path) -> None:
    text = """schema: mql.task_family/1
name: lab-cheetah
version: 1
description: Run at a speed.
env: {id: HalfCheetah-v5, episode_length: 20}
parameters:
  velocity: {value: {dist: uniform, low: 0.0, high: 3.0}}
reward: {mode: MODE, terms: {track: {expr: "-abs(READ - task.velocity)"}}}
splits: {train: {n: 4, seed: 1}, test: {n: 2, seed: 2}}
"""
    for mode, read, told in (
        ("replace", "obs[8]", True),
        ("add", "obs[8]", False),
        ("replace", "info.x_velocity", False),
    ):
        path = tmp_path / "cheetah.yaml"
        path.write_text(text.replace("MODE", mode).replace("READ", read))
        family = tasks.from_file(path)
        own = family.tasks("train")[0]
        before, after, actions, rewards = played(family, own)
        found = family.reward(before, after, actions, own)
        assert (found is not None) == told
        if found is not None:
            assert np.abs(found - rewards).max() < 1e-5


GOAL_SITE = {"a site": ("site_pos", "site"), "a body": ("body_pos", "body")}


@pytest.mark.parametrize("kind", GOAL_SITE)
def test_a_hidden_place_that_a_parameter_moves_is_that_of_the_task_that_is_asked_about(
    kind: str, tmp_path: Path
) -> None:
    field, target = GOAL_SITE[kind]
    text = f"-abs(info.site_tip[0] - info.{target}_mark[0]) - task.goal"
    path = write_parallel(
        tmp_path,
        parameters=f"  x: {{value: {{dist: uniform, low: 0.1, high: 0.4}}, apply: [{{field: {field}, {target}: mark, "
        "index: 0, op: set}]}\n",
        reward=reward_yaml(text),
        env=", observe: [site_tip]",
    )
    mark = {
        "a site": '<site name="mark" pos="0.3 0 0"/>',
        "a body": '<body name="mark" pos="0.3 0 0"><geom size="0.01" contype="0" conaffinity="0"/></body>',
    }[kind]
    model = tmp_path / "cart.xml"
    model.write_text(model.read_text().replace("<worldbody>", f"<worldbody>{mark}"))
    family = tasks.from_file(path)
    own = family.tasks("train")[0]
    other = family.task({**own.parameters, "x": 0.9})
    before, after, actions, rewards = played(family, own)
    assert np.abs(family.reward(before, after, actions, own) - rewards).max() < 1e-5  # type: ignore[operator]
    truth = played(family, other)[3]
    assert np.abs(family.reward(before, after, actions, other) - truth).max() < 1e-5  # type: ignore[operator]
    # Drawn anew for each episode, it is nobody's to tell.
    path.write_text(
        path.read_text().replace(
            "splits:",
            f"randomise: {{mark: {{value: {{dist: uniform, low: -0.1, high: 0.1}}, apply: [{{field: {field}, "
            f"{target}: mark, index: 1, op: add}}]}}}}\nsplits:",
        )
    )
    drawn = tasks.from_file(path)
    assert drawn.reward(before, after, actions, drawn.tasks("train")[0]) is None
