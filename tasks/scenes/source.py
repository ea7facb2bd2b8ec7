"""Where a model comes from: files that can be compiled again, with some of their numbers changed before.

A source makes a fresh MjSpec each time that it is asked: MuJoCo 3.3 changes some of a spec's elements when it compiles
it, and a spec does not pickle. Only `mql.tasks.scenes`,
`mql.tasks.physics.recompile` and `mql.tasks.physics.rebuild` touch what is in one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import mujoco

from mql.errors import UserError
from mql.robots.mjcf.compiled import read_model
from mql.robots.mjcf.warnings import unheard_warnings

Edit = Callable[[Any], bool]  # changes a file's MjSpec before anything is made of it; tells whether it did


class ModelSource(Protocol):
    """Files that give a model."""

    @property
    def name(self) -> str:
        """How messages name it."""

    def spec(self, edit: Edit | None = None) -> Any:
        """Return a fresh MjSpec of the whole model; `edit` has changed each file's own before they were put together.

        Raises:
            UserError, ValueError: a file can't be read, or MuJoCo refuses what was edited.
        """


@dataclass(frozen=True)
class MjcfFile:
    """One MJCF file, and what it includes.

    Args:
        path: of the file, which is known to be valid.
        folder: outside of which it reads nothing; None: MuJoCo reads what it finds, as of an installed package's model.
    """

    path: Path
    folder: Path | None = None
    stamp: int = field(init=False, repr=False)  # when it was last changed

    def __post_init__(self) -> None:
        object.__setattr__(self, "stamp", self.path.stat().st_mtime_ns)

    @property
    def name(self) -> str:
        """How messages name it."""
        return str(self.path)

    def spec(self, edit: Edit | None = None) -> Any:
        """Return the file's MjSpec.

        Raises:
            UserError: the file has changed since this source was made.
        """
        check_unchanged(self.path, self.stamp)
        if self.folder is not None:
            spec = read_model(self.path, self.folder).spec()
        else:
            spec = mujoco.MjSpec.from_file(str(self.path))
        if edit is not None:
            edit(spec)
        return spec


def check_unchanged(path: Path, stamp: int) -> None:
    """Make sure that tasks of one family come from one file (but what it includes is not looked at).

    Raises:
        UserError: it has changed, or is gone.
    """
    if not path.is_file() or path.stat().st_mtime_ns != stamp:
        raise UserError("the model's file has changed meanwhile", where=str(path), mend="load the family anew")


def compiled(spec: Any) -> mujoco.MjModel:
    """Compile a source's spec. What MuJoCo warns of was told when the files were compiled as they are.

    Raises:
        ValueError: MuJoCo refuses it.
    """
    with unheard_warnings(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of MuJoCo warn by Python, too
        model: mujoco.MjModel = spec.compile()
    return model
