"""Robots that a definition names: they are found, belong to its digest, and start within their limits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from lab_robots import MJCF

from mql import tasks
from mql.errors import UserError
from mql.robots import registry
from mql.tasks.definitions.file import read_definition

DEFINITION = """schema: mql.task_family/1
name: lab
version: 1
description: Reach
env: {env}
parameters:
  goal: {{value: {{dist: uniform, low: 0.0, high: 1.0{size}}}}}
reward: {{terms: {{away: {{expr: "-abs(info.joint_swing - sum(task.goal))"}}}}}}
splits: {{train: {{n: {n}, seed: 1}}, test: {{n: 2, seed: 2}}}}
"""


def written(folder: Path, env: str, size: str = "", n: int = 3) -> Path:
    path = folder / "lab.yaml"
    path.write_text(DEFINITION.format(env=env, size=size, n=n))
    return path


@pytest.fixture
def menagerie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the menagerie with one robot of two models."""
    folder = tmp_path / "menagerie" / "my_lift"
    folder.mkdir(parents=True)
    for name in ("lift", "lift_2"):
        (folder / f"{name}.xml").write_text(MJCF)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path / "menagerie"))
    return folder


def test_a_robot_of_the_menagerie_with_an_entry(tmp_path: Path, menagerie: Path) -> None:
    path = written(tmp_path, "{robot: menagerie:my_lift/lift, scene: reach, episode_length: 20}")
    assert tasks.from_file(path).action_dim == 2


def test_the_content_of_a_named_robot_belongs_to_the_digest(tmp_path: Path, menagerie: Path) -> None:
    path = written(tmp_path, "{robot: menagerie:my_lift/lift, scene: reach, episode_length: 20}")
    file = read_definition(path)
    assert file.files == (path,)  # a run keeps copies of the definition's own files only
    model = menagerie / "lift.xml"
    model.write_text(MJCF.replace('mass="0.5"', 'mass="0.6"'))
    assert read_definition(path).digest != file.digest
    model.write_text(MJCF)
    assert read_definition(path).digest == file.digest
    shutil.copytree(menagerie.parent, tmp_path / "elsewhere")  # the same content at another place
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MENAGERIE_ROOT", str(tmp_path / "elsewhere"))
        assert read_definition(path).digest == file.digest
    model.unlink()
    with pytest.raises(UserError, match="has no model 'lift'"):
        read_definition(path)


def test_what_is_stated_of_a_named_robot_belongs_to_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "{robot: planar2, scene: reach, episode_length: 20}")
    before = read_definition(path).digest
    spec = registry.load("planar2")
    changed = spec.model_copy(update={"home": {"shoulder": 0.1}}).placed(spec.file, {}, None)
    monkeypatch.setattr(registry, "load", lambda name, *_, **__: changed)
    assert read_definition(path).digest != before


def test_a_spec_that_names_a_model_of_a_collection(tmp_path: Path, menagerie: Path) -> None:
    (tmp_path / "lift.yaml").write_text(
        "schema: mql.robot/1\nname: lift\nlicence: MIT\nsource: own\nmjcf: menagerie:my_lift/lift\n"
    )
    path = written(tmp_path, "{robot: lift.yaml, scene: reach, episode_length: 20}")
    before = read_definition(path).digest
    (menagerie / "lift.xml").write_text(MJCF.replace('mass="0.5"', 'mass="0.6"'))
    assert read_definition(path).digest != before


@pytest.mark.parametrize("name", ["lift.XML", "lift.mjcf"])
def test_a_model_is_known_by_its_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(MJCF)
    for env in (
        f"{{mjcf: {name}, frame_skip: 4, episode_length: 9}}",
        f"{{robot: {name}, scene: reach, episode_length: 9}}",
    ):
        assert tasks.from_file(written(tmp_path, env)).action_dim == 2


@pytest.mark.parametrize(
    ("size", "n", "said"),
    [
        (", size: 1000000000", 3, "size is 1000000000"),
        (", size: 1001", 3, "at most 1,000 components"),
        (", size: 1000", 90_000, "splits' tasks are"),
    ],
)
def test_sizes_that_would_fill_the_memory(tmp_path: Path, size: str, n: int, said: str) -> None:
    (tmp_path / "lift.xml").write_text(MJCF)
    with pytest.raises(UserError, match=said) as caught:
        read_definition(written(tmp_path, "{mjcf: lift.xml, frame_skip: 4, episode_length: 9}", size, n))
    assert "lab.yaml:" in str(caught.value)


KEY = '<keyframe><key name="{}" qpos="{} 0.02"/>{}</keyframe></mujoco>'


@pytest.mark.parametrize(
    ("keys", "start"),
    [
        (KEY.format("home", 0.5, ""), 0.5),
        (KEY.format("ready", 0.5, ""), 0.5),
        (KEY.format("ready", 0.5, '<key name="home" qpos="0.7 0.02"/>'), 0.7),
        (KEY.format("ready", 0.5, '<key name="other" qpos="0.7 0.02"/>'), 0.0),
        (KEY.format("home", 1.53, ""), 1.5),  # hardly outside of [-1.5, 1.5]
        (KEY.format("home", 1.7, ""), 1.7),  # somebody has chosen that
    ],
)
def test_where_episodes_start(tmp_path: Path, keys: str, start: float) -> None:
    (tmp_path / "lift.xml").write_text(MJCF.replace("</mujoco>", keys))
    family = tasks.from_file(written(tmp_path, "{mjcf: lift.xml, frame_skip: 4, episode_length: 9}"))
    assert family.mechanism.start.qpos[0] == pytest.approx(start)


def test_a_pose_that_nobody_has_chosen_is_brought_within_the_limits(tmp_path: Path) -> None:
    (tmp_path / "lift.xml").write_text(MJCF.replace('range="-1.5 1.5" damping', 'range="0.4 1.5" damping'))
    family = tasks.from_file(written(tmp_path, "{mjcf: lift.xml, frame_skip: 4, episode_length: 9}"))
    assert np.array_equal(family.mechanism.start.qpos, [0.4, 0.0])
