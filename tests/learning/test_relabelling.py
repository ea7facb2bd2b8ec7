"""Episodes copied to other training tasks: what they are worth there, who is asked, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lab_definitions import MJCF, REWARD, write_parallel

from mql.config.loading import load_config
from mql.config.schema import Config
from mql.errors import UserError
from mql.learning.relabelling import Relabelling, relabelling_for
from mql.learning.trainer import Trainer
from mql.tasks import from_file, registry
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode

SMALL = ["agent.hidden_sizes=[8]", "agent.context_dim=4", "train.batch_size=32", "train.episodes_per_iteration=5"]
SMALL += ["agent.segment_length=8", "agent.burn_in=4", "train.random_steps=200", "train.env_steps=800"]


def config_of(family: str, *settings: str) -> Config:
    return load_config(family, overrides=[*SMALL, *settings])


def relabelling(family: TaskFamily, *settings: str) -> Relabelling:
    made = relabelling_for(config_of(family.name, "train.relabel_share=1", *settings), family)
    assert made is not None
    return made


def played(family: TaskFamily, task: Task, seed: int) -> Episode:
    """An episode of random actions, as a batch gives it; the same seed gives the same actions in any task."""
    batch = family.make_batch([task])
    obs, actions, rewards, info = [batch.reset([seed])[0]], [], [], {}
    rng = np.random.default_rng(seed)
    for _ in range(family.episode_length):
        actions.append(rng.uniform(-1.0, 1.0, family.action_dim).astype(np.float32))
        step = batch.step(actions[-1][None])
        obs.append(step.obs[0])
        rewards.append(step.reward[0])
        info = step.info
        if step.terminated[0] or step.truncated[0]:
            break
    batch.close()
    return Episode(
        obs=np.stack(obs).astype(np.float32),
        action=np.stack(actions),
        reward=np.array(rewards, np.float32),
        terminated=bool(step.terminated[0]),
        truncated=bool(step.truncated[0]),
        task=task.index,
        seed=seed,
        success=bool(info["success"][0]) if family.has_success else None,
    )


@pytest.mark.parametrize(
    "name", ["point-robot", "reacher-goal", "cheetah-vel", "cheetah-dir", "ant-goal", "ant-dir", "fetch-reach"]
)
def test_a_copy_is_what_the_other_task_would_have_given(name: str) -> None:
    """The other task is played from the same seed with the same actions: it moves alike, and gives these rewards."""
    family = registry.load(name)
    episode = played(family, family.tasks("train")[0], seed=3)
    copy = relabelling(family).copy_of(7, episode)
    assert copy is not None and copy.task != 0
    other = played(family, family.tasks("train")[copy.task], seed=3)
    np.testing.assert_array_equal(other.obs, episode.obs)
    np.testing.assert_array_equal(copy.obs, episode.obs)
    off = np.abs(copy.reward - other.reward)
    if name in ("cheetah-vel", "cheetah-dir", "ant-dir"):  # the mean speed in a step is not seen, but estimated
        assert off.mean() < 0.2 * np.abs(episode.reward - other.reward).mean()
    else:
        assert off.max() < 2e-5
    assert np.abs(copy.reward - episode.reward).max() > 1e-2
    assert copy.success == other.success and (copy.terminated, copy.length) == (episode.terminated, episode.length)


def test_a_copy_keeps_its_own_motion_where_rewards_do_not_depend_on_it() -> None:
    """The mixed task is played: the block's mass and friction of the one, the goal of the other."""
    family = registry.load("fetch-push")
    tasks = family.tasks("train")
    episode = played(family, tasks[0], seed=3)
    copy = relabelling(family).copy_of(7, episode)
    assert copy is not None and copy.task != 0
    own, other = tasks[0].parameters, tasks[copy.task].parameters
    assert own["mass"] != other["mass"] and own["friction"] != other["friction"] and own["goal"] != other["goal"]
    mixed = played(family, replace(tasks[0], parameters={**own, "goal": other["goal"]}), seed=3)
    np.testing.assert_array_equal(mixed.obs, copy.obs)
    assert np.abs(copy.reward - mixed.reward).max() < 2e-6 < 1e-2 < np.abs(copy.reward - episode.reward).max()
    assert copy.success == mixed.success


def test_success_is_that_of_the_other_task() -> None:
    """An arm that rests at a target from its tenth step on has reached that target, and no other."""
    family = registry.load("reacher-goal")
    target = np.array(family.tasks("train")[5].parameters["target"])
    episode = played(family, family.tasks("train")[0], seed=0)
    x, y = target  # with links of 0.1 and 0.11 m
    bend = np.arccos((x * x + y * y - 0.1**2 - 0.11**2) / (2 * 0.1 * 0.11))
    turn = np.arctan2(y, x) - np.arctan2(0.11 * np.sin(bend), 0.1 + 0.11 * np.cos(bend))
    there = [np.cos(turn), np.cos(bend), np.sin(turn), np.sin(bend), 0.0, 0.0, x, y]
    obs = episode.obs.copy()
    obs[10:] = there
    tasks = family.tasks("train")
    assert family.succeeded(obs, episode.action, tasks[5]) is True
    assert family.succeeded(obs, episode.action, tasks[0]) is False
    obs[-1] = obs[0]  # at the end it is elsewhere
    assert family.succeeded(obs, episode.action, tasks[5]) is False
    runner = registry.load("cheetah-vel")
    run = played(runner, runner.tasks("train")[0], seed=0)
    assert runner.succeeded(run.obs, run.action, runner.tasks("train")[0]) is None


def test_the_best_of_ten_is_the_task_in_which_the_episode_is_worth_most() -> None:
    family = registry.load("point-robot")
    goals = np.array([task.parameters["goal"] for task in family.tasks("train")])
    episode = played(family, family.tasks("train")[0], seed=1)
    worth = -np.linalg.norm(episode.obs[1:, None] - goals, axis=2).sum(axis=0)
    rank = np.argsort(np.argsort(-worth[1:]))  # of the 39 others, 0 the best
    to = {
        how: [relabelling(family, f"train.relabel_to={how}").copy_of(n, episode) for n in range(60)]
        for how in ("random", "best")
    }
    found = {how: np.mean([rank[copy.task - 1] for copy in copies if copy]) for how, copies in to.items()}
    # The best of ten out of 39 has mean rank 29 / 11; any, 19.
    assert found["best"] == pytest.approx(29 / 11, abs=1.0) and found["random"] == pytest.approx(19, abs=5)


def test_a_copy_follows_from_the_number_and_the_seed() -> None:
    family = registry.load("point-robot")
    episode = played(family, family.tasks("train")[0], seed=1)
    half = replace(relabelling(family), share=0.5)
    tasks = [copy.task if copy else None for copy in (half.copy_of(n, episode) for n in range(200))]
    assert tasks == [copy.task if copy else None for copy in (half.copy_of(n, episode) for n in range(200))]
    assert 70 < tasks.count(None) < 130 and len(set(tasks)) > 30
    other = replace(half, seed=1)
    assert tasks != [copy.task if copy else None for copy in (other.copy_of(n, episode) for n in range(200))]


def test_copies_stand_in_the_other_tasks_rings_and_are_no_steps_of_the_run() -> None:
    trainer = Trainer(config_of("point-robot", "train.relabel_share=1"), registry.load("point-robot"))
    done = trainer.iterate()
    assert done.relabelled == len(done.episodes) == 5
    assert trainer.env_steps == 100 and trainer.replay.transitions == 200 and trainer.replay.appended == 5
    stored = [each for queue in trainer.replay._stored for each in queue]
    assert sorted(each.origin for each in stored) == sorted([*range(5)] * 2)
    for each in stored:
        goal = np.array(trainer.tasks[each.task].parameters["goal"])
        rows = trainer.replay.table[each.task * trainer.replay.rows + each.first :][: each.rows]
        away = np.linalg.norm(rows[1:, :2].numpy() - goal, axis=1)
        np.testing.assert_allclose(rows[:-1, -1], -away, atol=1e-5)


@pytest.mark.parametrize("name", ["fetch-reach-sparse", "fetch-pick-sparse"])
def test_sparse_rewards_are_those_of_the_other_task(name: str) -> None:
    """They are -1 nearly everywhere in every task, which makes no two tasks the same."""
    family = registry.load(name)
    tasks = family.tasks("train")
    episode = played(family, tasks[0], seed=3)
    copy = relabelling(family).copy_of(7, episode)
    assert copy is not None and copy.task != 0
    moving = {name: tasks[0].parameters[name] for name in family.moves_by or ()}
    mixed = replace(tasks[0], parameters={**tasks[copy.task].parameters, **moving})
    other = played(family, mixed, seed=3)
    np.testing.assert_array_equal(copy.reward, other.reward)
    assert copy.success == other.success


BONUS = """reward:
  terms:
    near: {expr: "-abs(info.joint_rail - task.goal)"}
    bonus: {expr: "task.mass * (abs(info.joint_rail - 0.02) < 0.01)"}
"""
MARK = (
    "  mark: {value: {dist: uniform, low: 0.1, high: 0.2}, apply: [{field: body_pos, body: flag, op: set, index: 0}]}\n"
)
FLAG = MJCF.replace(
    "<worldbody>", '<worldbody><body name="flag"><geom name="cloth" size="0.01" contype="0" conaffinity="0"/></body>'
)
SEEN_FLAG = """reward:
  terms:
    near: {expr: "-abs(info.joint_rail - task.goal)"}
    bonus: {expr: "1.0 * (abs(info.joint_rail - info.body_flag[0]) < 0.01)"}
"""


@pytest.mark.parametrize(
    ("parameters", "reward", "name"), [("", BONUS, "mass"), (MARK, SEEN_FLAG, "mark")], ids=["read", "put somewhere"]
)
def test_what_moves_and_pays_in_a_few_places_only_is_found(
    parameters: str, reward: str, name: str, tmp_path: Path
) -> None:
    """No made-up transition lies within the centimetre in which the parameter changes a reward."""
    path = write_parallel(tmp_path, parameters=parameters, reward=reward, success="")
    (tmp_path / "cart.xml").write_text(FLAG)
    family = from_file(path)
    with pytest.raises(UserError, match=f"look alike: they differ in {name}"):
        relabelling_for(config_of(str(path), "train.relabel_share=1"), family)
    even = from_file(write_parallel(tmp_path / "even", reward=REWARD, success=""))
    made = relabelling_for(config_of(str(tmp_path / "even" / "cart.yaml"), "train.relabel_share=1"), even)
    assert made is not None and all(len(others) == 5 for others in made.alike)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ml1-reach", "ml1-reach can't say its reward as a function"),
        (
            "arm-push",
            "no two training tasks of arm-push move and look alike: they differ in tool_length",
        ),
        ("walker-params", "all training tasks of walker-params have the same reward function"),
        ("cheetah-vel-oracle", "look alike: they differ in velocity"),
    ],
)
def test_what_can_not_be_relabelled_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        relabelling_for(config_of(name, "train.relabel_share=0.5"), registry.load(name))
    assert error.value.where == "train.relabel_share"
