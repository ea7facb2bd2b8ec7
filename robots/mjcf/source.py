"""Where a robot's model is: beside its spec, in an installed package, or in a collection of robots; and what kinds of
files there are, told by their names.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mql.errors import UserError, installation
from mql.robots.mjcf.descriptions import find_description
from mql.robots.mjcf.menagerie import find_model

MENAGERIE, PACKAGE, DESCRIPTIONS = "menagerie:", "package:", "descriptions:"
COLLECTIONS = (MENAGERIE, DESCRIPTIONS, PACKAGE)  # what a name may begin with that is no file
SPECS = (".yaml", ".yml")  # endings of a robot's spec
MODELS = (".xml", ".mjcf", ".urdf")  # of a model
KINDS = "a robot's spec ends in .yaml, a bare model in .xml, .mjcf or .urdf"
# Folders that hold models only: what these read lies beside such a folder, in the usual layout of robots' packages.
_MODEL_FOLDERS = ("mjcf", "mujoco", "urdf", "xml", "robots", "models", "model")


_FAR = 4  # folders above a model in which its package is looked for
_INSTALLED = ("site-packages", "dist-packages")


class MjcfSource(NamedTuple):
    """A model file, and the folder outside of which nothing may be read."""

    path: Path
    folder: Path


def is_model(name: str) -> bool:
    """Tell whether a name is that of a model's file."""
    return not name.startswith(COLLECTIONS) and name.lower().endswith(MODELS)


def is_spec(name: str) -> bool:
    """Tell whether a name is that of a spec's file."""
    return not name.startswith(COLLECTIONS) and name.lower().endswith(SPECS)


def is_file(name: str) -> bool:
    """Tell whether a name is that of a file, of whatever kind, and not a robot's own or one of a collection."""
    return not name.startswith(COLLECTIONS) and (is_model(name) or is_spec(name) or "/" in name or "\\" in name)


def model_source(path: Path) -> MjcfSource:
    """Return a model that somebody names by its path, and the folder outside of which it may read nothing.

    That is its own folder; or the robot's package, which has a ``package.xml`` or the name that a URDF says, or keeps
    models in a folder of their own (``mjcf``, ``urdf``); or the package of Python that it was installed with.
    """
    path = path.absolute()
    folder = path.parent
    above = list(folder.parents)
    for installed, inner in zip(above, [folder, *above], strict=False):
        if installed.name in _INSTALLED and inner != folder:
            return MjcfSource(path, inner)
    named = _packages_named_by(path) if path.suffix.lower() == ".urdf" else set()
    near = [each for each in above[:_FAR] if _holds_one_package(each)]
    packages = [each for each in reversed(near) if each.name in named]  # the outermost, as its parts may name others'
    packages += [each for each in near if (each / "package.xml").is_file()]
    if packages:
        return MjcfSource(path, packages[0])
    allowed = folder.name.lower() in _MODEL_FOLDERS and _holds_one_package(folder.parent)
    return MjcfSource(path, folder.parent if allowed else folder)


def _packages_named_by(path: Path) -> set[str]:
    """Return the names of packages in which a URDF says that its meshes are."""
    try:
        return set(re.findall(r"package://([^/\"']+)/", path.read_text(encoding="utf-8", errors="replace")))
    except OSError:  # whoever reads the model says so
        return set()


def _holds_one_package(folder: Path) -> bool:
    """Tell whether a folder may be all that a model reads: no user's whole folder, nor one that holds several."""
    return not Path.home().is_relative_to(folder) and len(folder.parts) > 2


def find_mjcf(mjcf: str, beside: Path | None, menagerie: Path | None = None) -> MjcfSource:
    """Find a model.

    Args:
        mjcf: a path relative to `beside`, ``menagerie:<name>[/<entry>]``, ``descriptions:<name>`` or
            ``package:<module>/<path>``.
        beside: the folder of the spec; None: there is none.
        menagerie: a copy of the menagerie, which goes before all others.

    Raises:
        UserError: it is not there, or outside its folder.
    """
    if mjcf.startswith(MENAGERIE):
        return MjcfSource(*find_model(mjcf.removeprefix(MENAGERIE), menagerie))
    if mjcf.startswith(DESCRIPTIONS):
        return MjcfSource(*find_description(mjcf.removeprefix(DESCRIPTIONS)))
    if mjcf.startswith(PACKAGE):
        package, _, inside = mjcf.removeprefix(PACKAGE).partition("/")
        return _inside(_package_folder(package), inside, f"reinstall {package.replace('_', '-')}")
    if beside is None:
        raise UserError(f"{mjcf!r} belongs to no folder", mend="load the robot from its YAML file")
    return _inside(beside, mjcf, "check the name; a path is relative to the robot's YAML file")


def _inside(folder: Path, name: str, mend: str) -> MjcfSource:
    folder = folder.resolve()
    path = folder / name
    if not path.resolve().is_relative_to(folder):
        raise UserError(f"{name!r} leads outside of {folder}", mend="keep the model inside that folder")
    if not name or not path.is_file():
        raise UserError(f"there is no file {path}", mend=mend)
    return MjcfSource(path, folder)


def _package_folder(package: str) -> Path:
    """Return an installed package's folder; the package is not imported for that."""
    found = find_spec(package) if package.isidentifier() else None
    if found is None or found.origin is None:
        mend = f"install it with {installation(package)}" if package else "write package:<module>/<path>"
        raise UserError(f"package {package!r} is missing", mend=mend)
    return Path(found.origin).parent
