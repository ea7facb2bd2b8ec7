"""Definitions whose parameters move and size what collides: in YAML alone, with a Python class, and around an id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco import MujocoEnv

from mql import tasks
from mql.errors import UserError
from mql.tasks.family import TaskFamily

pytestmark = pytest.mark.newest

# A body of two geoms over a world with one: it slides down until its lower geom meets the floor at z = 0.
MODEL = """<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <light pos="0 0 2"/>
    <geom name="floor" type="box" size="1 1 .05" pos="0 0 -.05"/>
    WALL
    <body name="b" pos="0 0 .5">
      <joint name="z" type="slide" axis="0 0 1"/>
      <geom name="head" type="sphere" size=".02" pos="0 0 .1" mass=".5"/>
      <geom name="foot" type="sphere" size=".02" pos="0 0 .05" mass=".5"/>
    </body>
  </worldbody>
  <actuator><motor name="m" joint="z" ctrlrange="-0.001 0.001" ctrllimited="true"/></actuator>
</mujoco>"""
YAML = """schema: mql.task_family/1
name: foot-length
version: 1
description: How far down the foot reaches.
env: {{{env}, episode_length: 100}}
parameters:
  foot_z: {{value: {{dist: uniform, low: {low}, high: 0.05}}, apply: [{apply}]}}
{reward}splits: {{train: {{n: 5, seed: 1}}, test: {{n: 3, seed: 2}}}}
"""
PLACE = "{field: geom_pos, geom: foot, index: 2, op: set}"
SIZE = "{field: geom_size, geom: foot, index: 0, op: set}"
CLASS = """
class Foot:
    def bind(self, model):
        self.model = model

    def reset(self, model, data, task, rng):
        assert model is self.model

    def observe(self, model, data):
        return [0.5 + data.qpos[0]]

    def reward(self, model, data, task, action):
        return {"height": data.qpos[0]}
"""
# What stands where the foot ends, as worked out by hand: the lower geom's centre is 0.02 above the floor at rest.
RESTS = {0.05: -0.03, -0.1: 0.12, -0.3: 0.32}


class Foot(MujocoEnv):
    """The model as a Gymnasium environment of somebody else."""

    metadata = {"render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"], "render_fps": 50}  # noqa: RUF012

    def __init__(self, path: str, **kwargs: Any) -> None:
        space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
        super().__init__(path, 10, observation_space=space, **kwargs)

    def step(self, action: Any) -> Any:
        self.do_simulation(action, self.frame_skip)
        return self._seen(), 0.0, False, False, {"height": float(self.data.qpos[0])}

    def reset_model(self) -> Any:
        self.set_state(self.init_qpos, self.init_qvel)
        return self._seen()

    def _seen(self) -> Any:
        return np.array([0.5 + self.data.qpos[0]])


@pytest.fixture(name="register")
def _register(tmp_path: Path) -> Iterator[None]:
    path = tmp_path / "foot.xml"
    path.write_text(MODEL.replace("WALL", ""), encoding="utf-8")
    gymnasium.register("mql-tests/Foot-v0", entry_point=Foot, kwargs={"path": str(path)}, max_episode_steps=100)
    yield
    del gymnasium.registry["mql-tests/Foot-v0"]


def family(folder: Path, kind: str, apply: str = PLACE, wall: str = "") -> TaskFamily:
    (folder / "foot.xml").write_text(MODEL.replace("WALL", wall), encoding="utf-8")
    (folder / "foot.py").write_text(CLASS, encoding="utf-8")
    reward = "reward: {terms: {d: {expr: info.joint_z}}}\n"
    env = {
        "yaml": "mjcf: foot.xml, frame_skip: 10, observe: [body_b]",
        "class": 'mjcf: foot.xml, frame_skip: 10, python: "foot.py:Foot"',
        "id": 'id: "mql-tests/Foot-v0"',
    }[kind]
    low = -0.3 if apply == PLACE else 0.01
    text = YAML.format(env=env, low=low, apply=apply, reward={"yaml": reward, "class": "", "id": ""}[kind])
    path = folder / "foot.yaml"
    path.write_text(text, encoding="utf-8")
    return tasks.from_file(path, trust=True)


def resting(built: TaskFamily, value: float) -> float:
    env = built.make(built.task({"foot_z": value}))
    env.reset(seed=0)
    for _ in range(100):
        obs, *_ = env.step(np.zeros(built.action_dim))
    env.close()
    return float(obs[-1])


@pytest.mark.parametrize("wall", ["", '<geom name="wall" type="box" size=".1 .1 .2" pos=".8 0 .2"/>'])
@pytest.mark.parametrize("kind", ["yaml", "class", "id"])
def test_a_moved_geom_collides_where_it_is(kind: str, wall: str, tmp_path: Path, register: None) -> None:
    if kind == "id":
        (tmp_path / "foot.xml").write_text(MODEL.replace("WALL", wall), encoding="utf-8")
    built = family(tmp_path, kind, wall=wall)
    for place, rest in (*RESTS.items(), *reversed(RESTS.items())):  # one after another in one simulation, and back
        assert resting(built, place) == pytest.approx(rest, abs=2e-3)


def test_tasks_side_by_side_collide_each_with_its_own_foot(tmp_path: Path) -> None:
    built = family(tmp_path, "yaml")
    batch = built.make_batch([built.task({"foot_z": place}) for place in RESTS])
    batch.reset([0, 0, 0])
    for _ in range(100):
        step = batch.step(np.zeros((3, 1)))
    np.testing.assert_allclose(step.obs[:, 2], list(RESTS.values()), atol=2e-3)
    batch.close()


@pytest.mark.parametrize("kind", ["yaml", "class", "id"])
def test_a_size_is_compiled_anew(kind: str, tmp_path: Path, register: None) -> None:
    """A foot of radius r rests with its centre at r: the body's origin is 0.05 below."""
    built = family(tmp_path, kind, apply=SIZE)
    for radius in (0.02, 0.2, 0.08):
        assert resting(built, radius) == pytest.approx(radius - 0.05, abs=3e-3)


def test_an_environment_whose_file_is_gone_refuses_sizes_and_takes_friction(tmp_path: Path, register: None) -> None:
    path = tmp_path / "foot.xml"

    class Gone(Foot):
        def __init__(self, path: str, **kwargs: Any) -> None:
            Path(path).write_text(MODEL.replace("WALL", ""), encoding="utf-8")
            super().__init__(path, **kwargs)
            Path(path).unlink()

    gymnasium.registry["mql-tests/Foot-v0"].entry_point = Gone
    with pytest.raises(UserError, match=r"geom_size needs the model's file, which nobody knows here \(.*foot.yaml:7"):
        family(tmp_path, "id", apply=SIZE)
    assert not path.exists()
    slippery = family(tmp_path, "id", apply="{field: geom_friction, geom: foot, op: set}")
    slippery.make(slippery.task({"foot_z": 0.01})).close()
