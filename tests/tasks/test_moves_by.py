"""Which task parameters motion depends on: tasks that agree in these move alike; all others change rewards alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lab_definitions import write_parallel

from mql import tasks
from mql.tasks import registry
from mql.tasks.family import Task, TaskFamily


def seen(family: TaskFamily, task: Task, steps: int = 30) -> np.ndarray:
    """Observations and ends of an episode of the same start and the same random actions."""
    batch, rng = family.make_batch([task]), np.random.default_rng(0)
    rows = [np.append(batch.reset([4])[0], 0.0)]
    for _ in range(min(steps, family.episode_length)):
        step = batch.step(rng.uniform(-1.0, 1.0, (1, family.action_dim)).astype(np.float32))
        rows.append(np.append(step.obs[0], step.terminated[0]))
    batch.close()
    return np.array(rows)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("point-robot", set()),
        ("reacher-goal", set()),
        ("cheetah-vel", set()),
        ("ant-goal", set()),
        ("humanoid-dir", set()),
        ("arm-push", {"mass", "friction", "tool_length", "gain"}),
        ("fetch-reach", set()),
        ("fetch-push", {"mass", "friction"}),
        ("walker-params", {"mass", "inertia", "friction", "damping"}),
    ],
)
def test_of_built_in_families(name: str, names: set[str]) -> None:
    family = registry.load(name)
    assert set(family.moves_by or ()) == names
    if names != {"mass", "friction"}:  # of a block that is not touched
        alike = np.array_equal(*(seen(family, family.tasks("train")[place]) for place in (0, 1)))
        assert alike == (not names)


def test_families_of_other_packages_do_not_say() -> None:
    assert registry.load("maze").moves_by is None


MORE = "  far: {value: {dist: uniform, low: 0.001, high: 0.01}}\n"
START = "start: {joints: {rail: task.far}}\n"
END = "terminate: {expr: abs(info.joint_rail) > task.far}\n"

DRAWN = """randomise:
  drag:
    value: {dist: uniform, low: 1.0, high: 2.0}
    apply: [{field: dof_damping, joint: rail, op: scale}]
"""


@pytest.mark.parametrize(
    ("more", "names"),
    [("", {"mass"}), (START, {"mass", "far"}), (END, {"mass", "far"}), ("physics", {"goal", "mass", "far"})],
    ids=["changed", "start", "end", "an episode's own physics"],
)
def test_of_definitions(more: str, names: set[str], tmp_path: Path) -> None:
    parameters = MORE + ("" if more == "physics" else more)
    if more == "physics":
        parameters += DRAWN
    family = tasks.from_file(write_parallel(tmp_path, parameters=parameters))
    assert set(family.moves_by or ()) == names
    own = family.tasks("train")[0]
    for name, value in {"goal": 0.3, "mass": 1.9, "far": 0.002}.items():
        if name not in names:
            assert np.array_equal(seen(family, own), seen(family, family.task({**own.parameters, name: value})))
