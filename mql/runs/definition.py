"""The definition of a run's task family, which the run keeps a copy of: it stays usable when the original moves.

The copy stands in ``definition/<digest>/`` with every file that belongs to it; ``environment.json`` names it. The
digest goes into every evaluation, so that no two results of different definitions look alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mql.errors import UserError
from mql.runs.folder import read_environment
from mql.types import JSON

FOLDER = "definition"


@dataclass(frozen=True)
class DefinitionCopy:
    """A definition to be kept: its digest, the path of its YAML within `files`, and all files by relative path."""

    digest: str
    main: str
    files: Mapping[str, bytes]

    @property
    def facts(self) -> dict[str, JSON]:
        """What ``environment.json`` says of it."""
        return {"family_digest": self.digest, "definition": f"{FOLDER}/{self.digest}/{self.main}"}

    @property
    def in_run(self) -> dict[str, bytes]:
        """All files by their path within the run."""
        return {f"{FOLDER}/{self.digest}/{name}": data for name, data in self.files.items()}


@dataclass(frozen=True)
class KeptDefinition:
    """A run's own definition: where its YAML is, and the digest that it and its files must have."""

    path: Path
    digest: str


def kept_definition(run: Path) -> KeptDefinition | None:
    """Return the definition that a run directory keeps, or None: its family is one that has a name.

    Raises:
        UserError: the folder is no run directory.
    """
    return named_definition(run, read_environment(run))


def named_definition(folder: Path, facts: Mapping[str, JSON]) -> KeptDefinition | None:
    """Return the definition in `folder` that these facts about it name (`DefinitionCopy.facts`), or None.

    Raises:
        UserError: they name something outside of its own folder there.
    """
    if "definition" not in facts:
        return None
    main, digest = facts["definition"], facts.get("family_digest")
    if isinstance(main, str) and isinstance(digest, str) and re.fullmatch("[0-9a-f]+", digest):
        parts = PurePosixPath(main).parts
        if parts[:2] == (FOLDER, digest) and len(parts) > 2 and ".." not in parts and "\0" not in main:
            return KeptDefinition(folder / main, digest)
    what = "what it says of the family's definition names no file of the run"
    raise UserError(what, where=str(folder), mend="restore it from a copy")


def digest_entry(run: Path) -> dict[str, JSON]:
    """Return ``{"family_digest": ...}`` for the results of a run that keeps a definition, else nothing."""
    kept = kept_definition(run)
    return {} if kept is None else {"family_digest": kept.digest}
