"""What a folder of runs holds, at a glance: read from the ends of a few small files, without PyTorch.

A folder that is damaged, foreign or not readable is a row that says so; it never ends the list.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mql.errors import UserError, told
from mql.files import read_json
from mql.runs.folder import FORMAT, check_own, read_environment
from mql.runs.sums import check_sum
from mql.types import JSON

State = Literal["running", "stopped", "finished", "damaged"]
_PIECE = 65_536  # bytes of a file's end that are read at a time
_LONGEST_LINE = 64 * 2**20
_MOST_BRACKETS = 1000  # in a run's configuration
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunRow:
    """A run as the list shows it; what is not known is None.

    ``why`` says what is damaged. ``split``, ``zero_shot`` and ``adapted`` are of the last evaluation: its tasks, and
    mean returns over them. ``age_seconds`` counts from the last line or checkpoint that was written.
    ``forked_from`` is ``RUN@STEPS``.
    """

    path: str
    state: State
    why: str | None = None
    family: str | None = None
    method: str | None = None
    seed: int | None = None
    env_steps: int | None = None
    of_env_steps: int | None = None
    wall_seconds: float | None = None
    split: str | None = None
    zero_shot: float | None = None
    adapted: float | None = None
    bytes_on_disk: int = 0
    age_seconds: float | None = None
    forked_from: str | None = None

    def to_json(self) -> dict[str, JSON]:
        """Return the row as `mql runs list --json` prints it."""
        return asdict(self)


def list_runs(folder: Path) -> list[RunRow]:
    """Return a row for each run in `folder` and the folders in it, those last written to at the end.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder", where=str(folder), mend="give a folder that holds runs")
    rows = [row_of(path) for path in find_runs(folder)]
    return sorted(rows, key=lambda row: (-(row.age_seconds or 0.0), row.path))


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield the run directories in `folder`, itself among them; links to folders are not followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if _looks_like_a_run(Path(place), folders, files):
            folders.clear()
            yield Path(place)


def row_of(path: Path) -> RunRow:
    """Return the row of one run directory; whatever is wrong with it is said in the row."""
    try:
        check_own(path)
    except UserError as error:  # nothing in it is read then
        return RunRow(path=str(path), state="damaged", why=_fault(error, path))
    size, written = _on_disk(path)
    known: dict[str, Any] = {"bytes_on_disk": size, "age_seconds": None if written is None else time.time() - written}
    faults: list[str] = []
    for read in (_from_environment, _from_config, _from_metrics, _from_evaluations):
        try:
            found = read(path)
            if found.get("env_steps", 0) < known.get("env_steps", 0):  # an evaluation, and training went on after it
                found = {name: value for name, value in found.items() if name not in ("env_steps", "wall_seconds")}
            known |= found
        except UserError as error:
            faults.append(_fault(error, path))
        except Exception as error:  # a file of somebody else's making may hold anything
            faults.append(told(error)[:200])
    finished = False
    try:
        finished = _finished(path)
    except UserError as error:
        faults.append(_fault(error, path))
    state: State = "damaged" if faults else "finished" if finished else "stopped"
    if is_locked(path):
        state, faults = "running", []  # a line may be half written
    return RunRow(path=str(path), state=state, why=faults[0] if faults else None, **known)


def is_locked(path: Path) -> bool:
    """Tell whether a process writes the run."""
    return any(_is_held(each) for each in (path / "lock", path))


def _is_held(path: Path) -> bool:
    """Tell whether a process has the lock of a file or a folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # (what stands there may be anything)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # (a run that starts now tries again: `WriterLock`)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def forked_from(environment: Mapping[str, Any]) -> str | None:
    """Return ``RUN@STEPS`` of the run that a run's environment.json says it started from."""
    parent = environment.get("forked_from")
    return f"{parent['path']}@{parent['env_steps']}" if isinstance(parent, dict) else None


def last_line(path: Path) -> dict[str, Any] | None:
    """Return the last complete line of a jsonl file, reading no more than that; None where there is none.

    Raises:
        UserError: the file is missing, or its last line is no JSON object.
    """
    try:
        with path.open("rb") as file:
            at, data = file.seek(0, os.SEEK_END), b""
            while at > 0 and data.count(b"\n") < 2 and len(data) < _LONGEST_LINE:
                step = min(at, max(_PIECE, len(data)))
                at -= step
                file.seek(at)
                data = file.read(step) + data
    except OSError as error:
        raise UserError(f"{path.name} is missing or not readable", where=str(path), mend="restore it") from error
    whole = data[: data.rfind(b"\n") + 1]  # what comes after was cut off by a kill
    lines = whole.splitlines()
    if not lines:
        return None
    with suppress(ValueError, RecursionError):
        record = json.loads(lines[-1])
        if isinstance(record, dict):
            return record
    raise UserError(f"the last line of {path.name} is damaged", where=str(path), mend="restore it from a copy")


def _from_environment(path: Path) -> dict[str, Any]:
    return {"forked_from": forked_from(read_environment(path))}


def _from_config(path: Path) -> dict[str, Any]:
    try:
        text = (path / "config.yaml").read_bytes()
        if text.count(b"[") + text.count(b"{") > _MOST_BRACKETS:  # of which libyaml's stack would overflow
            raise ValueError
        data = yaml.load(text, Loader=_LOADER)
        train = data["train"]
        check_sum(path, "config.yaml", text)
        return {
            "family": str(data["family"]),
            "method": str(data.get("method", "mql")),
            "seed": int(data.get("seed", 0)),
            "of_env_steps": int(train["env_steps"]),
        }
    except OSError as error:
        raise UserError("config.yaml is missing or not readable", where=str(path), mend="restore it") from error
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError("config.yaml is damaged", where=str(path), mend="restore it from a copy") from error


def _from_metrics(path: Path) -> dict[str, Any]:
    record = last_line(path / "metrics.jsonl")
    return {} if record is None else _progress(record)


def _from_evaluations(path: Path) -> dict[str, Any]:
    record = last_line(path / "evaluations.jsonl")
    if record is None:
        return {}
    found = record.get("summary")
    summary: dict[str, Any] = found if isinstance(found, dict) else {}
    means = {
        name: values["mean"]
        for name in ("zero_shot", "adapted")
        if isinstance(values := summary.get(name), dict) and isinstance(values.get("mean"), int | float)
    }
    return {"split": str(record["split"]) if "split" in record else None, **means, **_progress(record)}


def _progress(record: Mapping[str, Any]) -> dict[str, Any]:
    known = {"env_steps": int, "wall_seconds": float}
    return {name: kind(record[name]) for name, kind in known.items() if isinstance(record.get(name), int | float)}


def _finished(path: Path) -> bool:
    if not (path / "finished.json").exists():
        return False
    read_json(path / "finished.json")
    return True


def _looks_like_a_run(path: Path, folders: list[str], files: list[str]) -> bool:
    """Whether a folder is a run, or what is left of one."""
    if "environment.json" in files and (path / "environment.json").is_file():
        with suppress(OSError):
            with (path / "environment.json").open("rb") as file:
                head = file.read(_PIECE)
            if not re.search(rb'"format"\s*:', head):
                return not head.strip() or head.count(b"\x00") > 0 or "checkpoints" in folders
            return re.search(rb'"format"\s*:\s*"%s"' % FORMAT.encode(), head) is not None
        return True
    return {"config.yaml", "metrics.jsonl"} <= set(files) and "checkpoints" in folders


def _on_disk(path: Path) -> tuple[int, float | None]:
    """Return the bytes of all files below `path`, and the time of the last write to what training writes."""
    size, written = 0, None
    for place, _, files in os.walk(path):
        for name in files:
            with suppress(OSError):
                facts = os.lstat(os.path.join(place, name))
                size += facts.st_size
                if place == str(path) and name != "lock":
                    written = max(written or 0.0, facts.st_mtime)
    return size, written


def _fault(error: UserError, path: Path) -> str:
    where = f" ({os.path.relpath(error.where, path)})" if error.where and error.where != str(path) else ""
    return f"{error.what}{'' if Path(error.where or '').name in error.what else where}"
