"""`mql runs list` and `mql runs show`. PyTorch and MuJoCo stay unloaded: a list is there at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mql.cli.tables import print_json, print_lines, print_rows
from mql.config.loading import flat, load_config, read_resolved
from mql.config.schema import Config
from mql.errors import UserError, told
from mql.files import read_json_lines
from mql.runs.folder import read_environment, recognise
from mql.runs.listing import RunRow, list_runs, row_of
from mql.types import JSON

_NO_SETTING = ("family", "seed", "profile", "start_from")  # these are shown anyway


def print_runs(folder: Path, *, as_json: bool) -> None:
    """Print one row per run in `folder`.

    Raises:
        UserError: there is no such folder.
    """
    rows = list_runs(folder)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    if not rows:
        print_lines(f"no runs in {folder}")
        return
    several = len({row.method for row in rows if row.method}) > 1
    forked = any(row.forked_from for row in rows)
    print_rows(
        (
            (
                os.path.relpath(row.path, folder),
                row.family or "-",
                *([row.method or "-"] if several else []),
                row.state,
                "-" if row.seed is None else str(row.seed),
                _steps(row),
                _duration(row.wall_seconds),
                _number(row.zero_shot),
                _number(row.adapted),
                _size(row.bytes_on_disk),
                _duration(row.age_seconds),
                row.split or "-",
                *([_parent(row, folder)] if forked else []),
            )
            for row in rows
        ),
        left=("run", "family", *(["method"] if several else []), "state"),
        right=("seed", "env steps", "time", "zero-shot", "adapted", "size", "age"),
        after=("on", *(["forked from"] if forked else [])),
    )
    if damaged := [f"damaged: {os.path.relpath(row.path, folder)}: {row.why}" for row in rows if row.why]:
        print_lines(*damaged)


def print_run(path: Path, *, as_json: bool) -> None:
    """Print all about one run.

    Raises:
        UserError: the folder is no run.
    """
    shown = describe_run(path)
    if as_json:
        print_json(shown)
        return
    run, environment = row_of(path), shown["environment"]
    lines = [
        f"{path}: {run.family or 'unknown family'}, method {run.method or '-'}, seed {run.seed}",
        f"{run.state}{f' ({run.why})' if run.why else ''}, {_steps(run)} env steps in {_duration(run.wall_seconds)}, "
        f"{_size(run.bytes_on_disk)} on disk, last written to {_duration(run.age_seconds)} ago",
    ]
    if run.forked_from:
        lines.append(f"forked from {run.forked_from}")
    lines.append(f"command: {' '.join(map(str, environment['command'] or ['unknown']))}")
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items() if version)
    commit = str(environment["git_commit"] or "unknown")[:12]
    changes = " with changes" if environment["git_changes"] else ""
    lines += [f"versions: {versions}", f"commit: {commit}{changes}"]
    print_lines(*lines)
    if shown["settings"]:
        rows = [(key, _value(value), _value(default)) for key, (value, default) in shown["settings"].items()]
        print_rows(rows, left=("setting", "value", "default"))
    if shown["checkpoints"]:
        sizes = [(f"{each['env_steps']:,}", _size(each["bytes_on_disk"])) for each in shown["checkpoints"]]
        print_rows(sizes, left=(), right=("checkpoint", "size"))
    if shown["evaluations"]:
        titles = ("env steps", "random", "zero-shot", "adapted", "gain", "left out")
        print_rows(map(_evaluation_row, shown["evaluations"]), left=("tasks",), right=titles)
    said = [f"{count} x {fault}" for fault, count in shown["faults"].items()]
    said += [f"remark: {remark}" for remark in shown["remarks"]]
    said += [f"damaged: {fault}" for fault in shown["damaged"]]
    if said:
        print_lines(*said)


def describe_run(path: Path) -> dict[str, JSON]:
    """Return what `mql runs show --json` prints; what can't be read is named under ``damaged``.

    Raises:
        UserError: the folder is no run.
    """
    known = recognise(path)
    damaged: list[str] = []

    def tried(read: Any, otherwise: Any) -> Any:
        try:
            return read()
        except (UserError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            damaged.append(str(error) if isinstance(error, UserError) else told(error))
            return otherwise

    environment = tried(lambda: read_environment(path), known)
    metrics = tried(lambda: read_json_lines(path / "metrics.jsonl"), [])
    names = ("command", "machine", "git_commit", "git_changes", "forked_from", "family_digest")
    versions = environment.get("versions") if isinstance(environment.get("versions"), dict) else {}
    faults: dict[str, int] = {}
    for line in metrics:
        for fault in line.get("faults") or ():
            faults[str(fault)] = faults.get(str(fault), 0) + 1
    return {
        **row_of(path).to_json(),
        "settings": tried(lambda: _changed(read_resolved(path / "config.yaml")), {}),
        "checkpoints": tried(lambda: _checkpoints(path), []),
        "evaluations": tried(lambda: [_evaluation(e) for e in read_json_lines(path / "evaluations.jsonl")], []),
        "environment": {name: environment.get(name) for name in names} | {"versions": versions},
        "faults": faults,
        "remarks": [line["remark"] for line in metrics if line.get("remark")],
        "damaged": damaged,
    }


def _changed(config: Config) -> dict[str, list[JSON]]:
    """Return the settings that differ from the family's default experiment: key -> [value, default]."""
    values = flat(config)
    defaults = flat(load_config(config.family, overrides={"profile": config.profile}))
    return {
        key: [_plain(value), _plain(defaults[key])]
        for key, value in values.items()
        if value != defaults[key] and key not in _NO_SETTING
    }


def _checkpoints(path: Path) -> list[dict[str, int]]:
    folders = [each for each in (path / "checkpoints").iterdir() if each.name.isascii() and each.name.isdigit()]
    return [
        {
            "env_steps": int(folder.name),
            "bytes_on_disk": sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        }
        for folder in sorted(folders, key=lambda folder: int(folder.name))
    ]


def _evaluation(record: Mapping[str, Any]) -> dict[str, JSON]:
    summary, rows = record.get("summary") or {}, record.get("tasks") or []
    means = {name: (summary.get(name) or {}).get("mean") for name in ("random", "zero_shot", "adapted", "gain")}
    faults = sum("fault" in row for row in rows)
    return {
        "env_steps": record.get("env_steps"),
        "split": record.get("split", "?"),
        "tasks": len(rows),
        "faults": faults,
        **means,
    }


def _evaluation_row(each: Mapping[str, Any]) -> tuple[str, ...]:
    steps = "-" if each["env_steps"] is None else f"{each['env_steps']:,}"
    means = (_number(each[name]) for name in ("random", "zero_shot", "adapted", "gain"))
    return (f"{each['tasks']} {each['split']}", steps, *means, str(each["faults"]))


def _plain(value: Any) -> JSON:
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _value(value: JSON) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_value, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _steps(row: RunRow) -> str:
    trained = 0 if row.env_steps is None else row.env_steps
    if row.of_env_steps is None or trained >= row.of_env_steps:
        return f"{trained:,}"
    return f"{trained:,} / {row.of_env_steps:,}"


def _parent(row: RunRow, folder: Path) -> str:
    if not row.forked_from:
        return "-"
    path = os.path.relpath(row.forked_from, folder)
    return row.forked_from if path.startswith("..") else path


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(seconds, 0):.0f} s"
