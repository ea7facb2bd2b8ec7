"""What is asked of an end effector as a quantity, and an action that a definition holds for the checks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from lab_episodes import load_tray, write_tray

from mql import tasks
from mql.cli.tables import print_family
from mql.errors import UserError
from mql.tasks.definitions.parallel import ParallelDefinedFamily
from mql.tasks.definitions.poses import reachable
from mql.tasks.disturbances.family import undisturbed

REACH = """schema: mql.task_family/1
name: lab-asked
version: 1
description: Ask for a place.
env: {robot: arm7, scene: reach, control: MODE, episode_length: 20, observe: [site_flange, OBSERVED]}
parameters: {height: {value: {dist: uniform, low: 0.28, high: 0.32}, unit: m}}
reward: {terms: {ask: {expr: "-norm(info.OBSERVED)"}}}
success: {expr: "abs(info.asked_ee[2] - task.height) < 0.01", hold: 1}
splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}
"""


def load(folder: Path, observed: str, mode: str = "ee_delta") -> ParallelDefinedFamily:
    path = folder / "asked.yaml"
    path.write_text(REACH.replace("OBSERVED", observed).replace("MODE", mode))
    family = undisturbed(tasks.from_file(path))
    assert isinstance(family, ParallelDefinedFamily)
    return family


def test_what_is_asked_of_an_end_effector_is_observed_and_rewarded(tmp_path: Path) -> None:
    family = load(tmp_path, "asked_ee")
    batch = family.make_batch(family.tasks("train"))
    start = np.asarray(batch.reset([1, 2, 3]), np.float64)
    np.testing.assert_allclose(start[:, 3:6], start[:, :3], atol=1e-6)  # asked to stay
    step = batch.step(np.tile([1.0, 0.0, 0.5], (3, 1)))
    np.testing.assert_allclose(step.obs[:, 3:6] - start[:, 3:6], np.tile([0.02, 0.0, 0.01], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(step.reward, -np.linalg.norm(step.obs[:, 3:6], axis=1), rtol=1e-6)
    batch.close()


def test_the_way_ahead_is_from_where_the_end_effector_is(tmp_path: Path) -> None:
    asked = load(tmp_path, "asked_ee")
    (tmp_path / "ahead").mkdir()
    ahead = load(tmp_path / "ahead", "ahead_ee")
    seen = []
    for family in (asked, ahead):
        batch = family.make_batch(family.tasks("train"))
        batch.reset([1, 2, 3])
        for _ in range(5):
            step = batch.step(np.tile([0.8, -0.5, 0.3], (3, 1)))
        seen.append(np.asarray(step.obs, np.float64))
        batch.close()
    np.testing.assert_allclose(seen[1][:, 3:6], seen[0][:, 3:6] - seen[0][:, :3], atol=1e-6)
    assert np.linalg.norm(seen[1][:, 3:6], axis=1).min() > 0.005


def test_poses_at_rest_ask_for_where_they_are(tmp_path: Path) -> None:
    family = load(tmp_path, "ahead_ee")
    assert reachable(family, family.tasks("train")[:1], np.random.default_rng(0)) == [True]


def test_modes_of_joints_ask_nothing_of_an_end_effector(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no 'ahead_ee' \(.*asked.yaml:5 env.observe\)"):
        load(tmp_path, "ahead_ee", mode="position_delta")


def test_a_probe_is_held_by_the_checks_and_has_an_actions_numbers(tmp_path: Path) -> None:
    family = load_tray(tmp_path, "probe: [0.5]\n")
    assert family.probe is not None
    np.testing.assert_array_equal(family.probe(None, np.zeros(1, np.float32), 3), [0.5])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"an action has 1 number, the probe 2 \(.*tray.yaml:9 probe\)"):
        tasks.from_file(write_tray(tmp_path, "probe: [0.5, 0.5]\n"))
    with pytest.raises(UserError, match=r"probe"):
        tasks.from_file(write_tray(tmp_path, "probe: [1.5]\n"))


def test_show_lists_what_episodes_differ_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = (
        "start: {home_noise: 0.2, joints: {slide: 0.1}, bodies: {red: {pos: [0.4, 0.0, 0.05], turn: any}}}\n"
        "randomise: {x: {value: {dist: uniform, low: 0.5, high: 2.0}, apply: [{field: gravity, op: scale}]}}\n"
    )
    later = (
        "  late: {value: {dist: uniform, low: 1.0, high: 2.0}, schedule: {at_s: 0.1},"
        " apply: [{field: dof_damping, joint: shoulder, op: set}]}\n"
    )
    description = load_tray(tmp_path, more, parameters=later).describe()
    assert description["episodes"] == [
        "start driven joints: +- 0.2 rad or m",
        "start joint slide: 0.1",
        "start body red: at [0.4, 0, 0.05], turned anyhow",
        "randomise x: uniform low 0.5 high 2, scale gravity",
        "schedule late: the model's own until 0.1 s",
    ]
    print_family(description)
    assert "randomise x: uniform low 0.5 high 2, scale gravity" in capsys.readouterr().out


def test_a_robots_own_randomise_acts_where_the_definition_says_so(tmp_path: Path) -> None:
    from mql.tasks.checks.effort import QUICK
    from mql.tasks.checks.inspection import Inspection
    from mql.tasks.checks.stated import check_stated

    path = tmp_path / "asked.yaml"
    said = []
    for line in ("", "randomise: robot\n"):
        path.write_text(REACH.replace("OBSERVED", "asked_ee").replace("MODE", "ee_delta") + line)
        said.append(check_stated(Inspection(lambda: tasks.from_file(path), QUICK)).message)
    more = [int(re.search(r"and (\d+) more", each).group(1)) for each in said]  # type: ignore[union-attr]
    assert more[1] == more[0] - 1
