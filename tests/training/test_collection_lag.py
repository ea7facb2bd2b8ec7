"""Runs whose collection lags behind their updates: stopped in it, left without an episode by it, or made longer."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mql.learning import collection
from mql.stopping import GivenUp, given_up
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.training import stopping
from mql.training.loop import Interrupted
from tests.training.test_loop import assert_equal_runs, config_of, last_checkpoint, resume, start

LAG = ("train.collection_lag=1", "train.task_sampling=worst", "train.env_steps=800")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("lagging") / "whole"
    start(path, config_of(*LAG))
    return path


def test_a_stop_while_episodes_are_waited_for_saves_the_run_which_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM comes when the updates are through, or nearly so, and a worker process does not answer."""
    monkeypatch.setattr(stopping, "WAITING", 0.1)
    play, calls = collection.collect_each, []

    def hangs(*args: Any, **more: Any) -> Any:
        calls.append(threading.current_thread() is threading.main_thread())
        if len(calls) != 4:
            return play(*args, **more)
        os.kill(os.getpid(), signal.SIGTERM)
        last = time.monotonic() + 60.0
        while not given_up() and time.monotonic() < last:
            time.sleep(0.01)
        raise GivenUp("a worker process was asked for nothing more")

    monkeypatch.setattr(collection, "collect_each", hangs)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", config_of(*LAG))
    assert calls == [True, False, False, False]
    stopped = last_checkpoint(tmp_path / "run")
    assert stopped.env_steps == 300 and stopped.state["ahead"] < stopped.state["updates"]
    monkeypatch.undo()
    resume(tmp_path / "run")
    assert_equal_runs(whole, tmp_path / "run")


def test_where_no_episode_played_ahead_can_be_finished_the_run_is_saved_and_goes_on(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, calls = collection.collect_each, []

    def fails(agent: Any, family: Any, tasks: Any, *args: Any, **more: Any) -> Any:
        calls.append(tasks)
        if len(calls) != 4:
            return play(agent, family, tasks, *args, **more)
        return [episode_fault(task, "the gearbox is jammed") for task in tasks]

    monkeypatch.setattr(collection, "collect_each", fails)
    with pytest.raises(EpisodeFault, match="gearbox"):
        start(tmp_path / "run", config_of(*LAG))
    assert len(calls) == 4
    assert last_checkpoint(tmp_path / "run").env_steps == 300
    monkeypatch.undo()
    resume(tmp_path / "run")
    assert_equal_runs(whole, tmp_path / "run")


def test_a_run_is_made_longer_bit_for_bit(tmp_path: Path) -> None:
    """What plays the iteration after its end is stored with it."""
    lag = ["train.collection_lag=1", "train.evaluate_every=800"]
    start(tmp_path / "long", config_of("train.env_steps=800", *lag))
    start(tmp_path / "run", config_of("train.env_steps=600", *lag))
    resume(tmp_path / "run", config=config_of("train.env_steps=800", *lag))
    long, made_longer = last_checkpoint(tmp_path / "long"), last_checkpoint(tmp_path / "run")
    assert long.tensors.keys() == made_longer.tensors.keys()
    assert all(torch.equal(long.tensors[name], made_longer.tensors[name]) for name in long.tensors)
