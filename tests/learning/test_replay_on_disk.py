"""A replay whose table lies in a file: the same batches, no file left, and clear words where there is no room."""

from __future__ import annotations

import os
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from tiny_runs import TINY

import mql
from mql.api import plan
from mql.errors import UserError
from mql.learning.rings import zeros

USAGE = namedtuple("USAGE", "total used free")


def test_zeros_lie_in_a_file_without_a_name(tmp_path: Path) -> None:
    table = zeros((1000, 3), np.float32, "cpu", tmp_path)
    assert table.shape == (1000, 3) and table.dtype == torch.float32 and not table.any()
    table[7] = torch.tensor([1.0, 2.0, 3.0])
    assert table.sum() == 6.0 and not os.listdir(tmp_path)
    assert any(str(tmp_path) in line for line in Path("/proc/self/maps").read_text().splitlines())


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"missing.*{tmp_path}"):
        zeros((10,), np.float32, "cpu", tmp_path / "none")


@pytest.mark.parametrize("method", ["mql", "pearl"])
def test_a_run_is_the_same_with_its_replay_on_disk(method: str, tmp_path: Path) -> None:
    """It may also go on from memory to the disk."""
    (tmp_path / "disk").mkdir()
    on_disk = {"train.replay_on_disk": str(tmp_path / "disk")}
    settings: dict[str, Any] = {key: value for key, value in TINY.items() if not key.startswith("adapt.")}
    for name, more in (("memory", {}), ("file", on_disk)):
        mql.train("point-robot", run_dir=tmp_path / name, method=method, settings={**settings, **more})
    short = {**settings, "train.env_steps": 300}
    mql.train("point-robot", run_dir=tmp_path / "both", method=method, settings=short)
    mql.train("point-robot", run_dir=tmp_path / "both", resume=True, settings={**on_disk, "train.env_steps": 600})
    assert not os.listdir(tmp_path / "disk")
    expected, *others = (
        safetensors.torch.load_file(mql.open_run(tmp_path / name).path / "checkpoints" / "600" / "agent.safetensors")
        for name in ("memory", "file", "both")
    )
    for other in others:
        assert expected.keys() == other.keys() and all(torch.equal(expected[key], other[key]) for key in expected)


def test_a_disk_without_room_is_refused_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.shutil, "disk_usage", lambda folder: USAGE(1e9, 1e9, 1e6))
    settings = {**TINY, "train.replay_capacity": 1_000_000, "train.replay_on_disk": str(tmp_path)}
    with pytest.raises(UserError, match=r"0.0 GB are free there; lower train.replay_capacity"):
        mql.train("point-robot", run_dir=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_it_is_for_batches_that_are_made_on_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batches are made on cuda"):
        mql.load_config("point-robot", overrides={"train.replay_on_disk": str(tmp_path), "device": "cuda"})
