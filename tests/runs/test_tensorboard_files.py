"""TensorBoard files, read back by TensorBoard's own reader."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tracker_input import hand_over_all

from mql.runs.tracking import Tracker, open_tracker


def opened(path: Path, warnings: list[str], **more: Any) -> Tracker:
    return open_tracker("tensorboard", run_path=path, config={"seed": 3}, warn=warnings.append, **more)


def read(path: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(path / "tensorboard"), size_guidance=sizes).Reload()


def test_scalars_pictures_and_tables_are_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    warnings: list[str] = []
    tracker = opened(tmp_path, warnings)
    tracker.log({"env_steps": 4, "critic_loss": 0.25, "done": True, "text": "no number"})
    tracker.log({"env_steps": 8, "evaluation": {"adapted": {"mean": -2.5}}})
    hand_over_all(tracker, [])
    tracker.close()
    found = read(tmp_path)
    assert not warnings
    assert set(found.Tags()["scalars"]) == {"critic_loss", "done", "evaluation/adapted/mean"}
    assert [(event.step, event.value) for event in found.Scalars("evaluation/adapted/mean")] == [(8, -2.5)]
    (picture,) = found.Images("curve")
    assert (picture.step, picture.width, picture.height) == (8, 3, 2)
    (table,) = found.Tensors("gains/text")
    assert table.tensor_proto.string_val[0].decode().splitlines()[2:] == ["| 1 | 0.5 |", "| 2 |  |"]
    (config,) = found.Tensors("configuration/text")
    assert '"seed": 3' in config.tensor_proto.string_val[0].decode()


def test_a_resumed_run_shows_no_step_twice(tmp_path: Path) -> None:
    """It was killed after 400 steps and goes on from its checkpoint at 200, where an evaluation was due."""
    pytest.importorskip("tensorboard")
    tracker = opened(tmp_path, [])
    for env_steps in (100, 200, 300, 400):
        tracker.log({"env_steps": env_steps, "loss": 1.0})
        if env_steps == 200:
            tracker.log({"env_steps": env_steps, "evaluation": 1.0})
    tracker.close()
    earlier = [{"env_steps": 100, "loss": 1.0}, {"env_steps": 200, "loss": 1.0}]  # what the run's files were cut to
    tracker = opened(tmp_path, [], earlier=earlier, begun=200)
    tracker.log({"env_steps": 200, "evaluation": 2.0})
    tracker.log({"env_steps": 300, "loss": 2.0})
    tracker.close()
    found = read(tmp_path)
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(100, 1.0), (200, 1.0), (300, 2.0)]
    assert [(event.step, event.value) for event in found.Scalars("evaluation")] == [(200, 2.0)]


def test_a_run_that_was_not_tracked_from_its_start_gets_what_its_files_hold(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    opened(tmp_path, [], earlier=[{"env_steps": 100, "loss": 1.0}], begun=200).close()
    assert [event.step for event in read(tmp_path).Scalars("loss")] == [100]


def test_it_loads_neither_tensorflow_nor_pytorch(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    code = (
        "import sys\nfrom pathlib import Path\nfrom mql.runs.tracking import open_tracker\n"
        f"tracker = open_tracker('tensorboard', run_path=Path({str(tmp_path)!r}), config={{}}, warn=sys.exit)\n"
        "tracker.log({'env_steps': 1, 'loss': 1.0})\ntracker.close()\n"
        "assert 'tensorboard' in sys.modules and not {'tensorflow', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


WRITER = "tensorboard.summary.writer.event_file_writer"


class Writer:
    """A writer that fails in its own way when an event comes."""

    failure: Any = None

    def __init__(self, folder: str, **_: Any) -> None:
        pass

    def add_event(self, event: Any) -> None:
        self.failure()


@pytest.mark.parametrize("error", [OSError("disk full"), SystemExit(1)])
def test_a_writer_that_raises_or_exits_costs_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: BaseException
) -> None:
    pytest.importorskip("tensorboard")

    def fail() -> None:
        raise error

    warnings: list[str] = []
    with_writer(monkeypatch, fail)
    tracker = opened(tmp_path, warnings)
    for step in range(20):
        tracker.log({"env_steps": step})
    tracker.close()
    assert len(warnings) == 1 and "tracking with tensorboard is now off" in warnings[0]


def test_a_writer_that_hangs_does_not_hold_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    released, warnings = threading.Event(), []
    with_writer(monkeypatch, released.wait)
    tracker = opened(tmp_path, warnings)
    tracker.log({"env_steps": 1})
    tracker.close(timeout_seconds=0.05)  # type: ignore[call-arg]
    assert len(warnings) == 1
    released.set()


def with_writer(monkeypatch: pytest.MonkeyPatch, failure: Any) -> None:
    module: Any = ModuleType(WRITER)
    module.EventFileWriter = type("Failing", (Writer,), {"failure": staticmethod(failure)})
    monkeypatch.setitem(sys.modules, WRITER, module)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    warnings: list[str] = []
    for name in ("tensorboard", WRITER):
        monkeypatch.setitem(sys.modules, name, None)
    opened(tmp_path, warnings).close()
    assert len(warnings) == 1 and "pip install 'mql[tensorboard]'" in warnings[0]
