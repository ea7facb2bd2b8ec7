"""What stands on the page, of results that a reader can check by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from published_results import change, repository, run
from report_runs import rows

from mql.errors import UserError
from mql.report.published.adding import add_run
from mql.report.published.drawing import draw_family, is_drawn, mean_line
from mql.report.published.figures import figures_of
from mql.report.published.folder import read_family, read_results
from mql.report.published.page import groups_of, readme_table, results_page, write_documents

NAMES = ["maze", "point-robot", "point-robot-oracle", "ml1-reach", "ml1-push"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return repository(tmp_path / "repository")


def test_figures_over_seeds_and_tasks(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0], seed=1), results)
    add_run(run(tmp_path / "b", [-3.0, -4.0, -5.0], [-3.0, -3.0, -9.0], seed=2), results)
    [row] = figures_of(read_results(results)[0].methods[0])
    assert (row.seeds, row.tasks, row.env_steps, row.planned) == ((1, 2), 3, (600, 600), None)
    assert row.zero_shot["value"] == -3.0 and row.adapted and row.adapted["value"] == -3.0
    assert row.gain and row.gain["value"] == 0.0 and row.worst == (-5.0, -9.0)
    assert (row.zero_shot["runs"], row.zero_shot["tasks"]) == (2, 3) and row.zero_shot["ci95"]
    assert (row.random, row.random_success, row.random_tasks) == (-100.0, 0.0, 3)


def test_no_interval_of_fewer_than_five_values_and_n_beside_the_others(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0, -2.0, -3.0, -4.0]), results)
    assert "| -2.50 |" in results_page(read_results(results), NAMES)
    add_run(
        run(tmp_path / "b", [-1.0, -2.0, -3.0, -4.0, -5.0], seed=2, settings={"agent.lr": 0.5}), results, name="mql-b"
    )
    page = results_page(read_results(results), NAMES)
    assert "| -2.50 |" in page and "; 1x5] |" in page and "; 1x4]" not in page


def test_a_task_that_one_seed_could_not_finish_counts_for_none(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0, -2.0, -30.0], seed=1), results)
    other = run(tmp_path / "b", [-3.0, -4.0, -5.0], seed=2)
    lines = [json.loads(line) for line in (other / "evaluations.jsonl").read_text().splitlines()]
    lines[-1]["tasks"][2] = {"parameters": lines[-1]["tasks"][2]["parameters"], "fault": "it flew away"}
    (other / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    add_run(other, results)
    families = read_results(results)
    [row] = figures_of(families[0].methods[0])
    assert (row.tasks, row.faults, row.zero_shot["value"]) == (2, 1, -2.5)
    assert "2 test, 1 left out" in results_page(families, NAMES)


def test_rows_outside_the_range_and_adapted_anew(tmp_path: Path, results: Path) -> None:
    one = run(tmp_path / "a", [-1.0, -2.0], [-1.0, -1.0])
    beside = {"env_steps": 600, "seed": 1}
    (one / "ood.json").write_text(json.dumps({**beside, "split": "ood", "tasks": rows([-7.0])}))
    again = {**beside, "how": "by hand", "split": "test", "tasks": rows([-1.0, -2.0], [-0.5, -0.5])}
    (one / "again.json").write_text(json.dumps(again))
    add_run(one, results)
    families = read_results(results)
    assert [row.kind for row in figures_of(families[0].methods[0])] == ["final", "again", "ood"]
    page = results_page(families, NAMES)
    assert "| mql, ood |" in page and "| 1 ood |" in page and "| by hand |" in page
    assert "(by hand)" in readme_table(families, NAMES)


def test_baselines_and_the_oracle_stand_beside_in_the_readme(tmp_path: Path, results: Path) -> None:
    for method, value in (("mql", -2.0), ("td3", -1.0), ("oracle", -0.5)):
        place = add_run(run(tmp_path / method, [value], method=method), results).path
        lines = (place / "evaluations.jsonl").read_text()  # the family has a success there: as if it had none
        (place / "evaluations.jsonl").write_text(lines.replace('_success": 1.0', '_success": null'))
    table = readme_table(read_results(results), NAMES)
    assert "| td3 -1.00 |" in table and table.splitlines()[-1].endswith("| -0.500 |")
    assert "point-robot-oracle" not in results_page(read_results(results), NAMES)  # the oracle is that family


def test_families_without_a_curve_are_listed_once_with_what_is_known(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0]), results)
    (results / "maze").mkdir()
    (results / "maze" / "notes.md").write_text("Seen in [a film](films/one.mp4),\n[docs](../../docs/tasks.md#maze).\n")
    part = results_page(read_results(results), NAMES).partition("## Families without a curve")[2]
    assert "1 of the 5 families of the registry have a curve, and these 4 have none." in part
    assert "| `maze` | 1 | Seen in [a film](../results/maze/films/one.mp4), [docs](tasks.md#maze). |" in part
    assert "| `point-robot-oracle` | 1 |" in part and "| `ml1-`: `reach`, `push` | 2 |" in part
    assert groups_of(["a", "a-oracle", "a-b", "a-b-v5"]) == {"a": ["a", "a-oracle"], "a-b": ["a-b", "a-b-v5"]}


def test_times_stand_there_only_where_they_were_measured(tmp_path: Path, results: Path) -> None:
    place = add_run(run(tmp_path / "a", [-1.0]), results).path
    assert "| not measured |" in results_page(read_results(results), NAMES)
    machine = {"cpu": "A Processor", "cores": 2}
    time = {"wall_seconds": 720.0, "env_steps_per_s": 812.3, "env_steps": 600, "machine": machine, "date": "2026-01-02"}
    (place.parent / "time.json").write_text(json.dumps(time))
    page = results_page(read_results(results), NAMES)
    assert "| 12 min | 812 | A Processor, 2 cores; 1 thread, 1 worker; 2026-01-02 |" in page
    assert "| 12 min |" in readme_table(read_results(results), NAMES)


def test_documents_change_between_their_marks_only(tmp_path: Path, results: Path) -> None:
    add_run(run(tmp_path / "a", [-1.0]), results)
    root, families = results.parent, read_results(results)
    assert len(write_documents(root, families, NAMES)) == 2
    text = (root / "docs" / "results.md").read_text()
    assert text.startswith("# By hand\n") and text.endswith("\nBelow.\n") and "\nold\n" not in text
    assert write_documents(root, families, NAMES) == []
    (root / "README.md").write_text("no marks")
    with pytest.raises(UserError, match=r"no place for results .*README\.md"):
        write_documents(root, families, NAMES)


def test_a_picture_knows_whether_it_is_still_true(tmp_path: Path, results: Path) -> None:
    place = add_run(run(tmp_path / "a", [-1.0, -2.0], [-1.0, -1.0]), results).path
    add_run(run(tmp_path / "b", [-1.0, -2.0], seed=2), results)
    picture = results / "point-robot" / "curve.png"
    family = read_family(results / "point-robot")
    assert not is_drawn(family, picture)
    draw_family(family, picture)
    assert is_drawn(family, picture) and picture.read_bytes().startswith(b"\x89PNG")
    change(place, "environment.json", {"command": []})  # which it does not show
    assert is_drawn(family, picture)
    with (place / "evaluations.jsonl").open("a") as file:
        file.write("\n")
    assert not is_drawn(family, picture)
    picture.write_bytes(b"no picture")
    assert not is_drawn(family, picture)


def test_the_mean_of_seeds_keeps_to_where_all_of_them_are() -> None:
    one = (np.array([100.0, 200.0, 300.0]), np.array([0.0, 10.0, 20.0]))
    other = (np.array([150.0, 250.0]), np.array([2.0, 4.0]))
    steps, values = mean_line([one, other])
    assert list(steps) == [150.0, 200.0, 250.0]
    assert list(values) == [(5 + 2) / 2, (10 + 3) / 2, (15 + 4) / 2]
    alone = (np.array([400.0]), np.array([1.0]))
    assert mean_line([one, alone]) is not None
