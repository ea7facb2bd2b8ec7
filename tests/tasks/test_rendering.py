"""Pictures of tasks, and Gymnasium's checker with a spec, which renders too. Skipped where there is no OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from functools import cache

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mql.tasks import registry

# Families of other packages have tests of their own; variants look like their families.
FOREIGN = ("ml1-", "ml10", "ml45", "mt10", "fetch-", "hand-", "adroit-", "kitchen", "maze")
VARIANTS = ("-oracle", "-legacy", "-contact", "-narrow")
PLAIN = [name for name in registry.names() if not name.startswith(FOREIGN) and not name.endswith(VARIANTS)]
PLAIN.append("ant-dir-contact")  # steps task by task


@pytest.mark.parametrize("name", PLAIN)
def test_gymnasium_checker_passes_with_a_spec(name: str) -> None:
    """With a spec, the checker also builds a second environment, closes twice, and renders."""
    registry.tell_gymnasium()
    task = registry.load(name).tasks("test")[0].to_json()
    env = gymnasium.make(f"mql/{name}-v0", task=task).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(env, skip_render_check=not can_render(name))
    env.close()


@pytest.mark.parametrize("name", PLAIN)
def test_pictures_show_that_something_moves(name: str) -> None:
    if not can_render(name):
        pytest.skip("no OpenGL on this machine")
    family = registry.load(name)
    env = family.make(family.tasks("test")[0], render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    for _ in range(5):
        env.step(np.ones(family.action_dim, np.float32))
    after = env.render()
    env.close()
    assert isinstance(before, np.ndarray) and isinstance(after, np.ndarray)
    assert before.dtype == np.uint8 and before.ndim == 3 and before.shape[2] == 3
    assert (before != after).any()


def can_render(name: str) -> bool:
    return name == "point-robot" or opengl_works()


@cache
def opengl_works() -> bool:
    """Try in a process of its own: a missing library can end the process."""
    code = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).close()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ, timeout=60)
    return result.returncode == 0


def test_missing_opengl_is_named_with_the_mend() -> None:
    code = """
from mql.errors import UserError
from mql.tasks import registry
family = registry.load("reacher-goal")
env = family.make(family.tasks("test")[0], render_mode="rgb_array")
env.reset(seed=0)
try:
    env.render()
except UserError as error:
    assert "MUJOCO_GL=egl" in str(error), error
else:
    raise SystemExit("a picture without OpenGL")
"""
    environment = os.environ | {"MUJOCO_GL": "disable"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
