"""`mql tasks new`: what it writes is sound, passes its own test, and trains; the schemas are those of the program."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from lab_definitions import SETTINGS
from lab_robots import MJCF, not_passed, verdicts, write_robot

from mql.api.families import builder
from mql.cli import app as cli
from mql.config.loading import load_experiment
from mql.robots import registry as robots
from mql.tasks import from_file
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import CHECKS, run_check
from mql.tasks.definitions.editor_schemas import ROBOT_FILE, TASK_FILE, schema_paths, schema_texts
from mql.tasks.definitions.episode_schema import NuisanceSpec, StartSpec
from mql.tasks.definitions.file import read_definition
from mql.tasks.definitions.new.skeleton import new_skeleton, skeleton_files
from mql.tasks.definitions.schema import ParameterSpec

# An arm with names that expressions write in another way, and a pendulum whose end stays on a circle.
ODD_NAMES = MJCF.replace('"tip"', '"arm:tip"').replace('name="rod"', 'name="arm:rod"')
PENDULUM = """<mujoco>
  <worldbody>
    <body name="bob">
      <joint name="pivot" axis="0 1 0"/>
      <geom name="bob" type="sphere" size="0.05" pos="0 0 -0.4" mass="1"/>
    </body>
  </worldbody>
  <actuator><motor name="pivot" joint="pivot" gear="3" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
ROBOTS: list[Any] = ["nothing", "arm7", "planar2", "mobile-base", "bare", "pendulum"]
ROBOTS += [pytest.param(name, marks=pytest.mark.slow) for name in ("spec", "odd names")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lab's own files: a bare MJCF, a robot's spec with its model, and two models that are not easy."""
    folder = tmp_path_factory.mktemp("lab")
    write_robot(folder)
    for name, text in (("bare", MJCF), ("odd", ODD_NAMES), ("pendulum", PENDULUM)):
        (folder / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=ROBOTS)
def written(request: pytest.FixtureRequest, lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The definition that is written for a robot."""
    own = {"bare": "bare.xml", "spec": "lift.yaml", "odd names": "odd.xml", "pendulum": "pendulum.xml"}
    robot = str(lab / own[request.param]) if request.param in own else request.param
    files = skeleton_files("my-task", None if robot == "nothing" else robot)
    folder = tmp_path_factory.mktemp("new") / "my-task"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder / "my-task.yaml"


def test_what_is_written_passes_every_check(written: Path) -> None:
    inspection = Inspection(builder(str(written), trust=False), replace(QUICK, speed_seconds=0.005))
    verdicts = {name: run_check(inspection, name) for name in CHECKS if name not in ("render", "speed")}
    assert not {name: verdict for name, verdict in verdicts.items() if verdict.result == "fail"}


def test_its_own_test_passes(written: Path) -> None:
    path = written.with_name("test_my_task.py")
    spec = importlib.util.spec_from_file_location("written_test", path)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    family = from_file(written)
    facts = [name for name in vars(module) if name.startswith("test_")]
    assert len(facts) == 3
    for name in facts:
        getattr(module, name)(family)


def test_it_trains(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = written.with_name("run")
    experiment = written.with_name("my-task-experiment.yaml")
    assert cli.run(["train", str(experiment), "--run-dir", str(run), "--json", *SETTINGS]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "my-task"


def test_editors_find_the_schema_and_it_accepts_what_is_written(written: Path) -> None:
    first = written.read_text(encoding="utf-8").splitlines()[0]
    schema = written.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert schema.name == TASK_FILE and schema.read_text(encoding="utf-8") == schema_texts()["task family"]
    jsonschema.validate(yaml.safe_load(written.read_text(encoding="utf-8")), json.loads(schema.read_bytes()))


def test_a_robot_is_copied_with_its_model_and_a_bare_model_is_included_as_it_is(lab: Path) -> None:
    files = skeleton_files("mine", str(lab / "lift.yaml"))
    assert files["lift.yaml"] == (lab / "lift.yaml").read_bytes() and files["lift.xml"] == MJCF.encode()
    assert {ROBOT_FILE, TASK_FILE, "scene.xml", "mine.yaml", "test_mine.py"} < set(files)
    files = skeleton_files("mine", str(lab / "bare.xml"))
    assert files["bare.xml"] == MJCF.encode() and b'<include file="bare.xml"/>' in files["scene.xml"]


def test_a_models_own_scene_is_not_overwritten(lab: Path) -> None:
    """Menagerie calls the file that includes the robot scene.xml."""
    (lab / "scene.xml").write_text('<mujoco><include file="bare.xml"/></mujoco>', encoding="utf-8")
    files = skeleton_files("mine", str(lab / "scene.xml"))
    assert files["scene.xml"] == (lab / "scene.xml").read_bytes() and b"mjcf: task.xml" in files["mine.yaml"]
    assert b'<include file="scene.xml"/>' in files["task.xml"] and files["bare.xml"] == MJCF.encode()


def test_the_experiment_offers_what_a_changed_body_and_a_robot_without_rewards_need(tmp_path: Path) -> None:
    """As comments: without them nothing changes, and uncommented they are keys of the configuration."""
    for name, data in skeleton_files("my-task").items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "my-task-experiment.yaml"
    text = path.read_text(encoding="utf-8")
    config, _, _ = load_experiment(str(path))
    assert "reward" in config.agent.context_elements and config.adapt.adaptation_episodes == 5
    path.write_text(re.sub(r"^( *)# (?=\w+:( |$)|  \w+:)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    config, _, _ = load_experiment(str(path))
    assert config.agent.context_elements == ("obs", "action")
    assert (config.adapt.adaptation_episodes, config.adapt.rollback) == (20, "end")


def test_the_goal_fits_the_robot(lab: Path) -> None:
    """Places for what has a reach; joints for what has none."""
    texts = {
        name: skeleton_files("mine", str(lab / f"{name}.xml"))["mine.yaml"].decode() for name in ("odd", "pendulum")
    }
    assert "norm(info.site_arm_tip - info.site_target)" in texts["odd"]
    assert "abs(info.joint_pivot - task.target_pivot)" in texts["pendulum"]
    # Damping of nothing scaled is nothing, so it is set.
    assert "field: dof_damping, joint: pivot, op: set" in texts["pendulum"]


HAND = """<mujoco>
  <compiler angle="radian" autolimits="true"/>
  <worldbody>
    <site name="wheel_mark" pos="0 0 1"/>
    <body name="upper"><joint name="shoulder" axis="0 1 0" range="-2 2"/>
      <geom type="capsule" fromto="0 0 0 0.4 0 0" size="0.03" mass="1"/>
      <body name="fore" pos="0.4 0 0"><joint name="elbow" axis="0 1 0" range="-2 2"/>
        <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.03" mass="0.6"/>
        <site name="knee_marker" pos="0.1 0 0"/>
        <body name="hand" pos="0.3 0 0"><joint name="wrist" axis="0 0 1" range="-2 2"/>
          <geom type="box" size="0.02 0.04 0.02" mass="0.3"/>
          <site name="attachment_site" pos="0.05 0 0"/>
          <body name="finger" pos="0.05 0.02 0"><joint name="slide" type="slide" axis="0 1 0" range="0 0.03"/>
            <geom type="box" size="0.03 0.005 0.01" mass="0.02"/>
            <site name="pad" pos="0.03 0 0"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position joint="shoulder" kp="100" kv="8" ctrlrange="-2 2"/>
    <position joint="elbow" kp="60" kv="5" ctrlrange="-2 2"/>
    <position joint="wrist" kp="10" kv="1" ctrlrange="-2 2"/>
    <position joint="slide" kp="50" kv="2" ctrlrange="0 0.03"/>
  </actuator>
</mujoco>
"""


def test_a_site_at_the_tool_goes_before_those_of_a_gripper(tmp_path: Path) -> None:
    """The fingers come last in the chain; a wheel and a knee are no 'ee'."""
    path = tmp_path / "hand.xml"
    path.write_text(HAND, encoding="utf-8")
    made = new_skeleton("mine", str(path))
    assert b"norm(info.site_attachment_site - info.site_target)" in made.files["mine.yaml"]
    assert made.chosen["end"] == "site attachment_site; or --end wheel_mark | knee_marker | pad"
    path.write_text(HAND.replace("attachment_site", "marker"), encoding="utf-8")
    assert b"norm(info.site_pad - info.site_target)" in new_skeleton("mine", str(path)).files["mine.yaml"]


@pytest.mark.slow
def test_the_end_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hand.xml"
    path.write_text(HAND, encoding="utf-8")
    made = new_skeleton("mine", str(path), end="pad")
    assert b"observe: [qpos, qvel, site_pad]" in made.files["mine.yaml"] and made.chosen["end"].startswith("site pad;")
    arguments = ["mine", "--robot", str(path), "--out", str(tmp_path)]
    assert "no site 'bad' (--end): did you mean 'pad'?" in error(capsys, *arguments, "--end", "bad")
    assert "'wheel_mark' hardly moves" in error(capsys, *arguments, "--end", "wheel_mark")
    assert "did you mean 'physics'" in error(capsys, *arguments, "--hidden", "physik")
    assert "nothing of this robot's physics can vary" in error(
        capsys, "mine", "--robot", "fetch", "--hidden", "physics"
    )


def test_what_is_hidden_can_be_chosen() -> None:
    """By default the agent sees its target, and has to find out about payload and damping; ood tasks are heavier."""
    for hidden, unseen in (
        (None, {"payload", "damping"}),
        ("physics", {"payload", "damping"}),
        ("goal", {"target_x", "target_y", "payload", "damping"}),
    ):
        made = new_skeleton("mine", hidden=hidden)  # type: ignore[arg-type]
        tree = yaml.safe_load(made.files["mine.yaml"])
        assert {name for name, spec in tree["parameters"].items() if spec.get("hidden", True)} == unseen
        changed = tree["splits"]["ood"]["override"]
        assert changed.keys() == ({"target_x", "target_y"} if hidden == "goal" else {"payload"})
        assert ("the target" in made.chosen["hidden"].split(";")[0]) == (hidden == "goal")
    assert new_skeleton("mine", "sawyer").chosen["hidden"] == "the target"  # what mocap pulls feels no payload


def test_the_command_writes_a_folder_and_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["tasks", "new", "my-task", "--robot", "planar2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "written to my-task/:"
    assert [line.split(":")[0].strip() for line in said[-9:-4]] == ["chosen", "end", "start", "target", "hidden"]
    assert said[-3:] == [
        "  mql tasks check my-task/my-task.yaml",
        "  mql tasks render my-task/my-task.yaml -o my-task.png",
        "  mql train my-task/my-task-experiment.yaml",
    ]
    assert {line.strip() for line in said[1:-9]} == {path.name for path in Path("my-task").iterdir()}
    assert read_definition(Path("my-task/my-task.yaml")).definition.env.robot == "planar2"
    assert [path.name for path in tmp_path.iterdir()] == ["my-task"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my-task"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


def test_a_definition_may_be_copied_and_renamed_without_its_test(tmp_path: Path) -> None:
    for name, data in skeleton_files("my-task").items():
        (tmp_path / name).write_bytes(data)
    text = (tmp_path / "my-task.yaml").read_text(encoding="utf-8")
    (tmp_path / "my-task.yaml").rename(tmp_path / "first.yaml")
    (tmp_path / "second.yaml").write_text(text.replace("name: my-task", "name: another"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"equal_seeds_give_equal_episodes\[(\w+)\]", done.stdout) == ["first", "second"]


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.run(["tasks", "new", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1, err
    return err


def test_mistakes_are_one_line_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "'a b' is not a valid name of a family" in error(capsys, "a b")
    assert "a family of mql's own" in error(capsys, "arm-reach")
    assert "did you mean 'arm7'?" in error(capsys, "mine", "--robot", "amr7")
    assert "no such folder" in error(capsys, "mine", "--out", "nowhere")
    Path("limp.xml").write_text(PENDULUM.replace(' ctrlrange="-1 1"', ""), encoding="utf-8")
    assert "actuator 'pivot' has no control range" in error(capsys, "mine", "--robot", "limp.xml")
    Path("broken.xml").write_text("<mujoco>", encoding="utf-8")
    said = error(capsys, "mine", "--robot", "broken.xml")
    assert "broken.xml" in said and "not valid XML" in said
    unclear = PENDULUM.replace('name="bob"', "").replace('joint="pivot"', 'joint="a b"')
    bodies = '<body><joint name="a-b"/><geom size="0.1"/></body></worldbody>'  # joint_a_b could be the one or the other
    unclear = unclear.replace("</worldbody>", bodies).replace('<joint name="pivot"', '<joint name="a b"')
    Path("unclear.xml").write_text(unclear, encoding="utf-8")
    assert "nothing in the model has a name" in error(capsys, "mine", "--robot", "unclear.xml")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").touch()
    assert "already exists" in error(capsys, "mine")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["broken.xml", "limp.xml", "mine", "unclear.xml"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["kept"]


def test_a_pose_outside_of_a_range_is_one_line(lab: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ranges are read in degrees where the file does not say otherwise: the usual slip."""
    text = """<mujoco><worldbody><body><joint name="bend" range="-2.2 2.2"/><geom size="0.1"/></body></worldbody>
    <actuator><motor joint="bend" ctrlrange="-1 1"/></actuator>
    <keyframe><key name="home" qpos="0.4"/></keyframe></mujoco>"""
    (tmp_path / "slip.xml").write_text(text, encoding="utf-8")
    said = error(capsys, "mine", "--robot", str(tmp_path / "slip.xml"), "--out", str(tmp_path))
    assert "joint 'bend' starts at 0.4, outside of its range, -0.0384 to 0.0384" in said and "degrees" in said


def test_a_file_of_the_robot_is_never_overwritten(lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = error(capsys, "lift", "--robot", str(lab / "lift.yaml"), "--out", str(lab))
    assert "have the same name" in said and not (lab / "lift").exists()


@pytest.mark.parametrize("what", ["task family", "robot"])
def test_the_schema_files_are_those_of_the_program(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = schema_paths()[what]
    assert path.read_text(encoding="utf-8") == schema_texts()[what], (
        "run: python -m mql.tasks.definitions.editor_schemas"
    )
    assert cli.run(["tasks", "schema"]) == 0
    assert f"{what}: {path}" in capsys.readouterr().out.splitlines()


def test_the_schemas_accept_the_packages_own_files() -> None:
    root = Path(__file__).parents[2]
    schemas = {schema["$id"]: schema for schema in map(json.loads, schema_texts().values())}
    trees = [
        yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in (*root.glob("robots/models/*.yaml"), *root.glob("examples/**/*.yaml"))
    ]
    written = [tree for tree in trees if tree.get("schema") in schemas]  # the others are experiments and column maps
    assert {tree["schema"] for tree in written} == set(schemas)
    for tree in written:
        jsonschema.validate(tree, schemas[tree["schema"]])


def test_the_definition_and_the_robot_in_the_documents_are_what_the_program_takes(tmp_path: Path) -> None:
    """Those of docs/your-robot.md, the parts in docs/definitions.md, and the spec in docs/robots.md."""
    docs = Path(__file__).parents[2] / "docs"
    own, keys, robot_docs = (docs / name for name in ("your-robot.md", "definitions.md", "robots.md"))
    [model, at_tool], [definition, load, experiment] = blocks(own, "xml"), blocks(own, "yaml")
    [start, randomised, scheduled, stages, *_] = blocks(keys, "yaml")
    (tmp_path / "desk_arm.xml").write_text(model, encoding="utf-8")
    written = skeleton_files("desk-reach", str(tmp_path / "desk_arm.xml"))
    assert yaml.safe_load(written["desk-reach.yaml"]) == yaml.safe_load(definition)
    assert all(name in own.read_text(encoding="utf-8") for name in written)
    (tmp_path / "desk-reach").mkdir()
    for name, data in written.items():
        (tmp_path / "desk-reach" / name).write_bytes(data)
    assert yaml.safe_load(written["desk-reach-experiment.yaml"]) == yaml.safe_load(experiment)
    config, path, _ = load_experiment(str(tmp_path / "desk-reach" / "desk-reach-experiment.yaml"))
    assert config.family == "desk-reach" and path is not None
    assert from_file(path).parameters.keys() == {"target_y", "target_z", "payload", "damping"}
    site = '<site name="tcp" pos="0 0 0.26" size="0.01"/>'
    (tmp_path / "desk-reach" / "desk_arm.xml").write_text(model.replace(site, site + at_tool), encoding="utf-8")
    carries = yaml.safe_load(definition)
    del carries["parameters"]["payload"]
    carries["parameters"] |= yaml.safe_load(load)["parameters"]
    carries["splits"]["ood"]["override"] = {"load": {"dist": "uniform", "low": 1.1, "high": 1.5}}
    (tmp_path / "desk-reach" / "carries.yaml").write_text(yaml.safe_dump(carries), encoding="utf-8")
    family: Any = from_file(tmp_path / "desk-reach" / "carries.yaml")
    task = family.task({"target_y": 0.0, "target_z": 0.0, "damping": 1.0, "load": 0.7})
    assert family.model(task).body("load").mass[0] == pytest.approx(0.7)
    assert StartSpec.model_validate(yaml.safe_load(start)["start"]).bodies.keys() == {"cube", "ball", "peg", "target"}
    for block, cls in ((randomised, NuisanceSpec), (scheduled, ParameterSpec)):
        [specs] = yaml.safe_load(block).values()
        assert all(cls.model_validate(spec) for name, spec in specs.items() if name != "robot")
    assert {"reward", "success"} == yaml.safe_load(stages).keys()
    staged = tmp_path / "desk-reach" / "staged.yaml"
    kept = yaml.safe_load(definition) | yaml.safe_load(stages.replace("site_cube", "site_target"))
    staged.write_text(yaml.safe_dump(kept), encoding="utf-8")
    assert from_file(staged).hold_steps == 10
    spec, *others = blocks(robot_docs, "yaml")
    for number, other in enumerate(others):
        (tmp_path / f"other-{number}.yaml").write_text(other, encoding="utf-8")
        assert robots.load(str(tmp_path / f"other-{number}.yaml")).control
    (tmp_path / "desk_arm.yaml").write_text(spec, encoding="utf-8")
    assert set(verdicts(tmp_path / "desk_arm.yaml")) and not not_passed(tmp_path / "desk_arm.yaml")


def blocks(path: Path, language: str) -> list[str]:
    """The blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
