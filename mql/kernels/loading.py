"""Compiles `kernels.c` for this machine, once (`mql.compiling`), and gives its functions to Python.

On a GPU the functions of `on_gpu.py` take their place. Where there is no C compiler, or no Triton, or
``MQL_KERNELS=off`` is set, there are no kernels and PyTorch's operators do the same work.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mql.compiling import Status, load, switched_off

if TYPE_CHECKING:
    from mql.kernels.on_gpu import GPUKernels

SOURCE = Path(__file__).with_name("kernels.c")
# Reassociation and fused products are allowed where the source asks for them; NaN and infinity keep their meaning.
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fopenmp-simd")
NATIVE = ("-march=native",)
THREADS = ("-fopenmp",)

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


class Kernels:
    """The functions of `kernels.c` for one number type; they take sizes, numbers and tensors (None: a null pointer).

    Tensors must be contiguous, on the CPU and of that type: callers see to it.
    """

    widest_state = math.inf  # of a recurrence

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


def kernels_for(dtype: torch.dtype, device_type: str = "cpu") -> Kernels | GPUKernels | None:
    """The kernels for `dtype` on a device, or None where there are none (`status` says why), or none may be used."""
    return None if _plain else _kernels_for(dtype, device_type)


@cache
def _kernels_for(dtype: torch.dtype, device_type: str) -> Kernels | GPUKernels | None:
    if device_type == "cpu":
        library = status().library
        return Kernels(library, dtype) if library is not None and dtype in _TYPES else None
    if device_type != "cuda" or dtype != torch.float32 or switched_off() or find_spec("triton") is None:
        return None
    from mql.kernels.on_gpu import GPUKernels

    return GPUKernels()


@cache
def status() -> Status:
    """Load the compiled kernels, compiling them if this is the first time."""
    choices = ((*FLAGS, *NATIVE, *THREADS), (*FLAGS, *NATIVE), FLAGS)
    return load(SOURCE, (flags for flags in choices if THREADS[0] not in flags or _shares_threads()))


def _shares_threads() -> bool:
    """Whether the kernels would use PyTorch's pool of threads: a second pool would fight with it for the cores.

    The loader gives a library that needs ``libgomp.so.1`` the one that PyTorch brought, if it brought one.
    """
    try:
        return "/libgomp.so.1" in Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
