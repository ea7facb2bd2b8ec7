"""Names that expressions may say and what they are refused for, and how visible parameters are seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lab_definitions import REWARD, SUCCESS, write_parallel, write_python
from lab_judged import COUNTER, RICH, TASK, load, registered

from mql import tasks
from mql.errors import UserError

pytestmark = pytest.mark.newest


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    with registered():
        yield


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
        ("obs.cuont[0]", "obs has no 'cuont' (column 1) (KEY): did you mean 'count' or 'act'?"),
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
        load(tmp_path, kind, reward=f'reward: {{terms: {{near: {{expr: "{expr}"}}}}}}\n', ends=SUCCESS)
    assert said in str(caught.value) and ":9 reward.terms.near.expr" in str(caught.value)


def test_observed_quantities_are_read_as_they_are_seen(tmp_path: Path) -> None:
    reward = 'reward: {terms: {near: {expr: "obs.site_tip[0] + 100 * (obs.qpos[0] - last.obs.qpos[0])"}}}\n'
    seen = ", observe: [qpos, site_tip], scaling: {site_tip: {minus: 0.1, per: 0.5}}"
    family = load(tmp_path, "parallel", reward=reward, ends="", env=seen)
    env = family.make(family.task(TASK))
    before, _ = env.reset(seed=1)
    for _ in range(3):
        after, worth, *_ = env.step(np.array([1.0]))
        assert worth == pytest.approx(after[2] + 100 * (after[0] - before[0]), abs=1e-4)
        before = after


def changed(old: str, new: str) -> tuple[str, str]:
    assert old in RICH
    return RICH.replace(old, new), ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed('until: "abs(info.speed_rail) < 0.1", ', ""), "the stage 'stop' has no end (KEY:16 reward.stages.1)"),
        (changed("name: stop", "name: go"), "two stages are called 'go' (KEY:16 reward.stages.1.name)"),
        (changed("name: stop", "name: s t"), "'s t' is not a name (KEY:16 reward.stages.1.name)"),
        (changed("stop, until", "stop, untill"), "(KEY:16 reward.stages.1.untill): did you mean 'until'?"),
        (changed("smooth:", "go_fast:"), "'fast' of the stage 'go' and the term 'go_fast' are both reported as"),
        (changed("terms: {fast", "terms: {bonus"), "reported as reward_go_bonus (KEY:15 reward.stages.0)"),
        (changed("speed_rail) <", "stage) <"), "info has no 'stage' (column 5) (KEY:16 reward.stages.1.until)"),
        (changed('until: "info.joint_rail < last.info.joint_rail - 0.005"', "weigh: 3"), "reward.stages.2.weigh)"),
        (
            changed('      until: "info.joint_rail < last.info.joint_rail - 0.005"\n', ""),
            "no end to pay its bonus at (KEY:19",
        ),
        (changed('"info.speed_rail"', '"info.speed_rial"'), "(KEY:15 reward.stages.0.terms.fast.expr): did you mean"),
        ((REWARD, "success: {expr: 'info.stage > 0'}"), "info has no 'stage' (column 1) (KEY:13 success.expr)"),
        (
            (REWARD, "success: {expr: 'obs[0] > 0', at: never}"),
            "at is 'never' (KEY:13 success.at): it must be 'any' or",
        ),
        ((REWARD, "terminate: {expr: 'info.joint_rial > 0'}"), "(KEY:13 terminate.expr): did you mean 'joint_rail'"),
        ((REWARD, "terminate:\n- {expr: 'obs[0] > 0'}\n- {expr: 'open(1)'}"), "expressions (KEY:15 terminate.1.expr)"),
        ((REWARD, "terminate: [{expr: 'obs[9] > 0'}]"), "obs has no [9] (column 1) (KEY:13 terminate.0.expr)"),
        ((REWARD, "terminate: {expr: 'obs[0] > 0', after: 0}"), "after is 0 (KEY:13 terminate.after)"),
        ((REWARD, "terminate: {expr: 'obs[0] > 0', afer: 2}"), "unknown key 'afer' (KEY:13 terminate.afer): did you"),
        ((REWARD, "terminate: {after: 2}"), "expr is missing (KEY:13 terminate.expr)"),
        ((REWARD, "terminate: 3"), "terminate is 3 (KEY:13 terminate)"),
        ((REWARD, "terminate: {expr: 'obs > 0'}"), "the value is a vector of 4 components (KEY:13 terminate.expr)"),
    ],
)
def test_mistakes_are_one_line_with_the_place(tmp_path: Path, text: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, "parallel", reward=text[0], ends=text[1] + "\n")
    message = str(caught.value)
    assert "\n" not in message
    assert said.replace("KEY", str(tmp_path / "parallel" / "cart.yaml")) in message


def test_a_name_that_every_mapping_has_is_refused_for_a_python_class_only(tmp_path: Path) -> None:
    named = "  items: {value: {dist: uniform, low: 1.0, high: 2.0}}\n"
    with pytest.raises(UserError, match=r"a parameter called 'items'.* \(.*cart.yaml:9 parameters.items\)"):
        load(tmp_path, "python", reward="", ends="success: {hold: 2}\n", parameters=named)
    reward = 'reward: {terms: {some: {expr: "task.items + 0 * info.joint_rail"}}}\n'
    family = load(tmp_path, "parallel", reward=reward, ends="", parameters=named)
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
