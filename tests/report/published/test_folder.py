"""The folder of results keeps to its rule, or one line says where it does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from published_results import repository, run

from mql.errors import UserError
from mql.report.published.adding import add_run
from mql.report.published.folder import rank_of, read_results

TIME = {"wall_seconds": 1.0, "env_steps_per_s": 1.0, "env_steps": 5, "machine": {}, "date": "2026-01-02"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = repository(tmp_path / "repository")
    for seed in (1, 2):
        add_run(run(tmp_path / f"run-{seed}", [-1.0, -2.0], seed=seed), folder)
    return folder


def test_families_methods_and_notes_are_found(results: Path) -> None:
    (results / "maze").mkdir()
    (results / "maze" / "notes.md").write_text("Nobody tried.\n")
    (results / "performance").mkdir()
    (results / "point-robot" / "paths.png").write_bytes(b"")
    maze, point = read_results(results)
    assert (maze.name, maze.methods, maze.notes) == ("maze", (), "Nobody tried.")
    assert [(method.name, [seed.seed for seed in method.seeds]) for method in point.methods] == [("mql", [1, 2])]


def renamed_seed(folder: Path) -> None:
    (folder / "seed-2").rename(folder / "seed-7")


def stray_folder(folder: Path) -> None:
    (folder / "first-try").mkdir()


def runs_without_method(folder: Path) -> None:
    (folder / "seed-1").rename(folder.parent / "seed-1")


def other_tasks(folder: Path) -> None:
    path = folder / "seed-2" / "evaluations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["tasks"] = lines[-1]["tasks"][:1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def cut_config(folder: Path) -> None:
    (folder / "seed-1" / "config.yaml").write_text("seed: 1\n")


def no_environment(folder: Path) -> None:
    (folder / "seed-1" / "environment.json").unlink()


def empty_evaluations(folder: Path) -> None:
    (folder / "seed-1" / "evaluations.jsonl").write_text("")


def infinite_return(folder: Path) -> None:
    path = folder / "seed-1" / "evaluations.jsonl"
    path.write_text(path.read_text().replace('"zero_shot_return": -1.0', '"zero_shot_return": Infinity'))


def headings(folder: Path) -> None:
    (folder.parent / "notes.md").write_text("Good.\n\n## Bad\n")


def time_of_another_plan(folder: Path) -> None:
    (folder / "time.json").write_text(json.dumps(TIME))


def time_of_nothing(folder: Path) -> None:
    (folder / "time.json").write_text("[]")


def damaged_random(folder: Path) -> None:
    (folder / "seed-1" / "random.json").write_text("{}")


def name_of_another_method(folder: Path) -> None:
    folder.rename(folder.parent / "td3")


def nothing_at_all(folder: Path) -> None:
    (folder.parent.parent / "ml10").mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (renamed_seed, "the run's seed is 2 .*seed-7"),
        (stray_folder, "no place in the rule .*first-try"),
        (runs_without_method, "no place in the rule"),
        (other_tasks, "on other tasks .*seed-2"),
        (cut_config, "config.yaml.*restore"),
        (no_environment, "environment.json"),
        (empty_evaluations, "there is no evaluation .*seed-1"),
        (infinite_return, "zero_shot_return"),
        (headings, "a heading .*notes.md"),
        (time_of_another_plan, "of a run of 5 env steps, not of 600 .*time.json"),
        (time_of_nothing, "wall_seconds.*time.json"),
        (damaged_random, "random.json"),
        (name_of_another_method, "method is mql .*td3/seed-1"),
        (nothing_at_all, "holds no result .*ml10"),
    ],
)
def test_what_is_against_the_rule_is_one_line_with_its_place(
    spoil: Callable[[Path], None], said: str, results: Path
) -> None:
    spoil(results / "point-robot" / "mql")
    with pytest.raises(UserError, match=said) as refused:
        read_results(results)
    assert "\n" not in str(refused.value)


def test_methods_stand_in_one_order() -> None:
    names = ["oracle", "pearl", "own", "td3-context", "mql-paper", "rl2", "td3", "mql", "td3-600k"]
    expected = ["mql", "mql-paper", "td3", "td3-600k", "td3-context", "rl2", "pearl", "oracle", "own"]
    assert sorted(names, key=rank_of) == expected
