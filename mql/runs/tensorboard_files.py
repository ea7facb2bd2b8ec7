"""TensorBoard: event files in ``tensorboard/`` of the run directory, by the package's own writer.

Neither TensorFlow nor PyTorch is loaded for it. A run that goes on begins another file, at whose start TensorBoard
drops what earlier files hold from there on; so no step is shown twice, and the files say what metrics.jsonl says.
"""

from __future__ import annotations

import importlib
import json
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mql.types import JSON

Numbers = Mapping[str, float]


class TensorBoardSession:
    """Event files of one run: a `tracking.Session`.

    Args:
        folder: where they are.
        config: shown as text.
        begun: the env steps that training goes on from; what is told from there on replaces what earlier files say.
    """

    def __init__(self, *, folder: Path, config: Mapping[str, Any], begun: int) -> None:
        writer: Any = importlib.import_module("tensorboard.summary.writer.event_file_writer")
        self._event: Any = importlib.import_module("tensorboard.compat.proto.event_pb2").Event
        self._session_log: Any = importlib.import_module("tensorboard.compat.proto.event_pb2").SessionLog
        self._summary: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._tensor: Any = importlib.import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        # Records before this are in earlier files; a run that was not tracked until now has none.
        self._first = begun if any(folder.glob("events.out.tfevents.*")) else 0
        self._writer = writer.EventFileWriter(str(folder), flush_secs=10)
        start = self._session_log(status=self._session_log.START)
        self._writer.add_event(self._event(step=self._first, wall_time=time.time(), session_log=start))
        self._text("configuration", self._first, f"```json\n{json.dumps(config, indent=1)}\n```")

    def write(self, record: Numbers) -> None:
        """Write one record, unless an earlier file has it: every number as a scalar of its name."""
        step = int(record.get("env_steps", 0))
        if step < self._first:
            return
        scalar = self._summary.Summary.Value
        values = [scalar(tag=name, simple_value=float(value)) for name, value in record.items() if name != "env_steps"]
        self._add(step, values)

    def picture(self, name: str, env_steps: int, path: Path) -> None:
        """Write a picture."""
        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])  # of a PNG's first chunk
        image = self._summary.Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=data)
        self._add(env_steps, [self._summary.Summary.Value(tag=name, image=image)])
        self._writer.flush()

    def table(self, name: str, env_steps: int, rows: Sequence[Mapping[str, JSON]]) -> None:
        """Write a table as text."""
        columns = list(rows[0]) if rows else []
        lines = [columns, ["---"] * len(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
        self._text(name, env_steps, "\n".join(f"| {' | '.join(line)} |" for line in lines))

    def checkpoint(self, env_steps: int, files: Sequence[Path]) -> None:
        """Do nothing: they lie beside."""

    def film(self, path: Path) -> None:
        """Do nothing: TensorBoard shows no films."""

    def end(self) -> None:
        """Write what is left."""
        self._writer.close()

    def _text(self, name: str, env_steps: int, text: str) -> None:
        plugin = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        tensor = self._tensor(dtype="DT_STRING", string_val=[text.encode()])
        metadata = self._summary.SummaryMetadata(plugin_data=plugin)
        self._add(env_steps, [self._summary.Summary.Value(tag=f"{name}/text", metadata=metadata, tensor=tensor)])

    def _add(self, env_steps: int, values: Sequence[Any]) -> None:
        summary = self._summary.Summary(value=values)
        self._writer.add_event(self._event(step=env_steps, wall_time=time.time(), summary=summary))


def _cell(value: JSON) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
