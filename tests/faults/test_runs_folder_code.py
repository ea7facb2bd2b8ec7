"""A folder that somebody else made is stood in: none of its programs and modules is run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mql.collecting.workers import Workers
from mql.runs.machine import describe_environment


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def repository(path: Path) -> Path:
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / "kept.txt").write_text("as it was\n")
    (path / "also.txt").write_text("as it was\n")
    git(path, "add", ".")
    git(path, "commit", "--quiet", "-m", "first")
    return path


def leaves(mark: Path) -> str:
    """A shell command that leaves a mark."""
    return f"touch {mark} && cat"


def by_monitor(path: Path, mark: Path) -> None:
    hook = path / ".git" / "watch"
    hook.write_text(f"#!/bin/sh\ntouch {mark}\nprintf '\\0'\n")
    hook.chmod(0o755)
    git(path, "config", "core.fsmonitor", str(hook))


def by_filter(path: Path, mark: Path) -> None:
    (path / ".gitattributes").write_text("*.txt filter=mine\n")
    git(path, "config", "filter.mine.clean", leaves(mark))
    git(path, "config", "filter.mine.required", "true")


def by_filter_process(path: Path, mark: Path) -> None:
    (path / ".git" / "info" / "attributes").write_text("*.txt filter=mine\n")
    git(path, "config", "filter.mine.process", leaves(mark))


def by_included_filter(path: Path, mark: Path) -> None:
    by_filter(path, mark)
    config = path / ".git" / "config"
    (path / "more").write_text(config.read_text())
    config.write_text("[core]\n\trepositoryformatversion = 0\n[include]\n\tpath = ../more\n")


def by_hook(path: Path, mark: Path) -> None:
    hooks = path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    git(path, "config", "core.hooksPath", str(hooks))


def by_submodule(path: Path, mark: Path) -> None:
    inner = repository(path.parent / "inner")
    git(path, "submodule", "--quiet", "add", str(inner), "sub")
    git(path, "commit", "--quiet", "-m", "second")
    by_filter(path / "sub", mark) if (path / "sub" / ".git").is_dir() else None
    git(path / "sub", "config", "core.fsmonitor", leaves(mark))
    (path / ".git" / "modules" / "sub" / "info" / "attributes").write_text("*.txt filter=mine\n")
    git(path / "sub", "config", "filter.mine.clean", leaves(mark))
    (path / "sub" / "kept.txt").write_text("not as it\n")


def by_fetching(path: Path, mark: Path) -> None:
    """A missing object of a partial clone is fetched by a program that the configuration names."""
    for key, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c touch% {mark}",
        "protocol.ext.allow": "always",
        "protocol.allow": "always",
    }.items():
        git(path, "config", key, value)
    tree = git(path, "rev-parse", "HEAD^{tree}")
    (path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


WAYS = [by_monitor, by_filter, by_filter_process, by_included_filter, by_hook, by_submodule, by_fetching]


@pytest.mark.parametrize("way", WAYS)
def test_a_repository_runs_no_program(
    way: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mark = repository(tmp_path / "theirs"), tmp_path / "it-ran"
    way(path, mark)
    commit = (path / ".git" / "refs" / "heads" / "main").read_text().strip()
    mark.unlink(missing_ok=True)
    (path / "kept.txt").write_text("not as it\n")  # the same length, so that its content is looked at
    monkeypatch.chdir(path)
    described = describe_environment(["mql", "train"])
    assert not mark.exists()
    assert described["git_commit"] == commit
    assert described["git_changes"] is None if way is by_fetching else "kept.txt" in described["git_changes"]


def test_what_has_changed_is_told_as_git_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = repository(tmp_path / "mine")
    monkeypatch.chdir(path)
    assert describe_environment([])["git_changes"] == ""
    (path / "kept.txt").write_text("other\n")
    (path / "also.txt").unlink()
    (path / "new.txt").write_text("new\n")
    git(path, "add", "new.txt")
    (path / "unknown.txt").write_text("nobody asked\n")
    (path / "below").mkdir()
    monkeypatch.chdir(path / "below")
    told = git(path, "status", "--porcelain", "--untracked-files=no")
    assert describe_environment([])["git_changes"] == told and len(told.splitlines()) == 3
    linked = tmp_path / "linked"
    git(path, "worktree", "add", "--quiet", str(linked), "-b", "other")
    (linked / "kept.txt").write_text("there\n")
    monkeypatch.chdir(linked)
    assert describe_environment([])["git_changes"] == "M kept.txt"
    assert describe_environment([])["git_commit"] == git(linked, "rev-parse", "HEAD")


def test_processes_import_nothing_from_the_folder_they_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "it-ran"
    for name in ("json", "mql", "cloudpickle", "pickle", "sitecustomize", "usercustomize", "encodings"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    workers = Workers(1)
    try:
        assert workers.bound(abs, timeout=60.0)(-3) == 3
    finally:
        workers.close()
    assert not mark.exists()


@pytest.mark.faults
def test_a_study_s_processes_import_nothing_from_the_folder_they_stand_in(tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    (tmp_path / "json.py").write_text(f"open({str(mark)!r}, 'a').write('json')\n")
    program = """
import os, sys
from mql.study import running
os.chdir(sys.argv[1])
with open(os.devnull, "wb") as log:
    process = running._process(log, {})
    process.stdin.close()
    process.wait()
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert not mark.exists()
