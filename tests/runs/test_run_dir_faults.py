"""Run directories under faults: a second writer, a kill at any moment, a full disk, no permission."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import CONFIG, TASKS, create, episodes, work

from mql.errors import UserError
from mql.runs.run_dir import RunDir


def resume(path: Path) -> RunDir:
    run = RunDir.open_for_resume(path)
    run.cut_back(run.load_checkpoint() if run.checkpoints() else None)
    return run


def content(path: Path) -> dict[str, bytes]:
    """Every file and folder of a run, apart from what names the process."""
    return {
        str(file.relative_to(path)): file.read_bytes() if file.is_file() else b""
        for file in sorted(path.rglob("*"))
        if file.name not in ("lock", "environment.json")
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "one"


@pytest.fixture
def run(path: Path) -> Iterator[RunDir]:
    with create(path) as run:
        yield run


class Killed(BaseException):
    """Stands for the end of the process: from then on no call to the operating system changes anything."""


CALLS = ("write", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "ftruncate")


def strike(monkeypatch: pytest.MonkeyPatch, at: int, fail: Callable[[], BaseException], names: tuple[str, ...]) -> None:
    """From the call number `at` on, every call of `names` fails; the first failing write writes half of its bytes."""
    count = 0
    originals = {name: getattr(os, name) for name in names}

    def failing(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count >= at:
                if count == at and name == "write":
                    originals[name](arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise fail()
            return originals[name](*arguments, **named)

        return call

    for name in names:
        monkeypatch.setattr(os, name, failing(name))


def test_the_lock_names_its_holder_and_dies_with_it(path: Path) -> None:
    create(path).close()
    program = (
        "import sys, time; from mql.runs.run_dir import RunDir; run = RunDir.open_for_resume(sys.argv[1]);"
        "print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {holder.pid} is writing this run \(.*one\): wait until it ends"):
            RunDir.open_for_resume(path)
        assert RunDir.open_readonly(path).read_metrics() == []
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        RunDir.open_for_resume(path).close()
    finally:
        holder.kill()
        holder.communicate()


def test_a_forked_child_does_not_hold_the_lock(path: Path) -> None:
    run = create(path)
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        with pytest.raises(UserError, match="is writing this run"):
            RunDir.open_for_resume(path)
        run.close()
        RunDir.open_for_resume(path).close()
    finally:
        os.write(go[1], b"x")
        os.waitpid(child, 0)
        for descriptor in (*ready, *go):
            os.close(descriptor)


def test_a_run_killed_at_any_moment_goes_on_as_if_nothing_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    with create(whole) as run:
        work(run, 20)
        shutil.copytree(run.path, tmp_path / "before")
        work(run, 30)
        run.mark_finished({"done": True})
    at = 0
    while True:
        at += 1
        path = Path(shutil.copytree(tmp_path / "before", tmp_path / f"killed-{at}"))
        with (path / "metrics.jsonl").open("ab") as file:
            file.write(b'{"half')
        run = RunDir.open_for_resume(path)
        with monkeypatch.context() as patch:
            strike(patch, at, Killed, CALLS)
            try:
                run.cut_back(run.load_checkpoint())
                work(run, 30)
                run.mark_finished({"done": True})
                killed = False
            except Killed:
                killed = True
        run.close()
        reader = RunDir.open_readonly(path)
        assert reader.config == CONFIG and reader.tasks == TASKS and len(reader.read_metrics()) >= 2
        for steps in reader.checkpoints():
            assert list(reader.load_checkpoint(steps).episodes)
        if not killed:
            break
        with resume(path) as run:
            work(run, 30)
            run.mark_finished({"done": True})
        assert content(path) == content(whole), f"killed at call {at}"
        shutil.rmtree(path)
    assert at > 30


def test_a_creation_killed_at_any_moment_leaves_no_half_made_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mql.runs.run_dir.describe_environment", lambda command: {"format": "mql.run", "format_version": 1}
    )
    create(tmp_path / "whole").close()
    killed, at = True, 0
    while killed:
        at += 1
        path = tmp_path / "runs" / str(at)
        with monkeypatch.context() as patch:
            strike(patch, at, Killed, CALLS)
            try:
                create(path).close()
                killed = False
            except Killed:
                pass
        if not path.exists():
            create(path).close()
        assert content(path) == content(tmp_path / "whole")
        RunDir.open_for_resume(path).close()
    assert at > 10


@pytest.mark.parametrize("name", ["write", "fsync"])
def test_a_full_disk_leaves_earlier_checkpoints_and_no_rubbish(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with create(path) as run:
        work(run, 10)
        before = content(path)
        at, full = 0, True
        while full:
            at += 1
            with monkeypatch.context() as patch:
                strike(patch, at, lambda: OSError(errno.ENOSPC, "No space left on device"), (name,))
                try:
                    run.save_checkpoint(20, tensors={}, state={}, episodes=episodes(2), first_live_episode=0)
                    full = False
                except UserError as error:
                    assert str(error).startswith("the disk is full (")
                    assert str(error).endswith("free some space, then continue with --resume")
            if full:
                assert content(path) == before
                assert [number for number, _ in run.load_checkpoint().episodes] == [0, 1]
        assert at > 4
        assert [number for number, _ in run.load_checkpoint(20).episodes] == [0, 1, 2, 3]


def test_a_full_disk_takes_back_a_half_written_line(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    run.append_metrics({"a": 1})
    with monkeypatch.context() as patch:
        strike(patch, 1, lambda: OSError(errno.ENOSPC, "No space left on device"), ("write",))
        with pytest.raises(UserError, match="the disk is full"):
            run.append_metrics({"a": 2})
    run.append_metrics({"a": 3})
    assert run.read_metrics() == [{"a": 1}, {"a": 3}]


def test_a_full_disk_at_the_start_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        strike(patch, 3, lambda: OSError(errno.ENOSPC, "No space left on device"), ("write",))
        with pytest.raises(UserError, match="the disk is full"):
            create(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "no permission"), (errno.EROFS, "is read-only"), (errno.EIO, "cannot read or write")],
)
def test_what_the_system_refuses_is_told_with_its_path(
    run: RunDir, path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    work(run, 10)
    original = os.open

    def refuse(name: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(number, os.strerror(number), str(name))
        return original(name, flags, *arguments, **named)

    before = content(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        writes: list[Callable[[], object]] = [lambda: run.mark_finished({}), lambda: work(run, 20)]
        for write in writes:
            with pytest.raises(UserError, match=words) as caught:
                write()
            assert str(path) in str(caught.value)
        with pytest.raises(UserError, match=words):
            RunDir.open_for_resume(path)
    assert content(path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o500)
    with pytest.raises(UserError, match=r"no permission .*: change the permissions, or choose another location"):
        create(path)
