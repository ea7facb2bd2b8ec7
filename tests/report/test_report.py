"""Pictures are drawn from records, whatever a run has of them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mql.report.curves import _draw_returns, _duration, _short_number, draw_quickstart, draw_training
from mql.report.learning_curve import learning_curve


def evaluation(
    env_steps: int,
    zero_shot: Sequence[float],
    adapted: Sequence[float] | None = None,
    *,
    random: Sequence[float] | None = None,
    success: Sequence[float] | None = None,
    split: str = "test",
) -> dict[str, Any]:
    """An evaluation's record: a return for each task, and the tasks solved."""

    def row(task: int) -> dict[str, Any]:
        return {
            "parameters": {"goal": float(task)},
            "zero_shot_return": zero_shot[task],
            "adapted_return": adapted[task] if adapted else None,
            "random_return": random[task] if random else None,
            "zero_shot_success": success[task] if success else None,
            "adapted_success": success[task] if success and adapted else None,
            "random_success": 0.0 if success and random else None,
        }

    return {
        "env_steps": env_steps,
        "updates": env_steps // 10,
        "wall_seconds": env_steps / 100,
        "split": split,
        "tasks": [row(task) for task in range(len(zero_shot))],
    }


TARGETS = {"random": [0.3] * 5, "zero_shot": [0.08] * 5, "adapted": [0.02 * k for k in range(5)]}


def size(path: Path) -> tuple[int, int]:
    """Width and height that the PNG header states, in pixels."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


@pytest.mark.parametrize(
    "evaluations",
    [
        [evaluation(0, [-50.0])],
        [evaluation(0, [-50.0]), evaluation(10_000, [-20.0], [-15.0])],
        [evaluation(step, [step / 500, 1.0], [step / 400, 2.0], random=[0, 0]) for step in range(0, 20_000, 5_000)],
    ],
    ids=["one, not adapted", "adapted once", "curve"],
)
@pytest.mark.parametrize("finished", [False, True])
def test_training_picture(tmp_path: Path, evaluations: list[dict[str, Any]], finished: bool) -> None:
    metrics = [{"env_steps": 500, "wall_seconds": 3.0}]
    path = draw_training(tmp_path / "curve.png", metrics, evaluations, finished=finished, title="a")
    assert size(path) == (1040, 676)


def test_success_has_a_picture_beside_it(tmp_path: Path) -> None:
    path = draw_training(tmp_path / "a.png", [], [evaluation(100, [1.0], success=[1.0])], finished=True)
    assert size(path) == (1690, 676)


def test_quickstart_picture(tmp_path: Path) -> None:
    path = draw_quickstart(
        tmp_path / "quickstart.png", [evaluation(100, [-5.0], [-4.0])], {"near": TARGETS, "far": TARGETS}
    )
    assert size(path) == (1950, 676)


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one evaluation"):
        draw_training(tmp_path / "a.png", [], [], finished=False)
    with pytest.raises(ValueError, match="at least one held-out task"):
        draw_quickstart(tmp_path / "a.png", [evaluation(0, [0.0])], {})
    assert not list(tmp_path.iterdir())


LAST = evaluation(20, [3.0, 5.0, -90.0], [6.0, 8.0, -80.0], random=[-2.0, -4.0, -300.0], success=[1.0, 0.0, 0.0])
WIDER = [evaluation(10, [1.0, 3.0], [2.0, 4.0], success=[0.0, 1.0]), LAST]


def test_a_curve_keeps_to_the_tasks_that_all_evaluations_share() -> None:
    """The third task is in the last evaluation only: it neither bends the curve nor counts as its worst."""
    curve = learning_curve(WIDER, finished=True)
    assert curve.n_tasks == 2 and curve.n_final_tasks == 3
    assert [(p.env_steps, p.mean, p.worst, p.success) for p in curve.points["zero_shot"]] == [
        (10, 2.0, 1.0, 0.5),
        (20, 4.0, 3.0, 0.5),
    ]
    assert [(p.mean, p.worst) for p in curve.points["adapted"]] == [(3.0, 2.0), (7.0, 6.0)]
    assert all(p.low is None and p.high is None for p in curve.points["zero_shot"])  # two tasks: no interval
    five = learning_curve([evaluation(10, [1.0, 3.0, 3.0, 3.0, 3.0])], finished=False).points["zero_shot"]
    assert all(p.low is not None and p.high is not None and 1.0 <= p.low <= p.mean <= p.high for p in five)
    final = curve.final["zero_shot"]
    assert final.mean == pytest.approx(-82 / 3) and final.worst == -90.0 and final.success == pytest.approx(1 / 3)
    assert (curve.random_return, curve.random_success) == (-3.0, 0.0)


def test_an_unfinished_run_has_no_final_evaluation() -> None:
    curve = learning_curve(WIDER, finished=False)
    assert curve.final == {} and curve.n_final_tasks == 0 and len(curve.points["zero_shot"]) == 2


def test_a_task_that_failed_once_is_left_out_throughout() -> None:
    failed = evaluation(30, [0.0, 7.0], [1.0, 7.0])
    failed["tasks"][0] |= {"fault": "it broke", "zero_shot_return": None, "adapted_return": None}
    curve = learning_curve([*WIDER, failed], finished=True)
    assert (curve.n_tasks, curve.n_final_tasks) == (1, 1)
    assert [point.mean for point in curve.points["zero_shot"]] == [3.0, 5.0, 7.0]
    failed["tasks"][1]["parameters"] = {"goal": 17.0}
    with pytest.raises(ValueError, match="no task in common"):
        learning_curve([*WIDER, failed], finished=True)


def test_another_split_is_another_curve() -> None:
    other = evaluation(15, [100.0]) | {"split": "ood"}
    assert learning_curve([other, *WIDER], finished=True) == learning_curve(WIDER, finished=True)


WATCHED = [
    evaluation(0, [0.0, 1.0], random=[-1.0, -3.0], split="validation"),
    evaluation(10, [1.0, 3.0], [2.0, 4.0], split="validation"),
    evaluation(30, [3.0, 5.0, -90.0], [6.0, 8.0, -80.0], random=[7.0, 7.0, 7.0]),
]


def test_the_curve_is_of_validation_tasks_and_the_final_evaluation_of_test_tasks() -> None:
    """Whatever the final evaluation gives on other tasks is no point of the curve, though tasks may look alike."""
    curve = learning_curve(WATCHED, finished=True)
    assert (curve.kind, curve.n_tasks, curve.final_kind, curve.n_final_tasks) == ("validation", 2, "test", 3)
    assert curve.env_steps == [0, 10] and [p.mean for p in curve.points["zero_shot"]] == [0.5, 2.0]
    assert curve.final["zero_shot"].env_steps == 30 and curve.random_return == -2.0
    axes = drawn(WATCHED)
    legend = axes.get_legend()
    assert legend is not None
    texts = [text.get_text() for text in legend.get_texts()]
    assert "zero-shot, 2 validation tasks" in texts and "zero-shot, final evaluation: 3 test tasks" in texts
    assert "random actions, 2 validation tasks" in texts
    assert axes.get_xlim()[1] > 30
    unfinished = learning_curve(WATCHED[:2], finished=False)
    assert (unfinished.kind, unfinished.points, unfinished.final) == ("validation", curve.points, {})


def test_an_older_run_that_went_on_has_the_curve_of_its_newer_evaluations() -> None:
    """It was evaluated on test tasks before, on validation tasks since."""
    older = [evaluation(step, [50.0, 50.0]) for step in (-20, -10)]
    assert learning_curve([*older, *WATCHED], finished=True) == learning_curve(WATCHED, finished=True)


def test_a_split_of_training_tasks_is_called_what_it_is() -> None:
    shared = [record | {"shared_splits": True} for record in WATCHED[:2]]
    curve = learning_curve([*shared, WATCHED[2] | {"shared_splits": False}], finished=True)
    assert (curve.kind, curve.final_kind) == ("training", "test")


def drawn(evaluations: list[dict[str, Any]], *, finished: bool = True) -> Axes:
    axes = Figure().subplots()
    _draw_returns(axes, learning_curve(evaluations, finished=finished), worst=True)
    return axes


def test_the_final_evaluation_has_symbols_and_legend_entries_of_its_own() -> None:
    axes = drawn(WIDER)
    legend = axes.get_legend()
    assert legend is not None
    assert sorted(text.get_text() for text in legend.get_texts()) == [
        "adapted, 2 test tasks",
        "adapted, final evaluation: 3 test tasks",
        "adapted, worst of them",
        "random actions, 2 test tasks",
        "zero-shot, 2 test tasks",
        "zero-shot, final evaluation: 3 test tasks",
        "zero-shot, worst of them",
    ]
    markers = {line.get_marker() for line in axes.lines if list(line.get_xdata()) == [20]}
    assert {"D", "*"} <= markers and not {"o", "s"} & markers
    assert "final" not in str([text.get_text() for text in drawn(WIDER, finished=False).get_legend().get_texts()])  # type: ignore[union-attr]


def test_the_axes_hold_a_final_evaluation_far_from_the_curve() -> None:
    for records in (WIDER, WIDER[1:]):
        low, high = drawn(records).get_ylim()
        point = learning_curve(records, finished=True).final["zero_shot"]
        assert point.low is None and low < point.mean < high


def test_a_line_does_not_cross_evaluations_that_did_not_adapt() -> None:
    records = [evaluation(10, [1.0], [2.0]), evaluation(20, [1.0]), evaluation(30, [1.0], [3.0])]
    (line,) = [line for line in drawn(records).lines if line.get_label() == "adapted, 1 test task"]
    heights = [float(y) for y in line.get_ydata()]
    assert heights[0] == 2.0 and math.isnan(heights[1]) and heights[2] == 3.0


def test_matplotlib_is_imported_at_the_first_picture_only() -> None:
    code = "import sys, mql.report.curves; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_are_short() -> None:
    assert [_short_number(value) for value in (0, 500, 2_500, 1_500_000)] == ["0", "500", "2.5k", "1.5M"]
    assert [_duration(value) for value in (42, 600, 7_200)] == ["42 s", "10 min", "2.0 h"]
