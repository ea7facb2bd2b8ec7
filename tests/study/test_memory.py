"""What the runs of one time need together, and what there is: memory, a GPU's memory, a disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from mql.api import plan
from mql.errors import UserError
from mql.runs.available_memory import AvailableMemory
from mql.study import cells as study_cells
from mql.study.cells import Cell, cells_of, check_cells
from mql.study.file import read_study


def cells(folder: Path, **more: Any) -> list[Cell]:
    data = {"schema": "mql.study/1", "families": ["point-robot"], "seeds": 3, **more}
    path = folder / "large.yaml"
    path.write_text(yaml.safe_dump(data))
    return cells_of(read_study(path))


DQN = {"methods": ["dqn"], "families": ["CartPole-v1"]}


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """How many bytes a fake machine has free, by device."""
    there = {"cpu": 1e12, "cuda": 1e12}
    monkeypatch.setattr(plan, "available_memory", lambda device: AvailableMemory(there[device], f"on this {device}"))
    monkeypatch.setattr(study_cells, "check_device", lambda config: None)
    return there


def check(made: list[Cell], workers: int) -> None:
    check_cells(made, workers=workers, trust=False, check=False)


def needed(cell: Cell, place: str) -> float:
    family = study_cells.registry.load(cell.config.family)
    return sum(need.nbytes for need in plan.needs_at_once(cell.config, family) if need.place == place)


@pytest.mark.parametrize(
    ("place", "more", "key"),
    [
        ("cuda", {"settings": {"device": "cuda"}}, "train.replay_capacity"),
        ("cuda", {"settings": {"device": "cuda", "agent.hidden_sizes": [2000, 2000]}}, "agent.hidden_sizes"),
        ("cpu", {}, "train.replay_capacity"),
        ("cpu", DQN | {"settings": {"q_learning.replay_capacity": 5_000_000}}, "q_learning.replay_capacity"),
        ("cpu", {"methods": ["p3o"], "settings": {"p3o.replay_capacity": 5_000_000}}, "p3o.replay_capacity"),
    ],
)
def test_runs_of_one_time_that_fit_only_one_by_one_are_refused(
    place: str, more: dict[str, Any], key: str, free: dict[str, float], tmp_path: Path
) -> None:
    made = cells(tmp_path, **more)
    one = needed(made[0], place)
    free[place] = 2.5 * one
    check(made, workers=2)
    with pytest.raises(UserError) as caught:
        check(made, workers=3)
    assert caught.value.where == "workers"
    assert f"3 runs at the same time need {3 * one / 1e9:,.1f} GB" in str(caught.value)
    assert f"free on this {place}" in str(caught.value) and str(caught.value).endswith(f"lower {key}")


def test_the_largest_ones_may_be_made_at_the_same_time(free: dict[str, float], tmp_path: Path) -> None:
    variants = {"small": {"train.replay_capacity": 10_000}, "large": {"train.replay_capacity": 5_000_000}}
    made = cells(tmp_path, seeds=2, variants=variants, settings={"device": "cuda"})
    small, large = (next(needed(cell, "cuda") for cell in made if cell.variant == name) for name in variants)
    free["cuda"] = large + 2 * small
    check(made, workers=1)
    with pytest.raises(UserError, match="2 runs at the same time need"):
        check(made, workers=2)


def test_a_run_that_does_not_fit_alone_is_told_what_to_lower(free: dict[str, float], tmp_path: Path) -> None:
    made = cells(tmp_path, seeds=1, settings={"device": "cuda"})
    free["cuda"] = 0.9 * needed(made[0], "cuda")
    with pytest.raises(UserError) as caught:
        check(made, workers=1)
    assert "a run needs " in str(caught.value) and caught.value.where == "train.replay_capacity"
    assert "workers" not in str(caught.value)


def test_replays_on_one_disk_are_added_up(
    free: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cells(tmp_path, settings={"train.replay_on_disk": str(tmp_path)})
    free["cpu"] = 0.5 * needed(made[0], str(tmp_path)) + 3 * needed(made[0], "cpu")
    usage = SimpleNamespace(free=2.5 * needed(made[0], str(tmp_path)))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check(made, workers=2)
    with pytest.raises(UserError, match=rf"3 runs at the same time need .* free in {tmp_path}"):
        check(made, workers=3)
