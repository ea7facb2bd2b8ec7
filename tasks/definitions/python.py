"""The Python class that a definition names: how it is loaded, and what it must have.

Whoever calls `load_class` has made sure that the user trusts the code (`mql.tasks.definitions.trust`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from mql.errors import UserError, close_names, did_you_mean, nearest, told
from mql.stopping import NOT_THEIRS
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.distributions import Value
from mql.tasks.name_choice import Name

Result = TypeVar("Result")

METHODS = {
    "bind": "bind(model)",
    "reset": "reset(model, data, task, rng)",
    "observe": "observe(model, data)",
    "reward": "reward(model, data, task, action) -> {term: value}",
    "success": "success(model, data, task) -> bool",
    "probe": "probe(model, data, t) -> action",
    "terminated": "terminated(model, data) -> bool",
}


class TaskValues(Mapping[str, Any]):
    """The task parameters that a class's methods get: ``task["mass"]`` and ``task.mass``; vectors are arrays."""

    def __init__(self, parameters: Mapping[str, Value]) -> None:
        self._values = {name: _plain(value) for name, value in parameters.items()}
        self.__dict__.update(self._values)

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise KeyError(f"there is no task parameter {name!r}: {nearest(name, self._values)}")
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"there is no task parameter {name!r}: {nearest(name, self.__dict__.get('_values', ()))}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def check_parameter_names(file: DefinitionFile) -> None:
    """Refuse parameters that a class could not read as ``task.NAME``, because every mapping has such a method.

    Raises:
        UserError: there is one.
    """
    taken = [name for name in dir(Mapping) if not name.startswith("_")]
    for name in file.definition.parameters:
        if name in taken:
            what = f"a Python class can't read a parameter called {name!r}: task.{name} is a method of every mapping"
            raise UserError(what, where=file.where(f"parameters.{name}"), mend="give it another name")


def python_path(file: DefinitionFile) -> tuple[Path, str]:
    """Return the Python file and the class that a definition names."""
    name, _, cls = (file.definition.env.python or "").rpartition(":")
    return file.folder / name, cls


def load_class(file: DefinitionFile) -> type[Any]:
    """Run the definition's Python file and return its class.

    The file stands alone: it may import installed packages, but no file beside it, so that the definition's digest
    covers all its code.

    Raises:
        UserError: the file raises, or has no such class or not the methods that are needed.
    """
    path, wanted = python_path(file)
    where = file.where("env.python")
    module = ModuleType(f"mql_definition_{file.digest[:16]}")
    module.__file__ = str(path)
    # Where dataclasses and pickles look for the module of a class.
    sys.modules[module.__name__] = module
    source = path.read_bytes()
    answer = guarded(path, where, "the file", lambda: exec(compile(source, str(path), "exec"), module.__dict__))
    assert answer is None
    found = getattr(module, wanted, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        mend = nearest(wanted, classes) if classes else "write it"
        raise UserError(f"{path.name} has no class {wanted!r}", where=where, mend=mend)
    _check_methods(file, found, where)
    return found


def guarded(path: Path, where: str, what: str, act: Callable[[], Result]) -> Result:
    """Do something that runs the user's code; what it raises becomes one line that names the line of the code.

    Raises:
        UserError: it raised.
    """
    try:
        return act()
    except (UserError, *NOT_THEIRS):
        raise
    except BaseException as error:  # ``sys.exit()``, too
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = frames[-1].lineno if frames else getattr(error, "lineno", None)
        place = f"{path.name}:{line}" if line else path.name
        fault = UserError(f"{what} raised {told(error)}", where=where, mend=f"fix {place}")
        raise fault from error


def _check_methods(file: DefinitionFile, found: type[Any], where: str) -> None:
    definition = file.definition
    needed = ["reset", "observe"]
    if definition.reward is None or not definition.reward.terms or definition.reward.mode == "add":
        needed.append("reward")
    if definition.success is not None and definition.success.expr is None:
        needed.append("success")
    own = [name for name in vars(found) if not name.startswith("_") and callable(getattr(found, name))]
    for name in needed:
        if not callable(getattr(found, name, None)):
            near = close_names(name, own)
            mend = did_you_mean(map(repr, near)) if near else f"write {METHODS[name]}"
            raise UserError(f"class {found.__name__} has no method {name!r}", where=where, mend=mend)


def _plain(value: Value) -> Any:
    if isinstance(value, Name | str):
        return str(value)
    return np.array(value) if isinstance(value, tuple) else float(value)
