"""What is committed: the documents and pictures are what results/ says, and the tables what its lines say by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mql.cli import publish
from mql.report.published.drawing import DRAWN_FROM, drawn_from
from mql.report.published.folder import OTHER_KINDS, read_results
from mql.report.published.page import ADAPTED
from mql.tasks.families import table

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
# From before the repository recorded commits; there must be no more of them.
WITHOUT_COMMIT = {
    "ant-dir-angles/mql/seed-0",
    "cheetah-dir/mql/seed-0",
    "cheetah-vel/mql/seed-0",
    "cheetah-vel-narrow/mql/seed-0",
    "fetch-push/mql/seed-0",
    "lab-drawer/mql/seed-0",
    "ml1-push/mql/seed-0",
    "ml1-reach/mql/seed-0",
    "walker-params-v5/mql/seed-0",
}


def test_documents_and_pictures_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = publish.main(["page", "--check", "--results", str(RESULTS)])
    assert status == 0, capsys.readouterr().err


def test_every_picture_names_what_it_was_drawn_from() -> None:
    for family in read_results(RESULTS):
        if family.methods:
            with Image.open(family.path / "curve.png") as picture:
                assert picture.info[DRAWN_FROM] == drawn_from(family)


def test_every_run_comes_from_a_clean_commit() -> None:
    without = set()
    for path in RESULTS.glob("*/*/seed-*/environment.json"):
        environment = json.loads(path.read_text())
        if re.fullmatch(r"[0-9a-f]{40}", environment["git_commit"] or ""):
            assert environment["git_changes"] == "", path
        else:
            without.add(str(path.parent.relative_to(RESULTS)))
    assert without <= WITHOUT_COMMIT


def test_no_folder_of_the_machine_is_named() -> None:
    for path in RESULTS.glob("*/*/seed-*/environment.json"):
        assert not re.search(r'"/(home|root|work|tmp|Users)/', path.read_text()), path


def test_every_run_stands_in_the_table_of_returns() -> None:
    shown = {(family, method) for family, method, kind, _ in returns() if kind == ""}
    there = {(path.parts[-3], path.parts[-2]) for path in RESULTS.glob("*/*/seed-*")}
    assert shown == {pair for pair in there if pair[0] not in OTHER_KINDS}


def test_the_table_of_returns_is_what_the_lines_say() -> None:
    assert len(returns()) > 10
    for family, method, kind, cells in returns():
        records = records_of(family, method, kind)
        assert cells["seeds"] == str(len(records)), (family, method)
        columns = {
            "zero-shot": matrix(records, "zero_shot_return"),
            "adapted": matrix(records, "adapted_return"),
            "solved: zero-shot": matrix(records, "zero_shot_success"),
            "solved: adapted": matrix(records, "adapted_success"),
        }
        before, after = columns["zero-shot"], columns["adapted"]
        assert before is not None
        columns["paired gain"] = None if after is None else after - before
        for name, values in columns.items():
            check_figure(cells.get(name, ""), values, f"{family} {method} {kind}: {name}")
        worst = [values.min() for values in (before, after) if values is not None]
        assert [number(text) for text in cells["worst: zero-shot, adapted"].split(", ")] == [
            pytest.approx(value, rel=6e-3, abs=6e-4) for value in worst
        ]
        if not kind:
            steps = cells["env steps, updates"].split(", ")[0]
            assert f"{records[0]['env_steps']:,}" in steps
        split = "training" if records[0].get("shared_splits") else records[0]["split"]
        assert cells["evaluated on"].startswith(f"{before.shape[1]} {split}")


def test_what_training_takes_names_commits_and_times() -> None:
    family = ""
    rows = rows_of(section("What training takes"))
    assert len(rows) > 10
    for row in rows:
        family, folder = row["family"], RESULTS / row["family"] / row["method"]
        commits = {
            (json.loads(path.read_text())["git_commit"] or "not recorded")[:7]
            for path in folder.glob("seed-*/environment.json")
        }
        assert {text[:7] for text in row["commit"].split(", ")} == commits, family
        assert (row["wall clock, idle"] == "not measured") == (not (folder / "time.json").exists())


def test_every_family_of_the_registry_stands_on_the_page_once() -> None:
    curves = {path.parts[-3] for path in RESULTS.glob("*/*/seed-*")}
    curves |= {f"{path.parts[-3]}-oracle" for path in RESULTS.glob("*/oracle*/seed-*")}
    listed: list[str] = []
    for row in rows_of(section("Families without a curve")):
        words = re.findall(r"`([^`]+)`", row["families"])
        base = words[0]
        if base == "ml1-":
            names = [f"ml1-{word}" for word in words[1:]]
        else:
            names = [base, *(f"{base}{word}" if word.startswith("-") else word for word in words[1:])]
        assert str(len(names)) == row["how many"]
        listed += names
    assert len(listed) == len(set(listed))
    assert set(listed) == set(table.names()) - curves


def test_the_readme_says_no_other_figures_than_the_page() -> None:
    found = rows_of(README.partition("<!-- results: written")[2].partition("<!-- end of results -->")[0])
    assert len(found) > 10
    page = {(family, kind): cells for family, method, kind, cells in returns() if method == "mql"}
    for row in found:
        family = re.findall(r"\[([\w-]+)\]", row["family"])[0]
        cells = page.get((family, "again")) or page[family, ""]
        solved = "*solved*" in row["evaluated on"]
        for name in ("zero-shot", "adapted"):
            expected = cells["solved: " + name] if solved else cells[name]
            assert row[ADAPTED if name == "adapted" else name].split(" (")[0] == expected, family


# --- by hand


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows_of(text: str) -> list[dict[str, str]]:
    """The rows of the first table in a text, by the names of its columns."""
    lines = [[cell.strip() for cell in line.split("|")] for line in re.findall(r"^\|(.*)\|$", text, re.MULTILINE)]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def returns() -> list[tuple[str, str, str, dict[str, str]]]:
    """Rows as (family, method, kind, cells); kind is "", "ood" or "again"."""
    found, family = [], ""
    for row in rows_of(section("Returns and success")):
        family = re.findall(r"\[([\w-]+)\]", row["family"])[0] if row["family"] else family
        method, _, kind = row["method"].partition(", ")
        found.append((family, method, kind, row))
    return found


def records_of(family: str, method: str, kind: str) -> list[dict[str, Any]]:
    folders = sorted((RESULTS / family / method).glob("seed-*"))
    if kind:
        return [json.loads((f / f"{kind}.json").read_text()) for f in folders if (f / f"{kind}.json").exists()]
    return [json.loads((folder / "evaluations.jsonl").read_text().splitlines()[-1]) for folder in folders]


def matrix(records: list[dict[str, Any]], column: str) -> Any:
    """A column of the tasks that every seed finished, [seeds, tasks]; None where it was not measured."""
    left_out = {json.dumps(r["parameters"]) for record in records for r in record["tasks"] if "fault" in r}
    values = [
        [row.get(column) for row in record["tasks"] if json.dumps(row["parameters"]) not in left_out]
        for record in records
    ]
    return None if any(value is None for row in values for value in row) else np.array(values, dtype=float)


def number(text: str) -> float:
    return float(text.strip().replace(",", "").removesuffix("%"))


def check_figure(text: str, values: Any, what: str) -> None:
    """A cell ``mean [low, high; seeds x tasks]``, against an interval drawn here, from another stream."""
    if values is None:
        assert text == "", what
        return
    percent = "%" in text
    values = values * 100 if percent else values
    digits = {"rel": 0.0, "abs": 0.51} if percent else {"rel": 6e-3, "abs": 6e-4}
    assert number(text.partition("[")[0]) == pytest.approx(values.mean(), **digits), what
    if values.size < 5:
        assert "[" not in text, what
        return
    low, high, seeds, tasks = re.findall(r"\[([^;]*), ([^;]*); (\d+)x(\d+)\]", text)[0]
    assert (int(seeds), int(tasks)) == values.shape, what
    rng = np.random.default_rng(12345)
    if len(values) == 1:
        drawn = rng.choice(values[0], size=(4000, values.shape[1])).mean(axis=1)
    else:
        picks = rng.integers(len(values), size=(4000, *values.shape))
        drawn = np.take_along_axis(np.broadcast_to(values, picks.shape), picks, axis=1).mean(axis=(1, 2))
    expected = np.quantile(drawn, [0.025, 0.975])
    slack = 0.12 * (expected[1] - expected[0]) + max(digits["abs"], digits["rel"] * abs(values.mean()))
    slack += 100 / values.size if percent else 0.0  # shares come in steps
    assert abs(number(low) - expected[0]) <= slack, what
    assert abs(number(high) - expected[1]) <= slack, what
