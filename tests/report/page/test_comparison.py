"""What a study compares, against the same computed by hand with numpy and scipy."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from report_runs import rows, write
from scipy.stats import mannwhitneyu, trim_mean

from mql.report.page.comparison import across, across_table, against_reference, against_table, scales_of
from mql.report.page.drawing.canvas import Pictures
from mql.report.page.facts import Place, RunFacts, read_facts
from mql.report.page.groups import Group, group_runs
from mql.report.page.page import build
from mql.report.page.words import TIMES

RNG = np.random.default_rng(7)
TASKS = 6
# What each run ends with, [runs, tasks]: the reference adapts, the others do not.
ENDS = {
    "mql": RNG.normal(-20.0, 3.0, (4, TASKS)),
    "td3": RNG.normal(-22.0, 3.0, (3, TASKS)),
    "oracle": RNG.normal(-10.0, 3.0, (4, TASKS)),
}


def study(
    folder: Path, family: str = "point-robot", ends: dict[str, np.ndarray] = ENDS, reference: str = "mql/default"
) -> list[RunFacts]:
    found = []
    for method, returns in ends.items():
        for seed, own in enumerate(returns, start=1):
            adapted = list(own) if method == "mql" else None
            zero_shot = list(own - 1.0) if method == "mql" else list(own)
            path = folder / family / method / "default" / f"seed-{seed}"
            write(
                path,
                [(200 + seed, "validation", rows([-30.0] * 5)), (400 + seed, "validation", rows([-25.0] * 5)),
                 (500, "test", rows(zero_shot, adapted))],
                family=family, seed=seed, settings={"train.evaluate_every": 200},
            )  # fmt: skip
            facts = read_facts(path, name=f"{method}-{seed}")
            facts.place = Place("mine", family, method, "default", reference)
            found.append(facts)
    return found


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> list[Group]:
    return group_runs(study(tmp_path_factory.mktemp("study")))


def test_groups_of_a_study_are_called_by_what_differs(groups: list[Group]) -> None:
    assert [group.label for group in groups] == ["mql", "td3", "oracle"]
    assert [len(group.runs) for group in groups] == [4, 3, 4]


def test_against_the_reference(groups: list[Group]) -> None:
    td3, oracle = against_reference(groups)
    assert (td3["group"], td3["reference"], td3["of"], td3["reference_of"]) == ("td3", "mql", "zero_shot", "adapted")
    assert (td3["runs"], td3["reference_runs"], td3["tasks"]) == (3, 4, TASKS)
    by_task = [mannwhitneyu(ENDS["td3"][:, k], ENDS["mql"][:, k]).statistic / 12 for k in range(TASKS)]
    assert td3["probability"]["value"] == pytest.approx(np.mean(by_task))
    middles = {name: float(trim_mean(values.ravel(), 0.25)) for name, values in ENDS.items()}
    assert td3["difference"]["value"] == pytest.approx(middles["td3"] - middles["mql"])
    assert oracle["difference"]["value"] == pytest.approx(middles["oracle"] - middles["mql"])
    # The interval, by another bootstrap: each task's runs of either side drawn anew.
    rng, drawn = np.random.default_rng(3), []
    for _ in range(4000):
        sides = []
        for name in ("td3", "mql"):
            own = ENDS[name]
            columns = [own[rng.integers(len(own), size=len(own)), k] for k in range(TASKS)]
            sides.append(trim_mean(np.concatenate(columns), 0.25))
        drawn.append(sides[0] - sides[1])
    assert td3["difference"]["ci95"] == pytest.approx(list(np.quantile(drawn, [0.025, 0.975])), abs=0.15)
    table = against_table([td3, oracle])
    assert table is not None and table.rows[0][-1] == f"n = 3\u00a0{TIMES}\u00a06, n = 4\u00a0{TIMES}\u00a06"


def test_one_family_on_a_scale_from_random_actions_to_the_oracle(groups: list[Group]) -> None:
    [scale], notes = scales_of(groups)
    assert notes == [] and scale.random == -100.0
    assert scale.oracle == pytest.approx(float(trim_mean(ENDS["oracle"].ravel(), 0.25)))
    score = {row["group"]: row["mean"]["value"] for row in across(groups)}
    assert score["oracle/default"] == pytest.approx(1.0)
    middle = float(trim_mean(ENDS["mql"].ravel(), 0.25))
    assert score["mql/default"] == pytest.approx((middle + 100.0) / (scale.oracle + 100.0))


def test_random_actions_get_0_on_the_scale_by_the_statistic_that_is_scored(groups: list[Group]) -> None:
    """A task in which chance does well moves a mean, not the interquartile mean that every score is."""
    chance = np.array([[-100.0] * (TASKS - 1) + [2000.0]])
    assert groups[0].result is not None
    first = replace(groups[0], result=replace(groups[0].result, returns={**groups[0].result.returns, "random": chance}))
    (scale,), _ = scales_of([first, *groups[1:]])
    assert scale.random == trim_mean(chance.ravel(), 0.25) == -100.0


def test_families_count_alike_and_those_without_an_oracle_not_at_all(tmp_path: Path) -> None:
    other = {"mql": ENDS["mql"] * 2.0, "oracle": ENDS["oracle"]}
    facts = study(tmp_path) + study(tmp_path, "reacher-goal", other)
    facts += study(tmp_path, "maze", {"mql": ENDS["mql"]}) + study(
        tmp_path, "kitchen", {"oracle": ENDS["oracle"] - 500.0}
    )
    groups = group_runs(facts)
    rows = {row["group"]: row for row in across(groups)}
    own = [rows["mql/default"]["families"][family]["value"] for family in ("point-robot", "reacher-goal")]
    assert rows["mql/default"]["mean"]["value"] == pytest.approx(np.mean(own))
    assert rows["mql/default"]["mean"]["tasks"] == 2 * TASKS
    assert rows["td3/default"]["mean"] is None and "point-robot" in rows["td3/default"]["families"]
    table, [said] = across_table(groups)
    assert table is not None and table.head == [
        "method and variant",
        "point-robot",
        "reacher-goal",
        "mean of 2 families",
    ]
    assert "maze has no runs of the method oracle" in said and "in kitchen the oracle gets no more" in said


def test_two_files_about_one_family_are_compared_apart(tmp_path: Path) -> None:
    facts = study(tmp_path / "short") + study(tmp_path / "long", ends={n: v * 0.5 for n, v in ENDS.items()})
    for run in facts:
        name = "short" if "short" in run.path.parts else "long"
        run.place = Place("mine", name, run.path.parts[-3], "default", "mql/default")
    groups = group_runs(facts)
    against = against_reference(groups)
    assert [(row["family"], row["group"], row["reference"]) for row in against] == [
        (family, method, "mql") for family in ("short", "long") for method in ("td3", "oracle")
    ]
    middles = {name: float(trim_mean(values.ravel(), 0.25)) for name, values in ENDS.items()}
    assert against[2]["difference"]["value"] == pytest.approx(0.5 * (middles["td3"] - middles["mql"]))
    assert {name for row in across(groups) for name in row["families"]} == {"short", "long"}


def test_two_studies_have_scores_of_their_own(tmp_path: Path) -> None:
    facts, again = study(tmp_path / "one"), study(tmp_path / "two", ends={**ENDS, "mql": ENDS["mql"] * 2.0})
    for run in again:
        run.place = replace(run.place, study="other") if run.place else None
    score = {row["group"]: row["mean"]["value"] for row in across(group_runs(facts + again))}
    assert len(score) == 6 and score["other/mql/default"] < score["mine/mql/default"]


def test_seeds_that_were_logged_elsewhere_belong_to_the_same_group(tmp_path: Path) -> None:
    facts = study(tmp_path)
    facts[0].config["wandb.project"] = "another"  # a study may change it when it goes on
    assert [len(group.runs) for group in group_runs(facts)] == [4, 3, 4]


def test_runs_that_are_evaluated_at_slightly_other_steps_are_one_curve(groups: list[Group]) -> None:
    """Episodes that end by themselves: seed s was evaluated at 200 + s and 400 + s env steps."""
    assert groups[0].curve is not None
    own = groups[0].curve.values["zero_shot"]
    assert {steps: values.shape for steps, values in own.items()} == {202: (4, 5), 402: (4, 5)}
    assert groups[0].curve.seconds == pytest.approx({202: 20.25, 402: 40.25})


def test_the_page_of_a_study_has_its_tables_and_curves_by_both_clocks(tmp_path: Path) -> None:
    done = build(study(tmp_path), version="0", pictures=Pictures(None))
    for part in ("Against “mql” (adapted)", "All families on one scale", "by wall clock", "probability of improvement"):
        assert part in done.html, part
    assert len(done.against) == 2 and [row["group"] for row in done.across] == [
        "mql/default",
        "td3/default",
        "oracle/default",
    ]
    # Beside every interval stands n: in the same cell, or in a column of its own.
    assert (
        done.html.count(f"4\u00a0runs\u00a0{TIMES}\u00a06\u00a0tasks") >= 2
        and f"(n = 1\u00a0{TIMES}\u00a06)" in done.html
    )


def test_few_values_have_no_interval(tmp_path: Path) -> None:
    one = {name: values[:1] for name, values in ENDS.items()}
    rows = against_reference(group_runs(study(tmp_path, ends=one)))
    assert all(row["probability"]["ci95"] is None and row["difference"]["ci95"] is None for row in rows)
    two = {name: values[:2, :2] for name, values in ENDS.items()}
    rows = against_reference(group_runs(study(tmp_path / "two", ends=two)))
    assert all(row["difference"]["ci95"] is None for row in rows), "2 x 2 are four values"


def test_an_interval_across_families_is_that_of_all_resamples() -> None:
    from mql.evaluation.statistics import across_families

    tables = [np.array([[0.0], [3.0]]), np.array([[1.0], [7.0]])]
    every = [
        np.mean([np.mean(a), np.mean(b)]) for a in product([0.0, 3.0], repeat=2) for b in product([1.0, 7.0], repeat=2)
    ]
    assert across_families(tables)["ci95"] is None
    wide = [np.tile(table, (1, 3)) for table in tables]
    rng = np.random.default_rng(1)
    exact = [np.mean([rng.choice(every) for _ in range(3)]) for _ in range(20_000)]
    found = across_families(wide, lambda values: np.mean(values, axis=-1), resamples=20_000)
    assert found["ci95"] == pytest.approx(list(np.quantile(exact, [0.025, 0.975])), abs=0.2)
    assert (found["value"], found["runs"], found["tasks"]) == (2.75, 2, 6)
