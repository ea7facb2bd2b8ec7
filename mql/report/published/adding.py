"""Bringing a finished run into a folder of published results.

Only what the page needs is copied. A run that can't be made again (no commit, or one with changes beside it) and one
that has not come to its end are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mql.errors import UserError
from mql.files import TEMPORARY, read_json, remove_folder, to_json, user_errors, write_file
from mql.report.published.folder import (
    AGAIN,
    CONFIG,
    ENVIRONMENT,
    EVALUATIONS,
    FAMILY_NAME,
    OOD,
    OTHER_KINDS,
    TIME,
    Record,
    Seed,
    check_belong_together,
    check_time,
    is_name_of,
    read_beside,
    read_method,
    read_seed,
)
from mql.runs.folder import read_environment
from mql.runs.listing import is_locked

_DEFAULT_PROFILE = "fast"


@dataclass(frozen=True)
class Added:
    """What became of a run: where it lies now, and ``added``, ``replaced`` or ``unchanged``."""

    path: Path
    what: str


@dataclass(frozen=True)
class Beside:
    """Files that are kept beside a run: outputs of `mql evaluate --json`; ``how`` says in words how `again` adapted."""

    ood: Path | None = None
    again: Path | None = None
    how: str | None = None
    time: Path | None = None


def add_run(
    run: Path,
    results: Path,
    *,
    name: str | None = None,
    beside: Beside | None = None,
    unfinished: bool = False,
    replace: bool = False,
) -> Added:
    """Copy a run into ``results/<family>/<method>/seed-<n>``; a run that is there already is left as it is.

    Args:
        run: its folder; ``ood.json`` and ``again.json`` in it are taken, too.
        results: the folder of results.
        name: of the method's folder; None: the run's method, with the profile behind it where that is not ``fast``.
        beside: files that lie elsewhere.
        unfinished: a run that has not come to its end is taken, with the evaluations that it has.
        replace: what is there of another run with this seed goes, and so do seeds with other settings.

    Raises:
        UserError: the run can't be published, or something else is published in its place; nothing is changed then.
    """
    beside = beside or Beside()
    seed = checked_run(run, unfinished=unfinished)
    folder = results / family_name(seed) / method_name(seed, name)
    place = folder / f"seed-{seed.seed}"
    files = _files(seed, beside)
    others = [] if not folder.is_dir() else [path for path in sorted(folder.glob("seed-*")) if path != place]
    odd = []
    for other in others:
        try:
            check_belong_together(read_seed(other), seed)
        except UserError:
            if not replace:
                raise
            odd.append(other)
    # A run is told by its configuration and evaluations (with their seconds): of its facts, a command may be shortened.
    same_run = place.exists() and not any(_differs(place / file, files[file]) for file in (CONFIG, EVALUATIONS))
    if same_run and (place / ENVIRONMENT).exists():
        del files[ENVIRONMENT]
    if place.exists() and not replace and not same_run:
        mend = "take it away with --replace, or give this one another name with --as"
        raise UserError(f"another run has its place, {place}", where=str(run), mend=mend)
    if beside.time is not None:
        check_time(beside.time, read_json(beside.time), seed)
    if same_run and not any(_differs(place / file, data) for file, data in files.items()):
        what = "unchanged"
    else:
        what = "replaced" if place.exists() and not same_run else "added"
        _write(place, files, keep_others=same_run)
    for other in odd:
        remove_folder(other)
    if odd and beside.time is None:  # it was that of other settings
        (folder / TIME).unlink(missing_ok=True)
    if beside.time is not None and _differs(folder / TIME, data := beside.time.read_bytes()):
        with user_errors(folder / TIME):
            write_file(folder / TIME, data)
        what = what if what != "unchanged" else "added"
    read_method(folder)
    return Added(place, what)


def checked_run(run: Path, *, unfinished: bool = False) -> Seed:
    """Read a run directory that may be published.

    Raises:
        UserError: it may not, or is damaged.
    """
    environment = read_environment(run)
    if is_locked(run):
        raise UserError("a process writes this run", where=str(run), mend="wait until it ends")
    if not environment.get("git_commit"):
        mend = "train it again in a clone of the repository"
        raise UserError("the run does not say which commit made it", where=str(run / ENVIRONMENT), mend=mend)
    if environment.get("git_changes") != "":
        changed = ", ".join(str(environment.get("git_changes") or "unknown").split("\n")[:3])
        what = f"files had been changed since the commit that made the run ({changed})"
        raise UserError(what, where=str(run / ENVIRONMENT), mend="commit them, and train it again")
    seed = read_seed(run)
    ended = (run / "finished.json").exists() and seed.finished
    if not ended and not unfinished:
        what = f"the run has not come to its end: its last evaluation is at {seed.last['env_steps']:,} of"
        mend = "finish it (mql train --run-dir RUN --resume), or publish it as it is with --unfinished"
        raise UserError(f"{what} {seed.planned:,} env steps, on {seed.last['split']}", where=str(run), mend=mend)
    return seed


def family_name(seed: Seed) -> str:
    """Return the name of the family's folder.

    Raises:
        UserError: the family's name is none for a folder of results.
    """
    name = str(seed.settings["family"])
    if not FAMILY_NAME.fullmatch(name) or name in OTHER_KINDS:
        mend = "train it under another name: letters, digits, dots and hyphens"
        raise UserError(f"no folder of results may be called {name!r}", where=str(seed.path / CONFIG), mend=mend)
    return name


def method_name(seed: Seed, name: str | None = None) -> str:
    """Return the name of the method's folder.

    Raises:
        UserError: a given one is no such name, or begins with another method.
    """
    method = seed.method
    profile = seed.settings.get("profile", _DEFAULT_PROFILE)
    where = "--as"
    if name is None:
        name, where = method if profile == _DEFAULT_PROFILE else f"{method}-{profile}", str(seed.path / CONFIG)
    if not is_name_of(name, method):
        mend = f"begin it with the run's method, as in {method}-600k; small letters, digits, dots and hyphens"
        raise UserError(f"{name!r} is no name for it", where=where, mend=mend)
    return name


def _files(seed: Seed, beside: Beside) -> dict[str, bytes]:
    with user_errors(seed.path):
        files = {name: (seed.path / name).read_bytes() for name in (CONFIG, EVALUATIONS)}
    files[ENVIRONMENT] = to_json(_without_places(seed.environment), indent=1)
    for name, given in ((OOD, beside.ood), (AGAIN, beside.again)):
        source = given or (seed.path / name if (seed.path / name).exists() else None)
        if source is None:
            continue
        if not source.exists():
            raise UserError("there is no such file", where=str(source), mend="check the path")
        record = read_beside(source, seed.last)
        assert record is not None
        if name == AGAIN and beside.how is not None:
            record = {"how": beside.how, **record}
        files[name] = to_json(record)
    return files


def _without_places(environment: Record) -> Record:
    """Return the facts without the folders of the machine: of a path, its last part stays."""

    def short(value: object) -> object:
        return re.sub(r"(?<![\w.])/(?:[^\s=,]*/)?([^\s=,/]+)", r"\1", value) if isinstance(value, str) else value

    facts = {**environment, "command": [short(word) for word in environment.get("command") or []]}
    parent = environment.get("forked_from")
    if isinstance(parent, Mapping):
        facts["forked_from"] = {**parent, "path": short(parent.get("path"))}
    return facts


def _write(place: Path, files: Mapping[str, bytes], *, keep_others: bool) -> None:
    """Write a seed's folder; it appears when it is complete. Other files in it stay where they are of the same run."""
    with user_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        made = place.with_name(f".{place.name}{TEMPORARY}")
        if made.exists():
            remove_folder(made)
        made.mkdir()
        if keep_others:
            files = {**{path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}, **files}
        for name, data in files.items():
            write_file(made / name, data)
        if place.exists():
            remove_folder(place)
        made.rename(place)


def _differs(path: Path, data: bytes) -> bool:
    """Whether a published file says something else than `data`."""
    if not path.exists():
        return True
    old = path.read_bytes()
    if old == data:
        return False
    if path.suffix == ".json":
        try:
            return bool(json.loads(old) != json.loads(data))
        except ValueError:
            return True
    return True
