"""Runs that differ by their seed only belong together; others are compared on the tasks that they share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from report_runs import rows, usual, write

from mql.report.page.facts import read_facts
from mql.report.page.groups import estimates, group_runs, improvements, statistic_of
from mql.report.page.tables import as_csv, as_latex, latex, paper_rows


def facts(*paths: Path) -> list:
    return [read_facts(path, name=path.name) for path in paths]


def test_groups_are_family_and_settings_seed_apart(tmp_path: Path) -> None:
    same = [usual(tmp_path / f"s{seed}", seed=seed) for seed in (1, 2, 3)]
    other = usual(tmp_path / "lr", settings={"agent.lr": 0.01, "train.batch_size": 64})
    third = usual(tmp_path / "third", settings={"agent.lr": 0.02, "train.batch_size": 64})
    groups = group_runs(facts(*same, other, third))
    assert [[run.name for run in group.runs] for group in groups] == [["s1", "s2", "s3"], ["lr"], ["third"]]
    # As few settings as tell them apart stand in the label, all of them in the settings.
    assert groups[1].label == "agent.lr=0.01"
    assert set(groups[1].settings) == {"agent.lr", "train.batch_size"}


def test_a_group_holds_every_return_by_run_and_task(tmp_path: Path) -> None:
    [group] = group_runs(facts(*(usual(tmp_path / f"s{seed}", seed=seed) for seed in (1, 2))))
    assert group.result is not None and group.curve is not None
    assert group.result.returns["zero_shot"] == pytest.approx(
        np.array([[-9.9 - k for k in range(8)], [-9.8 - k for k in range(8)]])
    )
    assert group.result.split == "test" and group.result.final
    assert {steps: values.shape for steps, values in group.curve.values["zero_shot"].items()} == {
        100: (2, 6),
        300: (2, 6),
    }
    own = estimates(group.result, statistic_of([group]))
    assert own["gain"]["value"] == pytest.approx(2.0) and own["zero_shot"]["runs"] == 2
    assert own["zero_shot"]["value"] == pytest.approx(np.mean(np.sort(group.result.returns["zero_shot"].ravel())[4:12]))


def test_unfinished_runs_count_in_no_result_beside_finished_ones(tmp_path: Path) -> None:
    unfinished = write(tmp_path / "u", [(100, "test", rows([-1.0] * 8))], finished=False, seed=2)
    [group] = group_runs(facts(usual(tmp_path / "a"), unfinished))
    assert group.result is not None
    assert group.result.returns["zero_shot"].shape == (1, 8) and group.result.left_out == ["u"]


def test_groups_are_compared_on_shared_tasks_without_faults(tmp_path: Path) -> None:
    few = rows([-1.0] * 6)
    few[2]["fault"] = "it broke"
    one, two = usual(tmp_path / "a"), write(tmp_path / "b", [(500, "test", few)], settings={"agent.lr": 0.01})
    first, second = group_runs(facts(one, two))
    assert first.result is not None and second.result is not None
    assert first.result.parameters == second.result.parameters and len(first.result.parameters) == 5
    [row] = improvements([first, second])
    assert (row["better"], row["than"], row["value"]) == (second.label, first.label, 1.0)
    assert row["ci95"] is None  # one run each


def test_probability_of_improvement_between_groups_of_runs(tmp_path: Path) -> None:
    worse = [usual(tmp_path / f"a{seed}", seed=seed) for seed in (1, 2, 3)]
    better = [usual(tmp_path / f"b{s}", seed=s, shift=5.0, settings={"agent.lr": 0.01}) for s in (1, 2, 3)]
    groups = group_runs(facts(*worse, *better))
    [row] = improvements(groups)
    assert row["better"] == "agent.lr=0.01" and row["value"] == 1.0 and row["ci95"] == [1.0, 1.0]
    assert (row["runs"], row["tasks"]) == (3, 8)


def test_tables_of_a_paper(tmp_path: Path) -> None:
    paths = [usual(tmp_path / f"s{seed}", seed=seed, family="a_b & c") for seed in (1, 2, 3)]
    table = paper_rows(group_runs(facts(*paths)))
    [head, row] = as_csv(table).splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))
    assert cells["family"] == "a_b & c" and (cells["runs"], cells["tasks"]) == ("3", "8")
    assert float(cells["gain"]) == pytest.approx(2.0) and float(cells["gain_low"]) == pytest.approx(2.0)
    text = as_latex(table)
    assert r"a\_b \& c" in text and r"3 $\times$ 8" in text and text.count("{") == text.count("}")
    assert latex("50 % of $x_1^2 {a} \\ \u22121") == (r"50 \% of \$x\_1\textasciicircum{}2 \{a\} \textbackslash{} $-$1")
