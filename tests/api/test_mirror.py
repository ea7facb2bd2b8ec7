"""What a run in training sends to a tracking service: its records, whatever the service does."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_runs import TINY

import mql
from mql.api.mirror import task_row
from mql.runs import tracking

TRACKED = TINY | {"train.env_steps": 400, "tracking": "tensorboard"}


def read(run: mql.Run) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(run.path / "tensorboard"), size_guidance=sizes).Reload()


@pytest.mark.slow
def test_tensorboard_shows_what_the_runs_files_say_also_after_a_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for steps in (400, 600):
        settings = TRACKED if steps == 400 else {"train.env_steps": steps}
        run = mql.train("point-robot", run_dir=tmp_path / "run", seed=3, settings=settings, resume=steps > 400)
    found = read(run)
    metrics, evaluations = run.metrics(), run.evaluations()
    for name in ("collected_return", "critic_loss"):
        kept = [(line["env_steps"], pytest.approx(line[name])) for line in metrics if name in line]
        assert [(event.step, event.value) for event in found.Scalars(name)] == kept
    for split, name in (("validation", "evaluation"), ("test", "evaluation_test")):
        means = [(e["env_steps"], e["summary"]["zero_shot"]["mean"]) for e in evaluations if e["split"] == split]
        shown = [(event.step, event.value) for event in found.Scalars(f"{name}/zero_shot/mean")]
        assert shown == [(steps, pytest.approx(mean)) for steps, mean in means] and shown
    assert [event.step for event in found.Images("learning_curve")] == [600]
    table = found.Tensors("evaluation_test_tasks/text")[-1].tensor_proto.string_val[0].decode()
    assert table.startswith("| goal 0 | goal 1 | zero_shot | adapted | gain |") and len(table.splitlines()) == 5


def test_a_service_that_hangs_or_raises_leaves_a_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()

    def fail(**_: Any) -> None:
        raise SystemExit(3)

    plain = mql.train("point-robot", run_dir=tmp_path / "plain", seed=3, settings=TINY | {"train.env_steps": 200})
    monkeypatch.setattr(tracking, "CLOSE_TIMEOUT", 0.05)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for name, init in (("hangs", lambda **_: released.wait()), ("exits", fail)):
        fake = SimpleNamespace(login=lambda **_: True, init=init, Settings=SimpleNamespace)
        monkeypatch.setitem(sys.modules, "wandb", fake)
        settings = TINY | {"train.env_steps": 200, "tracking": "wandb", "wandb.checkpoints": True}
        monkeypatch.setattr(tracking, "UPLOAD_TIMEOUT", 0.05)
        run = mql.train("point-robot", run_dir=tmp_path / name, seed=3, settings=settings)
        assert run.finished and run.summary == plain.summary
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "tracking" in line)
        assert line.startswith("warning: tracking with wandb is now off")
    released.set()


def test_films_in_the_run_directory_are_sent_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    class Listener(tracking.NoTracker):
        def film(self, path: Path) -> None:
            sent.append(path.name)

    monkeypatch.setattr("mql.api.mirror.open_tracker", lambda *_, **__: Listener())
    settings = TINY | {"train.env_steps": 200}
    run = mql.train("point-robot", run_dir=tmp_path / "run", settings=settings)
    (run.path / "films").mkdir()
    for name in ("b.mp4", "a.GIF", "notes.txt"):
        (run.path / "films" / name).write_bytes(b"")
    assert not sent
    mql.train("point-robot", run_dir=run.path, resume=True, settings={"train.env_steps": 300})
    assert sent == ["a.GIF", "b.mp4"]


def test_a_tasks_row_says_what_adaptation_gained() -> None:
    row = {"parameters": {"goal": [0.5, -1.0], "mass": 2.0}, "zero_shot_return": -3.0, "adapted_return": -1.0}
    assert task_row(row) == {
        "goal 0": 0.5,
        "goal 1": -1.0,
        "mass": 2.0,
        "zero_shot": -3.0,
        "adapted": -1.0,
        "gain": 2.0,
    }
    assert task_row({**row, "adapted_return": None})["gain"] is None
