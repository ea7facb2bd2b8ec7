"""The facts about the program and the machine that a run was made with."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mql.kernels.loading import status
from mql.runs.folder import FORMAT, FORMAT_VERSION
from mql.runs.git_state import git_state

PACKAGES = ("mql", "torch", "mujoco", "numpy", "gymnasium", "scikit-learn")


def describe_environment(command: Sequence[str]) -> dict[str, Any]:
    """Describe format, versions, machine, git commit of the working directory and `command`; unknown facts are None."""
    commit, changes = git_state()
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: package_version(name) for name in PACKAGES}},
        "machine": {
            "platform": platform.platform(),
            "cpu": _cpu_model(),
            "cores": os.cpu_count(),
            "kernels": status().reason or "compiled",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "git_commit": commit,
        "git_changes": changes,
    }


def package_version(name: str) -> str | None:
    """Version of an installed distribution, or None; nothing is imported."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or None

