"""Runs that belong together, and what they say together: of one family, with the same settings, seed apart.

Shapes: S runs of a group, N tasks that all of them were evaluated on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.evaluation.statistics import Estimate, Statistic, across_runs, iqm, probability_of_improvement
from mql.report.learning_curve import COLUMNS, shared_tasks
from mql.report.page.facts import Place, Record, RunFacts, numeric

Array = npt.NDArray[np.float64]

# What may differ between the runs of a group: it names a run, or changes at most its speed.
NOT_A_SETTING = (
    *("seed", "threads", "device", "collect.workers", "collect.engine", "collect.address"),
    *("train.keep_checkpoints", "train.checkpoint_every"),
)
NOT_A_SECTION = ("tracking", "wandb")
LONGEST_LABEL = 60  # characters


@dataclass(frozen=True)
class Result:
    """What a group's last evaluations say: returns [S, N] of zero-shot, adapted and random actions where known.

    ``success`` are shares in [0, 1] by the same names. ``parameters`` [N] are the tasks'. ``final``: all runs have come
    to their end. ``left_out`` are runs that were evaluated on another split.
    """

    split: str
    final: bool
    parameters: list[Record]
    returns: dict[str, Array]
    success: dict[str, Array]
    left_out: list[str]


@dataclass(frozen=True)
class Curve:
    """Returns at evaluations while training: column -> env steps -> [S, N] of the tasks that these share.

    Runs whose episodes end by themselves are evaluated at steps that differ a little: the same evaluation of several
    runs stands at the mean of theirs. ``seconds`` is the mean wall clock of the runs at it, by env steps.
    """

    kind: str
    tasks: int
    values: dict[str, dict[int, Array]]
    random: float | None
    seconds: dict[int, float] = field(default_factory=dict)


@dataclass
class Group:
    """Runs of one family with the same settings; ``label`` says what differs from other groups of the family."""

    family: str
    label: str
    runs: list[RunFacts]
    settings: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    curve: Curve | None = None

    @property
    def name(self) -> str:
        """Family and label."""
        return f"{self.family}: {self.label}" if self.label else self.family

    @property
    def short(self) -> str:
        """What tells it from other groups of the family, or else the family."""
        return self.label or self.family

    @property
    def place(self) -> Place | None:
        """Which runs of a study these are; None: they are of none."""
        return self.runs[0].place

    @property
    def twice(self) -> list[int]:
        """Seeds that several of its runs have: these are no independent runs."""
        seeds = [run.seed for run in self.runs if run.seed is not None]
        return sorted({seed for seed in seeds if seeds.count(seed) > 1})


def group_runs(runs: Sequence[RunFacts]) -> list[Group]:
    """Put runs into groups, in the order in which they are given; each has its result and curve."""
    groups: list[Group] = []
    families = _families(runs)
    for family in dict.fromkeys(families):
        groups += _groups_of_family(family, [run for run, own in zip(runs, families, strict=True) if own == family])
    return groups


def _families(runs: Sequence[RunFacts]) -> list[str]:
    """Return the family of each run: where a study has several files about one family, what it calls each of them."""
    called: dict[str, dict[str, set[str]]] = {}
    for run in runs:
        if run.place is not None:
            called.setdefault(run.family, {}).setdefault(run.place.study, set()).add(run.place.family)
    apart = {family for family, studies in called.items() if any(len(names) > 1 for names in studies.values())}
    return [run.place.family if run.place is not None and run.family in apart else run.family for run in runs]


def _groups_of_family(family: str, runs: Sequence[RunFacts]) -> list[Group]:
    by_settings: dict[str, list[RunFacts]] = {}
    for run in runs:
        key = json.dumps([repr(run.place), settings_of(run)], sort_keys=True, default=str)
        by_settings.setdefault(key, []).append(run)
    members = list(by_settings.values())
    settings = [settings_of(own[0]) for own in members]
    differing = _differing(settings)
    telling = _telling(settings, differing)
    names = _names_in_study([own[0].place for own in members])
    groups = []
    for number, (own, values) in enumerate(zip(members, settings, strict=True), start=1):
        label = ", ".join(f"{key}={plain(values.get(key))}" for key in telling)
        if len(label) > LONGEST_LABEL:
            label = f"group {number}"  # a table says which settings it has
        label = names[number - 1] if names else label
        groups.append(Group(family, label, own, {key: values.get(key) for key in differing}))
    split = _common_split([run for group in groups for run in group.runs])
    for group in groups:
        group.result, group.curve = _result(group.runs, split), _curve(group.runs)
    _share_tasks([group.result for group in groups if group.result is not None])
    return groups


def _names_in_study(places: Sequence[Place | None]) -> list[str] | None:
    """Return what tells groups of a study apart: method and variant, where there are several; None: they don't."""
    known = [place for place in places if place is not None]
    if len(known) < len(places):
        return None
    parts = [(place.study, place.family, place.method, place.variant) for place in known]
    telling = [at for at in range(4) if len({part[at] for part in parts}) > 1]
    names = [", ".join(part[at] for at in telling) for part in parts]
    return names if len(set(names)) == len(names) else None


def settings_of(run: RunFacts) -> dict[str, Any]:
    """Return the settings by which runs are told apart."""
    return {
        key: value
        for key, value in run.config.items()
        if key not in NOT_A_SETTING and key.split(".")[0] not in NOT_A_SECTION
    }


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys in which settings differ. Where methods do, keys that only some have are no difference."""
    keys = list(dict.fromkeys(key for values in settings for key in values))
    missing = object()
    return [key for key in keys if any(v.get(key, missing) != settings[0].get(key, missing) for v in settings)]


def _telling(settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """Return as few of the keys as tell all settings apart: one after another the key that tells most."""
    chosen: list[str] = []

    def kinds(some: Sequence[str]) -> int:
        return len({json.dumps([values.get(key) for key in some], default=str) for values in settings})

    while kinds(chosen) < kinds(keys):
        chosen.append(max(keys, key=lambda key: kinds([*chosen, key])))
    return chosen


def plain(value: Any) -> str:
    """Return a setting as a person would type it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _common_split(runs: Sequence[RunFacts]) -> str | None:
    """Return the split that most runs were last evaluated on; those that have ended count first."""
    ended = [run for run in runs if run.finished and run.result] or [run for run in runs if run.result]
    splits = [str(run.result["split"]) for run in ended if run.result]
    return max(dict.fromkeys(splits), key=splits.count) if splits else None


def _result(runs: Sequence[RunFacts], split: str | None) -> Result | None:
    there = [run for run in runs if run.result and run.result["split"] == split]
    there = [run for run in there if run.finished] or there
    tables = [_complete(run.result["tasks"]) for run in there if run.result]
    keys = [key for key in (tables[0] if tables else {}) if all(key in table for table in tables)]
    if not keys or split is None:
        return None
    names = ("zero_shot", "adapted", "random")
    returns = {name: _matrix(tables, keys, f"{name}_return") for name in names}
    success = {name: _matrix(tables, keys, f"{name}_success") for name in names}
    for values in (returns, success):
        by_chance = values["random"]
        if by_chance is not None and (by_chance == by_chance[0]).all():
            values["random"] = by_chance[:1]  # the same episodes in all runs: they count once
    return Result(
        split="training" if there[0].result and there[0].result.get("shared_splits") else split,
        final=all(run.finished for run in there),
        parameters=[dict(tables[0][key]["parameters"]) for key in keys],
        returns={name: values for name, values in returns.items() if values is not None},
        success={name: values for name, values in success.items() if values is not None},
        left_out=[run.name for run in runs if run not in there],
    )


def _complete(rows: Sequence[Record]) -> dict[str, Record]:
    """Return rows without a fault by their task's parameters."""
    return {task_key(row["parameters"]): row for row in rows if "fault" not in row}


def task_key(parameters: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same task."""
    return json.dumps(parameters, sort_keys=True, default=str)


def _matrix(tables: Sequence[Mapping[str, Record]], keys: Sequence[str], column: str) -> Array | None:
    """Return a column of all runs' tables [S, N]; None where a value is missing."""
    values = [[numeric(table[key].get(column)) for key in keys] for table in tables]
    return None if any(None in row for row in values) else np.array(values, dtype=np.float64)


def _share_tasks(results: Sequence[Result]) -> None:
    """Keep to the tasks that all groups of a family have, so that they can be compared."""
    keys = [[task_key(parameters) for parameters in result.parameters] for result in results]
    shared = [key for key in keys[0] if all(key in own for own in keys)] if keys else []
    if not shared or all(own == shared for own in keys):
        return
    for result, own in zip(results, keys, strict=True):
        places = [own.index(key) for key in shared]
        result.parameters[:] = [result.parameters[place] for place in places]
        for values in (result.returns, result.success):
            for name in values:
                values[name] = values[name][:, places]


def _curve(runs: Sequence[RunFacts]) -> Curve | None:
    """Return what evaluations while training gave, in the tasks that all of the runs share."""
    found: list[tuple[list[Any], list[str], RunFacts]] = []
    for run in runs:
        try:
            records, places = shared_tasks(run.evaluations, finished=run.finished)
        except ValueError:  # none, or no task that all of them could finish
            continue
        found.append((records, [task_key(records[0]["tasks"][place]["parameters"]) for place in places], run))
    if not found:
        return None
    keys = [key for key in found[0][1] if all(key in own for _, own, _ in found)]
    if not keys:
        return None
    values: dict[str, dict[tuple[int, int], list[Array]]] = {}
    steps: dict[tuple[int, int], list[float]] = {}
    seconds: dict[tuple[int, int], list[float]] = {}
    chance: list[float] = []
    for records, _, run in found:
        for record, at in zip(records, _evaluations(records, run), strict=True):
            table = _complete(record["tasks"])
            steps.setdefault(at, []).append(float(record["env_steps"]))
            if (passed := numeric(record.get("wall_seconds"))) is not None:
                seconds.setdefault(at, []).append(passed)
            for column in COLUMNS:
                row = _matrix([table], keys, f"{column}_return")
                if row is not None:
                    values.setdefault(column, {}).setdefault(at, []).append(row[0])
            by_chance = _matrix([table], keys, "random_return")
            chance += [] if by_chance is None else [float(by_chance.mean())]
    last = found[0][0][-1]
    place = {at: round(float(np.mean(own))) for at, own in steps.items()}
    return Curve(
        kind="training" if last.get("shared_splits") else str(last["split"]),
        tasks=len(keys),
        values={c: {place[at]: np.array(rows) for at, rows in sorted(own.items())} for c, own in values.items()},
        random=float(np.mean(chance)) if chance else None,
        seconds={place[at]: float(np.mean(own)) for at, own in seconds.items()},
    )


def _evaluations(records: Sequence[Mapping[str, Any]], run: RunFacts) -> list[tuple[int, int]]:
    """Return what is the same for the same evaluation of several runs: the multiple of ``evaluate_every`` it is for.

    Beside it stands the number among those of a run that have the same one.
    """
    every = numeric(run.config.get("train.evaluate_every")) or 1.0
    multiples = [int(record["env_steps"] // every) for record in records]
    return [(number, multiples[:at].count(number)) for at, number in enumerate(multiples)]


def mean(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the mean over the last axis: a statistic."""
    return np.asarray(np.mean(np.asarray(values, np.float64), axis=-1))


def statistic_of(groups: Sequence[Group]) -> Statistic:
    """Return what summarises returns: the IQM where a group has several runs, else the mean, as `mql evaluate` does."""
    several = any(len(next(iter(group.result.returns.values()))) > 1 for group in groups if group.result)
    return iqm if several else mean


def statistic_name(statistic: Statistic) -> str:
    """Return a statistic's name in a sentence."""
    return "mean" if statistic is mean else "interquartile mean"


def estimates(result: Result, statistic: Statistic) -> dict[str, Estimate]:
    """Return what stands in a row of the results: returns, mean gain, and mean success, each with its interval."""
    found = {name: across_runs(values, statistic) for name, values in result.returns.items()}
    if "adapted" in result.returns:
        found["gain"] = across_runs(result.returns["adapted"] - result.returns["zero_shot"], mean)
    for name, values in result.success.items():
        found[f"{name}_success"] = across_runs(values, mean)
    return found


def final_of(result: Result) -> tuple[str, Array]:
    """Return what agents end with and its name: adapted returns [S, N], zero-shot ones of a method that adapts not."""
    column = "adapted" if "adapted" in result.returns else "zero_shot"
    return column, result.returns[column]


def improvements(groups: Sequence[Group]) -> list[Record]:
    """Return how probably one group beats another of the same family, for every pair: the better one first.

    Compared is what each ends with: adapted returns, or zero-shot ones of a method that does not adapt.
    """
    rows = []
    for one, other in combinations([group for group in groups if group.result], 2):
        if one.family != other.family or one.result is None or other.result is None:
            continue
        if one.result.split != other.result.split or one.result.parameters != other.result.parameters:
            continue
        if "zero_shot" not in one.result.returns or "zero_shot" not in other.result.returns:
            continue
        (of, first), (than, second) = final_of(one.result), final_of(other.result)
        estimate = probability_of_improvement(first, second)
        if estimate["value"] < 0.5:
            one, other, of, than = other, one, than, of
            estimate = probability_of_improvement(second, first)
        kind = of if of == than else f"{of} against {than}"
        rows.append({"family": one.family, "better": one.label, "than": other.label, "of": kind, **estimate})
    return rows
