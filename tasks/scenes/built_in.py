"""The scenes, and the gripper and tools, of this package by name."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal


def built_in(kind: Literal["scene", "gripper"]) -> dict[str, Path]:
    """Return the scenes, or the grippers and tools, of this package: name -> file."""
    own, robots = (Path(str(resources.files(package))) for package in ("mql.tasks.scenes", "mql.robots.models"))
    prefix = "scene_" if kind == "scene" else "tool_"
    found = {path.stem.removeprefix(prefix): path for path in sorted((own / "models").glob(f"{prefix}*.xml"))}
    return found if kind == "scene" else {"gripper": robots / "gripper.xml"} | found
