"""Everything a run writes and reads back: one folder, one writer, nothing half done.

``config.yaml`` (resolved), ``tasks.json`` (parameters of every split), ``environment.json`` (versions, machine,
command), ``definition/`` (`mql.runs.definition`), ``metrics.jsonl`` and ``evaluations.jsonl`` (one JSON object a line),
``prior/`` (`mql.runs.prior_files`), ``checkpoints/``, ``replay/``, ``lock``, ``SHA256SUMS`` (`mql.runs.sums`), at the
end ``finished.json``. Names ending in ``.tmp`` are leftovers of a kill.

To resume: ``open_for_resume``, ``load_checkpoint`` (if there is one), ``cut_back``, then write on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from mql.config.loading import read_resolved, to_yaml
from mql.config.schema import Config
from mql.errors import UserError
from mql.files import (
    CHECKSUMS,
    cut_file,
    file_sha256,
    read_json,
    read_json_lines,
    remove_folder,
    remove_unfinished,
    sha256,
    to_json,
    user_errors,
    write_atomic,
)
from mql.runs import checkpoint as storage
from mql.runs.changes import check_change
from mql.runs.checkpoint import Checkpoint
from mql.runs.definition import DefinitionCopy, digest_entry
from mql.runs.folder import ENVIRONMENT, NameTaken, WriterLock, create_run_folder, read_environment, recognise
from mql.runs.logs import EVALUATIONS, METRICS, WrittenLogs, check_log, check_logs
from mql.runs.machine import describe_environment
from mql.runs.manifest import Chunk
from mql.runs.sums import check_sum, read_sums, replace_file, sums_of, write_sums
from mql.types import JSON, Episode

if TYPE_CHECKING:  # commands that train nothing load no PyTorch
    import torch

MACHINE_SUFFIXES = ("_seconds", "_per_s", "_memory")  # only keys that end so may differ between equal runs

CONFIG, TASKS, FINISHED = "config.yaml", "tasks.json", "finished.json"
OWN = (CONFIG, TASKS, ENVIRONMENT)  # what the list of checksums names from the beginning


def without_machine_keys(record: Mapping[str, JSON]) -> dict[str, JSON]:
    """Drop what may differ between two equal runs, so that the rest can be compared."""
    return {key: value for key, value in record.items() if not key.endswith(MACHINE_SUFFIXES)}


class RunDir:
    """One run directory, open for writing (it then holds the lock until closed) or for reading only.

    Made by `create`, `open_for_resume` or `open_readonly`. Every method raises UserError for what the user can fix:
    a full disk, no permission, damaged files.
    """

    def __init__(self, path: Path, lock: WriterLock | None, *, at_checkpoint: bool) -> None:
        self.path = path
        self._lock = lock
        self._at_checkpoint = at_checkpoint  # nothing in the folder is newer than what this object knows
        self._chunks: tuple[Chunk, ...] = ()
        self._keep = 1  # checkpoints; known, as what follows, where the run is written
        self._logs: WrittenLogs | None = None
        self._digest: dict[str, JSON] = {}
        self.next_episode = 0  # the number that the first episode of the next checkpoint gets

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        config: Config,
        tasks: Mapping[str, Sequence[Mapping[str, JSON]]],
        command: Sequence[str],
        definition: DefinitionCopy | None = None,
        facts: Mapping[str, JSON] = MappingProxyType({}),
        prior: Mapping[str, bytes] = MappingProxyType({}),
        begins_with: Mapping[str, bytes | Path] = MappingProxyType({}),
        replace: bool = False,
        numbered: bool = False,
    ) -> RunDir:
        """Make a new run directory; it appears under its name only when it is complete.

        Args:
            path: the folder; it must not exist, or be empty.
            config: the resolved configuration.
            tasks: the task parameters of every split.
            command: the command line, for the record.
            definition: of the family, where a file defines it; the run keeps it.
            facts: more for ``environment.json``.
            prior: files that keep the run's prior data, by their path within it (`mql.runs.prior_files`).
            begins_with: a first checkpoint and its episodes, by path in the folder (`mql.runs.fork`); training then
                begins as if the run went on.
            replace: remove an earlier run of this name (of no other folder).
            numbered: where the name is taken, take the first free one of ``<name>-2``, ``<name>-3`` and so on.
        """
        path = Path(os.path.abspath(path))
        named, copied = (definition.facts, definition.in_run) if definition else ({}, {})
        environment = describe_environment(command) | named | dict(facts)
        own = {CONFIG: to_yaml(config).encode(), TASKS: to_json(tasks, indent=1)}
        own[ENVIRONMENT] = to_json(environment, indent=1)
        logs = {METRICS: b"", EVALUATIONS: b""}
        files: dict[str, bytes | Path] = {**copied, **prior, **begins_with, **own, CHECKSUMS: sums_of(own), **logs}
        free, number = path, 1
        while True:
            try:
                lock = create_run_folder(free, files, replace=replace)
                run = cls(free, lock, at_checkpoint=not begins_with)
                run._begin(config)
                return run
            except NameTaken:
                if not numbered:
                    raise
            number += 1
            free = path.with_name(f"{path.name}-{number}")

    @classmethod
    def open_for_resume(cls, path: str | os.PathLike[str]) -> RunDir:
        """Open a run to go on with it. Nothing can be written before `cut_back`."""
        path = Path(os.path.abspath(path))
        read_environment(path)
        return cls(path, WriterLock(path / "lock"), at_checkpoint=False)

    def _begin(self, config: Config) -> None:
        """Remember what writing needs to know, so that a file that is lost under the run does not end it."""
        self._keep = config.train.keep_checkpoints
        self._logs = WrittenLogs(self.path)
        self._digest = digest_entry(self.path)

    @classmethod
    def open_readonly(cls, path: str | os.PathLike[str]) -> RunDir:
        """Open a run to look at it, also while another process writes it."""
        path = Path(os.path.abspath(path))
        recognise(path)  # (what it says is looked at where it is used)
        return cls(path, None, at_checkpoint=False)

    def close(self) -> None:
        """Give the right to write back."""
        if self._lock is not None:
            self._lock.release()
        self._lock = None

    def __enter__(self) -> RunDir:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        self._check_sum(CONFIG)
        return read_resolved(self.path / CONFIG)

    @property
    def tasks(self) -> dict[str, list[dict[str, Any]]]:
        """The task parameters of every split."""
        self._check_sum(TASKS)
        return _mapping(self.path / TASKS, "train")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / FINISHED).exists()

    @property
    def summary(self) -> dict[str, Any]:
        """What `mark_finished` was given."""
        self._check_sum(FINISHED)
        return _mapping(self.path / FINISHED, "env_steps")

    @property
    def complete_until(self) -> int:
        """Env steps at which the run came to its end, if it did and its last checkpoint is still there; else 0."""
        return next((n for n in self.checkpoints() if self.finished and n == self.summary["env_steps"]), 0)

    def check_config(self, config: Config, *, checkpoint: int | None = None) -> None:
        """Refuse a configuration with which the run can't go on from `checkpoint` (None: the newest one).

        Raises:
            UserError: there is no such checkpoint, or `mql.runs.changes.check_change` refuses it.
        """
        known = self.checkpoints()
        env_steps = max(known, default=0) if checkpoint is None else self._check_known(checkpoint)
        check_change(self.config, config, checkpoint=env_steps, checkpoints=known)

    def append_metrics(self, record: Mapping[str, JSON]) -> None:
        """Add one line to ``metrics.jsonl``; it is on the disk when this returns."""
        self._append(METRICS, record)

    def append_evaluation(self, record: Mapping[str, JSON]) -> None:
        """Add one line to ``evaluations.jsonl``; it is on the disk when this returns."""
        self._append(EVALUATIONS, {**record, **self._digest})

    def changes_of_others(self) -> list[str]:
        """Say, once each, what somebody else did to the logs while this object wrote them."""
        return self._check_writable().changed()

    def read_metrics(self) -> list[dict[str, Any]]:
        """All complete lines of ``metrics.jsonl``."""
        check_log(self.path, METRICS)
        return read_json_lines(self.path / METRICS)

    def read_evaluations(self) -> list[dict[str, Any]]:
        """All complete lines of ``evaluations.jsonl``."""
        check_log(self.path, EVALUATIONS)
        return read_json_lines(self.path / EVALUATIONS)

    def checkpoints(self) -> list[int]:
        """Environment steps of the checkpoints, oldest first."""
        return storage.list_checkpoints(self.path)

    def load_checkpoint(self, env_steps: int | None = None) -> Checkpoint:
        """Read and verify a checkpoint, by default the newest one. A damaged one is an error, never skipped.

        One of format version 1 is read where its agent acts now as it did then: with ``agent.reward_scale`` 1.
        """
        known = self.checkpoints()
        if not known:
            mend = "wait for the first checkpoint, or continue the run with --resume"
            raise UserError("the run has no checkpoint yet", where=str(self.path), mend=mend)
        newest = known[-1] if env_steps is None else self._check_known(env_steps)
        checkpoint = storage.read_checkpoint(self.path, newest)
        if checkpoint.line_sha256 and read_sums(self.path) is None:
            raise UserError("the list of checksums is missing", where=str(self.path / CHECKSUMS), mend="restore it")
        agent = self.config.agent
        factor = agent.reward_scale if agent.use_context else 1.0
        if checkpoint.format_version == storage.UNSCALED_CONTEXT and factor != 1.0:
            what = f"the agent was trained when agent.reward_scale ({factor:g}) did not reach its context"
            where = f"{self.path}/checkpoints/{checkpoint.env_steps}"
            mend = "use the version of mql that wrote it (see environment.json), or train it again"
            raise UserError(what, where=where, mend=mend)
        return checkpoint

    def save_checkpoint(
        self,
        env_steps: int,
        *,
        tensors: Mapping[str, torch.Tensor],
        state: Mapping[str, JSON],
        episodes: Sequence[Episode],
        first_live_episode: int,
    ) -> Path:
        """Save the run as it stands, then delete the oldest checkpoints beyond ``train.keep_checkpoints``.

        Args:
            env_steps: environment steps so far; larger than at every earlier checkpoint.
            tensors: everything learned, by name.
            state: counters and other plain JSON values.
            episodes: those that are new since the last checkpoint; they get the next numbers.
            first_live_episode: number of the oldest that is still held for learning.

        Raises:
            UserError: full disk, no permission. Earlier checkpoints are then as they were, and saving can be repeated.
        """
        logs = self._check_writable()
        if env_steps <= max(self.checkpoints(), default=-1):
            raise ValueError(f"checkpoint {env_steps} does not come after {self.checkpoints()[-1]}")
        next_episode = self.next_episode + len(episodes)
        if not 0 <= first_live_episode <= next_episode:
            raise ValueError(f"first_live_episode is {first_live_episode}, of {next_episode} episodes")
        with user_errors(self.path):
            lengths, sums = logs.sums()
            try:
                new = [storage.write_chunk(self.path, self.next_episode, episodes)] if episodes else []
                chunks = tuple(chunk for chunk in (*self._chunks, *new) if chunk.last >= first_live_episode)
                folder = storage.write_checkpoint(
                    self.path,
                    env_steps,
                    tensors=tensors,
                    state=state,
                    first_live_episode=first_live_episode,
                    next_episode=next_episode,
                    chunks=chunks,
                    line_bytes=lengths,
                    line_sha256=sums,
                )
            except BaseException:
                with suppress(OSError):
                    storage.remove_unnamed_chunks(self.path)
                raise
            self._chunks, self.next_episode = chunks, next_episode
            self._prune()
        return folder

    def cut_back(self, checkpoint: Checkpoint | None, config: Config | None = None) -> None:
        """Make the run what it was at `checkpoint` (None: at its start), and ready to go on from there.

        Cuts the two logs, deletes later checkpoints, chunks that no checkpoint names, the mark of the end and what a
        killed process left. If it is killed itself, it can be repeated. Before it is called, nothing is changed.

        Args:
            checkpoint: the one to go on from.
            config: the configuration to go on with; None: as it is.

        Raises:
            UserError: `check_config` refuses the configuration, or lines are missing; nothing is changed then.
        """
        self._check_lock()
        if config is not None:
            self.check_config(config, checkpoint=None if checkpoint is None else checkpoint.env_steps)
        start = -1 if checkpoint is None else checkpoint.env_steps
        before = self.config
        lengths = {METRICS: 0, EVALUATIONS: 0} if checkpoint is None else checkpoint.line_bytes
        if checkpoint is not None:
            check_logs(self.path, checkpoint.env_steps, lengths, checkpoint.line_sha256)
        with user_errors(self.path):
            self._list_own_files()
            (self.path / FINISHED).unlink(missing_ok=True)
            for folder in (self.path, self.path / "checkpoints", self.path / "replay"):
                remove_unfinished(folder)
            for steps in reversed([steps for steps in self.checkpoints() if steps > start]):
                remove_folder(self.path / "checkpoints" / str(steps))
            for name, length in lengths.items():
                cut_file(self.path / name, length)
            self._begin(before if config is None else config)
            self._prune()
            if config is not None and config != before:
                replace_file(self.path, CONFIG, to_yaml(config).encode())
        self._chunks = () if checkpoint is None else checkpoint.chunks
        self.next_episode = 0 if checkpoint is None else checkpoint.next_episode
        self._at_checkpoint = True

    def mark_finished(self, summary: Mapping[str, JSON]) -> None:
        """Write ``finished.json``: the run came to its end, with these last results."""
        logs = self._check_writable()
        text = to_json({**summary, **self._digest}, indent=1)
        with user_errors(self.path):
            write_atomic(self.path / FINISHED, text)
            digests = {**logs.sums()[1], FINISHED: sha256(text)}
            write_sums(self.path, {**(read_sums(self.path) or {}), **{name: (own,) for name, own in digests.items()}})

    def _check_known(self, env_steps: int) -> int:
        known = self.checkpoints()
        if env_steps not in known:
            mend = "choose one of " + ", ".join(map(str, known)) if known else "leave it out: the run starts over"
            raise UserError(f"there is no checkpoint {env_steps}", where=str(self.path), mend=mend)
        return env_steps

    def _list_own_files(self) -> None:
        """Let the list of checksums name what a run in training has: not the logs, nor the mark of its end."""
        listed = read_sums(self.path) or {}  # (none: a run of an earlier version)
        own = {name: listed.get(name, ())[:1] or (file_sha256(self.path / name),) for name in OWN}
        write_sums(self.path, {**own, CONFIG: (file_sha256(self.path / CONFIG),)})  # which was looked at

    def _check_sum(self, name: str) -> None:
        with user_errors(self.path / name):
            check_sum(self.path, name, (self.path / name).read_bytes())

    def _prune(self) -> None:
        for steps in self.checkpoints()[: -self._keep]:
            remove_folder(self.path / "checkpoints" / str(steps))
        storage.remove_unnamed_chunks(self.path)

    def _append(self, name: str, record: Mapping[str, JSON]) -> None:
        logs = self._check_writable()
        line = to_json(record)
        with user_errors(self.path / name):
            logs.append(name, line)

    def _check_lock(self) -> WriterLock:
        if self._lock is None:
            raise RuntimeError(f"{self.path} is not open for writing")
        self._lock.check_still_there(self.path)
        return self._lock

    def _check_writable(self) -> WrittenLogs:
        """Return the logs, where the run is open for writing and still in its place.

        Raises:
            UserError: the folder was deleted, moved or replaced.
        """
        self._check_lock()
        if not self._at_checkpoint or self._logs is None:
            raise RuntimeError("cut_back comes before the first write to a resumed run")
        return self._logs


def _mapping(path: Path, key: str) -> dict[str, Any]:
    """Read a JSON file that holds a mapping with `key` in it."""
    value = read_json(path)
    if not isinstance(value, dict) or key not in value:
        mend = "restore it from a copy, or start the run again"
        raise UserError(f"the file is damaged: it holds no {key!r}", where=str(path), mend=mend)
    return value
