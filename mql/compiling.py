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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED = ("-fPIC", "-shared")
COMPILE_SECONDS = 120


@dataclass(frozen=True)
class Status:
    """Whether there is a library, and if not, why."""

    library: ctypes.CDLL | None
    reason: str


def load(source: Path, choices: Iterable[Sequence[str]]) -> Status:
    """Load the library of a C file, compiling it if this is the first time.

    Args:
        source: the file.
        choices: compiler flags, the best ones first; the first that the compiler takes are used.
    """
    if os.environ.get("MQL_KERNELS", "on").lower() in ("off", "0", "no", "false"):
        return Status(None, "MQL_KERNELS is off")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return Status(None, "found no C compiler (cc, gcc or clang)")
    reason = ""
    for flags in choices:
        try:
            return Status(ctypes.CDLL(str(_compiled(source, compiler, flags))), "")
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"{compiler} failed: {_last_line(error)}"
    return Status(None, reason)


def _compiled(source: Path, compiler: str, flags: Sequence[str]) -> Path:
    """Path of the library, compiled now if it is not in the cache."""
    facts = [source.read_text(encoding="utf-8"), compiler, *flags, platform.platform(), _processor()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    path = _cache_folder() / f"{source.stem}-{digest}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            command = [*compiler.split(), *flags, *SHARED, "-o", str(made), str(source), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            made.replace(path)  # atomic: another process sees all of it, or nothing
    return path


def _cache_folder() -> Path:
    """A folder of this user's own: the cache, or a fresh temporary one where that can't be written."""
    home = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(home) if home else Path.home() / ".cache") / "mql"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="mql-kernels-"))


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
