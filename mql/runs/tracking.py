"""Sends metrics to a tracking service beside the run's own files.

The run's metrics.jsonl and evaluations.jsonl are the truth; a sink only mirrors them. So a sink never raises and never
makes training wait: the service is imported, started and written to in a thread of its own, and the first failure
switches it off with one warning. A picture, film or checkpoint that can't be sent costs a warning and nothing else.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any, Literal, Protocol

from mql.config.schema import WandbConfig
from mql.errors import missing_package, told
from mql.plain_text import plain
from mql.types import JSON

Say = Callable[[str], None]
Record = Mapping[str, Any]
Numbers = Mapping[str, float]

QUEUE_LENGTH = 10_000  # records that wait for a slow service before the sink is given up
CLOSE_TIMEOUT = 30.0  # seconds that the end of training waits for the last records
UPLOAD_TIMEOUT = 300.0  # the same where checkpoints are uploaded
_DRAWING = threading.Lock()  # a process, which may make several runs, has one style and one set of fonts


class Tracker(Protocol):
    """A metric sink. What is told of at ``env_steps`` stands there in the run."""

    def log(self, record: Record) -> None:
        """Take one record: numbers, or mappings of numbers; ``env_steps`` is its place in the run."""

    def picture(self, name: str, env_steps: int, draw: Callable[[Path], object]) -> None:
        """Take a picture, which `draw` writes to the .png path that it is given, some time later."""

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Take a table of rows with the same keys."""

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Take the files of a checkpoint's agent; they may be deleted later."""

    def film(self, path: Path) -> None:
        """Take a film's file."""

    def close(self) -> None:
        """Hand over what is left and end. Closing again does nothing."""


class Session(Protocol):
    """A service that was started; used in the sink's thread alone, where it may raise or hang."""

    def write(self, record: Numbers) -> None:
        """Hand over one record, unless it was handed over before the run was resumed."""

    def picture(self, name: str, env_steps: int, path: Path) -> None:
        """Hand over the .png at `path`, which is deleted afterwards."""

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Hand over a table."""

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Hand over the files of a checkpoint's agent."""

    def film(self, path: Path) -> None:
        """Hand over a film."""

    def end(self) -> None:
        """Wait until everything is where it belongs."""


def open_tracker(
    kind: Literal["none", "wandb", "tensorboard"],
    *,
    run_path: Path,
    config: Mapping[str, Any],
    settings: WandbConfig | None = None,
    earlier: Iterable[Record] = (),
    begun: int = 0,
    warn: Say | None = None,
    note: Say | None = None,
) -> Tracker:
    """Open the sink that the configuration names.

    Args:
        kind: ``config.tracking``.
        run_path: the run directory: its name is the run's name, and the sink's own files go below it.
        config: the resolved configuration as plain data, shown beside the metrics.
        settings: ``config.wandb``.
        earlier: the records that the run's files hold already, in order.
        begun: the env steps that training goes on from.
        warn: takes the one line said when the sink fails; standard error when None.
        note: takes the line that says where an offline run lies, and how large uploads are; standard error when None.
    """
    note = note or _on_stderr
    if kind == "wandb":
        from mql.runs.wandb_service import WandbSession

        chosen = settings or WandbConfig()
        return BackgroundTracker(
            "wandb",
            lambda: WandbSession(run_path=run_path, config=config, settings=chosen, note=note),
            earlier=earlier,
            warn=warn or _on_stderr,
            patience_seconds=UPLOAD_TIMEOUT if chosen.checkpoints else CLOSE_TIMEOUT,
        )
    if kind == "tensorboard":
        from mql.runs.tensorboard_files import TensorBoardSession

        return BackgroundTracker(
            "tensorboard",
            lambda: TensorBoardSession(folder=run_path / "tensorboard", config=config, begun=begun),
            earlier=earlier,
            warn=warn or _on_stderr,
        )
    return NoTracker()


class NoTracker:
    """Drops everything."""

    def log(self, record: Record) -> None:
        """Do nothing."""

    def picture(self, name: str, env_steps: int, draw: Callable[[Path], object]) -> None:
        """Do nothing."""

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Do nothing."""

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Do nothing."""

    def film(self, path: Path) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class BackgroundTracker:
    """Hands everything to a session in a thread of its own; see the head of this file.

    Args:
        name: the service's, for messages.
        start: starts the service.
        earlier: the records of the run so far.
        warn: takes the line said when something fails.
        patience_seconds: how long `close` waits.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Session],
        *,
        earlier: Iterable[Record] = (),
        warn: Say,
        patience_seconds: float = CLOSE_TIMEOUT,
    ) -> None:
        self._name, self._start, self._earlier, self._warn = name, start, earlier, warn
        self._patience = patience_seconds
        self._jobs: queue.Queue[Callable[[Session], None] | None] = queue.Queue(QUEUE_LENGTH)
        self._off = threading.Event()
        self._closed = False
        self._complained: set[str] = set()
        # A daemon: a service that hangs can't keep a finished training alive.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name=f"mql-{name}", daemon=True)
        self._thread.start()

    def log(self, record: Record) -> None:
        """Queue one record; what is not a number (lists, text, null) is left out."""
        numbers = dict(_numbers(record))
        self._put(lambda session: session.write(numbers))

    def picture(self, name: str, env_steps: int, draw: Callable[[Path], object]) -> None:
        """Queue a picture, which is drawn in the sink's thread."""

        def send(session: Session) -> None:
            with tempfile.TemporaryDirectory(prefix="mql-") as folder:
                path = Path(folder) / f"{name.replace('/', '-')}.png"
                with _DRAWING:
                    draw(path)
                session.picture(name, env_steps, path)

        self._put(lambda session: self._try("a picture", send, session))

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Queue a table."""
        kept = [dict(row) for row in rows]
        self._put(lambda session: self._try("a table", lambda to: to.table(name, env_steps, kept), session))

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Queue the files of a checkpoint; those that are deleted before their turn are left out."""

        def send(session: Session) -> None:
            if all(path.exists() for path in files):
                session.checkpoint(env_steps, files)

        self._put(lambda session: self._try("a checkpoint", send, session))

    def film(self, path: Path) -> None:
        """Queue a film."""
        self._put(lambda session: self._try("a film", lambda to: to.film(path), session))

    def close(self, timeout_seconds: float | None = None) -> None:
        """Wait until everything is handed over, at most `timeout_seconds` (None: the tracker's own patience)."""
        if self._closed:
            return
        self._closed = True
        patience = self._patience if timeout_seconds is None else timeout_seconds
        if not self._off.is_set():
            try:
                self._jobs.put(None, timeout=patience)
                self._thread.join(patience)
            except queue.Full:
                pass
            if self._thread.is_alive():
                self._switch_off(f"it did not end within {patience:g} s")

    def _put(self, job: Callable[[Session], None]) -> None:
        if self._off.is_set() or self._closed:
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self._switch_off(f"{QUEUE_LENGTH} records wait for it")

    def _run(self) -> None:
        try:
            session = self._start()
            for record in self._earlier:
                session.write(dict(_numbers(record)))
            while (job := self._jobs.get()) is not None and not self._off.is_set():
                job(session)
            session.end()
        except ModuleNotFoundError as error:
            self._switch_off(str(missing_package(error.name or self._name)))
        except BaseException as error:  # wandb ends some failures with SystemExit
            self._switch_off(told(error)[:300])

    def _try(self, what: str, send: Callable[[Session], None], session: Session) -> None:
        """Hand over something that the run does well without."""
        try:
            send(session)
        except Exception as error:
            if what not in self._complained and not self._off.is_set():
                self._complained.add(what)
                self._warn(f"warning: {what} could not be sent to {self._name} ({told(error)[:300]})")

    def _switch_off(self, reason: str) -> None:
        if not self._off.is_set():
            self._off.set()
            self._warn(
                f"warning: tracking with {self._name} is now off ({reason}); training continues, and metrics.jsonl "
                "has everything"
            )


def _numbers(record: Record, prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (bool, int, float)):
            yield f"{prefix}{key}", value


def _on_stderr(line: str) -> None:
    print(plain(line), file=sys.stderr, flush=True)
