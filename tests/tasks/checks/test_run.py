"""`mql tasks check` on sound families, and the pieces that its checks are made of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mql.cli import app as cli
from mql.tasks import registry
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection, play_batch
from mql.tasks.checks.run import CHECKS, representatives, run_check
from mql.tasks.checks.tasks import distant_pairs, ends, variants
from mql.tasks.distributions import Angle, Choice, LogUniform, Normal, Uniform
from mql.tasks.families.small.point_robot import PointRobot, point_robot
from mql.tasks.family import Split
from mql.tasks.parameter import Parameter

# Families that the command checks quickly; those of other kinds are added here. The second list takes half a minute.
# What its families promise is tested by the walk over the registry and by the tests of the other packages, too.
SHORT = ["point-robot", "cheetah-dir"]
SAMPLE = [*SHORT, "cheetah-vel", "reacher-goal", "walker-params", "fetch-reach", "ml1-push"]
WARNINGS = {("cheetah-dir", "splits")}  # its test tasks are its training tasks


@pytest.mark.parametrize("names", [SHORT, pytest.param(SAMPLE, marks=pytest.mark.slow)], ids=["short", "sample"])
def test_quick_check_of_a_sample(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.run(["tasks", "check", *names, "--quick", "--json"])
    out, err = capsys.readouterr()
    lines = json.loads(out)
    assert [(line["family"], line["check"]) for line in lines] == [(name, check) for name in names for check in CHECKS]
    assert all(line.keys() == {"family", "check", "result", "message"} for line in lines)
    # Where there is no OpenGL, pictures are a warning too.
    found = {(line["family"], line["check"]): line for line in lines if line["result"] != "pass"}
    unexpected = {key: line for key, line in found.items() if key not in WARNINGS and key[1] != "render"}
    assert not unexpected and status == 0
    assert all(line["result"] == "warn" for line in found.values())
    assert found.keys() >= WARNINGS
    assert len(err.splitlines()) >= len(names)


@pytest.mark.parametrize("name", ["point-robot", "reacher-goal", "point-robot-oracle"])
def test_sound_families_pass_every_check_but_perhaps_the_picture(name: str) -> None:
    inspection = Inspection(lambda: registry.build(name), replace(QUICK, speed_seconds=0.005))
    for check in [check for check in CHECKS if check not in ("render", "pickle")] + ["pickle"]:
        verdict = run_check(inspection, check)
        assert verdict.result == "pass", (check, verdict)


def test_a_registered_family_is_built_afresh_each_time() -> None:
    assert registry.build("point-robot") is not registry.build("point-robot")
    assert registry.load("point-robot") is registry.load("point-robot")


def test_quick_takes_the_first_family_of_each_module() -> None:
    chosen = representatives()
    assert {"point-robot", "reacher-goal", "cheetah-vel", "cheetah-dir"} <= set(chosen)
    assert {registry.module_of(name) for name in chosen} == {registry.module_of(name) for name in registry.names()}
    assert len({registry.module_of(name) for name in chosen}) == len(chosen)


def test_an_episode_is_the_same_alone_and_as_a_task() -> None:
    inspection = Inspection(point_robot, QUICK)
    family = inspection.family
    tasks = family.tasks("train")[:3]
    batch = family.make_batch(tasks)
    rows = play_batch(family, batch, tasks, [5, 6, 7])
    for task, seed, row in zip(tasks, [5, 6, 7], rows, strict=True):
        alone = inspection.play_alone(task, seed)
        assert alone.first_difference(row) is None and len(alone.rewards) == 20
        assert row.obs.shape == (21, 2) and row.actions.shape == (20, 2)
    assert rows[0].first_difference(rows[1]) == 0
    rewards = rows[0].rewards.copy()
    rewards[6] += 1.0
    assert rows[0].first_difference(replace(rows[0], rewards=rewards)) == 7


def family_of(**parameters: Parameter) -> PointRobot:
    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return PointRobot(**(fields | {"parameters": {**plain.parameters, **parameters}}))


@pytest.mark.parametrize(
    ("distribution", "low", "high"),
    [
        (Uniform(1.0, 3.0), 1.0, 3.0),
        (LogUniform(0.5, 2.0), 0.5, 2.0),
        (Normal(1.0, 0.5), 0.0, 2.0),
        (Choice((2.0, -1.0, 0.0)), -1.0, 2.0),
        (Angle(), 0.0, np.pi),
    ],
)
def test_the_ends_of_a_parameter(distribution: object, low: float, high: float) -> None:
    family = family_of(extra=Parameter(distribution=distribution, unit="1", doc="extra"))  # type: ignore[arg-type]
    found = ends(family, "extra")
    assert found is not None
    one, other, alone = found
    assert (one.parameters["extra"], other.parameters["extra"], alone) == (low, high, True)
    assert one.parameters["goal"] == other.parameters["goal"] == family.tasks("train")[0].parameters["goal"]


def listed(*tasks: dict[str, float]) -> PointRobot:
    number = Parameter(distribution=Uniform(0.0, 9.0), unit="1", doc="listed")
    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    splits = {"train": Split(listed=tasks), "test": Split(n=2, seed=1)}
    return PointRobot(**(fields | {"parameters": {"one": number, "two": number}, "splits": splits}))


def test_listed_tasks_are_compared_with_those_that_differ_in_nothing_else() -> None:
    family = listed({"one": 0.0, "two": 0.0}, {"one": 5.0, "two": 5.0}, {"one": 1.0, "two": 0.0})
    assert [task.index for task in ends(family, "one")[:2]] == [0, 2] and ends(family, "one")[2]  # type: ignore[index]
    assert not ends(family, "two")[2]  # type: ignore[index]
    assert [task.index for task in variants(family, ["one"], 8)] == [0, 2]
    assert [task.index for task in variants(family, ["one", "two"], 8)] == [0, 1, 2]
    assert ends(listed({"one": 1.0, "two": 2.0}, {"one": 1.0, "two": 3.0}), "one") is None


def test_distant_pairs_start_with_the_farthest_and_use_a_task_once() -> None:
    values = [0.0, 1.0, 5.0, 9.0]
    pairs = distant_pairs(listed(*({"one": value, "two": 0.0} for value in values)), 3)
    assert [(one.parameters["one"], other.parameters["one"]) for one, other in pairs] == [(0.0, 9.0), (1.0, 5.0)]


def test_an_object_s_place_may_show_at_the_start() -> None:
    class Beside(PointRobot):
        def initial_state(self, rng: np.random.Generator, parameters: dict[str, tuple[float, ...]]) -> tuple:
            return np.array(parameters["goal"]) + rng.uniform(0.1, 0.2, 2), np.zeros(0)

    plain = point_robot()
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    for marked, result in ((False, "fail"), (True, "pass")):
        goal = replace(plain.parameters["goal"], observed_start=marked)
        family = Beside(**(fields | {"parameters": {"goal": goal}}))
        verdict = run_check(Inspection(lambda family=family: family, QUICK), "hidden")  # type: ignore[misc]
        assert verdict.result == result and "goal" in verdict.message, verdict
