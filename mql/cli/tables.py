"""What the commands print on standard output: one JSON value, or tables for people."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mql.cli.results import output
from mql.plain_text import counted, plain

SPLITS = ("train", "validation", "test", "ood")  # that a list of families shows
WIDTH_OF_A_FILE = 120  # columns where standard output is no terminal

Row = Mapping[str, Any]


def print_json(value: Any) -> None:
    """Print one JSON value. Raises ValueError for a number that is not finite: no reader would take it."""
    print(json.dumps(value, allow_nan=False), file=output())


def print_families(rows: Iterable[Row]) -> None:
    """Print one line per task family, from `TaskFamily.summary_row`."""
    table = _table("family", "summary", right=("obs", "actions", "steps", *SPLITS))
    for row in rows:
        splits = row["splits"]
        table.add_row(
            row["name"],
            row["summary"],
            *(str(row[key]) for key in ("obs_dim", "action_dim", "episode_length")),
            *(str(splits.get(split, "-")) for split in SPLITS),
        )
    _print(table)


def print_main_families(rows: Iterable[Row]) -> None:
    """Print one line per task family that stands for others, from `TaskFamily.summary_row` and `variants`."""
    table = _table("family", "summary", "variants")
    for row in rows:
        name, variants = row["name"], row["variants"]
        own = [each.removeprefix(name) for each in variants if each.startswith(f"{name}-")]
        text = ", ".join(own) if len(own) == len(variants) else f"and {len(variants)} others like it"
        table.add_row(name, row["summary"], text)
    _print(table)


def print_family(description: Row) -> None:
    """Print one family's sizes, task parameters and tasks, from `TaskFamily.describe`."""
    nouns = {"obs_dim": "observed number", "action_dim": "action", "episode_length": "step"}
    sizes = {key: f"? {noun}s" if (n := description[key]) is None else counted(n, noun) for key, noun in nouns.items()}
    sizes["episode_length"] += " per episode"
    rule = description.get("success")
    success = [f"success: {success_text(rule)}"] if rule else []
    _print(f"{description['name']}: {description['summary']}", ", ".join(sizes.values()), *success)
    parameters = _table("parameter", "unit", "distribution", "meaning")
    for name, parameter in description["parameters"].items():
        hidden = "" if parameter["hidden"] else " (visible)"
        distribution = parameter["distribution"]
        text = distribution if isinstance(distribution, str) else _values(distribution)
        parameters.add_row(name, parameter["unit"], text, parameter["doc"] + hidden)
    tasks = _table("split", "tasks", right=("n",))
    for split, values in description["splits"].items():
        shown = "; ".join(_values(value) for value in values[:4]) + ("; ..." if len(values) > 4 else "")
        tasks.add_row(split, shown, str(len(values)))
    _print(parameters)
    _print(tasks)
    for key, meaning in (("observation", "seen as (value - minus) / per"), ("action", "commands minus + per * number")):
        if numbers := description.get(key):
            table = _table(f"{key}, {meaning}", "unit", right=("place", "minus", "per"))
            for place, each in enumerate(numbers):
                table.add_row(each["name"], each["unit"], str(place), f"{each['minus']:g}", f"{each['per']:g}")
            _print(table)
    if own := description.get("text"):
        _print("description:", *own.splitlines())
    if lines := description.get("episodes"):
        _print("in each episode:", *(f"  {line}" for line in lines))


def success_text(rule: Row) -> str:
    """Say in words when a task of a family is solved, from ``success`` of `TaskFamily.describe`."""
    steps = rule["hold_steps"]
    held = f"at the goal for {steps} control steps in a row" if steps > 1 else "at the goal in one control step"
    if rule["at"] == "any":
        return f"{held}, at any time of the episode"
    return f"{held}, the last {'ones' if steps > 1 else 'one'} of the episode"


def print_robots(rows: Iterable[Row]) -> None:
    """Print one line per robot, from `RobotSpec.summary_row`."""
    table = _table("robot", "summary", right=("joints", "actuators", "licence"))
    for row in rows:
        table.add_row(row["name"], row["summary"], str(row["joints"]), str(row["actuators"]), row["licence"])
    _print(table)


def print_robot(description: Row) -> None:
    """Print one robot's facts, from `RobotSpec.describe`; what is not stated is a dash."""
    _print(f"{description['name']}: {description['description']}", f"licence {description['licence']}")
    _print(f"source: {description['source']}", f"model: {description['path'] or description['mjcf']}")
    sections = {
        "joints": ("kind", "position_range", "velocity_limit", "effort_limit"),
        "actuators": ("joint", "kind", "control_range", "gain", "gear"),
        "control": ("kind", "scale", "rate_hz", "by"),
    }
    for section, fields in sections.items():
        if entries := description[section]:
            table = _table(section, right=[field.replace("_", " ") for field in fields])
            for name, entry in entries.items():
                table.add_row(name, *(_fact(entry.get(field)) for field in fields))
            _print(table)
    if masses := description["masses"]:
        _print("masses (kg): " + ", ".join(f"{name} {_fact(mass)}" for name, mass in masses.items()))
    if home := description["home"]:
        _print("home (rad or m): " + ", ".join(f"{name} {_fact(value)}" for name, value in home.items()))
    if model := description["model"]:
        _print_model(model, description)


def _print_model(model: Row, stated: Row) -> None:
    """Print what a model holds, from `contents`; its joints and actuators only where their ranges are not stated."""
    joints = [row for row in model["joints"] if not _has_limits(stated["joints"].get(row["name"], {}))]
    actuators = [row for row in model["actuators"] if not {row["name"], row["joint"]} & {*stated["actuators"]}]
    for title, rows, fields in (
        ("joints of the model", joints, ("kind", "range", "unit", "body")),
        ("actuators of the model", actuators, ("kind", "joint", "range")),
    ):
        if rows:
            table = _table(title, right=["control range" if "joint" in fields and f == "range" else f for f in fields])
            for row in rows:
                table.add_row(row["name"] or "(no name)", *(_fact(row[field]) for field in fields))
            _print(table)
    lines = []
    for kind in ("bodies", "sites", "geoms", "sensors"):
        if rows := model[kind]:
            notes = [row.get("moves") or (row.get("body") if kind == "sites" else None) for row in rows]
            names = (f"{row['name']} ({note})" if note else row["name"] for row, note in zip(rows, notes, strict=True))
            lines.append(f"{kind}{' (of body)' if kind == 'sites' else ''}: {', '.join(names)}")
    _print(*lines)


def _has_limits(stated: Row) -> bool:
    return bool(stated) and (stated["unlimited"] or stated["position_range"] is not None)


def print_evaluation(record: Row) -> None:
    """Print an evaluation: a row per task, then its summary over tasks; that of another method as it is."""
    if "tasks" not in record or "summary" not in record:
        _print(", ".join(f"{name} {_fact(value)}" for name, value in record.items()))
        return
    rows, summary = record["tasks"], record["summary"]
    print_task_rows(rows)
    lines = {"random actions": "random", "zero-shot": "zero_shot", "adapted": "adapted", "paired gain": "gain"}
    rates = {key: _success_rate(rows, key) for key in lines.values()}
    solvable = any(rate is not None for rate in rates.values())
    titles = ("mean", "min", "IQM", "95 % interval", "n", *(["success"] if solvable else []))
    table = _table(counted(len(rows), record["split"] + " task"), right=titles)
    for label, key in lines.items():
        if (values := summary.get(key)) is not None:
            numbers = (_number(values.get(name)) for name in ("mean", "min", "iqm"))
            success = [_percent(rates[key])] if solvable else []
            table.add_row(label, *numbers, _interval(values["ci95"]), _count(values.get("n")), *success)
    _print(table)
    _print_terms(rows)
    facts = f"{record['family']}, seed {record['seed']}, after {record['env_steps']:,} env steps"
    _print(facts)
    charged = [row["episodes_charged"] for row in rows if row.get("episodes_charged") is not None]
    if charged:
        kept = [row["accepted"] for row in rows if row.get("accepted") is not None]
        told = f"; kept in {sum(kept)} of {counted(len(kept), 'task')}" if kept else ""
        mean = sum(charged) / len(charged)
        average = "" if len(set(charged)) == 1 else "on average "
        episodes = f"{average}{mean:.3g} episode{'' if mean == 1 else 's'}"
        _print(f"adapted by {rows[0].get('method')} with {episodes} of each new task{told}")
    for row in rows:
        if "fault" in row:
            _print(f"left out: {row['fault']}")
        if row.get("failed"):
            _print(f"adaptation failed in a task, zero-shot is used: {row['failed']}")
        if "random_fault" in row:
            _print(f"random actions failed in a task: {row['random_fault']}")
    if record.get("shared_splits"):
        split = record["split"] if record["split"].startswith("validation") else "test"
        _print(f"in this family train and {split} are the same tasks: these figures say nothing about unseen tasks")


def _print_terms(rows: Sequence[Row]) -> None:
    """Print what each reward term was worth in an episode, mean over tasks, where the family has terms."""
    columns = {"zero-shot": "zero_shot_terms", "adapted": "adapted_terms"}
    known = {title: [row[key] for row in rows if row.get(key)] for title, key in columns.items()}
    known = {title: terms for title, terms in known.items() if terms}
    if not known:
        return
    table = _table("reward term, sum of an episode", right=list(known))
    for name in dict.fromkeys(name for terms in known.values() for each in terms for name in each):
        means = [sum(each.get(name, 0.0) for each in terms) / len(terms) for terms in known.values()]
        table.add_row(name, *map(_number, means))
    _print(table)


def print_protocol(record: Row) -> None:
    """Print what Meta-World's own protocol gave, beside the exact count of the same agents."""
    official, exact = record["official"], record["exact"]
    table = _table("environment", right=("official count", "exact count"))
    for name, rate in exact["per_environment"].items():
        table.add_row(name, _percent(official["per_environment"].get(name)), _percent(rate))
    table.add_row("mean", _percent(official["success_rate"]), _percent(exact["success_rate"]))
    _print(table)
    _print(
        f"{record['goals']} {record['split']} goals in {record['sub_environments']} sub-environments, "
        f"{record['adaptation_episodes']} adaptation and {record['evaluation_episodes']} evaluation episodes each",
        "the official count takes the episodes that end first, which favours goals that are solved",
    )


def print_task_rows(rows: Sequence[Row]) -> None:
    """Print the rows of `TaskResult.to_json`; columns that no row has are left out."""
    columns = [
        ("random", "random_return", _number),
        ("zero-shot", "zero_shot_return", _number),
        ("adapted", "adapted_return", _number),
        ("zero-shot success", "zero_shot_success", _percent),
        ("adapted success", "adapted_success", _percent),
        ("episodes", "episodes_charged", _count),
        ("kept", "accepted", _yes),
        ("ESS", "normalized_ess", _fraction),
        ("lambda", "proximal_coef", _fraction),
        ("AUC", "classifier_auc", _fraction),
        ("seconds", "adapt_seconds", _number),
    ]
    shown = [column for column in columns if any(row.get(column[1]) is not None for row in rows)]
    table = _table("task", right=[title for title, _, _ in shown])
    for row in rows:
        table.add_row(_values(row["parameters"]), *(form(row.get(key)) for _, key, form in shown))
    _print(table)


def print_checks(checked: Sequence[tuple[str, float, Sequence[Mapping[str, str]]]], *, subject: str = "family") -> None:
    """Print one line per family or robot: (name, seconds, its results as plain data), then all that did not pass."""
    table = _table(subject, "result", right=("pass", "warn", "fail", "seconds"))
    for name, seconds, results in checked:
        counts = {kind: sum(result["result"] == kind for result in results) for kind in ("pass", "warn", "fail")}
        worst = next((kind for kind in ("fail", "warn") if counts[kind]), "pass")
        table.add_row(name, worst, *(str(count) for count in counts.values()), f"{seconds:.1f}")
    _print(table)
    lines = [result for _, _, results in checked for result in results if result["result"] != "pass"]
    if lines:
        _print(*(f"{line['result']} {line[subject]} {line['check']}: {line['message']}" for line in lines))


def tally(results: Iterable[str]) -> str:
    """Count the results of checks in a few words, such as ``9 pass, 1 warn``."""
    counts = Counter(results)
    return ", ".join(f"{counts[result]} {result}" for result in ("pass", "warn", "fail") if counts[result])


def print_rows(
    rows: Iterable[Sequence[str]], *, left: Sequence[str], right: Sequence[str] = (), after: Sequence[str] = ()
) -> None:
    """Print a table of texts: columns of words, of numbers to the right, and of words after these."""
    table = _table(*left, right=right)
    for title in after:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    _print(table)


def print_lines(*lines: str) -> None:
    """Print lines and an empty one."""
    _print(*lines)


def _success_rate(rows: Sequence[Row], key: str) -> float | None:
    """Return the share of episodes that succeed, over the tasks that count; None where there is no success."""
    rates = [row.get(f"{key}_success") for row in rows if "fault" not in row]
    known = [rate for rate in rates if rate is not None]
    return sum(known) / len(known) if known else None


class _PlainTable(Table):
    """A table whose cells are texts and nothing else: no markup, and only characters that show."""

    def add_row(self, *cells: Any, **more: Any) -> None:
        """Add a row."""
        super().add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells), **more)


def _table(*left: str, right: Iterable[str] = ()) -> Table:
    table = _PlainTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in left:
        table.add_column(title, overflow="fold")
    for title in right:
        table.add_column(title, justify="right", no_wrap=True)
    return table


class _Output(Console):
    """Standard output; that its reader has gone is told to `mql.cli.app`, as it is of every other output."""

    def on_broken_pipe(self) -> None:
        """Raise what `rich` would make an exit of."""
        raise


def _print(*parts: Table | str) -> None:
    console = _Output(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False)
    for part in parts:
        console.print(Text(plain(part)) if isinstance(part, str) else part)
    console.print()


def _values(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in parameters.items())


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_value(part) for part in value) + ")"
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)


def _fact(value: Any) -> str:
    """Write what is stated with all its digits; a dash where nothing is."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_fact(part) for part in value) + "]"
    return "-" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _interval(ends: Sequence[float] | None) -> str:
    return "-" if ends is None else f"{_number(ends[0])} to {_number(ends[1])}"


def _count(value: int | None) -> str:
    return "-" if value is None else str(value)


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
