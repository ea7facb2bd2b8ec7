"""Definitions whose episodes are judged by much that a definition can say, and an environment that counts its steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from lab_definitions import write_parallel, write_python

from mql import tasks
from mql.tasks.family import TaskFamily

LENGTH = 60
RICH = """reward:
  terms:
    smooth: {expr: "-sum((action - last.action) ** 2)", weight: 0.1}
    progress: {expr: "abs(last.info.joint_rail - task.goal) - abs(info.joint_rail - task.goal)"}
    upright: {expr: "tolerance(angle_between(info.site_tip - info.body_pole, [1, 0, 2]), 0, 0.1, 0.5)"}
  stages:
    - {name: go, until: "info.joint_rail > 0.05", terms: {fast: {expr: "info.speed_rail"}}, bonus: 2.0}
    - {name: stop, until: "abs(info.speed_rail) < 0.1", terms: {slow: {expr: "-abs(info.speed_rail)", weight: 0.5}}}
    - name: back
      until: "info.joint_rail < last.info.joint_rail - 0.005"
      terms: {moved: {expr: "info.stage - last.info.stage"}, far: {expr: "norm(obs - last.obs)"}}
      bonus: -1.5
"""
ENDS = """success: {expr: "info.stage >= 2", hold: 3}
terminate:
  - {expr: "info.joint_rail > 0.4", after: 3}
  - {expr: "info.joint_rail < -0.05"}
"""
TASK = {"goal": 0.3, "mass": 1.0}


def load(folder: Path, kind: str, *, reward: str = RICH, ends: str = ENDS, **more: str) -> TaskFamily:
    write = write_python if kind == "python" else write_parallel
    path = write(folder / kind, reward=reward, success=ends, **more)
    path.write_text(path.read_text().replace("episode_length: 12", f"episode_length: {LENGTH}"))
    return tasks.from_file(path, trust=True)


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


@contextmanager
def registered() -> Iterator[None]:
    """Let Gymnasium know the environment of `COUNTER`."""
    gymnasium.register("lab/Counter-v0", entry_point=Counter, max_episode_steps=6)
    yield
    gymnasium.registry.pop("lab/Counter-v0")
