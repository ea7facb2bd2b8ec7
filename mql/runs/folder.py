"""A run's folder: how it comes into being, how it is recognised, and who may write it."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mql.errors import UserError, close_names, did_you_mean
from mql.files import CHECKSUMS, TEMPORARY, copy_file, read_json, sync_folder, user_errors, write_file
from mql.runs.sums import check_sum

FORMAT = "mql.run"
FORMAT_VERSION = 2  # 1: agent.reward_scale did not reach the context (`mql.runs.checkpoint`)
READABLE = (1, FORMAT_VERSION)

# What may stand in a run, and is read or written there. What is written in place must have no other name elsewhere.
ENVIRONMENT = "environment.json"
WRITTEN_IN_PLACE = ("lock", "metrics.jsonl", "evaluations.jsonl")
FILES = (*WRITTEN_IN_PLACE, "config.yaml", "tasks.json", ENVIRONMENT, "finished.json", CHECKSUMS)
FOLDERS = ("checkpoints", "replay", "definition", "prior")

_MOST_NAMED = 3  # runs that a message names
LOOKING_SECONDS = 0.05  # longer than it takes to look whether a run is locked


class NameTaken(UserError):
    """Something stands where a new run was to be."""

    def __init__(self, path: Path) -> None:
        mend = "continue it with --resume (in Python: resume=True), or choose another --run-dir (run_dir=)"
        super().__init__("the run directory already exists", where=str(path), mend=mend)


class WriterLock:
    """The right to write one run directory: a flock, which the operating system takes back when its owner dies."""

    _descriptor: int | None = None
    _folder: int | None = None

    def __init__(self, path: Path, *, of: str = "run", option: str = "--run-dir") -> None:
        """Take the lock of the file `path`, and of the folder that it is in: so deleting the file lets nobody in.

        Raises:
            UserError: another process has one of them, or they can't be locked.
        """
        with user_errors(path):
            self._folder = os.open(path.parent, os.O_RDONLY)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            _lock(descriptor)
            _lock_folder(self._folder)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            self.release()
            name = f"process {owner}" if owner.isdigit() else "another process"
            mend = f"wait until it ends, stop it, or choose another {option}"
            raise UserError(f"{name} is writing this {of}", where=str(path.parent), mend=mend) from None
        except OSError as error:
            os.close(descriptor)
            self.release()
            mend = f"choose a {option} on a local disk"
            raise UserError(f"cannot lock the {of} ({error.strerror})", where=str(path), mend=mend) from None
        self._descriptor = descriptor
        with user_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        # A forked child shares the flock; it must not keep it alive after its parent.
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _release(reference()))

    def check_still_there(self, folder: Path) -> None:
        """Refuse to go on where `folder` is no longer the one that was locked: another process may have one there.

        Raises:
            UserError: it was deleted, moved or replaced.
        """
        assert self._folder is not None
        with user_errors(folder), suppress(FileNotFoundError, NotADirectoryError):
            if os.path.samestat(os.stat(folder), os.fstat(self._folder)):
                return
        mend = "start again, or continue from a copy; what was saved went with the folder"
        raise UserError("the folder was deleted, moved or replaced while it was written", where=str(folder), mend=mend)

    def release(self) -> None:
        """Give the right back."""
        for descriptor in (self._descriptor, self._folder):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._folder = None

    def __del__(self) -> None:
        self.release()


def _lock_folder(descriptor: int) -> None:
    """Take the lock of a folder, where the file system has such locks: NFS locks nothing that can't be written."""
    try:
        _lock(descriptor)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.ENOLCK):
            raise


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


def check_own(path: Path) -> None:
    """Refuse a run in which links, or names that are shared, lead outside, or in which something else stands.

    A run directory may come from somebody else: what is read, written or deleted in it must be its own. The folder
    itself may be reached through a link.

    Raises:
        UserError: names the first such entry.
    """
    with user_errors(path):
        for name in sorted(name for name in os.listdir(path) if name in FILES or name in FOLDERS):
            _check_entry(path / name, folder=name in FOLDERS, alone=name in WRITTEN_IN_PLACE)
        for folder in (path / name for name in ("checkpoints", "replay") if (path / name).is_dir()):
            for entry in sorted(folder.iterdir()):
                if folder.name == "replay" or not entry.name.isdigit():
                    _check_entry(entry, folder=None)
                    continue
                _check_entry(entry, folder=True)
                for file in sorted(entry.iterdir()):
                    _check_entry(file, folder=False)
        for folder in (path / name for name in ("definition", "prior") if (path / name).is_dir()):
            for place, folders, files in os.walk(folder):
                for name in (*folders, *files):
                    _check_entry(Path(place, name), folder=name in folders)


def _check_entry(path: Path, *, folder: bool | None, alone: bool = False) -> None:
    """Refuse what is neither a plain file nor a folder, or not the one that belongs here (None: either may be)."""
    try:
        facts = os.lstat(path)
    except FileNotFoundError:
        return  # a process that writes the run has just removed it
    what = None
    if stat.S_ISLNK(facts.st_mode):
        what, mend = "a link stands in the run directory", "put the file or folder itself there"
    elif not (stat.S_ISREG(facts.st_mode) or stat.S_ISDIR(facts.st_mode)):
        what, mend = "what stands in the run directory is no file", "remove it"
    elif folder is not None and stat.S_ISDIR(facts.st_mode) != folder:
        what = f"a {'file' if folder else 'folder'} stands where a {'folder' if folder else 'file'} belongs"
        mend = "restore the run from a copy"
    elif alone and facts.st_nlink > 1:
        what = "the file has another name, too, which writing would change as well"
        mend = "copy it, and put the copy in its place"
    if what is not None:
        raise UserError(what, where=str(path), mend=mend)


def read_environment(path: Path) -> dict[str, Any]:
    """Read ``environment.json``.

    Raises:
        UserError: `path` is not a run directory, or one of another format; or the file is not as it was written.
    """
    environment = recognise(path)
    with user_errors(path / ENVIRONMENT):
        check_sum(path, ENVIRONMENT, (path / ENVIRONMENT).read_bytes())
    return environment


def _runs_in(path: Path) -> list[str]:
    """Return the names of the run directories in a folder; none where it can't be read."""
    with suppress(OSError):
        return sorted(each.parent.name for each in path.glob(f"*/{ENVIRONMENT}"))
    return []


def no_run(path: Path, *, others: Sequence[str] = ()) -> UserError:
    """Return the error that says that no run is at `path`, and which one beside it, or of `others`, may be meant."""
    beside = {name: str(path.parent / name) for name in _runs_in(path.parent)}
    if meant := close_names(path.name, [*beside, *others]):
        mend = did_you_mean(beside.get(name, name) for name in meant)
    else:
        included = f"; agents included in the package: {', '.join(others)}" if others else ""
        mend = f"check the path; mql runs list FOLDER lists the runs in a folder{included}"
    return UserError("there is no such run directory", where=str(path), mend=mend)


def recognise(path: Path) -> dict[str, Any]:
    """Return what ``environment.json`` says, whether or not it is as it was written.

    Raises:
        UserError: `path` is not a run directory, or one of another format.
    """
    with user_errors(path):
        exists, is_run = path.is_dir(), (path / ENVIRONMENT).is_file()
    if not exists:
        raise no_run(path)
    if not is_run:
        mend = "give a folder created by mql train (it contains environment.json)"
        if inside := _runs_in(path):
            mend = "it contains runs, give one of them: " + ", ".join(str(path / name) for name in inside[:_MOST_NAMED])
        if (path / "agent.json").is_file():
            mend = "it holds a saved agent: mql.Adapted.load or mql.Agent.load reads it, mql.load_policy acts with it"
        raise UserError("the folder is not a run directory", where=str(path), mend=mend)
    check_own(path)
    environment = read_json(path / ENVIRONMENT)
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
    recognise(path)
    return WriterLock(path / "lock")


def _release(lock: WriterLock | None) -> None:
    if lock is not None:
        lock.release()
