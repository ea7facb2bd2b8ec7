"""Weights & Biases: online where it is logged in and reached, else offline below the run directory.

``WANDB_MODE`` (online, offline, disabled) overrides that choice. A resumed run goes on under the same id, behind its
last row: what was handed over is counted in the run directory, and not handed over again.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mql.config.schema import WandbConfig
from mql.errors import told
from mql.files import write_atomic
from mql.types import JSON

Numbers = Mapping[str, float]
Say = Callable[[str], None]


class WandbSession:
    """A run of Weights & Biases: a `tracking.Session`.

    Args:
        run_path: the run directory; what is kept offline goes below ``wandb/`` in it.
        config: shown beside the metrics.
        settings: project, name, tags and the like.
        note: takes the line that says how an offline run is uploaded, and the one on the size of checkpoints.
    """

    def __init__(self, *, run_path: Path, config: Mapping[str, Any], settings: WandbConfig, note: Say) -> None:
        self._path, self._config, self._settings, self._note = run_path, dict(config), settings, note
        self._said_size = False
        self._wandb: Any = importlib.import_module("wandb")
        self._place = _Place(run_path / "wandb" / "handed_over.json", project=self._project)
        self._run = self._start()

    @property
    def _project(self) -> str:
        entity = self._settings.entity
        return f"{entity}/{self._settings.project}" if entity else self._settings.project

    def write(self, record: Numbers) -> None:
        """Hand over one record, if it lies behind all of its kind."""
        if self._place.is_new(record):
            self._log(record, record)

    def picture(self, name: str, env_steps: int, path: Path) -> None:
        """Hand over a picture, which Weights & Biases copies."""
        self._log({"env_steps": env_steps, name: self._wandb.Image(str(path))})

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Hand over a table."""
        columns = list(rows[0]) if rows else []
        data = [[row.get(column) for column in columns] for row in rows]
        self._log({"env_steps": env_steps, name: self._wandb.Table(columns=columns, data=data)})

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Hand over a checkpoint's agent as a version of the run's artifact ``<id>-agent``."""
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        if not self._said_size:
            self._said_size = True
            self._note(f"note: each checkpoint uploads its agent to wandb, {megabytes:.1f} MB (wandb.checkpoints)")
        artifact = self._wandb.Artifact(
            f"{self._run.id}-agent", type="model", metadata={"env_steps": env_steps, "megabytes": round(megabytes, 1)}
        )
        for path in files:
            artifact.add_file(str(path), name=path.name)
        self._run.log_artifact(artifact, aliases=["latest", f"steps-{env_steps}"])

    def film(self, path: Path) -> None:
        """Hand over a film."""
        film = self._wandb.Video(str(path), format=path.suffix.lstrip(".").lower())
        self._log({f"films/{path.stem}": film})

    def end(self) -> None:
        """Wait until Weights & Biases has everything."""
        self._run.finish()

    def _log(self, values: Mapping[str, Any], record: Numbers = MappingProxyType({})) -> None:
        self._run.log(dict(values), step=self._place.row, commit=True)
        self._place.passed(record)

    def _start(self) -> Any:
        mode = os.environ.get("WANDB_MODE")
        why = ""
        if mode:
            run = self._init(mode)
        else:
            try:
                # Without a key and a terminal an online start fails; with a terminal it would ask, behind the progress.
                mode = "online" if self._wandb.login(prompt=False) else "offline"
                run = self._init(mode)
            except Exception as error:
                if mode == "offline":
                    raise
                mode, why = "offline", f", as it can't be reached ({told(error)[:200]})"
                run = self._init(mode)
        run.define_metric("env_steps")
        run.define_metric("*", step_metric="env_steps")
        if mode == "offline":
            self._note(f"note: wandb keeps this run offline{why}; to upload it: wandb sync {self._offline_folders()}")
        return run

    def _init(self, mode: str) -> Any:
        settings = self._settings
        return self._wandb.init(
            project=settings.project,
            entity=settings.entity,
            group=settings.group,
            tags=list(settings.tags) or None,
            name=settings.name or self._path.name,
            id=self._place.run_id,
            resume="allow",
            dir=str(self._path),
            mode=mode,
            config=self._config,
            settings=self._wandb.Settings(
                console="off",
                silent=True,  # it would write between progress lines
                disable_git=True,
                save_code=False,
                x_disable_meta=True,
                x_disable_stats=True,
                init_timeout=20,
            ),
        )

    def _offline_folders(self) -> str:
        """Name the folders of this run for a shell: all of them, as a resumed run has several."""
        folders = sorted(path.name for path in (self._path / "wandb").glob("offline-run-*"))
        name = shlex.quote(folders[0]) if len(folders) == 1 else "offline-run-*"
        return f"{shlex.quote(str(_short(self._path / 'wandb')))}/{name}"


class _Place:
    """How far a run's records were handed over, kept in a file: Weights & Biases forgets it offline.

    A run that goes on makes some records again, those behind its checkpoint and the evaluation that was due there.
    In another project it is another run, which gets all that the run's files hold.
    """

    def __init__(self, path: Path, *, project: str) -> None:
        self._path = path
        known: dict[str, Any] = {}
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
        if known.setdefault("project", "mql") != project and known.get("row"):
            known = {}
            (path.parent / "run_id.txt").unlink(missing_ok=True)
        self._project = project
        self.row: int = known.pop("row", 0)  # of the next record
        known.pop("project", None)
        self._env_steps: dict[str, int] = known  # of the last record of each kind

    @property
    def run_id(self) -> str:
        """The id kept in the run directory: a resumed run has the same one, a new run of that name has not."""
        path = self._path.parent / "run_id.txt"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()

    def is_new(self, record: Numbers) -> bool:
        """Tell whether a record lies behind all of its kind."""
        return record.get("env_steps", math.inf) > self._env_steps.get(_kind(record), -1)

    def passed(self, record: Numbers) -> None:
        """Note that a row was handed over, with this record or with something else."""
        self.row += 1
        if "env_steps" in record:
            self._env_steps[_kind(record)] = int(record["env_steps"])
        kept = {"project": self._project, "row": self.row, **self._env_steps}
        write_atomic(self._path, json.dumps(kept).encode())


def _kind(record: Numbers) -> str:
    """Return the name of an evaluation's split (``evaluation``, ``evaluation_test``), or ``iteration``."""
    return next((name.partition("/")[0] for name in record if name.startswith("evaluation")), "iteration")


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
