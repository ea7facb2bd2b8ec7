"""Under --json, standard output holds one JSON value whatever an environment prints, from Python or from C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mql.cli import app as cli

MODULE = """import os
import gymnasium

print("hello from the module")


class Loud(gymnasium.Env):
    metadata = {"render_modes": [], "render_fps": 20}
    observation_space = gymnasium.spaces.Box(-9, 9, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("hello from a reset")
        return self.np_random.uniform(-1, 1, 1), {}

    def step(self, action):
        os.write(1, b"hello from C\\n")
        return self.np_random.uniform(-1, 1, 1), 0.5, False, False, {}


gymnasium.register("lab/Loud-v0", entry_point=Loud, max_episode_steps=20)
"""
YAML = """schema: mql.task_family/1
name: loud
version: 1
description: Prints.
env: {id: "loud_env:lab/Loud-v0"}
parameters: {bonus: {value: {dist: uniform, low: 0.0, high: 1.0}}}
reward: {mode: add, terms: {up: {expr: task.bonus}}}
splits: {train: {n: 5, seed: 1}, test: {n: 5, seed: 2}}
"""


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    (tmp_path / "loud_env.py").write_text(MODULE)
    path = tmp_path / "loud.yaml"
    path.write_text(YAML)
    return path


def test_only_json_reaches_standard_output(loud: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(loud.parent), *sys.path])}
    command = [sys.executable, "-m", "mql", "tasks", "show", "--trust", "--json", str(loud)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["obs_dim"] == 1 and done.stdout.count("\n") == 1
    for said in ("from the module", "from a reset", "from C"):
        assert said in done.stderr


def test_a_reader_that_went_away_ends_the_command(loud: Path) -> None:
    command = f"{sys.executable} -m mql tasks list --json | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode in (0, 141) and "Traceback" not in done.stderr


def test_standard_output_is_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    assert cli.run(["tasks", "show", "point-robot", "--json"]) == 0
    assert sys.stdout is before
    assert json.loads(capsys.readouterr().out)["name"] == "point-robot"
    assert cli.run(["tasks", "show", "nothing", "--json"]) == 2
    assert sys.stdout is before
