"""Models of the MuJoCo Menagerie, from a copy on this machine. Nothing is ever downloaded here.

A copy is looked for in this order: a path given by hand, the environment variable MENAGERIE_ROOT (both are clones of
the menagerie's repository), then the cache of the package `mujoco-menagerie` (the extra `robots`).
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from mql.errors import UserError, installation, nearest

VARIABLE = "MENAGERIE_ROOT"
UNKNOWN_LICENCE = "NOASSERTION"  # SPDX's word for a licence that nobody stated

_PACKAGE = "mujoco_menagerie"


class MenagerieModel(NamedTuple):
    """A model file of the menagerie, and its robot's folder."""

    path: Path
    folder: Path


def find_model(name: str, root: Path | None = None) -> MenagerieModel:
    """Find a model on this machine.

    Args:
        name: ``<robot>`` or ``<robot>/<entry>``, such as ``franka_emika_panda/hand``; without an entry the robot alone,
            not its scene.
        root: a copy of the menagerie that goes before all others.

    Raises:
        UserError: there is no such robot or entry, or no copy of it here; the message says how to get one.
    """
    robot, _, entry = name.partition("/")
    known = _known_robot(robot)
    folder = _folder(robot, known, root)
    return MenagerieModel(_entry(folder, robot, entry, known), folder)


def licence_of(name: str) -> str:
    """Return the licence of a robot's model as the package states it; NOASSERTION without the package."""
    known = _known_robot(name.partition("/")[0])
    return UNKNOWN_LICENCE if known is None else str(known.license)


def _known_robot(robot: str) -> Any | None:
    """Return what the package knows about a robot; None without the package, or where it does not know the robot."""
    package = _package()
    return package.get(robot) if package is not None and robot in package.names() else None


def _package() -> Any | None:
    return import_module(_PACKAGE) if find_spec(_PACKAGE) is not None else None


def _folder(robot: str, known: Any | None, root: Path | None) -> Path:
    given, where = (root, str(root)) if root is not None else (os.environ.get(VARIABLE), VARIABLE)
    if given:
        return _in_copy(Path(given), robot, where)
    package = _package()
    if package is not None:
        if known is None:
            raise UserError(f"the menagerie has no robot {robot!r}", mend=nearest(robot, package.names()))
        cache = package.Cache()
        if cache.is_cached(known):
            return Path(cache.model_path(known))
    size = getattr(known, "download_size", None)
    load = f"mujoco-menagerie prefetch {robot}" + (f" (it downloads {size / 1e6:.0f} MB)" if size else "")
    first = "" if package is not None else f"{installation(_PACKAGE)} and "
    raise UserError(
        f"the menagerie's robot {robot!r} is not on this machine",
        mend=f"run once: {first}{load}; or clone github.com/google-deepmind/mujoco_menagerie and give its folder by "
        f"--menagerie DIR or {VARIABLE}",
    )


def _in_copy(root: Path, robot: str, where: str) -> Path:
    if not root.is_dir():
        raise UserError(f"there is no folder {root}", where=where, mend="give the folder of a copy of the menagerie")
    robots = [child.name for child in root.iterdir() if child.is_dir() and any(child.glob("*.xml"))]
    if robot not in robots:
        mend = nearest(robot, robots) if robots else "give the folder that holds the robots' folders"
        raise UserError(f"there is no robot {robot!r} in {root}", where=where, mend=mend)
    return root / robot


def _entry(folder: Path, robot: str, entry: str, known: Any | None) -> Path:
    files = {path.stem: path for path in sorted(folder.glob("*.xml"))}
    if known is not None:
        files.update({each.name: folder / each.file for each in known.entry_points if (folder / each.file).is_file()})
    chosen = entry or (known.default_model if known is not None else _shown_by_scene(folder))
    if chosen is None and len(files) == 1:
        [chosen] = files
    if chosen is None:
        mend = f"name one, as in menagerie:{robot}/{next(iter(files))}; there are {', '.join(files)}"
        raise UserError(f"{robot!r} has several models", where=str(folder), mend=mend)
    if chosen not in files:
        raise UserError(f"{robot!r} has no model {chosen!r}", where=str(folder), mend=nearest(chosen, files))
    return files[chosen]


def _shown_by_scene(folder: Path) -> str | None:
    """Return the model that the folder's scene.xml shows: the menagerie's scenes are a floor and one robot."""
    scene = folder / "scene.xml"
    if not scene.is_file():
        return None
    try:
        shown = [element.get("file", "") for element in ElementTree.parse(scene).iter("include")]
    except ElementTree.ParseError as error:
        raise UserError(f"not valid XML: {error}", where=str(scene), mend="restore the file from a copy") from None
    return Path(shown[0]).stem if len(shown) == 1 else None
