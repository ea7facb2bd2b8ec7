"""A report as a file: one page of HTML that needs nothing else, and beside it figures and tables for a paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mql.errors import UserError, missing_package
from mql.files import to_json, user_errors, write_atomic
from mql.plain_text import counted
from mql.report.page import tables
from mql.report.page.assemble import all_runs_part, family_part
from mql.report.page.comparison import across, against_reference
from mql.report.page.drawing.canvas import Pictures
from mql.report.page.facts import Record, RunFacts
from mql.report.page.groups import Group, group_runs, improvements
from mql.report.page.words import listed

GENERATOR = "mql report"
FILMS = {".mp4": "video/mp4", ".webm": "video/webm"}
FILM_MARKS = (b"ftyp", b"\x1aE\xdf\xa3")  # of which one stands at the beginning of such a file
MOST_FILM_BYTES = 60_000_000  # of all films together


@dataclass(frozen=True)
class Film:
    """A film that stands in the page."""

    name: str
    source: str


@dataclass(frozen=True)
class Report:
    """What was written: the page as text, and what it says as plain data."""

    html: str
    groups: list[Group]
    sentences: dict[str, str]
    rows: list[Record]
    improvements: list[Record]
    against: list[Record] = field(default_factory=list)
    across: list[Record] = field(default_factory=list)


def build(
    runs: Sequence[RunFacts],
    *,
    version: str,
    pictures: Pictures,
    cells: Sequence[Record] = (),
    films: Sequence[Film] = (),
    notes: Sequence[str] = (),
) -> Report:
    """Draw and write the page of `runs`, at least one.

    Args:
        version: of this package.
        pictures: draws the figures, and writes them for a paper if it has a folder.
        cells: of studies of adaptation.
        films: to be shown.
        notes: on what could not be read at all.

    Raises:
        UserError: jinja2 is missing, or figures can't be written.
    """
    groups = group_runs(runs)
    families = list(dict.fromkeys(group.family for group in groups))
    parts = []
    for number, family in enumerate(families, start=1):
        own = [group for group in groups if group.family == family]
        parts.append(family_part(pictures, own, [c for c in cells if c.get("family") == family], number=number))
    if len(runs) == 1:
        kind = f"Report of the run {runs[0].name}"
    else:
        kind = f"Report of {counted(len(runs), 'run')} in {counted(len(groups), 'group')}"
    html = _template().render(
        title=listed(families, 3),
        kind=kind,
        generator=GENERATOR,
        style=_text("report.css"),
        version=version,
        families=parts,
        last=all_runs_part(runs, groups, notes),
        films=films,
        configurations=_configurations(groups),
        beside=pictures.folder.name if pictures.folder else None,
    )
    return Report(
        html=html,
        groups=groups,
        sentences={part.name: part.lead for part in parts},
        rows=tables.paper_rows(groups),
        improvements=improvements(groups),
        against=against_reference(groups),
        across=across(groups),
    )


def _data(report: Report) -> Record:
    data: Record = {"results": report.rows, "improvements": report.improvements}
    return data | ({"against": report.against, "across_families": report.across} if report.against else {})


def _template() -> Any:
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ModuleNotFoundError as error:
        raise missing_package("jinja2", where="mql report") from error
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    # Only for what is written here: figures, whose text matplotlib escapes, and the style sheet.
    environment.filters["vector"] = Markup
    return environment.from_string(_text("report.html"))


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _configurations(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the configuration of a run of each group."""
    found = []
    for group in groups:
        run = group.runs[0]
        others = (
            f", and but for the seed that of {listed([r.name for r in group.runs[1:]], 5)}" if group.runs[1:] else ""
        )
        found.append((f"{run.name}{others}", run.yaml or "could not be read"))
    return found


def read_films(folder: Path) -> tuple[list[Film], list[str]]:
    """Return the films in a folder as parts of a page, and notes on those that are too large for one.

    Raises:
        UserError: there is no such folder, or no film in it.
    """
    with user_errors(folder):
        if not folder.is_dir():
            raise UserError("there is no such folder", where=str(folder), mend="give a folder with .mp4 files")
        files = sorted(path for path in folder.rglob("*") if _is_film(path))
        if not files:
            raise UserError("there is no film", where=str(folder), mend="give a folder with .mp4 files")
        films, notes, total = [], [], 0
        for path in files:
            total += path.stat().st_size
            if total > MOST_FILM_BYTES:
                notes.append(f"the film {path.name} is left out: all together are more than {MOST_FILM_BYTES:,} bytes")
                total -= path.stat().st_size
                continue
            data = path.read_bytes()
            name = str(path.relative_to(folder).with_suffix(""))
            if not any(mark in data[:12] for mark in FILM_MARKS):
                notes.append(f"{path.name} is left out: it is no film")
                continue
            encoded = base64.b64encode(data).decode("ascii")
            films.append(Film(name, f"data:{FILMS[path.suffix.lower()]};base64,{encoded}"))
    return films, notes


def _is_film(path: Path) -> bool:
    """Tell whether a file is called a film and lies here: a link may lead to what nobody wants to show."""
    return path.suffix.lower() in FILMS and path.is_file() and not path.is_symlink()


def check_target(path: Path) -> None:
    """Refuse to replace a file that no report wrote.

    Raises:
        UserError: there is one.
    """
    with user_errors(path):
        if path.is_dir():
            raise UserError("the path is a folder", where=str(path), mend="give a file such as report.html")
        if path.exists() and f'content="{GENERATOR}"' not in path.read_text(encoding="utf-8", errors="replace")[:2000]:
            raise UserError("the file exists and is no report", where=str(path), mend="give another name with -o")


def write(path: Path, report: Report) -> None:
    """Write the page.

    Raises:
        UserError: it can't be written.
    """
    with user_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, report.html.encode("utf-8"))


def write_tables(folder: Path, report: Report) -> list[Path]:
    """Write the table of results as CSV, LaTeX and JSON, and return the files.

    Raises:
        UserError: they can't be written.
    """
    contents: Mapping[str, bytes] = {
        "results.csv": tables.as_csv(report.rows).encode("utf-8"),
        "results.tex": tables.as_latex(report.rows).encode("utf-8"),
        "results.json": to_json(_data(report), indent=1),
    }
    with user_errors(folder):
        for name, data in contents.items():
            write_atomic(folder / name, data)
    return [folder / name for name in contents]
