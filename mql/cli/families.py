"""The families that commands work on: one of a name, one that a file defines, or the one of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from mql.config.loading import is_path
from mql.errors import UserError, nearest
from mql.files import user_errors
from mql.runs.definition import DefinitionCopy, KeptDefinition, kept_definition
from mql.runs.run_dir import RunDir
from mql.tasks import registry
from mql.tasks.definitions.family import check_trust, load_definition
from mql.tasks.definitions.file import read_definition
from mql.tasks.definitions.model import reopened
from mql.tasks.family import TaskFamily


def find_family(target: str, *, trust: bool) -> TaskFamily:
    """Return the family called `target`, or the one that the file `target` defines.

    Args:
        target: a name or a path.
        trust: a definition's Python may be run.

    Raises:
        UserError: there is none, or it can't be built.
        Untrusted: it would run Python that nobody trusts.
    """
    return load_definition(Path(target), trust=trust) if is_path(target) else registry.load(target)


def builder(target: str, *, trust: bool) -> Callable[[], TaskFamily]:
    """Return a function for worker processes that builds the family afresh; whether it may is found out here.

    Raises:
        UserError: there is no such family or file.
        Untrusted: it would run Python that nobody trusts.
    """
    if not is_path(target):
        if target not in registry.names():
            raise UserError(f"unknown task family {target!r}", mend=nearest(target, registry.names()))
        return partial(registry.build, target)
    file = read_definition(Path(target))
    check_trust(file, given=trust)
    return partial(_build_trusted, str(file.path), file.digest)


def family_of(run: RunDir, *, trust: bool) -> TaskFamily:
    """Return the family of a run: that of its own copy of a definition, or the one of its name.

    Raises:
        UserError: there is none of this name, or the copy was changed.
        Untrusted: it would run Python that nobody trusts.
    """
    kept = kept_definition(run.path)
    if kept is None:
        return registry.load(run.config.family)
    check_unchanged(kept, kept.path, mend="restore it from a copy")
    return load_definition(kept.path, trust=trust)


def check_unchanged(kept: KeptDefinition, path: Path, *, mend: str) -> None:
    """Refuse a definition that is no longer the one a run was made with.

    Raises:
        UserError: a byte of the definition at `path`, or of a file that belongs to it, has changed.
    """
    if read_definition(path).digest != kept.digest:
        raise UserError("the definition has changed since the run was started", where=str(path), mend=mend)


def _build_trusted(path: str, digest: str) -> TaskFamily:
    """Build the family of a definition that may run its Python as long as its digest is this one."""
    return load_definition(reopened(path, digest).path, trust=True)


def copy_of(path: Path) -> DefinitionCopy:
    """Read a definition and all its files, for a run to keep.

    Raises:
        UserError: a file can't be read.
    """
    file = read_definition(path)
    with user_errors(path):
        files = {str(each.relative_to(file.folder)): each.read_bytes() for each in file.files}
    return DefinitionCopy(file.digest, str(file.path.relative_to(file.folder)), files)
