"""A definition's reward as a file of its own: equal to the simulation's, with nothing but numpy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_definitions import write_parallel

from mql import tasks
from mql.tasks.definitions.reward_file import reward_file
from mql.tasks.family import Task, TaskFamily

ALL = "[qpos, qvel]"
SCALED = "scaling: {site_tip: {minus: [0.1, 0.0, 0.3], per: 0.05}}"
SEEN = {
    "a part of what is observed": ("-abs(info.joint_rail - task.goal)", ALL),
    "the action": ("-0.1 * sum(action ** 2) * task.goal", ALL),
    "before and after": ("(info.joint_rail - last.info.joint_rail) / 0.02 - last.info.speed_rail * task.goal", ALL),
    "numbers of the observation": ("obs[0] - last.obs[2] * task.goal", ALL),
    "parts by their names": (
        "-norm(obs.site_tip - last.obs.site_tip) + obs.joint_rail",
        f"[site_tip, joint_rail], {SCALED}",
    ),
    "a place": ("tolerance(info.site_tip[0], 0.0, task.goal, 0.2)", f"[joint_pivot, site_tip], {SCALED}"),
    "a choice": ("where(info.joint_rail > task.goal, 1, exp(-info.joint_rail)) if action[0] > 0 else 2", ALL),
}


def family_with(folder: Path, text: str, observe: str) -> TaskFamily:
    terms = f"    own: {{expr: {text!r}, weight: 1.5}}\n    alive: {{expr: '0.25'}}\n"
    return tasks.from_file(write_parallel(folder, reward=f"reward:\n  terms:\n{terms}", env=f", observe: {observe}"))


def moving_family(folder: Path, *, turning: bool = False) -> TaskFamily:
    """The cart, and a target in its world that tasks move: along all axes, and once more along y."""
    uniform = "{dist: uniform, low: -0.2, high: 0.2"
    shift = f"  shift: {{value: {uniform}, size: 3}}, apply: [{{field: body_pos, body: post, op: add}}]}}\n"
    side = f"  side: {{value: {uniform}}}, apply: [{{field: site_pos, site: target, index: 1, op: add}}]}}\n"
    turn = f"  turn: {{value: {uniform}}}, apply: [{{field: body_turn, body: post, index: 2, op: add}}]}}\n"
    term = "    own: {expr: '-norm(info.site_tip - info.site_target) * task.goal'}\n"
    path = write_parallel(
        folder,
        parameters=shift + side + (turn if turning else ""),
        reward=f"reward:\n  terms:\n{term}",
        env=", observe: [qpos, qvel, site_tip]",
    )
    post = '<body name="post" pos="1 0 0"><geom size="0.01"/><site name="target" pos="0.3 0.1 0"/></body>'
    model = folder / "cart.xml"
    model.write_text(model.read_text().replace("</worldbody>", f"{post}</worldbody>"))
    return tasks.from_file(path)


def function_of(text: str) -> Any:
    names: dict[str, Any] = {"__name__": "reward"}
    exec(compile(text, "reward.py", "exec"), names)
    return names["reward"]


def steps_of(family: TaskFamily, task: Task) -> tuple[list[tuple[np.ndarray, ...]], list[float]]:
    """(before, action, after) of an episode's steps, and their rewards."""
    rng = np.random.default_rng(1)
    batch = family.make_batch([task])
    obs, steps, rewards = batch.reset([5])[0].copy(), [], []
    for _ in range(12):
        action = rng.uniform(-1.0, 1.0, family.action_dim).astype(np.float32)
        step = batch.step(action[None])
        steps.append((obs, action, step.obs[0].copy()))
        rewards.append(float(step.reward[0]))
        obs = step.obs[0].copy()
    batch.close()
    return steps, rewards


@pytest.mark.parametrize("name", SEEN)
def test_it_gives_the_rewards_of_the_simulation(name: str, tmp_path: Path) -> None:
    family = family_with(tmp_path, *SEEN[name])
    own, other = family.tasks("train")[0], family.tasks("test")[0]
    text = reward_file(family, own, adapted=True)
    assert text is not None
    reward = function_of(text)
    for task in (own, other):
        steps, rewards = steps_of(family, task)
        found = [reward(*step, *(() if task is own else (dict(task.parameters),))) for step in steps]
        assert np.abs(np.array(found) - rewards).max() < 1e-5


def test_places_that_the_task_moves_are_computed_from_it(tmp_path: Path) -> None:
    """A target that each task puts elsewhere, by a number and by a vector: the file says the reward of any task."""
    family = moving_family(tmp_path)
    text = reward_file(family, family.tasks("train")[0], adapted=False)
    assert text is not None
    reward = function_of(text)
    for task in (*family.tasks("train")[:3], *family.tasks("test")[:3]):
        steps, rewards = steps_of(family, task)
        found = [reward(*step, dict(task.parameters)) for step in steps]
        assert np.abs(np.array(found) - rewards).max() < 1e-5 and np.ptp(rewards) > 0.0


def test_places_that_turn_with_the_task_are_not_written(tmp_path: Path) -> None:
    family = moving_family(tmp_path, turning=True)
    assert reward_file(family, family.tasks("train")[0], adapted=False) is None
    assert reward_file(family, family.tasks("train")[0], adapted=True) is not None


UNSEEN = {
    "a place that is not observed": ("-info.site_tip[0]", ALL),
    "the action before": ("-sum((action - last.action) ** 2)", ALL),
}


@pytest.mark.parametrize("name", UNSEEN)
def test_there_is_none_where_the_reward_reads_what_is_not_seen(name: str, tmp_path: Path) -> None:
    family = family_with(tmp_path, *UNSEEN[name])
    assert reward_file(family, family.tasks("train")[0], adapted=True) is None


def test_there_is_none_for_a_family_in_python() -> None:
    family = tasks.load("point-robot")
    assert reward_file(family, family.tasks("train")[0], adapted=True) is None


def test_it_needs_numpy_alone(tmp_path: Path) -> None:
    family = family_with(tmp_path, *SEEN["a place"])
    text = reward_file(family, family.tasks("train")[0], adapted=False)
    assert text is not None
    (tmp_path / "reward.py").write_text(text)
    code = (
        "import sys; sys.modules['mql'] = sys.modules['mujoco'] = None; sys.path.insert(0, '.')\n"
        "from reward import TASK, reward; print(*TASK, reward([0] * 4, [0], [0] * 4))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split()[0] == "goal" and float(done.stdout.split()[1]) > 0.0, done.stderr
