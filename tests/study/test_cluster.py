"""A study on a Ray cluster of two nodes: the same runs as here, and what is lost with a node."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray_nodes import Two
from tiny_runs import TINY

import mql
from mql.cli import app as cli
from mql.runs.run_dir import without_machine_keys

pytest.importorskip("ray", reason="the extra cluster is not installed")

from mql.study import on_cluster

SETTINGS = TINY | {"train.env_steps": 3000, "train.checkpoint_every": 500, "adapt.method": "context"}
SETTINGS |= {"train.evaluate_every": 2000}


def study_file(folder: Path, **more: Any) -> Path:
    path = folder / "lab.yaml"
    data = {"schema": "mql.study/1", "families": ["point-robot"], "seeds": 2, "settings": SETTINGS, **more}
    path.write_text(yaml.safe_dump(data))
    return path


def figures(study: mql.Study) -> list[Any]:
    """All that is the same when the same runs are made again."""
    found = []
    for cell in study.cells:
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            lines = (study.path / cell.place / name).read_text(encoding="utf-8").splitlines()
            found.append([without_machine_keys(json.loads(line)) for line in lines])
    return found


def test_runs_go_on_elsewhere_where_a_node_is_lost_and_are_the_same_as_here(two: Two, tmp_path: Path) -> None:
    file = study_file(tmp_path)
    here = mql.run_study(file, directory=tmp_path / "here", workers=1)
    told: list[str] = []
    places = [tmp_path / "there" / cell.place for cell in here.cells]

    def lose() -> None:
        while not all((place / "checkpoints").is_dir() and any((place / "checkpoints").iterdir()) for place in places):
            time.sleep(0.05)
        two.lose()

    from mql.study.study import prepare

    there = prepare(file, directory=tmp_path / "there")
    losing = threading.Thread(target=lose, daemon=True)
    losing.start()
    try:
        there.make(cluster=two.address, workers=2, say=told.append)
    finally:
        there.close()
        losing.join(60.0)
        two.find()
    assert [state.state for state in there.states] == ["finished", "finished"]
    assert figures(there) == figures(here)
    # (More than once, where a node takes a run again before it counts as dead.)
    assert told and all(line.startswith("goes on elsewhere: point-robot/mql/default/seed-") for line in told), told
    assert not list((tmp_path / "there").glob(".shared-*"))


def test_a_folder_that_nodes_do_not_share_is_one_line(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Elsewhere(on_cluster.ClusterLauncher):
        def __init__(self, address: str, folder: Path) -> None:
            super().__init__(address, folder)
            self._text = "what another folder says"

    monkeypatch.setattr(on_cluster, "ClusterLauncher", Elsewhere)
    file = study_file(tmp_path, seeds=1)
    assert cli.run(["study", str(file), "--dir", str(tmp_path / "mine"), "--cluster", two.address]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: node ") and "does not see the study's folder" in error and "NFS" in error


def test_a_wrong_address_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = study_file(tmp_path, seeds=1)
    assert cli.run(["study", str(file), "--dir", str(tmp_path / "mine"), "--cluster", "ray://head:10001"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "error: 'ray://head:10001' is no address of a Ray cluster: write HOST:PORT, or auto"
