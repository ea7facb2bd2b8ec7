"""What a study compares: each method and variant with the reference, in every family, and across families.

Across families, returns are put on one scale: 0 is what random actions get, 1 what the method `oracle` ends with, which
sees the task. So that takes families where both are known; elsewhere only figures of the family itself are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mql.evaluation.statistics import Estimate, across_families, difference, iqm, probability_of_improvement
from mql.report.page.facts import Record
from mql.report.page.groups import Array, Group, final_of
from mql.report.page.tables import Table
from mql.report.page.words import DASH, interval, number, signed, size_of

ORACLE = "oracle"  # the method that sees the task
KINDS = {"adapted": "adapted", "zero_shot": "zero-shot"}


def reference_of(groups: Sequence[Group]) -> Group | None:
    """Return the group of a family that others are compared with: the study's reference; None: there is no study.

    Where the reference has no result in this family, it is the first group that has one.
    """
    there = [group for group in groups if group.result is not None and group.place is not None]
    return next((group for group in there if group.place and group.place.is_reference), next(iter(there), None))


def against_reference(groups: Sequence[Group]) -> list[Record]:
    """Return for every group of a study how it compares with the reference, family by family.

    Compared is what each ends with: adapted returns, or zero-shot ones of a method that does not adapt.
    ``probability`` is that a run beats one of the reference in a task, ``difference`` that of interquartile means.
    """
    rows = []
    for family in dict.fromkeys(group.family for group in groups):
        own = [group for group in groups if group.family == family]
        reference = reference_of(own)
        if reference is None or reference.result is None:
            continue
        than, theirs = final_of(reference.result)
        for group in own:
            result = group.result
            if group is reference or result is None or group.place is None:
                continue
            if (result.split, result.parameters) != (reference.result.split, reference.result.parameters):
                continue
            of, ours = final_of(result)
            rows.append(
                {
                    "family": family,
                    "group": group.label,
                    "reference": reference.label,
                    "of": of,
                    "reference_of": than,
                    "runs": len(ours),
                    "reference_runs": len(theirs),
                    "tasks": ours.shape[1],
                    "probability": probability_of_improvement(ours, theirs),
                    "difference": difference(ours, theirs),
                }
            )
    return rows


def against_table(rows: Sequence[Record]) -> Table | None:
    """Return the rows of one family as a table."""
    if not rows:
        return None
    reference, than = rows[0]["reference"], KINDS[rows[0]["reference_of"]]
    body = [
        [
            row["group"],
            KINDS[row["of"]],
            _two_digits(row["probability"]),
            interval(row["difference"], form=signed),
            f"{size_of(row['runs'], row['tasks'])}, {size_of(row['reference_runs'], row['tasks'])}",
        ]
        for row in rows
    ]
    caption = (
        f"Against “{reference}” ({than}): how probably a run beats one of it in a task drawn at random (0.5: neither "
        "is better), and the difference of interquartile means. In brackets: 95 % stratified bootstrap intervals; none "
        "of fewer than 2 runs or 5 values. n: runs times tasks, of the group and of the reference."
    )
    head = ["group", "at the end", "probability of improvement", "difference", "n"]
    return Table(caption, head, body, numbers=2)


def _two_digits(estimate: Estimate) -> str:
    return interval(estimate, form=lambda value: f"{value:.2f}")


@dataclass(frozen=True)
class Scale:
    """A family's scale: what random actions get, and what the oracle ends with."""

    family: str
    random: float
    oracle: float

    def scaled(self, values: Array) -> Array:
        """Return values on it."""
        return np.asarray((values - self.random) / (self.oracle - self.random))


def scales_of(groups: Sequence[Group]) -> tuple[list[Scale], list[str]]:
    """Return the scales of families that have one, and why others of a study have none."""
    scales, notes = [], []
    for family in dict.fromkeys(group.family for group in groups):
        own = [group for group in groups if group.family == family and group.result is not None]
        if not any(group.place for group in own):
            continue
        oracles = [group for group in own if group.place and group.place.method == ORACLE]
        chance = [group.result.returns["random"] for group in own if group.result and "random" in group.result.returns]
        if not oracles or oracles[0].result is None or not chance:
            notes.append(
                f"{family} has no {'runs of the method oracle' if not oracles else 'returns of random actions'}"
            )
            continue
        # Both ends as what is scored: so that random actions themselves would get 0.
        low, high = float(iqm(chance[0].ravel())), float(iqm(final_of(oracles[0].result)[1].ravel()))
        if high > low:
            scales.append(Scale(family, low, high))
        else:
            notes.append(f"in {family} the oracle gets no more than random actions")
    return scales, notes


def across(groups: Sequence[Group]) -> list[Record]:
    """Return for every method and variant its score in each family that has a scale, and the mean over all of them.

    A method that lacks one of these families has no mean.
    """
    scales, _ = scales_of(groups)
    there = [group for group in groups if group.place is not None and group.result is not None]
    several = len({group.place.study for group in there if group.place}) > 1
    known = {(group.family, _key(group, with_study=several)): group for group in there}
    rows = []
    for key in dict.fromkeys(key for family, key in known if any(family == scale.family for scale in scales)):
        tables = {
            scale.family: scale.scaled(final_of(group.result)[1])
            for scale in scales
            if (group := known.get((scale.family, key))) is not None and group.result is not None
        }
        whole = across_families(list(tables.values())) if len(tables) == len(scales) else None
        families = {family: across_families([values]) for family, values in tables.items()}
        rows.append({"group": key, "families": families, "mean": whole})
    return rows


def across_table(groups: Sequence[Group]) -> tuple[Table | None, list[str]]:
    """Return the scores as a table, and sentences on what is missing from it."""
    scales, notes = scales_of(groups)
    rows = across(groups)
    said = [f"Without a common scale: {'; '.join(notes)}."] if notes and scales else []
    if not rows:
        return None, said
    names = [scale.family for scale in scales]
    body = [
        [
            row["group"],
            *(_scored(row["families"].get(name)) for name in names),
            *([_scored(row["mean"])] if len(names) > 1 else []),
        ]
        for row in rows
    ]
    levels = "; ".join(f"{each.family} {number(each.random)} to {number(each.oracle)}" for each in scales)
    caption = (
        "Interquartile mean of what each ends with, on a scale from random actions (0) to the oracle's (1), both taken "
        f"as exact: {levels}. In brackets: 95 % bootstrap intervals, runs drawn anew in each task of each family; none "
        "of fewer than 2 runs or 5 values. n: runs times tasks."
    )
    head = ["method and variant", *names, *([f"mean of {len(names)} families"] if len(names) > 1 else [])]
    return Table(caption, head, body, numbers=1), said


def _scored(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    return f"{_two_digits(estimate)} ({size_of(estimate['runs'], estimate['tasks'])})"


def _key(group: Group, *, with_study: bool) -> str:
    place = group.place
    if place is None:
        return ""
    return f"{place.study}/{place.method}/{place.variant}" if with_study else f"{place.method}/{place.variant}"
