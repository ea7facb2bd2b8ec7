"""Runs whose collection lags behind their updates, made longer."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.training.test_loop import config_of, last_checkpoint, resume, start


def test_a_run_whose_collection_lags_is_made_longer_bit_for_bit_too(tmp_path: Path) -> None:
    """What plays the iteration after its end is stored with it."""
    lag = ["train.collection_lag=1", "train.evaluate_every=800"]
    start(tmp_path / "long", config_of("train.env_steps=800", *lag))
    start(tmp_path / "run", config_of("train.env_steps=600", *lag))
    resume(tmp_path / "run", config=config_of("train.env_steps=800", *lag))
    long, made_longer = last_checkpoint(tmp_path / "long"), last_checkpoint(tmp_path / "run")
    assert long.tensors.keys() == made_longer.tensors.keys()
    assert all(torch.equal(long.tensors[name], made_longer.tensors[name]) for name in long.tensors)
