"""Compiles a C file for this machine, once, into a library that Python calls.

The first use on a machine takes a second or two; the library is then kept in the user's cache folder
(``$XDG_CACHE_HOME/mql`` or ``~/.cache/mql``) under a name that stands for source, compiler flags and processor. Where
there is no C compiler, or ``MQL_KERNELS=off`` is set, there is no library, and whoever asked does the work without.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SHARED = ("-fPIC", "-shared")
COMPILE_SECONDS = 120
_BUILD = "build-"
_LEFT_SECONDS = 10 * COMPILE_SECONDS  # nobody compiles that long


@dataclass(frozen=True)
class Status:
    """Whether there is a library, and if not, why."""

    library: ctypes.CDLL | None
    reason: str


def switched_off() -> bool:
    """Whether the environment asks for PyTorch's and numpy's operators alone."""
    return os.environ.get("MQL_KERNELS", "on").lower() in ("off", "0", "no", "false")


def load(source: Path, choices: Iterable[Sequence[str]]) -> Status:
    """Load the library of a C file, compiling it if this is the first time.

    Args:
        source: the file.
        choices: compiler flags, the best ones first; the first that the compiler takes are used.
    """
    if switched_off():
        return Status(None, "MQL_KERNELS is off")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return Status(None, "found no C compiler (cc, gcc or clang)")
    reason = ""
    for flags in choices:
        try:
            with _cache_folder() as folder:
                return Status(ctypes.CDLL(str(_compiled(source, compiler, flags, folder))), "")
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"{compiler} failed: {_last_line(error)}"
    return Status(None, reason)


def _compiled(source: Path, compiler: str, flags: Sequence[str], cache: Path) -> Path:
    """Path of the library, compiled now if it is not in the cache."""
    facts = [source.read_text(encoding="utf-8"), compiler, *flags, platform.platform(), _processor()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    path = cache / f"{source.stem}-{digest}.so"
    if not path.exists():
        _remove_leftovers(cache)
        with tempfile.TemporaryDirectory(prefix=_BUILD, dir=cache) as folder:
            made = Path(folder) / path.name
            command = [*compiler.split(), *flags, *SHARED, "-o", str(made), str(source), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            made.replace(path)  # atomic: another process sees all of it, or nothing
    return path


@contextmanager
def _cache_folder() -> Iterator[Path]:
    """A folder of this user's own: the cache, or a temporary one where that can't be written.

    A library that was loaded stays loaded when its file is gone.
    """
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(home) if home else Path.home() / ".cache") / "mql"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = os.access(folder, os.W_OK)
    except (OSError, RuntimeError):
        kept = False
    if kept:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="mql-kernels-") as temporary:
        yield Path(temporary)


def _remove_leftovers(cache: Path) -> None:
    """Remove the folders of processes that were killed while they compiled."""
    for folder in cache.glob(f"{_BUILD}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_SECONDS:
                shutil.rmtree(folder)


def _processor() -> str:
    """What tells this machine's instruction set from another's that shares the cache folder."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _last_line(error: Exception) -> str:
    text = error.stderr if isinstance(error, subprocess.CalledProcessError) and error.stderr else str(error)
    return str(text).strip().splitlines()[-1] if str(text).strip() else type(error).__name__
