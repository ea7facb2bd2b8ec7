"""What the numbers of observations and actions are called, and in which units."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_definitions import write_parallel
from lab_reaching import write_reaching

from mql import tasks
from mql.tasks.definitions.layout import commanded_numbers, observed_numbers


def test_observed_numbers_have_names_units_and_scale(tmp_path: Path) -> None:
    scaling = "scaling: {site_tip: {minus: [0.1, 0.0, 0.3], per: 0.05}}"
    env = f", observe: [qpos, speed_pivot, site_tip, sensor_felt], {scaling}"
    found = observed_numbers(tasks.from_file(write_parallel(tmp_path, env=env)))
    assert found is not None
    assert [(each["name"], each["unit"]) for each in found] == [
        ("qpos[0], joint rail", "m"),
        ("qpos[1], joint pivot", "rad"),
        ("speed_pivot", "rad/s"),
        ("site_tip[0]", "m"),
        ("site_tip[1]", "m"),
        ("site_tip[2]", "m"),
        *((f"sensor_felt[{place}]", "m/s^2") for place in range(3)),
    ]
    assert [(each["minus"], each["per"]) for each in found[2:6]] == [(0.0, 1.0), (0.1, 0.05), (0.0, 0.05), (0.3, 0.05)]


def test_what_an_agent_sees_again_is_marked(tmp_path: Path) -> None:
    path = write_parallel(tmp_path, env=", observe: [joint_rail, joint_pivot]")
    path.write_text(path.read_text() + "sensing: {joint_rail: {history: 2}}\n")
    found = observed_numbers(tasks.from_file(path))
    assert found is not None
    assert [each["name"] for each in found] == ["joint_rail", "joint_pivot", "joint_rail, 1 control steps earlier"]


def test_actions_command_ranges_or_displacements(tmp_path: Path) -> None:
    found = commanded_numbers(tasks.from_file(write_parallel(tmp_path / "cart")))
    assert found is not None
    assert [(each["name"], each["minus"], each["per"]) for each in found] == [("control of push", 0.5, 1.0)]
    (tmp_path / "desk").mkdir()
    reaching = commanded_numbers(tasks.from_file(write_reaching(tmp_path / "desk", "desk", control="reach")))
    assert reaching is not None
    assert [(each["name"], each["unit"], each["per"]) for each in reaching] == [
        *((f"displacement {axis}", "m", 0.02) for axis in "xyz"),
        ("gripper, from closed (-1) to open (1)", "1", 1.0),
    ]


@pytest.mark.parametrize("name", ["point-robot", "cheetah-vel"])
def test_other_families_say_it_in_their_text(name: str) -> None:
    assert observed_numbers(tasks.load(name)) is None and commanded_numbers(tasks.load(name)) is None
