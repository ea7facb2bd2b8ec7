"""The checks that come before a training: a broken family is refused in one line, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab_definitions import REWARD, SETTINGS, SUCCESS, TINY, write_parallel, write_python
from lab_environments import Cart, set_gain

import mql
from mql import tasks
from mql.api import checking
from mql.cli import app as cli
from mql.errors import UserError
from mql.tasks.checks.effort import BRIEF
from mql.tasks.distributions import Uniform
from mql.tasks.family import TaskFamily

IDLE = "  colour: {value: {dist: uniform, low: 0, high: 1}}\n"


def test_a_definition_that_fails_a_check_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_parallel(tmp_path / "lab", parameters=IDLE, success=SUCCESS)
    run = tmp_path / "run"
    assert cli.run(["train", str(path), "--run-dir", str(run), *SETTINGS]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and not run.exists()
    assert err.startswith(f"error: the check stated fails: {path}:") and "parameters.colour" in err
    assert err.strip().endswith("fix that, or train all the same with --no-check (check=False in Python)")


def test_no_check_trains_all_the_same_and_a_run_that_goes_on_is_not_checked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_parallel(tmp_path / "lab", parameters=IDLE, success=SUCCESS)
    run = tmp_path / "run"
    assert cli.run(["train", str(path), "--run-dir", str(run), "--no-check", *SETTINGS]) == 0
    longer = ["--set", "train.env_steps=192"]
    assert cli.run(["train", str(path), "--run-dir", str(run), "--resume", *longer]) == 0
    capsys.readouterr()


def test_the_function_refuses_like_the_command(tmp_path: Path) -> None:
    path = write_python(tmp_path, reward=REWARD.replace("weight: 2.0", "weight: 0"))
    with pytest.raises(UserError, match=r"check stated fails: .*weight of 0.*check=False"):
        mql.train(path, run_dir=tmp_path / "run", settings=TINY, trust=True)
    assert not (tmp_path / "run").exists()


def family_around(make: Any = Cart, **parameters: Any) -> TaskFamily:
    return tasks.from_gymnasium(
        make, {"gain": Uniform(0.5, 2.0), **parameters}, name="lab", set_task=set_gain, episode_length=20
    )


def test_a_family_given_as_an_object_is_checked_in_a_worker(tmp_path: Path) -> None:
    checking.check_before_training(family_around(), None)
    broken = family_around(fault=Uniform(2.0, 2.5))
    with pytest.raises(UserError, match=r"check finite fails: .*step 3 gave nan"):
        mql.train(broken, run_dir=tmp_path / "run", settings=TINY)
    assert not (tmp_path / "run").exists()


def test_what_hangs_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checking, "BRIEF", replace(BRIEF, check_seconds=1.0))
    checking.check_before_training(family_around(fault=Uniform(6.0, 6.5)), None)
    err = capsys.readouterr().err
    assert "check finite was left out: it did not end within 1 s" in err and "'mql tasks check'" in err


def test_families_of_the_package_are_known_to_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("checked")

    monkeypatch.setattr(checking, "_run", refuse)
    checking.check_before_training(mql.load_family("point-robot"), None)
    with pytest.raises(AssertionError, match="checked"):
        checking.check_before_training(family_around(), None)


def test_the_cheap_checks_stand_in_the_table() -> None:
    assert set(checking.CHEAP) >= {"builds", "splits", "stated", "finite", "hidden", "effect"}


@pytest.mark.slow
def test_a_long_episode_that_shows_no_effect_proves_nothing(tmp_path: Path) -> None:
    """Whole episodes are the larger effort's; in the brief one only what is certain is refused."""
    family = partial(tasks.from_gymnasium, Cart, {"gain": Uniform(0.5, 2.0), "fault": Uniform(0.0, 0.5)}, name="lab")
    checking.check_before_training(family(set_task=set_gain, episode_length=200), None)
    with pytest.raises(UserError, match=r"check effect fails: no effect of 'fault'"):
        checking.check_before_training(family(set_task=set_gain, episode_length=20), None)


class Late(Cart):
    """Some episodes answer a step with four values."""

    every = 11
    resets = 0

    def reset(self, **given: Any) -> Any:
        type(self).resets += 1
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        return answer if type(self).resets % self.every or self.steps < 2 else (*answer[:3], {})


class Always(Late):
    every = 1


def test_an_episode_that_fails_is_no_reason_not_to_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = mql.train(family_around(Late), run_dir=tmp_path / "run", settings=TINY)
    lost = [fault for line in run.metrics() for fault in line.get("faults", ())]
    assert lost and all("step 2 gave 4 values, not 5" in fault for fault in lost)
    assert "was left out: it stopped: family lab: step 2 gave 4 values, not 5" in capsys.readouterr().err
    with pytest.raises(UserError, match="the check builds fails: it stopped: family lab: step 2 gave 4 values, not 5"):
        mql.train(family_around(Always), run_dir=tmp_path / "other", settings=TINY)
