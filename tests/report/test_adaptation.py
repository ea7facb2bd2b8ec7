"""A study of adaptation as tables: gains, intervals over runs and tasks, and what was made worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mql.report.adaptation import crossed_interval, draw_budgets, draw_task_weights, numbers_of, tables, worse


def cell(variant: str, seed: int, gains: list[float], budget: int = 5) -> dict[str, Any]:
    rows = [{"zero_shot_return": 10.0, "adapted_return": 10.0 + g, "zero_shot_success": None,
             "adapted_success": None, "episodes_charged": budget, "accepted": g != 0.0} for g in gains]  # fmt: skip
    pairs = [[[10.0, 10.0], [10.0 + g, 10.0 + g]] for g in gains]
    return {"family": "f", "split": "ood", "variant": variant, "budget": budget, "seed": seed, "commit": "c",
            "tasks": rows, "pairs": pairs}  # fmt: skip


def test_gains_and_their_part_of_the_headroom() -> None:
    cells = [cell("new", 1, [1.0, 3.0, 0.0]), cell("new", 2, [2.0, 0.0, 0.0]), cell("headroom", 1, [4.0, 4.0, 4.0], 0)]
    text, rows = tables(cells)
    [new, room] = rows
    assert new["gain"] == pytest.approx(1.0) and room["gain"] == pytest.approx(4.0)
    assert new["of_headroom"] == pytest.approx(1 / 3)  # of the run that has one: 4 of 12
    assert new["kept"] == pytest.approx(0.5)
    assert (new["runs"], new["tasks"], new["charged"], new["worse"]) == (2, 3, 5.0, 0.0)
    assert "33%" in text and "2 x 3" in text


def test_a_task_that_failed_counts_in_no_mean() -> None:
    broken = cell("new", 1, [1.0, 3.0])
    broken["tasks"][1] = {"zero_shot_return": 10.0, "adapted_return": None, "fault": "it broke"}
    _, [row] = tables([broken])
    assert row["gain"] == pytest.approx(1.0)


def test_a_task_that_failed_in_one_run_counts_in_none() -> None:
    broken = cell("new", 2, [1.0, 1.0, 50.0])
    broken["tasks"][2] = {"zero_shot_return": 10.0, "adapted_return": None, "fault": "it broke"}
    table, [row] = tables([cell("new", 1, [1.0, 1.0, 100.0]), broken])
    assert (row["gain"], row["tasks"]) == (pytest.approx(1.0), 2)
    assert row["ci95"] is None and "| +1.0 |" in table and "2 x 2" in table  # four values: no interval
    _, [row] = tables([cell("new", seed, [1.0, 1.0, 1.0]) for seed in (1, 2)])
    assert row["ci95"] == pytest.approx([1.0, 1.0])
    _, [row] = tables([cell("new", 1, [1.0, 3.0, 9.0]), cell("new", 2, [1.0, 3.0])])  # as many as both were given
    assert (row["gain"], row["tasks"]) == (pytest.approx(2.0), 2)
    for task in broken["tasks"]:
        task["adapted_return"] = None
    assert tables([cell("new", 1, [1.0, 1.0, 1.0]), broken])[1] == []


@pytest.mark.parametrize("room", [0.0, -1.0])
def test_where_there_is_no_headroom_no_part_of_it_is_said(room: float) -> None:
    _, rows = tables([cell("new", 1, [1.0]), cell("headroom", 1, [room], 0)])
    assert rows[0]["of_headroom"] is None


def test_intervals_see_runs_and_tasks() -> None:
    rng = np.random.default_rng(0)
    # All spread between runs, none between tasks: no wider than the runs, and not narrower for having many tasks.
    runs = np.tile(np.array([[0.0], [1.0], [2.0]]), (1, 50))
    low, high = crossed_interval(runs)
    assert low == pytest.approx(0.0, abs=0.4) and high == pytest.approx(2.0, abs=0.4)
    # All spread between tasks: as scipy's bootstrap over them.
    from scipy.stats import bootstrap

    tasks = np.tile(rng.normal(size=(1, 30)), (3, 1))
    theirs = bootstrap((tasks[0],), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert crossed_interval(tasks) == pytest.approx((theirs.low, theirs.high), abs=0.05)


def test_a_loss_counts_if_it_is_larger_than_its_own_error() -> None:
    same, lost, noisy = ([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0], [0.0, 1.1]), ([1.0, 2.0], [2.5, 0.4])
    assert worse([same]) == 0.0 and worse([lost]) == 1.0 and worse([noisy]) == 0.0
    assert worse([same, lost]) == 0.5 and worse([]) is None


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    cells = [cell("new", 1, [1.0, 2.0], budget) for budget in (1, 5)] + [cell("headroom", 1, [4.0, 4.0], 0)]
    assert draw_budgets(tmp_path / "a.png", tables(cells)[1]).stat().st_size > 5000


def test_weights_of_training_tasks_are_drawn(tmp_path: Path) -> None:
    one = [{"velocity": float(v)} for v in range(5)]
    two = [{"goal": [float(v), 1.0], "kind": "round"} for v in range(5)]
    for tasks in (one, two):
        assert draw_task_weights(tmp_path / "w.png", tasks, [0.2] * 5, tasks[0]).stat().st_size > 5000
    assert numbers_of(two[1]) == {"goal 0": 1.0, "goal 1": 1.0}
    with pytest.raises(ValueError, match="no numbers"):
        draw_task_weights(tmp_path / "w.png", [{"kind": "round"}], [1.0], {"kind": "round"})
