"""A folder of published results, made of runs that are written without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from report_runs import rows, write

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLANNED = 600  # env steps
SETTINGS = {"train.env_steps": PLANNED, "evaluate.split": "test"}
MARKS = "<!-- results: written by `make results` -->\nold\n<!-- end of results -->\n"


def repository(path: Path) -> Path:
    """Make a folder with the documents and no results; return its `results`."""
    (path / "docs").mkdir(parents=True)
    (path / "docs" / "results.md").write_text(f"# By hand\n\n{MARKS}\nBelow.\n", encoding="utf-8")
    (path / "README.md").write_text(f"# Read\n\n{MARKS}", encoding="utf-8")
    (path / "results").mkdir()
    return path / "results"


def run(
    path: Path,
    before: Sequence[float],
    after: Sequence[float] | None = None,
    *,
    seed: int = 1,
    ends_at: int = PLANNED,
    finished: bool = True,
    family: str = "point-robot",
    method: str = "mql",
    settings: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run of a clean commit: two evaluations on validation tasks, and one on as many test tasks as `before`."""
    learned = [(200, "validation", rows([-9.0, -8.0])), (400, "validation", rows([-7.0, -6.0]))]
    last = (ends_at, "test", rows(before, after))
    write(
        path,
        [*learned, last] if finished else learned,
        family=family,
        seed=seed,
        finished=finished,
        settings={**SETTINGS, **(settings or {})},
    )
    config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    (path / "config.yaml").write_text(yaml.safe_dump(config | {"method": method}), encoding="utf-8")
    change(path, "environment.json", {"git_commit": COMMIT, "git_changes": "", **(facts or {})})
    return path


def change(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Change keys of a JSON file."""
    known = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(known | dict(values)))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}
