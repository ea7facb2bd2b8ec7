"""The metric sinks, against a stand-in for the wandb module: no network, no account."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mql.runs.tracking import NoTracker, WandbTracker, open_tracker


class FakeWandb:
    """Remembers what it is told; `fail_at` names the call that raises."""

    def __init__(self, *, key: bool = False, fail_at: str | None = None, error: BaseException | None = None) -> None:
        self.key, self.fail_at, self.error = key, fail_at, error or RuntimeError("no\nservice")
        self.options: dict[str, Any] = {}
        self.records: list[dict[str, float]] = []
        self.steps: list[int] = []
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

    def finish(self) -> None:
        self._maybe_fail("finish")
        self.finished = True


def use(monkeypatch: pytest.MonkeyPatch, wandb: object) -> None:
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)


def opened(path: Path, warnings: list[str]) -> WandbTracker:
    tracker = open_tracker("wandb", run_path=path / "reacher-0", config={"seed": 0}, warn=warnings.append)
    assert isinstance(tracker, WandbTracker)
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


def test_no_tracker_takes_everything(tmp_path: Path) -> None:
    tracker = open_tracker("none", run_path=tmp_path, config={})
    assert isinstance(tracker, NoTracker)
    tracker.log({"env_steps": 1})
    tracker.close()
    assert not list(tmp_path.iterdir())


def test_wandb_is_not_imported_without_being_asked_for() -> None:
    code = (
        "import sys, mql.runs.tracking as t\n"
        "t.open_tracker('none', run_path=None, config={})\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
