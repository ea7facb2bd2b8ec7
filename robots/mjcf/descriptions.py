"""Models of the package ``robot_descriptions``, from the clones that it keeps on this machine.

The package clones a robot's repository when the robot's module is imported. So that nothing is downloaded unasked, the
module is imported only where its clone is there.
"""

from __future__ import annotations

import ast
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mql.errors import UserError, installation, nearest

_PACKAGE = "robot_descriptions"
_ENDING = "_description"
_VARIABLE, _CACHE = "ROBOT_DESCRIPTIONS_CACHE", "~/.cache/robot_descriptions"


class DescribedModel(NamedTuple):
    """A model file, and the folder of its repository."""

    path: Path
    folder: Path


def find_description(name: str) -> DescribedModel:
    """Find a model on this machine.

    Args:
        name: ``go2_mj_description``, or ``go2_mj`` for short.

    Raises:
        UserError: the package or the robot's repository is not here, or it has no such robot; the message says what
            helps.
    """
    if find_spec(_PACKAGE) is None:
        mend = f"install it with {installation(_PACKAGE)}"
        raise UserError(f"package {_PACKAGE} is missing", where=f"robot descriptions:{name}", mend=mend)
    known = import_module(f"{_PACKAGE}._descriptions").DESCRIPTIONS
    module = name if name in known else f"{name}{_ENDING}"
    if module not in known:
        mend = nearest(name, [*known, *(each.removesuffix(_ENDING) for each in known)])
        raise UserError(f"{_PACKAGE} has no robot {name!r}", mend=mend)
    clone = _clone(module)
    if not clone.is_dir():
        mend = f"run once: python -m {_PACKAGE} pull {module} (it clones from GitHub to {clone})"
        raise UserError(f"the robot {name!r} is not on this machine", mend=mend)
    try:
        found: Any = import_module(f"{_PACKAGE}.{module}")
    except Exception as error:
        what = f"{_PACKAGE}.{module} can't be imported ({type(error).__name__}: {error})"
        raise UserError(what, mend=f"delete {clone} and run: python -m {_PACKAGE} pull {module}") from error
    path = getattr(found, "MJCF_PATH", None) or getattr(found, "URDF_PATH", None)
    if path is None:
        mend = "turn its xacro file into a URDF (xacro FILE > robot.urdf), and name that file"
        raise UserError(f"the robot {name!r} has neither an MJCF nor a URDF", mend=mend)
    return DescribedModel(Path(path), Path(found.REPOSITORY_PATH))


def licence_of(name: str) -> str | None:
    """Return the SPDX identifier that the package states for a robot; None where it states none, or is missing."""
    if find_spec(_PACKAGE) is None:
        return None
    known = import_module(f"{_PACKAGE}._descriptions").DESCRIPTIONS
    described = known.get(name) or known.get(f"{name}{_ENDING}")
    return getattr(described, "license_spdx", None)


def _clone(module: str) -> Path:
    """Return where the package keeps the clone that a robot's module opens; the module is read, not run."""
    source = find_spec(f"{_PACKAGE}.{module}")
    assert source is not None and source.origin is not None
    tree = ast.parse(Path(source.origin).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_clone(node.func)]
    names = [call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)]
    repositories = import_module(f"{_PACKAGE}._repositories").REPOSITORIES
    root = Path(os.path.expanduser(os.environ.get(_VARIABLE, _CACHE)))
    return root / str(repositories[names[0]].cache_path) if names and names[0] in repositories else root


def _is_clone(function: ast.expr) -> bool:
    return isinstance(function, ast.Name) and function.id.endswith("clone_to_cache")
