"""Runs whose configuration makes the family harder: in training, evaluation, adaptation, and whenever they go on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lab_definitions import TINY as LAB_TINY
from lab_definitions import write_parallel, write_python
from tiny_runs import TINY

import mql
from mql.config.loading import load_config, read_resolved, to_yaml
from mql.runs.run_dir import without_machine_keys
from mql.tasks import registry
from mql.tasks.disturbances.family import DisturbedFamily, undisturbed
from mql.tasks.disturbances.settings import Sensing
from mql.tasks.stepping.rollout import MujocoFamily

HARD = {
    "env.sensing.noise": 0.05,
    "env.sensing.delay_s": 0.1,
    "env.sensing.history": 2,
    "env.actuation.gain": [1.0, 0.5],
    "env.actuation.rate_limit": 8.0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> mql.Run:
    """A finished run; tests only read it."""
    path = tmp_path_factory.mktemp("hard") / "run"
    return mql.train("point-robot", run_dir=path, seed=3, settings={**TINY, **HARD})


def test_the_configuration_is_saved_and_read_back(run: mql.Run, tmp_path: Path) -> None:
    config = mql.open_run(run.path).config
    assert config.env.sensing.noise == 0.05 and config.env.actuation.gain == (1.0, 0.5)
    saved = yaml.safe_load((run.path / "config.yaml").read_text())
    assert saved["env"]["actuation"] == {"delay_s": 0.0, "gain": [1.0, 0.5], "rate_limit": 8.0}
    named = load_config("point-robot", overrides=["env.sensing.noise=task.goal", "env.actuation.gain=-1"])
    (tmp_path / "config.yaml").write_text(to_yaml(named))
    assert read_resolved(tmp_path / "config.yaml") == named == load_config(str(tmp_path / "config.yaml"))


def test_all_that_a_run_does_is_done_with_the_harder_family(run: mql.Run) -> None:
    again = mql.open_run(run.path)
    family = again.family
    assert isinstance(family, DisturbedFamily) and family.obs_dim == 4
    assert family.sensed[0].sensing == Sensing(noise=0.05, delay_s=0.1, history=2)
    assert undisturbed(family) is registry.load("point-robot")
    assert again.agent().obs_dim == 4 and again.policy().act(np.zeros(4)).shape == (2,)
    adapted = again.adapt(task={"goal": [0.5, -0.5]})
    assert adapted.episodes is not None
    for episode in adapted.episodes:  # seen with a history: the second half is the first of a step before
        assert np.array_equal(episode.obs[1:, 2:], episode.obs[:-1, :2])
    assert isinstance(adapted.family, DisturbedFamily) and adapted.compare()
    assert again.evaluate(tasks=2, adapt=False)["tasks"] == again.evaluate(tasks=2, adapt=False)["tasks"]


def test_a_saved_agent_keeps_it(run: mql.Run, tmp_path: Path) -> None:
    run.adapt(task={"goal": [0.5, -0.5]}).save(tmp_path / "adapted")
    loaded = mql.Adapted.load(tmp_path / "adapted")
    assert isinstance(loaded.family, DisturbedFamily) and loaded.evaluate()["tasks"]


def test_a_resumed_run_is_the_one_that_was_not_interrupted(run: mql.Run, tmp_path: Path) -> None:
    short = {**TINY, **HARD, "train.env_steps": 300}
    mql.train("point-robot", run_dir=tmp_path / "run", seed=3, settings=short)
    longer = mql.train("point-robot", run_dir=tmp_path / "run", resume=True, settings={"train.env_steps": 600})
    ours, theirs = (dict(each.agent().named_tensors()) for each in (run, longer))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [without_machine_keys(line) for line in run.metrics()] == [
        without_machine_keys(line) for line in longer.metrics()
    ]


def test_it_is_fixed_once_training_has_begun(run: mql.Run) -> None:
    with pytest.raises(mql.UserError, match=r"env.sensing.noise is 0.0, but the run was started with 0.05"):
        mql.train("point-robot", run_dir=run.path, resume=True, settings={"env.sensing.noise": 0.0})
    with pytest.raises(mql.UserError, match=r"env.sensing.noise was fixed when the agent was trained"):
        run.evaluate(settings={"env.sensing.noise": 0.0})


def test_a_family_given_as_an_object_is_made_harder_once(tmp_path: Path) -> None:
    family = registry.load("point-robot")
    run = mql.train(family, run_dir=tmp_path / "run", settings={**TINY, **HARD})
    assert isinstance(run.family, DisturbedFamily) and run.family.inner is family
    assert mql.open_run(run.path, family=family).family.obs_dim == 4


def test_nothing_is_written_where_it_cannot_be_simulated(tmp_path: Path) -> None:
    for key, value, message in (
        ("env.sensing.delay_s", 5.0, "an episode lasts 2 s"),
        ("env.sensing.noise", "task.gaol", r"\(env.sensing.noise\): did you mean 'goal'"),
        ("env.actuation.gain", [1.0], r"gain has 1 number \(env.actuation.gain\): give 2"),
    ):
        with pytest.raises(mql.UserError, match=message):
            mql.train("point-robot", run_dir=tmp_path / "run", settings={key: value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("python", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_definition_is_made_harder_than_it_says(tmp_path: Path, python: bool) -> None:
    path = write_python(tmp_path / "lab") if python else write_parallel(tmp_path / "lab")
    path.write_text(path.read_text() + "sensing: {all: {noise: 0.01}}\n")
    settings = {**LAB_TINY, "env.sensing.history": 2, "collect.workers": 2 if python else 1}
    run = mql.train(path, run_dir=tmp_path / "run", settings=settings, trust=True)
    again = mql.open_run(run.path, trust=True).family
    assert isinstance(again, DisturbedFamily) and isinstance(again.inner, DisturbedFamily)
    assert again.obs_dim == 8 and (again.native, again.depth) == (not python, 1)


def test_a_run_keeps_what_it_randomises(tmp_path: Path) -> None:
    settings = {**TINY, "env.randomise.body_mass": [0.5, 1.5]}
    run = mql.train("reacher-goal", run_dir=tmp_path / "run", seed=3, settings=settings)
    again = mql.open_run(run.path)
    assert again.config.env.randomise.ranges == {"body_mass": (0.5, 1.5)}
    family = again.family
    assert isinstance(family, MujocoFamily) and family.physics is not None and family.physics.draws
    assert again.evaluate(tasks=1, adapt=False)["tasks"] == again.evaluate(tasks=1, adapt=False)["tasks"]
    with pytest.raises(mql.UserError, match=r"env.randomise.body_mass"):
        mql.train("reacher-goal", run_dir=run.path, resume=True, settings={"env.randomise.body_mass": [0.9, 1.1]})
    with pytest.raises(mql.UserError, match=r"no MuJoCo model .*leave out env.randomise.body_mass"):
        mql.train("point-robot", run_dir=tmp_path / "other", settings=settings)
    assert not (tmp_path / "other").exists()
