"""Compiles `kernels.c` for this machine, once, and gives its functions to Python.

The first use on a machine takes a second or two; the library is then kept in the user's cache folder
(``$XDG_CACHE_HOME/mql`` or ``~/.cache/mql``) under a name that stands for source, compiler flags and processor. Where
there is no C compiler, or ``MQL_KERNELS=off`` is set, there are no kernels and PyTorch's operators do the same work.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

SOURCE = Path(__file__).with_name("kernels.c")
# Reassociation and fused products are allowed where the source asks for them; NaN and infinity keep their meaning.
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fopenmp-simd")
NATIVE = ("-march=native",)
THREADS = ("-fopenmp",)
SHARED = ("-fPIC", "-shared")
COMPILE_SECONDS = 120

_INTEGER, _POINTER = ctypes.c_int64, ctypes.c_void_p
_REAL = None  # stands for the library's number type
_ARGUMENTS: dict[str, list[type[ctypes._SimpleCData[Any]] | None]] = {
    "gru_forward": [*[_INTEGER] * 3, *[_POINTER] * 6, _INTEGER, *[_POINTER] * 2],
    "gru_backward": [*[_INTEGER] * 3, *[_POINTER] * 4, _INTEGER, *[_POINTER] * 3],
    "hidden_forward": [*[_INTEGER] * 4, _REAL, *[_POINTER] * 6],
    "hidden_backward": [*[_INTEGER] * 4, *[_POINTER] * 8],
}
_NUMBERS = {int, float, bool}
_TYPES = {torch.float32: ("f32", ctypes.c_float), torch.float64: ("f64", ctypes.c_double)}


@dataclass(frozen=True)
class Status:
    """Whether there are kernels, and if not, why."""

    library: ctypes.CDLL | None
    reason: str


class Kernels:
    """The functions of `kernels.c` for one number type; they take sizes, numbers and tensors (None: a null pointer).

    Tensors must be contiguous, on the CPU and of that type: callers see to it.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        suffix, real = _TYPES[dtype]
        self._functions = {}
        for name, kinds in _ARGUMENTS.items():
            function = getattr(library, f"{name}_{suffix}")
            function.argtypes = [kind or real for kind in kinds]
            function.restype = None
            self._functions[name] = function

    def __call__(self, name: str, *arguments: torch.Tensor | float | None) -> None:
        """Call the function `name`."""
        # (isinstance of a tensor is slow: these calls are made twenty times an update)
        self._functions[name](*[a if a is None or type(a) in _NUMBERS else a.data_ptr() for a in arguments])  # type: ignore[union-attr]


_plain = False


@contextmanager
def plain_operators() -> Iterator[None]:
    """Compute with PyTorch's own operators alone in here: what traces them can't see into a kernel."""
    global _plain
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before


def kernels_for(dtype: torch.dtype) -> Kernels | None:
    """The kernels for `dtype`, or None where there are none (`status` says why), or none may be used."""
    return None if _plain else _kernels_for(dtype)


@cache
def _kernels_for(dtype: torch.dtype) -> Kernels | None:
    library = status().library
    return Kernels(library, dtype) if library is not None and dtype in _TYPES else None


@cache
def status() -> Status:
    """Load the compiled kernels, compiling them if this is the first time."""
    if os.environ.get("MQL_KERNELS", "on").lower() in ("off", "0", "no", "false"):
        return Status(None, "MQL_KERNELS is off")
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return Status(None, "found no C compiler (cc, gcc or clang)")
    reason = ""
    for flags in ((*FLAGS, *NATIVE, *THREADS), (*FLAGS, *NATIVE), FLAGS):
        if THREADS[0] in flags and not _shares_threads():
            continue
        try:
            return Status(ctypes.CDLL(str(_compiled(compiler, flags))), "")
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"{compiler} failed: {_last_line(error)}"
    return Status(None, reason)


def _compiled(compiler: str, flags: tuple[str, ...]) -> Path:
    """Path of the library, compiled now if it is not in the cache."""
    facts = [SOURCE.read_text(encoding="utf-8"), compiler, *flags, platform.platform(), _processor()]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    path = _cache_folder() / f"kernels-{digest}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            command = [*compiler.split(), *flags, *SHARED, "-o", str(made), str(SOURCE), "-lm"]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_SECONDS)
            made.replace(path)  # atomic: another process sees all of it, or nothing
    return path


def _shares_threads() -> bool:
    """Whether the kernels would use PyTorch's pool of threads: a second pool would fight with it for the cores.

    The loader gives a library that needs ``libgomp.so.1`` the one that PyTorch brought, if it brought one.
    """
    try:
        return "/libgomp.so.1" in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


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
