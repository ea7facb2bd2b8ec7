"""Which commit the working directory stands at, and what has been changed since: asked of Git without trusting it.

A folder can come with a configuration of its own that names programs, which Git runs on the way: file-system monitors,
filters, hooks, what fetches missing objects. So Git is asked in a bare folder of this process's own making, with an
empty configuration, that only points at the repository's objects, index and files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# The repository's settings that are taken over: how its files are read. None of them names a program or a path.
_DATA_ONLY = (
    "core.autocrlf",
    "core.checkstat",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.symlinks",
    "core.trustctime",
)
_SECONDS = 10
_QUIET = {  # no question, no fetching, no refreshed index
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_TERMINAL_PROMPT": "0",
}


def git_state() -> tuple[str | None, str | None]:
    """Return the commit of the working directory, and the tracked files that have changed, as `git status` lists them.

    Both are None outside a repository, without git, or when git takes too long; the list is None, too, where the
    repository is laid out in a way that can't be looked at without obeying its configuration.
    """
    try:
        asked = ("--show-toplevel", "--show-object-format", "--git-path", "objects", "--git-path", "index")
        top, kind, objects, index = _git("rev-parse", *asked).split("\n")
        commit = _git("rev-parse", "--verify", "HEAD")
    except (OSError, subprocess.SubprocessError, ValueError):
        return None, None
    try:
        with tempfile.TemporaryDirectory(prefix="mql-git-") as folder:
            return commit, _changes(Path(folder), commit, kind, Path(top), Path(objects), Path(index))
    except (OSError, subprocess.SubprocessError, ValueError):
        return commit, None


def own_commit() -> str | None:
    """Return the commit of the clone that this code is in; None where it was installed from a package."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        return _git("rev-parse", "--verify", "HEAD", folder=root)
    except (OSError, subprocess.SubprocessError):
        return None


def _changes(own: Path, commit: str, kind: str, top: Path, objects: Path, index: Path) -> str:
    """Ask for the changes from `own`, an empty folder that becomes a repository's."""
    settings = [f"\trepositoryformatversion = {int(kind != 'sha1')}"]
    for key in _DATA_ONLY:
        try:
            settings.append(f"\t{key.partition('.')[2]} = {_plain(_git('config', '--get', key))}")
        except subprocess.CalledProcessError:
            continue  # it says nothing of it
    extension = "" if kind == "sha1" else f"[extensions]\n\tobjectFormat = {_plain(kind)}\n"
    (own / "config").write_text("\n".join(["[core]", *settings, extension]), encoding="utf-8")
    (own / "HEAD").write_text(f"{commit}\n", encoding="ascii")
    for name in ("objects", "refs"):
        (own / name).mkdir()
    shutil.copy2(index, own / "index")  # with its time, by which Git tells what has changed since
    return _git(
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--ignore-submodules=dirty",  # to look into one, Git would start in it, and obey its configuration
        variables={
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_DIR": str(own),
            "GIT_WORK_TREE": str(top.resolve()),
            "GIT_OBJECT_DIRECTORY": str(objects.resolve()),
        },
        folder=top,
    )


def _git(*arguments: str, variables: dict[str, str] | None = None, folder: Path | None = None) -> str:
    finished = subprocess.run(
        ["git", "--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **_QUIET, **(variables or {})},
    )
    return finished.stdout.strip()


def _plain(value: str) -> str:
    """Return a setting's value where it is a word.

    Raises:
        ValueError: it is none.
    """
    if not value.isalnum():
        raise ValueError(value)
    return value
