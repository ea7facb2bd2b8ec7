"""The tables of a report: on the page, and as CSV and LaTeX for a paper."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mql.evaluation.statistics import Estimate
from mql.plain_text import counted
from mql.report.page.facts import Record, RunFacts, numeric
from mql.report.page.groups import Group, estimates, plain, statistic_name, statistic_of
from mql.report.page.words import (
    DASH,
    MINUS,
    TIMES,
    duration,
    interval,
    number,
    share,
    signed,
    size_of,
    value_text,
    values_of,
    values_text,
)

RUN_NUMBERS = ("env steps", "wall clock", "evaluations", "faults")
RETURNS = (("random", "random"), ("zero_shot", "zero-shot"), ("adapted", "adapted"))


@dataclass(frozen=True)
class Table:
    """A table of the page; columns from `numbers` on hold numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int = 1


def results(groups: Sequence[Group]) -> Table | None:
    """Return a row for each group: IQM of returns, gain, success, and what they are of."""
    statistic = statistic_of(groups)
    found = [(group, estimates(group.result, statistic)) for group in groups if group.result]
    if not found:
        return None
    success = any(f"{key}_success" in own for _, own in found for key, _ in RETURNS)
    head = ["family" if len(groups) == 1 else "group", "tasks", "random actions", "zero-shot", "adapted", "gain"]
    head += ["solved zero-shot", "solved adapted"] if success else []
    rows = []
    for group, own in found:
        any_of = own.get("zero_shot") or next(iter(own.values()))
        split = group.result.split if group.result else ""
        row = [group.label or group.family, f"{split}, {values_of(any_of)}"]
        row += [_cell(own.get(key), than=any_of) for key, _ in RETURNS]
        row.append(_cell(own.get("gain"), form=signed))
        if success:
            row += [_cell(own.get(f"{key}_success"), form=share) for key in ("zero_shot", "adapted")]
        rows.append(row)
    caption = (
        f"{statistic_name(statistic).capitalize()} of returns; mean gain (adapted minus zero-shot, of the same runs "
        "and tasks) and share of episodes solved. In brackets: 95 % bootstrap intervals, over runs in each task, or "
        "over tasks where there is one run; none of fewer than 5 values."
    )
    return Table(caption, head, rows, numbers=2)


def _cell(estimate: Estimate | None, *, form: Any = number, than: Estimate | None = None) -> str:
    """Write a figure with its interval; with its own n where that is not the n of `than`, which stands in the row."""
    if estimate is None:
        return DASH
    text = interval(estimate, form=form)
    other = than is not None and (estimate["runs"], estimate["tasks"]) != (than["runs"], than["tasks"])
    return f"{text} ({size_of(estimate['runs'], estimate['tasks'])})" if other and estimate["ci95"] else text


def tasks(run: RunFacts) -> Table | None:
    """Return a row for each task of a run's last evaluation."""
    if run.result is None:
        return None
    rows = run.result["tasks"]
    solved = any(row.get("zero_shot_success") is not None for row in rows)
    final = list(dict.fromkeys(key for row in rows for key in (row.get("zero_shot_final") or {})))[:3]
    names = list(dict.fromkeys(name for row in rows for name in row["parameters"]))
    head = ["task", *names, "random", "zero-shot", "adapted", "gain"]
    head += ["solved before", "solved after"] if solved else []
    head += [f"{name}, {when}" for name in final for when in ("before", "after")]
    head += ["fault", "ESS", "AUC", "episodes", "kept"]
    body = []
    for place, row in enumerate(rows):
        before, after = numeric(row["zero_shot_return"]), numeric(row.get("adapted_return"))
        gain = None if before is None or after is None else after - before
        cells = [
            str(place),
            *(value_text(row["parameters"].get(name)) for name in names),
            number(numeric(row.get("random_return"))),
            number(before),
            number(after),
        ]
        cells.append(DASH if gain is None else signed(gain))
        if solved:
            cells += [share(numeric(row.get(f"{when}_success"))) for when in ("zero_shot", "adapted")]
        for name in final:
            values = [(row.get(f"{when}_final") or {}).get(name) for when in ("zero_shot", "adapted")]
            cells += [number(numeric(value)) for value in values]
        cells += ["fault" if "fault" in row else "adaptation failed" if row.get("failed") else DASH]
        cells += [number(numeric(row.get(key))) for key in ("normalized_ess", "classifier_auc")]
        charged, kept = numeric(row.get("episodes_charged")), row.get("accepted")
        cells += [DASH if charged is None else f"{charged:g}", {True: "yes", False: "no"}.get(kept, DASH)]
        body.append(cells)
    head, body = _filled(head, body)
    return Table(
        f"{run.name}, its last evaluation: {run.result['split']} tasks, before and after adaptation; what the family "
        "reports at the end of an episode."
        + (" Tasks with a fault count in no summary." if any("fault" in row for row in rows) else "")
        + (" Where adaptation failed, zero-shot stands." if any(row.get("failed") for row in rows) else ""),
        head,
        body,
    )


def _filled(head: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Leave out columns in which nothing stands."""
    keep = [place for place in range(len(head)) if place == 0 or any(row[place] not in ("", DASH) for row in body)]
    return [head[place] for place in keep], [[row[place] for place in keep] for row in body]


def propensity(rows: Sequence[Record]) -> Table:
    """Return a row for each held-out task that stored data was weighed for."""
    body = []
    for row in rows:
        weights = sorted((float(w) for w in row.get("task_weights") or []), reverse=True)
        total = sum(weights)
        top = share(sum(weights[:5]) / total) if total else DASH
        covered = numeric(row.get("tasks_covered"))
        body.append(
            [
                values_text(row["parameters"]),
                number(numeric(row.get("normalized_ess"))),
                number(numeric(row.get("classifier_auc"))),
                share(numeric(row.get("fraction_zero_weight"))),
                top,
                DASH if covered is None else f"{covered:g}",
            ]
        )
    head = ["held-out task", "ESS", "AUC", "weight zero", "weight on the top 5 training tasks", "training tasks seen"]
    caption = (
        "ESS: effective sample size of the stored transitions over their number (1: all count alike). AUC: how well "
        "the new task's data can be told from the stored (0.5: not at all)."
    )
    return Table(caption, head, body)


def runs(all_runs: Sequence[RunFacts], label: Mapping[str, str]) -> Table:
    """Return a row for each run: where it stands, what it took, what went wrong."""
    body = []
    for run in all_runs:
        target = numeric(run.config.get("train.env_steps"))
        state = "finished" if run.finished else "unfinished"
        body.append(
            [
                run.name,
                label.get(str(run.path), ""),
                DASH if run.seed is None else str(run.seed),
                run.method,
                state,
                f"{run.env_steps:,}" + (f" of {target:,.0f}" if target and not run.finished else ""),
                duration(run.wall_seconds) if run.wall_seconds else DASH,
                str(len(run.evaluations) + len(run.other)),
                str(len(faults([run]))),
            ]
        )
    head, body = _filled(["run", "group", "seed", "method", "state", *RUN_NUMBERS], body)
    return Table("Runs of this report.", head, body, numbers=head.index(RUN_NUMBERS[0]))


def timings(all_runs: Sequence[RunFacts]) -> Table | None:
    """Return what each run's time went into."""
    body = []
    for run in all_runs:
        parts = {
            key: sum(numeric(r.get(key)) or 0.0 for r in run.metrics) for key in ("collect_seconds", "update_seconds")
        }
        if not run.wall_seconds:
            continue
        adapting = [s for r in run.evaluations for s in _numbers(r.get("adapt_seconds"))]
        speed = [v for r in run.metrics if (v := numeric(r.get("env_steps_per_s")))]
        machine = run.environment.get("machine")
        machine = machine if isinstance(machine, dict) else {}
        cores = f", {counted(machine['cores'], 'core')}" if isinstance(machine.get("cores"), int) else ""
        body.append(
            [
                run.name,
                ", ".join(str(machine[key]) for key in ("cpu", "gpu") if machine.get(key)) + cores,
                duration(run.wall_seconds),
                *(duration(value) if run.metrics else DASH for value in parts.values()),
                number(sum(speed) / len(speed)) if speed else DASH,
                f"{sum(adapting) / len(adapting):.2g} s" if adapting else DASH,
            ]
        )
    head = ["run", "machine", "whole", "collecting", "updates", "env steps per s", "adapting to a task"]
    return Table("Wall clock.", head, body, numbers=2) if body else None


def _numbers(values: Any) -> list[float]:
    return [v for value in (values if isinstance(values, list) else []) if (v := numeric(value)) is not None]


def versions(all_runs: Sequence[RunFacts]) -> Table | None:
    """Return the versions that the runs were made with."""
    body = []
    for run in all_runs:
        known = run.environment.get("versions")
        known = known if isinstance(known, dict) else {}
        commit = str(run.environment.get("git_commit") or "unknown")[:12]
        changed = " with changes" if run.environment.get("git_changes") else ""
        command = run.environment.get("command")
        text = " ".join(map(str, command)) if isinstance(command, list) else ""
        body.append([run.name, f"{commit}{changed}", ", ".join(f"{k} {v}" for k, v in known.items()), text])
    head = ["run", "commit", "versions", "command"]
    return Table("What made the runs.", head, body, numbers=9)


def settings(groups: Sequence[Group]) -> Table | None:
    """Return the settings in which groups of a family differ."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    if not keys:
        return None
    body = [[group.label, *(plain(group.settings.get(key)) for key in keys)] for group in groups]
    return Table("Settings in which the groups differ.", ["group", *keys], body, numbers=99)


def faults(all_runs: Sequence[RunFacts]) -> list[str]:
    """Return what went wrong in runs, a line each."""
    found = []
    for run in all_runs:
        for record in run.metrics:
            listed = record.get("faults")
            where = f"{run.name}, at {int(numeric(record.get('env_steps')) or 0):,} env steps"
            found += [f"{where}: {fault}" for fault in (listed if isinstance(listed, list) else [])]
        for record in run.evaluations:
            where = f"{run.name}, evaluation at {int(record['env_steps']):,}"
            for row in record["tasks"]:
                found += [f"{where}: {row[key]}" for key in ("fault", "random_fault") if row.get(key)]
                found += [f"{where}: adaptation failed: {row['failed']}"] if row.get("failed") else []
    return found


def remarks(all_runs: Sequence[RunFacts]) -> list[str]:
    """Return what training remarked."""
    return [f"{run.name}: {record['remark']}" for run in all_runs for record in run.metrics if record.get("remark")]


# -- of a paper -------------------------------------------------------------------------------------------------------

COLUMNS = ("random", "zero_shot", "adapted", "gain", "zero_shot_success", "adapted_success")


def paper_rows(groups: Sequence[Group]) -> list[Record]:
    """Return a row of plain data for each group with a result: every figure, its interval, and what it is of."""
    rows = []
    for group in groups:
        if group.result is None:
            continue
        statistic = statistic_of([other for other in groups if other.family == group.family])
        own = estimates(group.result, statistic)
        first = own.get("zero_shot") or next(iter(own.values()))
        rows.append(
            {
                "family": group.family,
                "group": group.label,
                "settings": dict(group.settings),
                "split": group.result.split,
                "finished": group.result.final,
                "runs": first["runs"],
                "tasks": first["tasks"],
                "statistic": statistic_name(statistic),
                **{name: dict(own[name]) if name in own else None for name in COLUMNS},
            }
        )
    return rows


def as_csv(rows: Sequence[Record]) -> str:
    """Return the rows as CSV: a column for each figure and each end of its interval, empty where there is none."""
    written = io.StringIO()
    head = ["family", "group", "split", "finished", "runs", "tasks", "statistic"]
    head += [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high", "_n")]
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        cells = [row["family"], row["group"], row["split"], str(row["finished"]).lower(), row["runs"], row["tasks"]]
        cells.append(row["statistic"])
        for name in COLUMNS:
            estimate = row[name]
            low, high = (estimate["ci95"] or ("", "")) if estimate else ("", "")
            n = estimate["runs"] * estimate["tasks"] if estimate else ""
            cells += [estimate["value"] if estimate else "", low, high, n]
        writer.writerow(cells)
    return written.getvalue()


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    DASH: "--",
    TIMES: r"$\times$",
    "…": r"\dots{}",
    MINUS: "$-$",
}


def as_latex(rows: Sequence[Record]) -> str:
    """Return the rows as a LaTeX table (package booktabs); n stands beside every interval."""
    success = any(row["zero_shot_success"] for row in rows)
    names = ", ".join(sorted({row["statistic"] for row in rows}))
    head = ["Family", "Group", "Tasks", "$n$", "Random", "Zero-shot", "Adapted", "Gain"]
    head += ["Solved before", "Solved after"] if success else []
    lines = [
        f"% Needs \\usepackage{{booktabs}}. Returns: {names}; gain and success: mean; brackets: 95 % intervals.",
        f"\\begin{{tabular}}{{lll{'r' * (len(head) - 3)}}}",
        "\\toprule",
        " & ".join(head) + r" \\",
        "\\midrule",
    ]
    for row in rows:
        cells = [
            latex(row["family"]),
            latex(row["group"]),
            latex(row["split"]),
            rf"{row['runs']} $\times$ {row['tasks']}",
        ]
        for name in ("random", "zero_shot", "adapted"):
            cells.append(latex(_cell(row[name], than=row["zero_shot"])))
        cells.append(latex(_cell(row["gain"], form=signed)))
        if success:
            cells += [latex(_cell(row[name], form=share)) for name in ("zero_shot_success", "adapted_success")]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def latex(text: str) -> str:
    """Return text so that LaTeX prints it as it is."""
    return "".join(LATEX.get(char, char) for char in text)
