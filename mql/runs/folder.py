"""A run's folder: how it comes into being, how it is recognised, and who may write it."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from mql.errors import UserError
from mql.files import TEMPORARY, copy_file, read_json, sync_folder, user_errors, write_file

FORMAT = "mql.run"
FORMAT_VERSION = 2  # 1: agent.reward_scale did not reach the context (`mql.runs.checkpoint`)
READABLE = (1, FORMAT_VERSION)

LOOKING_SECONDS = 0.05  # longer than it takes to look whether a run is locked


class NameTaken(UserError):
    """Something stands where a new run was to be."""

    def __init__(self, path: Path) -> None:
        mend = "continue it with --resume (in Python: resume=True), or choose another --run-dir (run_dir=)"
        super().__init__("the run directory already exists", where=str(path), mend=mend)


class WriterLock:
    """The right to write one run directory: a flock, which the operating system takes back when its owner dies."""

    _descriptor: int | None = None

    def __init__(self, path: Path, *, of: str = "run", option: str = "--run-dir") -> None:
        with user_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            name = f"process {owner}" if owner.isdigit() else "another process"
            mend = f"wait until it ends, stop it, or choose another {option}"
            raise UserError(f"{name} is writing this {of}", where=str(path.parent), mend=mend) from None
        except OSError as error:
            os.close(descriptor)
            mend = f"choose a {option} on a local disk"
            raise UserError(f"cannot lock the {of} ({error.strerror})", where=str(path), mend=mend) from None
        self._descriptor = descriptor
        with user_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        # A forked child shares the flock; it must not keep it alive after its parent.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _release(reference()))

    def release(self) -> None:
        """Give the right back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    """Take the lock, at a second try where somebody only looked whether it is taken (`mql runs list`)."""
    with suppress(BlockingIOError):
        return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    time.sleep(LOOKING_SECONDS)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def create_run_folder(path: Path, files: Mapping[str, bytes | Path], *, replace: bool) -> WriterLock:
    """Make a run's folder with `files` in it (a path stands for a file to copy) and return the lock of its writer.

    The folder appears under its name when it is complete. With `replace`, a run that has this name is deleted then,
    if nobody writes it; another kind of folder never is.
    """
    old = _claim(path, replace=replace) if _is_taken(path) else None
    own = secrets.token_hex(8)  # two machines on one disk can have the same process id
    unfinished = path.with_name(f".{path.name}.{own}{TEMPORARY}")
    earlier = path.with_name(f".{path.name}.{own}.old{TEMPORARY}")
    lock = None
    try:
        with user_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (unfinished, unfinished / "checkpoints", unfinished / "replay"):
                os.mkdir(folder)
            lock = WriterLock(unfinished / "lock")
            for name, data in files.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(data, Path):
                    copy_file(data, unfinished / name)
                else:
                    write_file(unfinished / name, data)
            for folder in sorted(folder for folder in unfinished.rglob("*") if folder.is_dir()):
                sync_folder(folder)
            sync_folder(unfinished)
            if old is not None:
                os.rename(path, earlier)
            _claim_name(unfinished, path)
            sync_folder(path.parent)
            shutil.rmtree(earlier, ignore_errors=True)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if lock is not None:
            lock.release()
        raise
    finally:
        if old is not None:
            old.release()
    return lock


def _claim_name(unfinished: Path, path: Path) -> None:
    """Give a complete folder its name, unless another process was faster: renaming replaces empty folders only."""
    try:
        os.rename(unfinished, path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise NameTaken(path) from None
        raise


def read_environment(path: Path) -> dict[str, Any]:
    """Read ``environment.json``. Raises UserError where `path` is not a run directory, or one of another format."""
    with user_errors(path):
        exists, is_run = path.is_dir(), (path / "environment.json").is_file()
    if not exists:
        raise UserError("there is no such run directory", where=str(path), mend="check the path")
    if not is_run:
        mend = "give a folder created by mql train (it contains environment.json)"
        if (path / "agent.json").is_file():
            mend = "it holds a saved agent: mql.Adapted.load or mql.Agent.load reads it, mql.load_policy acts with it"
        raise UserError("the folder is not a run directory", where=str(path), mend=mend)
    environment = read_json(path / "environment.json")
    if not isinstance(environment, dict) or environment.get("format") != FORMAT:
        raise UserError("the folder is not a run directory", where=str(path), mend="choose another folder")
    version = environment.get("format_version")
    if version not in READABLE:
        mend = "use the version of mql that wrote it (see environment.json), or start a new run"
        what = f"the run has format {version}, but this version reads up to {FORMAT_VERSION}"
        raise UserError(what, where=str(path), mend=mend)
    return dict(environment)


def _is_taken(path: Path) -> bool:
    """Whether something stands at `path`; an empty folder does not count."""
    with user_errors(path):
        return os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir()))


def _claim(path: Path, *, replace: bool) -> WriterLock:
    """Take the lock of the run that is to be replaced."""
    if not replace:
        raise NameTaken(path)
    if path.is_symlink():
        raise UserError(
            "the path is a link, which is not replaced", where=str(path), mend="remove it, or choose another --run-dir"
        )
    read_environment(path)
    return WriterLock(path / "lock")


def _release(lock: WriterLock | None) -> None:
    if lock is not None:
        lock.release()
