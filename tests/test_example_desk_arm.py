"""The example of a way to a robot and back: what its robot logs is what the family sees, and the whole runs."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest

from mql import tasks
from mql.data.checking import check
from mql.data.column_map import read_columns
from mql.data.fitting import fit
from mql.data.reading import read
from mql.tasks.definitions.layout import commanded_numbers, observed_numbers
from mql.tasks.family import TaskFamily

EXAMPLE = Path(__file__).parents[1] / "examples" / "desk_arm"
STEPS = 60


@pytest.fixture(scope="module")
def family() -> TaskFamily:
    return tasks.from_file(EXAMPLE / "desk-reach.yaml")


@pytest.fixture(scope="module")
def real() -> Any:
    return SimpleNamespace(**runpy.run_path(str(EXAMPLE / "real_robot.py")))


class Wanderer:
    """Stands for an exported folder's controller: acts at random, and remembers what it was shown."""

    control_timestep, last_fault = 0.05, None

    def __init__(self, family: TaskFamily) -> None:
        numbers = {"observation": observed_numbers(family), "action": commanded_numbers(family)}
        self.card = {"episode_length": STEPS, **numbers}
        self.rng, self.seen, self.taken = np.random.default_rng(3), [], []

    def reset(self) -> None:
        pass

    def act(self, obs: np.ndarray, *, last_action: np.ndarray | None) -> np.ndarray:
        if last_action is not None:
            self.taken.append(last_action)
        self.seen.append(obs)
        return self.rng.uniform(-0.2, 0.2, 3)


def test_a_log_tells_the_family_what_the_controller_saw(family: TaskFamily, real: Any, tmp_path: Path) -> None:
    """Through CSV, degrees and commands in rad, and back: observations, actions, and the reward of the definition."""
    controller, log = Wanderer(family), tmp_path / "log.csv"
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, real.COLUMNS)
        writer.writeheader()
        for row in real.trials(controller, real.RealRobot(0), count=2, seed=5, noise=0.1):
            writer.writerow({name: "" if np.isnan(value) else f"{value:.9g}" for name, value in row.items()})
    logged = read(log, columns=read_columns(EXAMPLE / "columns.yaml"))
    assert not [each for each in check(logged, family) if each.level == "error"]
    first, second = fit(family, logged).episodes
    seen = np.array(controller.seen).reshape(2, STEPS, -1)
    assert np.abs(first.obs[:-1] - seen[0]).max() < 1e-4 and np.abs(second.obs[:-1] - seen[1]).max() < 1e-4
    assert np.abs(first.action[:-1] - controller.taken[: STEPS - 1]).max() < 1e-5
    scale = {each["name"]: each for each in controller.card["observation"]}
    place, target = first.obs[1:, 6:9] * 0.1 + [0.348, 0.0, 0.364], first.obs[0, 9:] * scale["task.target_y"]["per"]
    distance = np.linalg.norm(place - real.TARGET_MIDDLE - [0.0, *target], axis=1)
    expected = -6.0 * distance - 0.05 * (first.action**2).mean(axis=1)
    assert np.abs(first.reward - expected).max() < 1e-4


def test_what_is_seen_of_the_task_may_be_told_beside_the_log(family: TaskFamily, real: Any, tmp_path: Path) -> None:
    with_target, without = tmp_path / "with.csv", tmp_path / "without.csv"
    rows = list(real.trials(Wanderer(family), real.RealRobot(1), count=1, seed=6, noise=0.0))
    for log, columns in ((with_target, real.COLUMNS), (without, real.COLUMNS[:-2])):
        with log.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({name: "" if np.isnan(value) else value for name, value in row.items()} for row in rows)
    target = {name: rows[0][f"task.{name}"] for name in ("target_y", "target_z")}
    known = read(with_target, columns=read_columns(EXAMPLE / "columns.yaml"))
    unknown = read(without, columns=read_columns(EXAMPLE / "columns.yaml"))
    assert [each.level for each in check(unknown, family)] == ["error"]
    assert not [each for each in check(unknown, family, task=target) if each.level == "error"]
    [whole], [told] = fit(family, known).episodes, fit(family, unknown, task=target).episodes
    assert np.array_equal(whole.obs, told.obs) and np.array_equal(whole.reward, told.reward)


def test_the_robot_knows_its_own_arm_and_hides_what_is_out_of_range(family: TaskFamily, real: Any) -> None:
    model = mujoco.MjModel.from_xml_path(str(EXAMPLE / "desk_arm.xml"))
    data = mujoco.MjData(model)
    for pose in np.random.default_rng(0).uniform(-0.5, 1.5, (5, 3)):
        data.qpos[:] = pose
        mujoco.mj_kinematics(model, data)
        assert np.abs(real.tool_place(pose) - data.site("tcp").xpos).max() < 1e-9
    for name, hidden in {"payload": real.PAYLOAD, "damping": real.DAMPING}.items():
        assert family.parameters[name].distribution.high <= min(hidden)
    masses = {round(float(real.RealRobot(each)._model.body_mass[3]), 6) for each in (0, 0, 1)}
    assert len(masses) == 2 and min(masses) > 3.0 * model.body_mass[3]


def test_a_gain_has_an_interval_over_robots() -> None:
    names = runpy.run_path(str(EXAMPLE / "to_the_robot.py"))
    robots = [
        {name: {"return": value, "last_distance_cm": 1.0} for name, value in (("zero_shot", -5.0), ("adapted", after))}
        for after in (-4.0, -3.0, -2.0, -4.0, -2.0)
    ]
    found = names["summary"](robots)["return"]
    half = 2.776445 / np.sqrt(5.0)  # Student's t with four degrees of freedom, and a deviation of 1
    assert found["change"] == 2.0 and found["ci95"] == pytest.approx([2.0 - half, 2.0 + half], abs=1e-5)
    assert names["summary"](robots[:4])["return"]["ci95"] is None


@pytest.mark.slow
def test_the_whole_way_runs_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    script = [sys.executable, str(EXAMPLE / "to_the_robot.py"), "-o", str(tmp_path / "work"), "--quick", "--jobs", "2"]
    subprocess.run(script, check=True, capture_output=True, cwd=EXAMPLE.parents[1])
    results = json.loads((tmp_path / "work" / "results.json").read_text())
    assert len(results["robots"]) == 2 and results["summary"]["return"]["ci95"] is None
    assert set(results["seconds"]) == {"train", "report", "export", "robots"}
    for name in ("before-and-after.png", "report.html", "zero-shot/policy.onnx", "robot-1/exported-1/policy.onnx"):
        assert (tmp_path / "work" / name).stat().st_size > 1000
    commands = (tmp_path / "work" / "commands.txt").read_text()
    (tmp_path / "work" / "robot-1" / "compared-adapted.csv").unlink()
    again = subprocess.run(script, check=True, capture_output=True, text=True, cwd=EXAMPLE.parents[1])
    more = (tmp_path / "work" / "commands.txt").read_text().removeprefix(commands).splitlines()
    assert len(more) == 1 and "real_robot.py" in more[0] and "compared-adapted.csv" in more[0], again.stdout
    assert json.loads((tmp_path / "work" / "results.json").read_text())["robots"] == results["robots"]
    words = ["zero-shot", "--robot", "0", "--trials", "1", "-o", "alone.csv"]
    without = (
        "import sys, runpy; sys.modules['mql'] = sys.modules['torch'] = sys.modules['gymnasium'] = None\n"
        f"sys.argv = {['', *words]!r}; runpy.run_path({str(EXAMPLE / 'real_robot.py')!r}, run_name='__main__')"
    )
    subprocess.run([sys.executable, "-c", without], check=True, capture_output=True, cwd=tmp_path / "work")
    assert len((tmp_path / "work" / "alone.csv").read_text().splitlines()) == 1 + STEPS + 1
