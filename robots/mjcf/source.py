"""Where a robot's MJCF is: beside its spec, in an installed package, or in the robot menagerie."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from mql.errors import UserError, installation
from mql.robots.mjcf.menagerie import find_model

MENAGERIE, PACKAGE = "menagerie:", "package:"


class MjcfSource(NamedTuple):
    """A model file, and the folder outside of which nothing may be read."""

    path: Path
    folder: Path


def find_mjcf(mjcf: str, beside: Path | None, menagerie: Path | None = None) -> MjcfSource:
    """Find a model.

    Args:
        mjcf: a path relative to `beside`, ``menagerie:<name>[/<entry>]`` or ``package:<module>/<path>``.
        beside: the folder of the spec; None: there is none.
        menagerie: a copy of the menagerie, which goes before all others.

    Raises:
        UserError: it is not there, or outside its folder.
    """
    if mjcf.startswith(MENAGERIE):
        return MjcfSource(*find_model(mjcf.removeprefix(MENAGERIE), menagerie))
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
