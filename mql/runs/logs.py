"""The two logs of a run, one JSON object a line: what is known of them where the run is written, and read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from mql.errors import UserError
from mql.files import append_line, file_sha256, user_errors
from mql.runs.checkpoint import list_checkpoints, read_manifest
from mql.runs.manifest import LOGS
from mql.runs.sums import read_sums

METRICS, EVALUATIONS = LOGS
_PIECE = 2**20


class WrittenLogs:
    """The lengths that a run's logs have as long as nobody else writes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lengths = {name: _length(folder / name) for name in LOGS}

    def append(self, name: str, line: bytes) -> None:
        """Add a line."""
        append_line(self._folder / name, line)
        self._lengths[name] += len(line)

    def changed(self) -> list[str]:
        """Say which log was changed by somebody else since the last time; what is there now counts from here on."""
        said = []
        for name, known in self._lengths.items():
            length = _length(self._folder / name)
            if length != known:
                self._lengths[name] = length
                said.append(f"{name} was removed or changed while the run was written: {known} bytes are now {length}")
        return said

    def sums(self) -> tuple[dict[str, int], dict[str, str]]:
        """Return the lengths and the checksums of the logs as they are, for a checkpoint."""
        lengths = {name: _length(self._folder / name) for name in LOGS}
        return lengths, {name: start_sha256(self._folder / name, length) for name, length in lengths.items()}


def check_logs(run: Path, env_steps: int, lengths: Mapping[str, int], sums: Mapping[str, str]) -> None:
    """Refuse logs in which lines from before a checkpoint are missing or changed.

    Raises:
        UserError: names the log, and the newest earlier checkpoint that its lines still fit.
    """
    for name, length in lengths.items():
        what = _difference(run / name, length, sums.get(name))
        if what is not None:
            mend = f"restore it from a copy{_way_back(run, env_steps, name)}"
            raise UserError(f"lines from before checkpoint {env_steps} {what}", where=str(run / name), mend=mend)


def check_log(run: Path, name: str) -> None:
    """Refuse a log whose lines are not those that were written, as far as checksums tell.

    Those of a finished run tell it of all lines, those of a checkpoint of all that are older.

    Raises:
        UserError: a line is missing or was changed.
    """
    listed = (read_sums(run) or {}).get(name)
    if listed is not None:
        with user_errors(run / name):
            if file_sha256(run / name) in listed:
                return
    known = list_checkpoints(run) if (run / "checkpoints").is_dir() else []
    for env_steps in reversed(known):
        try:
            manifest = read_manifest(run, env_steps)
        except UserError:  # whoever needs the checkpoint will say it; an earlier one tells of the lines, too
            continue
        check_logs(run, env_steps, {name: manifest.line_bytes.get(name, 0)}, manifest.line_sha256)
        break
    if listed is not None:
        what = "lines from after the last checkpoint are missing or were changed"
        again = f", or make them again: mql train --resume --checkpoint {known[-1]}" if known else ""
        raise UserError(what, where=str(run / name), mend=f"restore it from a copy{again}")


def start_sha256(path: Path, length: int) -> str:
    """Return the SHA-256 of a file's first `length` bytes; of as many as there are."""
    digest = hashlib.sha256()
    if length:
        with user_errors(path), path.open("rb") as file:
            while length > 0 and (data := file.read(min(length, _PIECE))):
                digest.update(data)
                length -= len(data)
    return digest.hexdigest()


def _difference(path: Path, length: int, known: str | None) -> str | None:
    """Say how the first `length` bytes differ from what they were."""
    if length == 0:
        return None
    if _length(path) < length:
        return "are missing"
    if known is None:  # a checkpoint of an earlier version
        with user_errors(path), path.open("rb") as file:
            file.seek(length - 1)
            return None if file.read(1) == b"\n" else "are missing"
    return None if start_sha256(path, length) == known else "were changed"


def _way_back(run: Path, env_steps: int, name: str) -> str:
    for steps in reversed([steps for steps in list_checkpoints(run) if steps < env_steps]):
        try:
            manifest = read_manifest(run, steps)
        except UserError:
            continue
        if _difference(run / name, manifest.line_bytes.get(name, 0), manifest.line_sha256.get(name)) is None:
            later = "mql train --resume deletes the later ones then"
            return f", or add --checkpoint {steps}, whose lines are all there ({later})"
    return f", or start a new run from its agent: mql train --from {run}@{env_steps}"


def _length(path: Path) -> int:
    try:
        with user_errors(path):
            return os.stat(path).st_size
    except UserError:
        if os.path.lexists(path):
            raise
        return 0
