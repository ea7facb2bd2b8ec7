"""The page of results and the README's table: text made from a folder of published results, and nothing else.

Documents hold it between two marks; what stands outside of these is written by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mql.errors import UserError
from mql.evaluation.statistics import Estimate
from mql.files import user_errors
from mql.plain_text import counted
from mql.report.page.words import DASH, MINUS, duration, number, share, signed
from mql.report.published.figures import Figures, figures_of
from mql.report.published.folder import CURVE, Family, Method, Seed

BEGINS, ENDS = "<!-- results: written by `make results` -->", "<!-- end of results -->"
# The documents that hold results, and what stands in them.
PAGE, README = Path("docs") / "results.md", Path("README.md")

_VARIANT = re.compile(r"-(oracle|legacy|contact|sparse|physics|v5)$")
_BASELINES = ("td3", "td3-context", "rl2", "pearl")
_NONE = ""


def documents(families: Sequence[Family], names: Sequence[str]) -> dict[Path, str]:
    """Return what stands between the marks of each document.

    Args:
        families: all that is published.
        names: the families of the registry, in its order.
    """
    return {PAGE: results_page(families, names), README: readme_table(families, names)}


def between_marks(text: str, made: str, *, where: str) -> str:
    """Return a document with `made` between its marks.

    Raises:
        UserError: it has no marks.
    """
    head, begins, rest = text.partition(BEGINS)
    _, ends, tail = rest.partition(ENDS)
    if not begins or not ends:
        mend = f"write {BEGINS} and {ENDS} where the results are to be"
        raise UserError("the document has no place for results", where=where, mend=mend)
    return f"{head}{BEGINS}\n{made.strip()}\n{ENDS}{tail}"


def write_documents(root: Path, families: Sequence[Family], names: Sequence[str]) -> list[Path]:
    """Write the documents below `root` anew, and return those that changed.

    Raises:
        UserError: one is missing, has no marks, or can't be written.
    """
    changed = []
    for path, made in documents(families, names).items():
        with user_errors(root / path):
            old = (root / path).read_text(encoding="utf-8")
            new = between_marks(old, made, where=str(root / path))
            if new != old:
                (root / path).write_text(new, encoding="utf-8")
                changed.append(root / path)
    return changed


def results_page(families: Sequence[Family], names: Sequence[str]) -> str:
    """Return the tables and sections of docs/results.md."""
    shown = _in_order([family for family in families if family.methods], names)
    parts = [
        "## Returns and success",
        "",
        *_returns(shown, names),
        "",
        "## What training takes",
        "",
        *_costs(shown),
        "",
    ]
    parts += ["## Family by family", ""]
    for family in shown:
        parts += [f"### {family.name}", "", f"![{family.name}: learning curves]({_link(family.path / CURVE)})", ""]
        parts += [_notes(family), ""] if family.notes else []
    parts += ["## Families without a curve", "", *_without(families, names)]
    return "\n".join(parts)


def _in_order(families: Sequence[Family], names: Sequence[str]) -> list[Family]:
    """Return families in the order of the registry, those that are not in it at the end."""
    places = {name: place for place, name in enumerate(names)}
    return sorted(families, key=lambda family: (places.get(family.name, len(names)), family.name))


def _returns(families: Sequence[Family], names: Sequence[str]) -> list[str]:
    head = ["family", "method", "env steps, updates", "seeds", "evaluated on", "random actions", "zero-shot", "adapted"]
    head += ["how adapted", "paired gain", "worst: zero-shot, adapted", "solved: zero-shot", "solved: adapted"]
    rows = []
    for family in families:
        name = f"[{family.name}](#{family.name})" + (_NONE if family.name in names else " (a definition)")
        for method in family.methods:
            for row in figures_of(method):
                rows.append([name, _method(method, row), *_cells(row)])
                name = _NONE
    return _table(head, rows)


def _method(method: Method, row: Figures) -> str:
    return {"final": method.name, "ood": f"{method.name}, ood", "again": f"{method.name}, again"}[row.kind]


def _cells(row: Figures) -> list[str]:
    random = _number(row.random)
    beside = [] if row.random_success is None else [f"solved: {share(row.random_success)}"]
    beside += [counted(row.random_tasks, "task")] if 0 < row.random_tasks < row.tasks else []
    random += f" ({', '.join(beside)})" if random and beside else _NONE
    faults = f", {row.faults} left out" if row.faults else _NONE
    worst = [_number(value) for value in row.worst if value is not None]
    return [
        _NONE if row.kind != "final" else _steps(row),
        str(len(row.seeds)),
        f"{row.tasks} {row.split}{faults}",
        random,
        _figure(row.zero_shot),
        _figure(row.adapted),
        row.how,
        _figure(row.gain, form=signed),
        ", ".join(worst),
        _figure(row.success[0], form=share),
        _figure(row.success[1], form=share),
    ]


def _steps(row: Figures) -> str:
    steps = _range(row.env_steps)
    if row.planned is not None:
        steps = f"**stopped at {steps}** of {row.planned:,}"
    return f"{steps}, {_range(row.updates)}" if row.updates else steps


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _number(value: float | None) -> str:
    return _NONE if value is None else _ascii(number(value))


def _figure(estimate: Estimate | None, *, form: Callable[[float], str] = number) -> str:
    """Return a figure, its interval, and beside it the number of values: seeds x tasks."""
    if estimate is None:
        return _NONE
    text = form(estimate["value"])
    if estimate["ci95"] is not None:
        low, high = (form(bound).removesuffix(" %") for bound in estimate["ci95"])
        text += f" [{low}, {high}; {estimate['runs']}x{estimate['tasks']}]"
    return _ascii(text)


def _ascii(text: str) -> str:
    return text.replace(MINUS, "-").replace(DASH, _NONE)


def _costs(families: Sequence[Family]) -> list[str]:
    head = ["family", "method", "wall clock, idle", "env steps/s", "timed on", "trained on", "commit"]
    rows = []
    for family in families:
        for method in family.methods:
            cells = ["not measured", _NONE, _NONE] if method.time is None else _time(method.time)
            rows.append([family.name, method.name, *cells, _machines(method.seeds), _commits(method.seeds)])
    return _table(head, rows)


def _time(time: Mapping[str, Any]) -> list[str]:
    machine = time["machine"]
    place = f"{machine.get('cpu')}, {machine.get('cores')} cores"
    used = f"{counted(int(time.get('threads', 1)), 'thread')}, {counted(int(time.get('workers', 1)), 'worker')}"
    return [
        duration(float(time["wall_seconds"])),
        f"{float(time['env_steps_per_s']):,.0f}",
        f"{place}; {used}; {time['date']}",
    ]


def _machines(seeds: Sequence[Seed]) -> str:
    found = []
    for seed in seeds:
        machine, versions = seed.environment["machine"], seed.environment.get("versions") or {}
        parts = [f"{machine.get('cpu')}, {counted(int(seed.settings.get('threads', 1)), 'thread')}"]
        parts += [f"MuJoCo {versions['mujoco']}"] if versions.get("mujoco") else []
        found.append(", ".join(parts))
    return "; ".join(dict.fromkeys(found))


def _commits(seeds: Sequence[Seed]) -> str:
    return ", ".join(dict.fromkeys("not recorded" if seed.commit is None else seed.commit[:7] for seed in seeds))


def _notes(family: Family) -> str:
    """Return a family's notes, with links as they are to be read from docs/."""

    def moved(found: re.Match[str]) -> str:
        if re.match(r"[a-z]+:|#|/", found[1]):
            return found[0]
        path, mark, place = found[1].partition("#")
        here = os.path.normpath(Path("results") / family.path.name / path)
        return f"]({os.path.relpath(here, 'docs')}{mark}{place})"

    return re.sub(r"\]\(([^)\s]+)\)", moved, family.notes)


def _link(path: Path) -> str:
    return f"../results/{path.parent.name}/{path.name}"


def _without(families: Sequence[Family], names: Sequence[str]) -> list[str]:
    notes = {family.name: family for family in families if not family.methods}
    shown = [name for name in names if name not in _with_curve(families)]
    head = ["families", "how many", "what is known of how they learn"]
    rows = []
    for base, own in groups_of(shown).items():
        text = " ".join(_notes(notes[name]).replace("\n", " ") for name in own if name in notes)
        rows.append([_names(base, own), str(len(own)), text])
    curves = len(names) - len(shown)
    said = f"{curves} of the {len(names)} families of the registry have a curve, and these {len(shown)} have none."
    return [said, "", *_table(head, rows)]


def _with_curve(families: Sequence[Family]) -> set[str]:
    """Return the families that something was trained on; an oracle has the variant that sees what is hidden."""
    found = {family.name for family in families if family.methods}
    oracles = {f"{f.name}-oracle" for f in families for m in f.methods if m.name.split("-")[0] == "oracle"}
    return found | oracles


def groups_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return names by what they are variants of; the environments of Meta-World's ML1 make one group."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("ml1" if name.startswith("ml1-") else _VARIANT.sub("", name), []).append(name)
    return groups


def _names(base: str, names: Sequence[str]) -> str:
    if base == "ml1":
        return "`ml1-`: " + ", ".join(f"`{name.removeprefix('ml1-')}`" for name in names)
    variants = [name.removeprefix(base) for name in names if name != base]
    if base not in names:
        return ", ".join(f"`{base}{variant}`" for variant in variants)
    return f"`{base}`" + (f" (`{'`, `'.join(variants)}`)" if variants else _NONE)


ADAPTED = "adapted (method, episodes of each new task)"


def readme_table(families: Sequence[Family], names: Sequence[str]) -> str:
    """Return the README's table: a row for each family that Meta-Q-Learning was trained on, beside what others got."""
    head = ["family", "env steps", "wall clock", "seeds", "evaluated on", "random", "baselines", "zero-shot", ADAPTED]
    head += ["oracle"]
    rows = []
    for family in _in_order(families, names):
        own = {method.name: figures_of(method) for method in family.methods}
        if "mql" not in own:
            continue
        row = max(own["mql"], key=_preferred)
        time = next(method.time for method in family.methods if method.name == "mql")
        solved = row.success[0] is not None
        others = [f"{name} {_headline(own[name][0])}" for name in _BASELINES if name in own]
        rows.append(
            [
                f"[{family.name}](docs/results.md#{family.name})",
                _range(row.env_steps) + (f" of {row.planned:,}" if row.planned is not None else _NONE),
                _NONE if time is None else duration(float(time["wall_seconds"])),
                str(len(row.seeds)),
                f"{row.tasks} {row.split}" + (", *solved*" if solved else _NONE),
                share(row.random_success) if solved and row.random_success is not None else _number(row.random),
                ", ".join(others),
                _headline(row, adapted=False),
                _headline(row, adapted=True) + (f" ({row.how})" if row.how else _NONE),
                _headline(own["oracle"][0]) if "oracle" in own else _NONE,
            ]
        )
    return "\n".join(_table(head, rows))


def _preferred(row: Figures) -> int:
    """Where an agent was evaluated again on the same tasks, with another way to adapt, that stands in the README."""
    return {"ood": 0, "final": 1, "again": 2}[row.kind]


def _headline(row: Figures, *, adapted: bool | None = None) -> str:
    """Return share solved where the family has a success, else the return; None: adapted, where it was."""
    adapted = row.adapted is not None if adapted is None else adapted
    success, returns = row.success[int(adapted)], row.adapted if adapted else row.zero_shot
    return _figure(success, form=share) if success is not None else _figure(returns)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of Markdown, without columns in which nothing stands."""
    kept = [place for place in range(len(head)) if any(row[place] for row in rows) or not rows]
    lines = [[head[place] for place in kept], ["---"] * len(kept), *([row[place] for place in kept] for row in rows)]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]
