"""Pictures are drawn from records, whatever a run has of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mql.report.curves import _duration, _short_number, draw_quickstart, draw_training


def evaluation(env_steps: int, zero_shot: float, adapted: float | None) -> dict[str, Any]:
    def summary(mean: float) -> dict[str, Any]:
        return {"mean": mean, "min": mean - 3, "iqm": mean, "ci95": [mean - 1, mean + 1]}

    return {
        "env_steps": env_steps,
        "updates": env_steps // 10,
        "wall_seconds": env_steps / 100,
        "split": "test",
        "summary": {
            "zero_shot": summary(zero_shot),
            "adapted": None if adapted is None else summary(adapted),
            "gain": None if adapted is None else {"mean": adapted - zero_shot, "ci95": [0.0, 1.0]},
        },
        "tasks": [],
    }


ROWS = [{"untrained_distance": 0.3, "zero_shot_distance": 0.08, "adapted_distance": 0.02 * k} for k in range(5)]


def size(path: Path) -> tuple[int, int]:
    """Width and height that the PNG header states, in pixels."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


@pytest.mark.parametrize(
    "evaluations",
    [
        [evaluation(0, -50.0, None)],
        [evaluation(0, -50.0, None), evaluation(10_000, -20.0, -15.0)],
        [evaluation(step, -50.0 + step / 500, -48.0 + step / 500) for step in range(0, 20_000, 5_000)],
    ],
    ids=["one, not adapted", "adapted once", "curve"],
)
def test_training_picture(tmp_path: Path, evaluations: list[dict[str, Any]]) -> None:
    path = draw_training(tmp_path / "curve.png", [{"env_steps": 500, "wall_seconds": 3.0}], evaluations, title="a")
    assert size(path) == (1040, 624)


def test_quickstart_picture(tmp_path: Path) -> None:
    path = draw_quickstart(tmp_path / "quickstart.png", [evaluation(100, -5.0, -4.0)], ROWS, title="reacher-goal")
    assert size(path) == (1430, 624)


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one evaluation"):
        draw_training(tmp_path / "a.png", [], [])
    with pytest.raises(ValueError, match="at least one held-out task"):
        draw_quickstart(tmp_path / "a.png", [evaluation(0, 0.0, None)], [])
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_imported_at_the_first_picture_only() -> None:
    code = "import sys, mql.report.curves; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_are_short() -> None:
    assert [_short_number(value) for value in (0, 500, 2_500, 1_500_000)] == ["0", "500", "2.5k", "1.5M"]
    assert [_duration(value) for value in (42, 600, 7_200)] == ["42 s", "10 min", "2.0 h"]
