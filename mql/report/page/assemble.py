"""From runs to the parts of a page: for each family its figures and tables, then what is said of all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mql.evaluation.statistics import LEAST_FOR_INTERVAL
from mql.plain_text import counted
from mql.report.adaptation import tables as study_tables
from mql.report.page import sentences, tables
from mql.report.page.comparison import across_table, against_reference, against_table
from mql.report.page.drawing import contexts, curves, weights
from mql.report.page.drawing import tasks as of_tasks
from mql.report.page.drawing.canvas import Picture, Pictures
from mql.report.page.facts import Record, RunFacts
from mql.report.page.groups import Group, improvements
from mql.report.page.tables import Table
from mql.report.page.words import listed


@dataclass
class Section:
    """A part of the page under a heading of its own."""

    id: str
    title: str
    texts: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    folded: list[tuple[str, Table]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Nothing would stand under the heading."""
        return not (self.texts or self.pictures or self.tables or self.folded)


@dataclass
class FamilyPart:
    """What is said of one family's runs: a sentence with a key figure first."""

    name: str
    id: str
    lead: str
    key: Picture | None
    sections: list[Section]


def family_part(pictures: Pictures, groups: Sequence[Group], cells: Sequence[Record], *, number: int) -> FamilyPart:
    """Draw all that is shown of one family.

    Args:
        groups: of the family.
        cells: of a study of adaptation on it.
        number: of the family in the page.
    """
    family, prefix = groups[0].family, f"f{number}"
    units = {name: unit for group in groups for run in group.runs for name, unit in run.looked.units.items()}
    several = len(groups) > 1
    shown = [_curves(pictures, group, f"{family}-curve-{place}") for place, group in enumerate(groups)]
    own_curves = [picture for picture in shown if picture]
    comparison = [p for p in (of_tasks.compared(pictures, groups, name=f"{family}-returns"),) if p]
    key = next(iter([*comparison, *own_curves]), None)
    against = against_reference(groups)
    # Of a study only what its reference takes part in: all pairs of many methods are too many to look at.
    better = [row for row in improvements(groups) if not against or against[0]["reference"] in _pair(row)]
    picture = of_tasks.improvement(pictures, better, name=f"{family}-improvement") if better else None
    results = Section(f"{prefix}-results", "Results", pictures=[picture] if picture else [])
    results.tables = [
        table
        for table in (tables.results(groups), against_table(against), tables.settings(groups) if several else None)
        if table
    ]
    results.texts = _cautions(groups)

    learning = Section(f"{prefix}-learning", "Learning", _about_groups(groups))
    if several:
        both = (
            curves.compared_curves(pictures, groups, c, name=f"{family}-curves-{c}") for c in ("zero_shot", "adapted")
        )
        learning.pictures += [picture for picture in both if picture]
        both = (
            curves.compared_curves(pictures, groups, c, name=f"{family}-clock-{c}", by_clock=True)
            for c in ("zero_shot", "adapted")
        )
        learning.pictures += [picture for picture in both if picture]
    learning.pictures += [picture for picture in own_curves if picture is not key]
    learning.pictures += curves.logged(pictures, groups, name=family)

    adaptation = Section(f"{prefix}-adaptation", "Adaptation")
    picture = of_tasks.by_episodes(pictures, groups, name=f"{family}-episodes")
    adaptation.pictures += [picture] if picture else []
    if several:
        adaptation.pictures += of_tasks.gains(pictures, groups, units, name=f"{family}-gain")
    for group in groups if not several else ():
        adaptation.pictures += of_tasks.before_and_after(pictures, group, units, name=f"{family}-tasks")
    adaptation.pictures += _study(pictures, cells, f"{family}-study")
    for group in groups:
        for run in group.runs:
            table = tables.tasks(run)
            adaptation.folded += [(f"Task by task: {run.name}", table)] if table else []

    sections = [results, learning, adaptation, *_looked(pictures, groups, family, prefix)]
    lead = sentences.result_in_words(groups)
    return FamilyPart(family, prefix, lead, key, [section for section in sections if not section.empty])


def _pair(row: Record) -> tuple[str, str]:
    return row["better"], row["than"]


def _curves(pictures: Pictures, group: Group, name: str) -> Picture | None:
    picture = curves.learning_curve(pictures, group, name=name)
    if picture is None or not group.label:
        return picture
    return Picture(picture.name, f"{picture.title}: {group.label}", picture.svg, picture.alt, picture.caption)


def _about_groups(groups: Sequence[Group]) -> list[str]:
    return [f"“{group.label}”: {listed([run.name for run in group.runs], 6)}." for group in groups if len(groups) > 1]


def _cautions(groups: Sequence[Group]) -> list[str]:
    """Say what makes figures weaker than they look."""
    said = []
    for group in groups:
        name = f"“{group.label}”" if group.label else "This group"
        if group.twice:
            seeds = listed([str(seed) for seed in group.twice])
            said.append(f"{name} has several runs with the seed {seeds}: these are not independent runs.")
        if group.result and 1 < len(next(iter(group.result.returns.values()))) < LEAST_FOR_INTERVAL:
            runs = len(next(iter(group.result.returns.values())))
            said.append(
                f"{name} has {counted(runs, 'run')}: intervals over so few are too narrow rather than too wide."
            )
        if group.result and group.result.left_out:
            left = listed(group.result.left_out)
            said.append(f"Of {name if group.label else 'this group'}, these have no evaluation to compare: {left}.")
    return list(dict.fromkeys(said))


def _study(pictures: Pictures, cells: Sequence[Record], name: str) -> list[Picture]:
    """Draw the cells of a study of adaptation, a figure for each split."""
    try:
        _, rows = study_tables(cells)
    except (KeyError, TypeError, ValueError):  # of another version
        return []
    found = []
    for split in dict.fromkeys(row["split"] for row in rows):
        own = [row for row in rows if row["split"] == split]
        picture = of_tasks.by_budget(pictures, own, name=f"{name}-{split}")
        found += [picture] if picture else []
    return found


def _looked(pictures: Pictures, groups: Sequence[Group], family: str, prefix: str) -> list[Section]:
    """Return the sections on stored data and on the context, of every run that has something of it."""
    found: list[Section] = []
    for group in groups:
        for place, run in enumerate(group.runs):
            if place == 0 or run.looked.contexts is not None:
                found += _of_run(pictures, run, f"{family}-{run.name}", f"{prefix}-{len(found)}", alone=_alone(groups))
    return found


def _alone(groups: Sequence[Group]) -> bool:
    return sum(len(group.runs) for group in groups) == 1


def _of_run(pictures: Pictures, run: RunFacts, name: str, prefix: str, *, alone: bool) -> list[Section]:
    units, training, of = run.looked.units, run.tasks.get("train", []), "" if alone else f" ({run.name})"
    recorded = weights.usable((run.result or {}).get("tasks", []), training)
    rows = recorded or weights.usable(run.looked.weights, training)
    reused = Section(f"{prefix}-reused", f"Which stored data speaks for a new task{of}")
    if rows:
        half = sum(_own_half(row) for row in rows) / len(rows)
        reused.texts.append(
            f"Half of the weight lies on {half:.0f} of {len(training)} training tasks, on average over "
            f"{counted(len(rows), 'held-out task')}."
        )
        if not recorded:
            way = run.config.get("adapt.method", "unknown")
            reused.texts.append(
                f"The run's evaluation (adapt.method {way}) recorded no weights: these were computed for this report, "
                "from one zero-shot episode in each of these tasks. Nothing was learned from them."
            )
        calibrations = [row["calibration"] for row in rows if isinstance(row.get("calibration"), dict)]
        said = sentences.calibration_in_words(calibrations[0]) if calibrations else ""
        reused.texts += [said] if said else []
        reused.pictures = weights.maps(pictures, rows, training, units, name=f"{name}-weights")
        reused.tables = [tables.propensity(rows)]
    learned = Section(f"{prefix}-context", f"What the context learned{of}")
    if run.looked.contexts is not None:
        drawn, r2 = contexts.draw_contexts(pictures, run.looked.contexts, training, units, name=f"{name}-context")
        said = sentences.context_in_words(r2)
        learned.texts = [
            f"z before the last step of {counted(len(run.looked.contexts.z), 'stored episode')}, in the two directions "
            f"in which it varies most. {said}"
        ]
        learned.pictures = drawn
        learned.texts += [f"{key}: {text}" for key, text in run.looked.meanings.items() if text]
        if not drawn:
            learned = Section(learned.id, learned.title)
    return [section for section in (reused, learned) if not section.empty]


def _own_half(row: Record) -> int:
    """Return how few training tasks hold half of a held-out task's weight."""
    ordered, total, held = sorted(row["task_weights"], reverse=True), sum(row["task_weights"]), 0.0
    for place, weight in enumerate(ordered, start=1):
        held += weight
        if held >= total / 2:
            return place
    return len(ordered)


def all_runs_part(runs: Sequence[RunFacts], groups: Sequence[Group], notes: Sequence[str]) -> list[Section]:
    """Return the sections on all runs: where they stand, time, versions, faults, and what could not be had."""
    label = {str(run.path): group.label for group in groups for run in group.runs}
    scores, said = across_table(groups)
    found = [Section("families", "All families on one scale", said, tables=[scores] if scores else [])]
    found += [Section("runs", "Runs", tables=[tables.runs(runs, label)])]
    timings, versions = tables.timings(runs), tables.versions(runs)
    found.append(Section("timings", "Timings", tables=[timings] if timings else []))
    found.append(Section("versions", "Versions", tables=[versions] if versions else []))
    faults = tables.faults(runs)
    section = Section("faults", "Faults and remarks", [*faults[:50], *tables.remarks(runs)])
    if len(faults) > 50:
        section.texts.append(f"… and {len(faults) - 50} more faults.")
    section.texts = section.texts or ["No episode failed."]
    found.append(section)
    said = [f"{run.name}: {note}" for run in runs for note in (*run.notes, *run.looked.notes)]
    found.append(Section("notes", "What this report lacks", list(dict.fromkeys([*notes, *said]))))
    return [part for part in found if not part.empty]
