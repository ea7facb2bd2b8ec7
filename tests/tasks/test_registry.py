"""The table of families, tasks of one's own, and what a missing package costs."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.distributions import Uniform
from mql.tasks.families import table
from mql.tasks.families.small.point_robot import PointRobot
from mql.tasks.family import Split
from mql.tasks.parameter import Parameter


def test_the_table_names_what_it_builds() -> None:
    names = registry.names()
    assert len(set(names)) == len(names)
    assert {"cheetah-dir", "cheetah-vel", "cheetah-vel-narrow", "point-robot", "reacher-goal"} <= set(names)
    for name in names:
        assert registry.load(name).name == name
        assert registry.load(name) is registry.load(name)


def test_an_unknown_family_names_the_nearest() -> None:
    with pytest.raises(UserError) as caught:
        registry.load("cheeta-vel")
    assert str(caught.value).startswith("unknown task family 'cheeta-vel': did you mean 'cheetah-vel'")
    with pytest.raises(UserError, match=r"mql\.tasks\.from_file\('lab/drawer\.yaml'\)"):
        registry.load("lab/drawer.yaml")
    with pytest.raises(
        UserError,
        match=rf"choose one of adroit-door, .*, \.\.\. \({len(registry.names())} in all; 'mql tasks list' lists",
    ):
        registry.load("zzzzzz")


def test_a_name_that_stands_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TABLE", (*table.TABLE, table.TABLE[0]))
    with pytest.raises(ValueError, match="two families of one name"):
        registry.load("cheetah-vel")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cheetah-vel", {"velocty": 1.0}, "unknown task parameter 'velocty' (family cheetah-vel): did you mean"),
        ("cheetah-vel", {}, "task parameter 'velocity' is missing"),
        ("cheetah-vel", {"velocity": math.nan}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": math.inf}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": "fast"}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": True}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": None}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": [1.0]}, "finite number in m/s"),
        ("cheetah-vel", {"velocity": 1e6}, "physics allows -100 to 100 m/s"),
        ("cheetah-vel", {"velocity": 10**400}, "finite number in m/s"),
        ("cheetah-dir", {"direction": 0.5}, "give -1 or 1"),
        ("reacher-goal", {"target": 0.1}, "give 2 numbers in m"),
        ("reacher-goal", {"target": (0.1, 0.1, 0.1)}, "give 2 numbers in m"),
        ("reacher-goal", {"target": "ab"}, "give 2 numbers in m"),
        ("reacher-goal", {"target": (0.1, math.nan)}, "finite number in m"),
        ("reacher-goal", {"target": (0.3, 0.0)}, "physics allows -0.27 to 0.27 m"),
        ("point-robot", {"goal": (0.0, 0.0), "speed": 1.0}, "unknown task parameter 'speed'"),
    ],
)
def test_forbidden_tasks_are_refused(name: str, parameters: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.load(name).task(parameters)
    assert message in str(caught.value)


def test_a_task_outside_the_training_range_is_allowed_and_marked() -> None:
    family = registry.load("cheetah-vel")
    assert family.task({"velocity": 1}).in_training_range
    assert family.task({"velocity": np.float32(1.5)}).to_json() == {"velocity": 1.5}
    for velocity in (-1.0, 3.5):
        assert not family.task({"velocity": velocity}).in_training_range
    reacher = registry.load("reacher-goal")
    assert reacher.task({"target": [0.1, 0.1]}).in_training_range
    assert reacher.task({"target": np.array([0.1, 0.1])}).to_json() == {"target": [0.1, 0.1]}
    assert not reacher.task({"target": (0.15, 0.15)}).in_training_range


def family_of_two_splits(**changes: object) -> PointRobot:
    settings: dict[str, object] = {
        "name": "two-splits",
        "summary": "for this test",
        "obs_dim": 2,
        "action_dim": 2,
        "episode_length": 3,
        "control_timestep": 0.1,
        "parameters": {"goal": Parameter(distribution=Uniform(-1.0, 1.0, 2), unit="m", doc="goal")},
        "splits": {"train": Split(n=5, seed=1), "test": Split(n=5, seed=1)},
    }
    return PointRobot(**(settings | changes))  # type: ignore[arg-type]


def test_splits_that_share_a_task_are_refused_unless_flagged() -> None:
    with pytest.raises(UserError, match="splits train and test share a task"):
        family_of_two_splits().tasks("train")
    shared = family_of_two_splits(shared_splits=True)
    assert [task.parameters for task in shared.tasks("test")] == [task.parameters for task in shared.tasks("train")]


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(UserError, match="split test is empty"):
        family_of_two_splits(splits={"train": Split(n=5, seed=1), "test": Split()}).tasks("train")


def test_registration_imports_no_simulator() -> None:
    code = "import sys, mql; assert not {'mujoco', 'torch', 'scipy'} & set(sys.modules), 'heavy import'"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


def test_a_missing_package_is_one_line_and_leaves_the_other_families(monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without_metaworld(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == "metaworld":
            raise ModuleNotFoundError("No module named 'metaworld'", name="metaworld")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    for module in [name for name in sys.modules if name.startswith(("metaworld", "mql.tasks.families.meta_world."))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without_metaworld)
    with pytest.raises(UserError) as caught:
        registry.build("ml1-reach")
    assert str(caught.value) == (
        "package metaworld is missing (family ml1-reach): install it with pip install 'mql[meta-world]'"
    )
    assert registry.build("cheetah-vel").name == "cheetah-vel"


def test_a_mujoco_that_gymnasium_robotics_cannot_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mujoco.__version__", "3.12.0")
    for module in [name for name in sys.modules if name.startswith("mql.tasks.families.robotics")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UserError) as caught:
        registry.build("maze")
    assert str(caught.value) == (
        "Gymnasium-Robotics does not work with mujoco 3.12.0: pip install 'mql[gymnasium-robotics]' "
        "installs a mujoco below 3.12"
    )
    monkeypatch.setattr("mujoco.__version__", "3.11.1")
    assert registry.build("maze").name == "maze"
