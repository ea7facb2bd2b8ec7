"""What expressions read by its name, in all kinds of definitions, and names that nothing has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from lab_definitions import SUCCESS, TASK, load_cart, write_parallel, write_python

from mql import tasks
from mql.errors import UserError

pytestmark = pytest.mark.newest


@pytest.mark.parametrize(("at", "expected"), [("any", [0, 0, 1, 1, 1, 1]), ("end", [0, 0, 0, 0, 0, 0])])
def test_success_stays_or_must_be_the_end(tmp_path: Path, at: str, expected: list[int]) -> None:
    """At the goal in steps 2 and 3 only: held for two steps, but not at the end."""
    goal = 'success: {expr: "0.03 < info.time_or_step < 0.07", hold: 2, at: AT}\n'.replace("AT", at)
    success = goal.replace("0.03 < info.time_or_step < 0.07", "1.5 < obs[1] < 3.5")
    path = tmp_path / "counter.yaml"
    path.write_text(COUNTER.replace("EXTRA", success))
    family = tasks.from_file(path, trust=True)
    assert family.describe()["success"] == {"hold_steps": 2, "at": at}
    env = family.make(family.tasks("train")[0])
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(np.zeros(1))[4]["success"] for _ in range(6)] == [bool(each) for each in expected]
    env.close()


COUNTER = """schema: mql.task_family/1
name: counter
version: 1
description: Counts its steps.
env: {id: "lab/Counter-v0", episode_length: 6}
parameters:
  keys: {value: {dist: uniform, low: 1.0, high: 2.0}, hidden: false}
  values: {value: {dist: uniform, low: 1.0, high: 2.0}}
reward: {terms: {some: {expr: "task.keys + 10 * task.values + 0 * obs[0]"}}}
EXTRA
splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}
"""


class Counter(gymnasium.Env[Any, Any]):
    """An observation of parts: what was done, and how often; a Dict within a Dict."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": [], "render_fps": 20}

    def __init__(self, plain: bool = False, render_mode: str | None = None) -> None:
        box = gymnasium.spaces.Box
        inner = gymnasium.spaces.Dict({"a": box(-9, 9, (1,)), "b": box(-9, 9, (2,))})
        spaces = {"act": box(-1, 1, (1,)), "count": box(0, 99, (1,)), "inner": inner}
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = box(-1.0, 1.0, (1,), np.float32)

    def _seen(self, action: float) -> dict[str, Any]:
        inner = {"a": np.array([self.count / 2]), "b": np.array([1.0, self.count])}
        return {"act": np.array([action]), "count": np.array([self.count]), "inner": inner}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0.0
        return self._seen(0.0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1.0
        return self._seen(float(action[0])), 0.0, False, False, {"doubled": 2 * self.count, "text": "no number"}


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    gymnasium.register("lab/Counter-v0", entry_point=Counter, max_episode_steps=6)
    yield
    gymnasium.registry.pop("lab/Counter-v0")


def test_parts_of_an_observation_are_read_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "counter.yaml"
    path.write_text(
        COUNTER.replace("EXTRA", "").replace(
            "0 * obs[0]",
            "100 * (obs.count[0] - last.obs.count[0]) + norm(obs.inner[1:3] - [1, 0]) + obs.act[0] + obs[5]",
        )
    )
    family = tasks.from_file(path)
    task = family.task({"keys": 1.5, "values": 1.25})
    env = family.make(task)
    obs, _ = env.reset(seed=0)
    assert obs.tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 1.5]  # nested parts are flattened; the visible parameter ends it
    rewards = [env.step(np.array([0.5]))[1] for _ in range(3)]
    assert rewards == pytest.approx([1.5 + 12.5 + 100.0 + count + 0.5 + 1.5 for count in (1, 2, 3)])
    env.close()


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("obs.cuont[0]", "obs has no 'cuont' (column 1) (KEY): did you mean 'count'?"),
        ("last.obs.acts[0]", "last.obs has no 'acts' (column 1) (KEY): did you mean 'act'"),
        ("obs.count[1]", "obs.count has no [1] (column 1) (KEY): its components go from 0 to 0"),
        ("obs[6]", "obs has no [6]"),
        ("last.obs[6]", "last.obs has no [6]"),
        ("last.action[1]", "last.action has no [1]"),
        ("info.double", "info has no 'double' (column 1) (KEY): did you mean 'doubled'?"),
        ("info.text", "info has no 'text'"),
        (
            "last.info.doubled",
            "last.info has no 'doubled' in the first step, since a reset of the environment doesn't tell",
        ),
        ("last.info.stage", "last.info has no 'stage'"),
        ("info.stage", "info has no 'stage'"),
        ("task.key", "task has no 'key' (column 1) (KEY): did you mean 'keys'?"),
        ("obs.inner", "the value is a vector of 3 components (KEY)"),
        ("sum(obs.inner - obs.act[0:1] - [1, 2])", "vectors of 3 and 2 components meet (KEY)"),
        ("obs.count.x", "is not allowed in an expression (KEY)"),
    ],
)
def test_names_of_any_root_that_do_not_exist_are_refused_when_the_file_is_read(
    tmp_path: Path, expr: str, said: str
) -> None:
    path = tmp_path / "counter.yaml"
    path.write_text(COUNTER.replace("EXTRA", "").replace("task.keys + 10 * task.values + 0 * obs[0]", expr))
    with pytest.raises(UserError) as caught:
        tasks.from_file(path)
    assert said.replace("KEY", f"{path}:9 reward.terms.some.expr") in str(caught.value)
    assert "\n" not in str(caught.value) and f"{path}:9" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "expr", "said"),
    [
        ("parallel", "obs.site_tip[0]", "obs has no 'site_tip'"),  # not observed
        ("parallel", "obs.qpso[0]", "did you mean 'qpos'?"),
        ("parallel", "obs.qpos[2]", "obs.qpos has no [2]"),
        ("parallel", "last.info.site_tip[3]", "last.info.site_tip has no [3]"),
        ("parallel", "last.info.joint_rial", "did you mean 'joint_rail'"),
        ("parallel", "norm(info.site_tip - obs.qpos)", "vectors of 3 and 2 components meet"),
        ("parallel", "info.reward", "info has no 'reward'"),
        ("python", "obs.joint_rail", "the observation has no names here: write obs[3], or info.NAME"),
        ("python", "last.obs[4]", "last.obs has no [4]"),
        ("python", "info.joint_rial", "did you mean 'joint_rail'"),
        ("python", "dot(obs, info.site_tip)", "dot takes two vectors of one length, not of 4 and 3 components"),
    ],
)
def test_names_that_a_model_does_not_have_are_refused(tmp_path: Path, kind: str, expr: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_cart(tmp_path, kind, reward=f'reward: {{terms: {{near: {{expr: "{expr}"}}}}}}\n', ends=SUCCESS)
    assert said in str(caught.value) and ":9 reward.terms.near.expr" in str(caught.value)


def test_observed_quantities_are_read_as_they_are_seen(tmp_path: Path) -> None:
    reward = 'reward: {terms: {near: {expr: "obs.site_tip[0] + 100 * (obs.qpos[0] - last.obs.qpos[0])"}}}\n'
    seen = ", observe: [qpos, site_tip], scaling: {site_tip: {minus: 0.1, per: 0.5}}"
    family = load_cart(tmp_path, "parallel", reward=reward, ends="", env=seen)
    env = family.make(family.task(TASK))
    before, _ = env.reset(seed=1)
    for _ in range(3):
        after, worth, *_ = env.step(np.array([1.0]))
        assert worth == pytest.approx(after[2] + 100 * (after[0] - before[0]), abs=1e-4)
        before = after


def test_a_name_that_every_mapping_has_is_refused_for_a_python_class_only(tmp_path: Path) -> None:
    named = "  items: {value: {dist: uniform, low: 1.0, high: 2.0}}\n"
    with pytest.raises(UserError, match=r"a parameter called 'items'.* \(.*cart.yaml:9 parameters.items\)"):
        load_cart(tmp_path, "python", reward="", ends="success: {hold: 2}\n", parameters=named)
    reward = 'reward: {terms: {some: {expr: "task.items + 0 * info.joint_rail"}}}\n'
    family = load_cart(tmp_path, "parallel", reward=reward, ends="", parameters=named)
    env = family.make(family.task(TASK | {"items": 1.75}))
    env.reset(seed=0)
    assert env.step(np.zeros(1))[1] == 1.75


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_visible_parameters_can_be_scaled(tmp_path: Path, kind: str) -> None:
    seen = "  seen: {value: {dist: uniform, low: [10, 20], high: 40}, hidden: false}\n"
    write = write_python if kind == "python" else write_parallel
    path = write(tmp_path, parameters=seen, reward='reward: {terms: {one: {expr: "obs[4] + 10 * task.seen[0]"}}}\n')
    text = path.read_text()
    path.write_text(text.replace("frame_skip: 2", "frame_skip: 2, scaling: {seen: {minus: [10, 20], per: 10}}"))
    family = tasks.from_file(path, trust=True)
    env = family.make(family.task(TASK | {"seen": [15.0, 40.0]}))
    obs, _ = env.reset(seed=0)
    assert obs[4:].tolist() == [0.5, 2.0]
    after, reward, *_ = env.step(np.zeros(1))
    assert after[4:].tolist() == [0.5, 2.0] and reward == pytest.approx(150.5)
    for scaling, said in (
        ("{goal: {per: 2}}", "'goal' is not observed"),  # it is hidden
        ("{seen: {minus: [1, 2, 3]}}", "minus has 3 numbers, seen 2"),
    ):
        path.write_text(text.replace("frame_skip: 2", f"frame_skip: 2, scaling: {scaling}"))
        with pytest.raises(UserError, match=said):
            tasks.from_file(path, trust=True)


def test_visible_parameters_around_a_registered_environment_can_be_scaled(tmp_path: Path) -> None:
    path = tmp_path / "counter.yaml"
    text = COUNTER.replace("EXTRA", "").replace("episode_length: 6", "episode_length: 6, scaling: {keys: {per: 0.5}}")
    path.write_text(text)
    family = tasks.from_file(path)
    assert family.make(family.task({"keys": 1.5, "values": 1.0})).reset(seed=0)[0][-1] == 3.0
    path.write_text(text.replace("{keys: {per", "{count: {per"))
    with pytest.raises(UserError, match="'count' is not observed"):
        tasks.from_file(path)
