"""The facts about the program and the machine that a run was made with."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mql.runs.folder import FORMAT, FORMAT_VERSION
from mql.runs.git_state import git_state

PACKAGES = ("mql", "torch", "mujoco", "numpy", "gymnasium", "scikit-learn")


def describe_environment(command: Sequence[str]) -> dict[str, Any]:
    """Describe format, versions, machine, git commit of the working directory and `command`; unknown facts are None."""
    import torch

    from mql.kernels.loading import status

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


def differences(then: Mapping[str, Any]) -> list[str]:
    """Say what is not as it was when a run began, of all that its numbers depend on to the last bit.

    Args:
        then: the run's ``environment.json``; what it does not say is not compared.
    """
    from mql.kernels.loading import status

    now = {
        "kernels": status().reason or "compiled",
        "processor": _cpu_model(),
        **{name: package_version(name) for name in ("torch", "numpy", "mujoco")},
    }
    machine, versions = (
        {**found} if isinstance(found := then.get(key), dict) else {} for key in ("machine", "versions")
    )
    before = {**versions, "kernels": machine.get("kernels"), "processor": machine.get("cpu")}
    if before["kernels"] != "compiled" != now["kernels"]:  # why there were, and are, none does not matter
        before["kernels"] = now["kernels"]
    said = {name: (before.get(name), now[name]) for name in now}
    return [
        "no compiled kernels here (" + str(new) + "), as there were"
        if (name, old) == ("kernels", "compiled")
        else f"compiled kernels, where there were none ({old})"
        if name == "kernels"
        else f"{name} {new}, was {old}"
        for name, (old, new) in said.items()
        if old is not None and new is not None and old != new
    ]


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
