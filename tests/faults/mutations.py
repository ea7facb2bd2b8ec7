"""Code broken on purpose, one place at a time, to see that some test fails for each: ``make mutations``.

    python tests/faults/mutations.py            # all, in a copy of the repository: half an hour
    python tests/faults/mutations.py 3 17       # some, by their numbers

They are listed in mutations.toml. Each is made in a copy, where those tests then run that are to notice it. Exit status
1 says that one went unnoticed. `test_mutations.py` sees that the list still fits the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv*", ".*_cache", "__pycache__", "*.egg-info")
RESULTS = {"runs", "studies", "site"}  # at the top, where commands write to
FAILED = 1  # pytest's exit status where tests failed; any other says that they did not run


@dataclass(frozen=True)
class Mutation:
    """What breaks; the file, what stands in it (once) and what takes its place; and the tests that are to notice."""

    breaks: str
    file: str
    was: str
    becomes: str
    tests: tuple[str, ...]


def _listed() -> tuple[Mutation, ...]:
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["mutation"]
    return tuple(Mutation(**{**row, "tests": tuple(row["tests"])}) for row in rows)


MUTATIONS = _listed()


def main(arguments: Sequence[str]) -> int:
    """Make the mutations named by their numbers, or all; return 1 where no test notices one."""
    chosen = [int(number) for number in arguments] or range(1, len(MUTATIONS) + 1)
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="mql-mutations-") as folder:
        copy = Path(folder) / "mql"
        shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
        for number in chosen:
            mutation = MUTATIONS[number - 1]
            begun = time.perf_counter()
            noticed = notices(copy, mutation)
            unnoticed += [] if noticed else [number]
            word = "noticed" if noticed else "UNNOTICED"
            seconds = time.perf_counter() - begun
            print(f"{number:3d}  {word:9s}  {seconds:5.0f} s  {mutation.file}: {mutation.breaks}", flush=True)
    print(f"{len(list(chosen)) - len(unnoticed)} of {len(list(chosen))} noticed")
    return 1 if unnoticed else 0


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return which of the names in a folder are not copied."""
    return NOT_COPIED(folder, names) | (RESULTS & set(names) if Path(folder) == ROOT else set())


def notices(copy: Path, mutation: Mutation) -> bool:
    """Make a mutation in the copy, run its tests there, and take it back; tell whether a test failed.

    Raises:
        RuntimeError: the tests did not run.
    """
    path = copy / mutation.file
    sound = path.read_text()
    path.write_text(mutated(sound, mutation))
    try:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow and not faults",
        ]
        ended = subprocess.run(
            [*command, *mutation.tests],
            cwd=copy,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(sound)
    if ended.returncode not in (0, FAILED):
        raise RuntimeError(
            f"the tests of {mutation.breaks!r} did not run:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        )
    return ended.returncode == FAILED


def mutated(text: str, mutation: Mutation) -> str:
    """Return a file's text with the mutation in it.

    Raises:
        ValueError: what is to change does not stand there exactly once.
    """
    if text.count(mutation.was) != 1:
        raise ValueError(f"{mutation.was!r} stands {text.count(mutation.was)} times in {mutation.file}")
    return text.replace(mutation.was, mutation.becomes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
