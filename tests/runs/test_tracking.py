"""The metric sinks, against a stand-in for the wandb module: no network, no account."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tracker_input import hand_over_all, png

from mql.config.schema import WandbConfig
from mql.runs.tracking import BackgroundTracker, NoTracker, open_tracker

BLOCK = 32768


class FakeWandb:
    """Remembers what it is told; `fail_at` names the call that raises."""

    def __init__(self, *, key: bool = False, fail_at: str | None = None, error: BaseException | None = None) -> None:
        self.key, self.fail_at, self.error = key, fail_at, error or RuntimeError("no\nservice")
        self.options: dict[str, Any] = {}
        self.records: list[dict[str, float]] = []
        self.steps: list[int] = []
        self.artifacts: list[Any] = []
        self.id = "abc"
        self.Image = self.Video = lambda path, **_: f"file {Path(path).name}"
        self.Table = lambda columns, data: [columns, *data]
        self.metrics: list[tuple[str, str | None]] = []
        self.finished = False
        self.Settings = SimpleNamespace

    def _maybe_fail(self, call: str) -> None:
        if self.fail_at == call:
            raise self.error

    def login(self, *, prompt: bool) -> bool:
        assert prompt is False
        return self.key

    def init(self, **options: Any) -> FakeWandb:
        self._maybe_fail("init")
        self.options = options
        return self

    def define_metric(self, name: str, *, step_metric: str | None = None) -> None:
        self.metrics.append((name, step_metric))

    def log(self, record: dict[str, float], *, step: int, commit: bool) -> None:
        self._maybe_fail("log")
        assert commit
        self.records.append(record)
        self.steps.append(step)

    def Artifact(self, name: str, **facts: Any) -> SimpleNamespace:
        files: list[str] = []
        return SimpleNamespace(name=name, files=files, add_file=lambda path, name: files.append(name), **facts)

    def log_artifact(self, artifact: Any, *, aliases: list[str]) -> None:
        self._maybe_fail("log_artifact")
        self.artifacts.append((artifact.name, artifact.files, aliases))

    def finish(self) -> None:
        self._maybe_fail("finish")
        self.finished = True


def use(monkeypatch: pytest.MonkeyPatch, wandb: object) -> None:
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)


def opened(path: Path, warnings: list[str], notes: list[str] | None = None, **settings: Any) -> BackgroundTracker:
    tracker = open_tracker(
        "wandb",
        run_path=path / "reacher-0",
        config={"seed": 0},
        settings=WandbConfig(**settings),
        warn=warnings.append,
        note=([] if notes is None else notes).append,
    )
    assert isinstance(tracker, BackgroundTracker)
    return tracker


def test_records_arrive_in_order_and_flat(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb, warnings = FakeWandb(), []
    use(monkeypatch, wandb)
    tracker = opened(tmp_path, warnings)
    tracker.log({"env_steps": 100, "loss": {"actor": -0.5, "critic": None}, "split": "test", "tasks": [{"x": 1.0}]})
    tracker.log({"env_steps": 200, "done": True})
    tracker.close()
    tracker.close()
    tracker.log({"env_steps": 300})
    assert wandb.records == [{"env_steps": 100, "loss/actor": -0.5}, {"env_steps": 200, "done": True}]
    assert wandb.metrics == [("env_steps", None), ("*", "env_steps")]
    assert wandb.finished
    assert not warnings


def test_offline_without_a_key_online_with_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for key, mode in ((False, "offline"), (True, "online")):
        wandb, warnings = FakeWandb(key=key), []
        use(monkeypatch, wandb)
        opened(tmp_path, warnings).close()
        assert wandb.options["mode"] == mode
        assert (wandb.options["name"], wandb.options["resume"]) == ("reacher-0", "allow")
        assert wandb.options["dir"] == str(tmp_path / "reacher-0")
        assert wandb.options["config"] == {"seed": 0}
        assert wandb.options["settings"].init_timeout == 20


def test_a_resumed_run_keeps_its_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ids = []
    for directory in ("a", "a", "b"):
        wandb = FakeWandb()
        use(monkeypatch, wandb)
        opened(tmp_path / directory, []).close()
        ids.append(wandb.options["id"])
    assert ids[0] == ids[1] != ids[2]


def test_the_environment_chooses_the_mode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = FakeWandb(key=True)
    use(monkeypatch, wandb)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    opened(tmp_path, []).close()
    assert wandb.options["mode"] == "disabled"


def test_a_resumed_run_goes_on_behind_the_last_row_and_repeats_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The run was stopped after 300 steps and resumed from its checkpoint at 200, where an evaluation was made."""
    told = []
    for first in (100, 200):
        wandb = FakeWandb()
        use(monkeypatch, wandb)
        tracker = opened(tmp_path, [])
        for env_steps in range(first, first + 300, 100):
            tracker.log({"env_steps": env_steps, "loss": 0.5})
            if env_steps == 200:
                tracker.log({"env_steps": env_steps, "evaluation": {"adapted": 1.0}})
        tracker.close()
        told.append(wandb)
    assert [record["env_steps"] for record in told[0].records] == [100, 200, 200, 300]
    assert [record["env_steps"] for record in told[1].records] == [400]
    assert told[0].steps == [0, 1, 2, 3] and told[1].steps == [4]


@pytest.mark.parametrize("fail_at", ["init", "log", "finish"])
@pytest.mark.parametrize("error", [RuntimeError("no\nservice"), SystemExit(1)])
def test_a_failure_warns_once_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fail_at: str, error: BaseException
) -> None:
    warnings: list[str] = []
    use(monkeypatch, FakeWandb(fail_at=fail_at, error=error))
    tracker = opened(tmp_path, warnings)
    for step in range(50):
        tracker.log({"env_steps": step})
    tracker.close()
    assert len(warnings) == 1
    assert "tracking with wandb is now off" in warnings[0]
    assert "\n" not in warnings[0]


def test_a_missing_wandb_is_a_failure_like_any_other_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    warnings: list[str] = []
    use(monkeypatch, None)  # None in sys.modules makes the import raise
    tracker = opened(tmp_path, warnings)
    tracker.close()
    assert len(warnings) == 1 and "pip install 'mql[wandb]'" in warnings[0]


def test_a_service_that_hangs_does_not_hold_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    released, warnings = threading.Event(), []
    wandb = FakeWandb()
    monkeypatch.setattr(wandb, "init", lambda **_: released.wait() and wandb)
    use(monkeypatch, wandb)
    tracker = opened(tmp_path, warnings)
    tracker.log({"env_steps": 1})
    tracker.close(timeout_seconds=0.05)
    assert len(warnings) == 1
    released.set()


def test_project_group_tags_and_name_are_those_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb = FakeWandb()
    use(monkeypatch, wandb)
    given: dict[str, Any] = {
        "project": "lab",
        "entity": "team",
        "group": "g",
        "tags": ("a", "b c"),
        "name": "first try",
    }
    opened(tmp_path, [], **given).close()
    assert {key: wandb.options[key] for key in given} == given | {"tags": ["a", "b c"]}


def test_offline_is_said_once_with_the_command_that_uploads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kept = tmp_path / "reacher-0" / "wandb"
    for n, name in ((1, "offline-run-20260101_000000-abc"), (2, "offline-run-*")):
        use(monkeypatch, FakeWandb())
        (kept / f"offline-run-2026010{n}_000000-abc").mkdir(parents=True)
        notes: list[str] = []
        opened(tmp_path, [], notes).close()
        name = name.replace("20260101", f"2026010{n}")
        assert notes == [f"note: wandb keeps this run offline; to upload it: wandb sync {kept}/{name}"]


def test_online_nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    use(monkeypatch, FakeWandb(key=True))
    opened(tmp_path, said, said).close()
    assert not said


def test_where_the_service_is_not_reached_the_run_is_kept_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wandb, warnings, notes = FakeWandb(key=True), [], []
    modes: list[str] = []

    def init(**options: Any) -> FakeWandb:
        modes.append(options["mode"])
        if options["mode"] == "online":
            raise OSError("no route")
        return wandb

    monkeypatch.setattr(wandb, "init", init)
    use(monkeypatch, wandb)
    tracker = opened(tmp_path, warnings, notes)
    tracker.log({"env_steps": 1})
    tracker.close()
    assert modes == ["online", "offline"] and len(wandb.records) == 1 and not warnings
    assert len(notes) == 1 and "can't be reached (OSError: no route)" in notes[0]


def test_pictures_tables_films_and_checkpoints_are_handed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wandb, warnings, notes = FakeWandb(key=True), [], []
    use(monkeypatch, wandb)
    tracker = opened(tmp_path, warnings, notes)
    files = [tmp_path / "agent.safetensors", tmp_path / "checkpoint.json"]
    for path in files:
        path.write_bytes(bytes(600_000))
    hand_over_all(tracker, files)
    tracker.checkpoint(9, [tmp_path / "gone"])
    tracker.close()
    assert wandb.records == [
        {"env_steps": 8, "curve": "file curve.png"},
        {"env_steps": 8, "gains": [["mass", "gain"], [1.0, 0.5], [2.0, None]]},
        {"films/one": "file one.mp4"},
    ]
    assert wandb.steps == [0, 1, 2]
    assert wandb.artifacts == [("abc-agent", ["agent.safetensors", "checkpoint.json"], ["latest", "steps-8"])]
    assert notes == ["note: each checkpoint uploads its agent to wandb, 1.2 MB (wandb.checkpoints)"] and not warnings


def test_what_can_not_be_drawn_or_sent_costs_one_warning_each_and_metrics_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wandb, warnings = FakeWandb(key=True, fail_at="log_artifact"), []
    use(monkeypatch, wandb)
    tracker = opened(tmp_path, warnings)
    for _ in range(2):
        tracker.picture("curve", 8, lambda path: 1 / 0)
        tracker.checkpoint(8, [])
    tracker.log({"env_steps": 9})
    tracker.close()
    assert wandb.records == [{"env_steps": 9}] and wandb.finished
    assert [line.partition(" (")[0] for line in warnings] == [
        "warning: a picture could not be sent to wandb",
        "warning: a checkpoint could not be sent to wandb",
    ]


def test_a_run_that_was_not_tracked_from_its_start_hands_over_what_its_files_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And another project gets everything, under an id of its own."""
    earlier = [{"env_steps": 100, "loss": 1.0}, {"env_steps": 200, "loss": 0.5}]
    ids, told = [], []
    for project in ("mql", "mql", "other"):
        wandb = FakeWandb()
        use(monkeypatch, wandb)
        settings = WandbConfig(project=project)
        open_tracker(
            "wandb", run_path=tmp_path, config={}, settings=settings, earlier=earlier, note=lambda _: None
        ).close()
        ids.append(wandb.options["id"])
        told.append([record["env_steps"] for record in wandb.records])
    assert told == [[100, 200], [], [100, 200]]
    assert ids[0] == ids[1] != ids[2]


def test_the_last_evaluation_and_the_one_on_validation_tasks_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A finished run that is made longer makes the validation that was due at its old end."""
    told = []
    for name in ("evaluation_test", "evaluation"):
        wandb = FakeWandb()
        use(monkeypatch, wandb)
        tracker = opened(tmp_path, [])
        tracker.log({"env_steps": 600, name: {"mean": 1.0}})
        tracker.close()
        told.append(len(wandb.records))
    assert told == [1, 1]


def logged(data: bytes) -> Iterator[bytes]:
    """The entries of a wandb file, LevelDB's log format: blocks of pieces with a checksum, a length and a kind."""
    at, entry = 7, b""  # after wandb's own head
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:  # the rest of a block is padding
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        entry += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield entry
            entry = b""


def written(file: Path) -> list[bytes]:
    """The entries of a finished run's file; wandb's own process writes it, and is done a moment after `finish`."""
    for _ in range(200):
        data = file.read_bytes()
        time.sleep(0.1)
        if len(found := list(logged(data))) > 1 and file.stat().st_size == len(data):
            return found
    raise AssertionError("the file stays empty")


def test_a_real_offline_run_holds_every_record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    warnings, notes = [], []
    tracker = opened(tmp_path, warnings, notes, project="lab", tags=("a",), checkpoints=True)
    for env_steps in (100, 200, 300):
        tracker.log({"env_steps": env_steps, "loss": {"critic": 1 / env_steps}})
    weights = tmp_path / "agent.safetensors"
    weights.write_bytes(bytes(1000))
    tracker.picture("curve", 300, lambda path: path.write_bytes(png(3, 2)))
    tracker.table("gains", 300, [{"mass": 1.0, "gain": 0.5}])
    tracker.checkpoint(300, [weights])
    tracker.close()
    assert not warnings
    (folder,) = (tmp_path / "reacher-0" / "wandb").glob("offline-run-*")
    assert notes[0].endswith(f"wandb sync {folder}")
    (file,) = folder.glob("*.wandb")
    records = [wandb_internal_pb2.Record.FromString(data) for data in written(file)]
    by_kind = {record.WhichOneof("record_type"): record for record in records}
    steps = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            steps.append((record.history.step.num, items["env_steps"]))
    assert steps == [(0, "100"), (1, "200"), (2, "300"), (3, "300"), (4, "300")]
    run = by_kind["run"].run
    assert (run.project, list(run.tags), run.display_name) == ("lab", ["a"], "reacher-0")
    assert "artifact" in by_kind
    assert len(list(folder.glob("files/media/**/*.*"))) == 2


def test_no_tracker_takes_everything(tmp_path: Path) -> None:
    tracker = open_tracker("none", run_path=tmp_path, config={})
    assert isinstance(tracker, NoTracker)
    tracker.log({"env_steps": 1})
    hand_over_all(tracker, [])
    tracker.close()
    assert not list(tmp_path.iterdir())


def test_wandb_is_not_imported_without_being_asked_for() -> None:
    code = (
        "import sys, mql.runs.tracking as t\n"
        "t.open_tracker('none', run_path=None, config={})\n"
        "assert not {'wandb', 'tensorboard'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
