"""A cart on a rail as a lab would define it, for the tests of definitions: in YAML alone, and with a Python class."""

from __future__ import annotations

from pathlib import Path

from mql import tasks
from mql.tasks.family import TaskFamily

MJCF = """<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body name="cart">
      <joint name="rail" type="slide" axis="1 0 0" damping="0.5"/>
      <geom name="box" type="box" size="0.1 0.1 0.1" mass="2"/>
      <site name="tip" pos="0.1 0 0.3"/>
      <body name="pole" pos="0 0 0.1">
        <joint name="pivot" type="hinge" axis="0 1 0"/>
        <geom name="rod" type="capsule" size="0.02 0.2" pos="0 0 0.2" mass="0.1"/>
      </body>
    </body>
  </worldbody>
  <actuator><motor name="push" joint="rail" gear="10" ctrlrange="-0.5 1.5"/></actuator>
  <sensor><jointpos name="place" joint="rail"/><accelerometer name="felt" site="tip"/></sensor>
</mujoco>
"""

YAML = """schema: mql.task_family/1
name: lab-cart
version: 1
description: Push a cart to a hidden place.
env: {{mjcf: cart.xml, {python}episode_length: 12, frame_skip: 2{env}}}
parameters:
  goal: {{value: {{dist: uniform, low: 0.1, high: 0.5}}, unit: m, doc: where the cart should be}}
  mass: {{value: {{dist: loguniform, low: 0.5, high: 2.0}}, apply: [{{field: body_mass, body: cart, op: scale}}]}}
{parameters}{reward}{success}splits:
  train: {{n: 6, seed: 1}}
  test: {{n: 4, seed: 2}}
  ood: {{n: 3, seed: 3, override: {{goal: {{dist: uniform, low: 0.6, high: 0.7}}}}}}
"""

REWARD = """reward:
  terms:
    near: {expr: "-abs(info.joint_rail - task.goal)", weight: 2.0}
    calm: {expr: "-0.1 * sum(action ** 2)"}
"""
SUCCESS = """success: {expr: "abs(info.joint_rail - task.goal) < 0.05", hold: 2}
"""

PYTHON = '''"""A cart's own terms."""

import numpy as np

with open({marker!r}, "a") as file:  # shows that the code has run
    file.write("ran ")


class CartTask:
    def bind(self, model):
        self.rail = int(model.joint("rail").qposadr[0])

    def reset(self, model, data, task, rng):
        data.qpos[self.rail] = rng.uniform(-0.01, 0.01)

    def observe(self, model, data):
        return [*data.qpos, *data.qvel]

    def reward(self, model, data, task, action):
        assert task["goal"] == task.goal
        return {{"near": -abs(data.qpos[self.rail] - task.goal), "calm": -0.1 * float(action @ action)}}

    def success(self, model, data, task):
        return abs(data.qpos[self.rail] - task.goal) < 0.05

    def probe(self, model, data, t):
        return np.array([1.0 if t < 6 else -1.0])
'''

TINY = {
    "train.env_steps": 144,
    "train.random_steps": 48,
    "train.episodes_per_iteration": 4,
    "train.batch_size": 16,
    "train.env_steps_per_update": 24,
    "train.replay_capacity": 2000,
    "train.evaluate_every": 1000,
    "train.checkpoint_every": 48,
    "agent.hidden_sizes": [16],
    "agent.context_dim": 4,
    "agent.segment_length": 8,
    "agent.burn_in": 4,
    "adapt.adaptation_episodes": 2,
    "adapt.round_updates": 2,
    "adapt.round_batch_size": 16,
    "evaluate.tasks": 1,
    "evaluate.final_tasks": 2,
}
SETTINGS = ["--set", *(f"{key}={value}" for key, value in TINY.items())]


def write_parallel(
    folder: Path, *, parameters: str = "", reward: str = REWARD, success: str = SUCCESS, env: str = ""
) -> Path:
    """Write the cart without Python; return the definition's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cart.xml").write_text(MJCF)
    path = folder / "cart.yaml"
    path.write_text(YAML.format(python="", parameters=parameters, reward=reward, success=success, env=env))
    return path


def write_python(
    folder: Path,
    *,
    parameters: str = "",
    reward: str = "",
    success: str = "success: {hold: 2}\n",
    code: str = PYTHON,
    class_name: str = "CartTask",
) -> Path:
    """Write the cart with a Python class, which leaves a file ``ran`` in `folder` when it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cart.xml").write_text(MJCF)
    (folder / "cart_task.py").write_text(code.format(marker=str(folder / "ran")))
    path = folder / "cart.yaml"
    python = f'python: "cart_task.py:{class_name}", '
    path.write_text(YAML.format(python=python, parameters=parameters, reward=reward, success=success, env=""))
    return path


LENGTH = 60  # control steps of an episode of `load_cart`
TASK = {"goal": 0.3, "mass": 1.0}


def load_cart(folder: Path, kind: str, *, reward: str, ends: str, **more: str) -> TaskFamily:
    """Load the cart as a definition of `kind`, parallel or python, with episodes of `LENGTH` steps.

    `ends` is YAML of the sections success and terminate.
    """
    write = write_python if kind == "python" else write_parallel
    path = write(folder / kind, reward=reward, success=ends, **more)
    path.write_text(path.read_text().replace("episode_length: 12", f"episode_length: {LENGTH}"))
    return tasks.from_file(path, trust=True)
