"""The check *rest*: what is asked for nothing stays; else it says which servo is too weak, and by how much."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_modes import MOTOR, POSITION, VELOCITY, write_desk

from mql import tasks
from mql.robots import registry as robots
from mql.robots.checks.verdict import Verdict
from mql.robots.inspection import Inspection as RobotInspection
from mql.tasks import registry
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.robot import run_robot_check
from mql.tasks.checks.run import run_check
from mql.tasks.control.effector import Stroke
from mql.tasks.family import Array

pytestmark = pytest.mark.newest

WEAK = POSITION.replace('kv="4"', 'kv="4" forcelimited="true" forcerange="-4 4"')


def of_definition(path: Path) -> Verdict:
    return run_check(Inspection(lambda: tasks.from_file(path, trust=True), QUICK), "rest")


def of_robot(path: Path | str) -> Verdict:
    return run_robot_check(RobotInspection(lambda: robots.load(str(path))), "rest")


@pytest.mark.parametrize("name", ["arm-drawer", "arm-peg", "arm-push", "arm-reach"])
def test_the_arm_families_stay(name: str) -> None:
    verdict = run_check(Inspection(lambda: registry.load(name), QUICK), "rest")
    assert verdict.result == "pass" and "stays within 0.00 cm" in verdict.message


@pytest.mark.parametrize("name", ["cheetah-vel", "point-robot"])
def test_a_family_that_no_action_asks_to_stay_is_not_looked_at(name: str) -> None:
    verdict = run_check(Inspection(lambda: registry.load(name), QUICK), "rest")
    assert verdict.result == "pass" and "not looked at" in verdict.message


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize("control", ["home", "delta", "end"])
def test_a_desk_arm_with_up_to_three_times_its_load_stays(tmp_path: Path, control: str, python: bool) -> None:
    verdict = of_definition(write_desk(tmp_path, control, python=python))
    assert verdict.result == "pass" and "stays within 0.00 cm" in verdict.message


@pytest.mark.parametrize("python", [False, True])
def test_servos_that_are_too_weak_are_named_with_what_they_lack(tmp_path: Path, python: bool) -> None:
    """The shoulder bears 4.9 N m with the heaviest load; its servo gives 4."""
    verdict = of_definition(write_desk(tmp_path, "delta", actuators=WEAK, python=python))
    assert verdict.result == "warn"
    assert "joint 'shoulder' bears 4." in verdict.message and "its servo gives 4 N m" in verdict.message
    assert "[task load=" in verdict.message


def test_targets_that_follow_the_arm_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As position_delta once was: the measured angle and the action, so that the arm sinks under its own weight."""

    def follow(stroke: Stroke, asked: Array, action: Array, place: Array) -> Array:
        followed: Array = place + stroke.length * action
        return followed

    path = write_desk(tmp_path, "delta", actuators=POSITION)
    monkeypatch.setattr(Stroke, "ask", follow)
    for verdict in (of_definition(path), of_robot(only(tmp_path / "desk_arm.yaml", "delta"))):
        assert verdict.result == "fail" and "taken off leaves it" in verdict.message


@pytest.mark.parametrize(("control", "actuators"), [("speed", VELOCITY), ("effort", MOTOR), ("whole", POSITION)])
def test_modes_in_which_no_action_does_not_mean_to_stay_are_not_looked_at(
    tmp_path: Path, control: str, actuators: str
) -> None:
    verdict = of_definition(write_desk(tmp_path, control, actuators=actuators))
    assert verdict.result == "pass" and "not looked at" in verdict.message


def only(path: Path, *kept: str) -> Path:
    """Leave a robot's spec some of its control modes."""
    modes = ("whole", "home", "delta", "speed", "effort", "end")
    lines = path.read_text().splitlines()
    dropped = tuple(f"  {mode}:" for mode in modes if mode not in kept)
    path.write_text("\n".join(line for line in lines if not line.startswith(dropped)))
    return path


def desk_robot(folder: Path, *kept: str, actuators: str = POSITION, safety: str = "") -> Path:
    write_desk(folder, actuators=actuators, safety=safety)
    return only(folder / "desk_arm.yaml", *kept)


def test_a_robot_is_looked_at_in_each_mode_as_it_is_and_with_a_load(tmp_path: Path) -> None:
    verdict = of_robot(desk_robot(tmp_path, "whole", "home", "delta", "end", safety="{payload_kg: 2.0}"))
    assert verdict.result == "pass", verdict
    assert "0.00 cm, also with a load, in whole, home, delta, end" in verdict.message


def test_a_robot_that_carries_itself_but_no_load_is_told_so(tmp_path: Path) -> None:
    verdict = of_robot(desk_robot(tmp_path, "delta", actuators=WEAK))
    assert (
        verdict.result == "warn" and "with a load: its servos are too weak: joint 'shoulder' bears" in verdict.message
    )


def test_a_mode_that_does_not_fit_fails(tmp_path: Path) -> None:
    verdict = of_robot(desk_robot(tmp_path, "delta", "speed"))
    assert verdict.result == "fail" and "velocity does not fit actuator 'turn'" in verdict.message


@pytest.mark.parametrize("name", ["arm7", "mobile-base", "planar2"])
def test_the_robots_of_the_package_stay(name: str) -> None:
    assert of_robot(name).result == "pass"
