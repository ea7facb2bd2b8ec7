"""Is what runs on a node the same as here? Other versions would play other episodes from the same seeds."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mql.errors import UserError

PACKAGES = ("torch", "mujoco", "numpy", "gymnasium")
SOURCES = {".py", ".c", ".xml", ".yaml", ".npz"}  # what the package's own behaviour comes from


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of what episodes depend on, in this process's Python; of mql, a digest of its files."""
    return {"Python": platform.python_version(), **{name: _version(name) for name in PACKAGES}, "mql": _digest()}


def check_same(node: str, there: Mapping[str, str]) -> None:
    """Refuse a node that has other versions than this machine.

    Raises:
        UserError: it has.
    """
    for name, here in versions().items():
        if there.get(name) != here:
            what = f"node {node} has {name} {there.get(name)}, and this machine has {here}"
            mend = "install the same on every node (the same commit of mql, the same constraints.txt)"
            raise UserError(what, where="collect.address", mend=mend)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _digest() -> str:
    package = Path(__file__).parents[2]
    whole = hashlib.sha256()
    for folder, inner, files in os.walk(package, followlinks=True):
        inner[:] = sorted(name for name in inner if name != "__pycache__")
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix in SOURCES:
                whole.update(f"{path.relative_to(package)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return whole.hexdigest()[:16]
