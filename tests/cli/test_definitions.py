"""Definitions on the command line: train, resume, evaluate, adapt, check, show and render, and what a run keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from lab_definitions import PYTHON, SETTINGS, write_parallel, write_python
from PIL import Image

from mql.api.families import builder
from mql.cli import app as cli
from mql.config.loading import load_config, load_experiment
from mql.errors import UserError
from mql.runs.definition import kept_definition
from mql.runs.run_dir import RunDir
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.definitions.file import read_definition


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, and a user without a list of trusted definitions."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert cli.run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def error(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert cli.run([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and err.startswith("error: "), err
    return err


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_a_definition_is_trained_resumed_evaluated_and_adapted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    lab = tmp_path / "lab"
    path = write_parallel(lab) if kind == "parallel" else write_python(lab)
    trust = [] if kind == "parallel" else ["--trust"]
    digest = read_definition(path).digest
    result = run(capsys, "train", "lab/cart.yaml", "--run-dir", "run", *trust, *SETTINGS)
    assert (result["family"], result["family_digest"], len(result["tasks"])) == ("lab-cart", digest, 2)
    assert isinstance(result["tasks"][0]["adapted_success"], float)

    opened = RunDir.open_readonly("run")
    assert opened.config.family == "lab-cart" and opened.read_evaluations()[-1]["family_digest"] == digest
    kept = kept_definition(opened.path)
    assert kept is not None and kept.digest == digest
    assert kept.path == tmp_path / "run" / "definition" / digest / "cart.yaml"
    assert read_definition(kept.path).digest == digest
    # The original may move: the run has its own copy.
    longer = [*trust, "--set", "train.env_steps=192"]
    shutil.move(lab, tmp_path / "moved")
    lab.mkdir()
    assert run(capsys, "train", "lab-cart", "--run-dir", "run", "--resume", *longer)["env_steps"] == 192
    shutil.rmtree(lab)
    shutil.move(tmp_path / "moved", lab)
    assert run(capsys, "train", path, "--run-dir", "run", "--resume", *trust)["env_steps"] == 192
    record = run(capsys, "evaluate", "run", "--split", "ood", "--tasks", "1", *trust)
    assert record["family_digest"] == digest and record["split"] == "ood"
    row = run(capsys, "adapt", "run", "--task", "goal=0.3", "mass=1", *trust)
    assert row["parameters"] == {"goal": 0.3, "mass": 1.0} and row["family_digest"] == digest

    path.write_text(path.read_text().replace("hold: 2", "hold: 3"))
    said = error(capsys, "train", path, "--run-dir", "run", "--resume", *trust)
    assert "the definition has changed since the run was started" in said and "start a new run" in said
    kept.path.write_text(path.read_text())
    assert "restore it from a copy" in error(capsys, "evaluate", "run", *trust)


def test_an_experiment_names_its_definition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parallel(tmp_path / "lab")
    Path("lab/experiment.yaml").write_text("family: cart.yaml\nadapt: {adaptation_episodes: 2}\n")
    config, definition, _ = load_experiment("lab/experiment.yaml")
    assert (config.family, config.adapt.adaptation_episodes) == ("lab-cart", 2)
    assert definition == Path("lab/cart.yaml")
    assert run(capsys, "train", "lab/experiment.yaml", "--run-dir", "run", *SETTINGS)["family"] == "lab-cart"
    Path("lab/experiment.yaml").write_text("family: crt.yaml\n")
    assert "no such file (lab/experiment.yaml:1 family)" in error(capsys, "train", "lab/experiment.yaml")
    Path("lab/experiment.yaml").write_text("family: experiment.yaml\n")
    assert "does not define a family (lab/experiment.yaml:1 family)" in error(capsys, "train", "lab/experiment.yaml")


def test_a_definition_gets_the_experiment_of_its_name(tmp_path: Path) -> None:
    text = Path(__file__).parents[2].joinpath("examples/cheetah-vel-yaml.yaml").read_text()
    Path("own.yaml").write_text(text)
    assert load_config("own.yaml").train == load_config("cheetah-vel").train
    assert load_config("own.yaml").family == "cheetah-vel-yaml"
    write_parallel(tmp_path)
    assert load_config("cart.yaml").train == load_config("any-other").train  # the defaults


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_parallel(tmp_path)
    shown = run(capsys, "tasks", "show", path)
    assert (shown["name"], shown["obs_dim"], shown["native"]) == ("lab-cart", 4, True)
    assert len(shown["splits"]["train"]) == 6 and shown["parameters"]["mass"]["bounds"][0] > 0.0
    assert cli.run(["tasks", "show", str(path)]) == 0
    assert "where the cart should be" in capsys.readouterr().out


@pytest.mark.slow
def test_check_and_render_take_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_python(tmp_path)
    lines = run(capsys, "tasks", "check", path, "--quick", "--trust")
    assert [line["check"] for line in lines] == list(CHECKS) and {line["family"] for line in lines} == {str(path)}
    assert not [line for line in lines if line["result"] == "fail"], lines
    assert cli.run(["tasks", "render", str(path), "-o", "grid.png", "--tasks", "2", "--trust"]) == 0
    assert Image.open("grid.png").format == "PNG"


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_a_sound_definition_passes_every_check(tmp_path: Path, kind: str) -> None:
    path = write_parallel(tmp_path) if kind == "parallel" else write_python(tmp_path)
    inspection = Inspection(build=builder(str(path), trust=True), effort=QUICK)
    verdicts = {name: run_check(inspection, name) for name in CHECKS if name != "render"}
    assert not {name: verdict for name, verdict in verdicts.items() if verdict.result == "fail"}


def test_a_parameter_without_effect_and_one_that_leaks_fail_their_checks(tmp_path: Path) -> None:
    idle = write_parallel(tmp_path / "idle", parameters="  idle: {value: {dist: uniform, low: 1.0, high: 2.0}}\n")
    verdict = run_check(Inspection(build=builder(str(idle), trust=False), effort=QUICK), "effect")
    assert verdict.result == "fail" and "no effect of 'idle'" in verdict.message
    leak = write_python(
        tmp_path / "leak", code=PYTHON.replace("data.qpos[self.rail] = ", "data.qpos[1] = task.goal + ")
    )
    verdict = run_check(Inspection(build=builder(str(leak), trust=True), effort=QUICK), "hidden")
    assert verdict.result == "fail" and "goal" in verdict.message


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_parallel(tmp_path)
    assert "no such file" in error(capsys, "tasks", "show", "nowhere.yaml")
    assert "no such file" in error(capsys, "tasks", "check", "nowhere.yaml")
    path.write_text(path.read_text().replace("episode_length", "episode_lenght"))
    for arguments in (["train", path], ["tasks", "show", path], ["tasks", "check", path]):
        said = error(capsys, *arguments)
        assert "cart.yaml:5" in said and "did you mean 'episode_length'" in said
    Path("plain.yaml").write_text("family: point-robot\n")
    assert "schema is missing" in error(capsys, "tasks", "show", "plain.yaml")
    with pytest.raises(UserError, match="the definition has no name"):
        Path("nameless.yaml").write_text("schema: mql.task_family/1\n")
        load_config("nameless.yaml")
