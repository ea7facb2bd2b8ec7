"""Definitions in YAML: what they say, and every mistake as one line with file, line, key and fix."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mql.errors import UserError
from mql.tasks.definitions.family import outline
from mql.tasks.definitions.file import DefinitionFile, physical_bounds, read_definition
from mql.tasks.distributions import LogUniform, Uniform
from mql.tasks.physics.fields import Change

pytestmark = pytest.mark.newest

CHEETAH = """\
schema: mql.task_family/1
name: cheetah-vel-yaml
version: 1
description: Run at a hidden target speed.
env:
  id: HalfCheetah-v5
  kwargs: {ctrl_cost_weight: 5e-2}
  episode_length: 200
parameters:
  velocity: {value: {dist: uniform, low: 0.0, high: 3.0}, hidden: true, unit: m/s, doc: target forward speed}
reward:
  mode: replace
  terms:
    track: {expr: "-abs(info.x_velocity - task.velocity)"}
    ctrl: {expr: "info.reward_ctrl"}
success: {expr: "abs(info.x_velocity - task.velocity) < 0.25", hold: 20}
splits:
  train: {n: 100, seed: 1}
  test: {n: 30, seed: 2}
  ood: {n: 20, seed: 3, override: {velocity: {dist: uniform, low: 3.05, high: 4.0}}}
"""
DRAWER = """\
schema: mql.task_family/1
name: lab-drawer
version: 1
description: Push an open drawer to a hidden opening.
env: {mjcf: drawer.xml, python: "drawer_task.py:DrawerTask", episode_length: 150, frame_skip: 10}
parameters:
  opening: {value: {dist: uniform, low: 0.05, high: 0.14}, hidden: true, unit: m, doc: the hidden goal}
  mass: {value: {dist: loguniform, low: 0.5, high: 4.0}, apply: [{field: body_mass, body: drawer, op: scale}]}
  damping: {value: {dist: loguniform, low: 1.0, high: 40.0}, apply: [{field: dof_damping, joint: drawer, op: set}]}
success: {hold: 10}
splits:
  train: {n: 60, seed: 11}
  test: {n: 20, seed: 12}
  ood: {n: 20, seed: 13, override: {opening: {dist: uniform, low: 0.16, high: 0.18}}}
"""
# Each line holds the one before ten times: 10^9 values in ten lines.
LAUGHS = [b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 10)) for n in range(9)]
MODEL = '<mujoco><asset><mesh name="m" file="m.obj"/></asset></mujoco>'


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Path]:
    """Writes a definition with the drawer's files beside it; pairs of texts are replaced in it."""

    def write(text: str = DRAWER, *replaced: tuple[str, str]) -> Path:
        for name, content in (("drawer.xml", MODEL), ("m.obj", "v 0 0 0\n"), ("drawer_task.py", "raise SystemExit\n")):
            if not (tmp_path / name).exists():
                (tmp_path / name).write_text(content)
        for old, new in replaced:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "lab.yaml"
        path.write_text(text)
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_definition(path)
    said = str(caught.value)
    assert "\n" not in said and str(path.parent) in said
    return said.replace(f"{path.parent}/", "").replace(str(path.parent), "FOLDER")


def test_the_design_s_examples_are_read(lab: Callable[..., Path]) -> None:
    cheetah = read_definition(lab(CHEETAH))
    assert cheetah.definition.env.kwargs == {"ctrl_cost_weight": 0.05}
    assert cheetah.distribution("velocity") == Uniform(0.0, 3.0)
    assert cheetah.definition.reward is not None and cheetah.definition.reward.terms["track"].weight == 1.0
    drawer = read_definition(lab())
    assert drawer.definition.env.kind == "mjcf"
    assert drawer.distribution("mass") == LogUniform(0.5, 4.0)
    assert drawer.sources("ood")["opening"] == Uniform(0.16, 0.18)
    assert drawer.definition.parameters["damping"].apply[0].target == ("joint", ("drawer",))
    assert [file.name for file in drawer.files] == ["lab.yaml", "drawer_task.py", "drawer.xml", "m.obj"]
    assert pickle.loads(pickle.dumps(drawer)) == drawer


def test_places_are_lines_of_the_file(lab: Callable[..., Path]) -> None:
    path = lab()
    where = read_definition(path).where
    assert where("parameters.mass.value.low") == f"{path}:8 parameters.mass.value.low"
    assert where("parameters.mass.unit") == f"{path}:8 parameters.mass.unit"
    assert where("splits.ood.seed") == f"{path}:14 splits.ood.seed"
    assert where("reward") == f"{path}:1 reward"


def test_the_digest_is_that_of_every_file(lab: Callable[..., Path], tmp_path: Path) -> None:
    first = read_definition(lab()).digest
    assert read_definition(lab()).digest == first
    digests = {first}
    for name in ("drawer_task.py", "drawer.xml", "m.obj", "lab.yaml"):
        path = tmp_path / name
        before = path.read_bytes()
        path.write_bytes(before + b"\n")
        digests.add(read_definition(tmp_path / "lab.yaml").digest)
        path.write_bytes(before)
    assert len(digests) == 5
    os.rename(tmp_path / "lab.yaml", tmp_path / "other.yaml")
    assert read_definition(tmp_path / "other.yaml").digest == first


def test_numbers_that_yaml_calls_texts_are_numbers(lab: Callable[..., Path]) -> None:
    file = read_definition(lab(DRAWER, ("low: 1.0", "low: 1e-1"), ("high: 40.0", 'high: "4e1"'), ("n: 60", "n: 6e1")))
    assert file.distribution("damping") == LogUniform(0.1, 40.0)
    assert file.definition.splits["train"].n == 60


def change(**values: object) -> Change:
    return Change.model_validate(values)


def test_bounds_are_those_of_physics_and_of_the_definition(lab: Callable[..., Path]) -> None:
    mass = change(field="body_mass", body="b", op="scale")
    assert physical_bounds([]) == (-math.inf, math.inf)
    assert physical_bounds([mass])[0] > 0.0
    assert physical_bounds([change(field="geom_friction", geom="g", op="set")]) == (0.0, math.inf)
    assert physical_bounds([change(field="gravity", op="scale")]) == (-math.inf, math.inf)
    assert physical_bounds([change(field="body_mass", body="b", op="add")]) == (-math.inf, math.inf)
    file = read_definition(lab(DRAWER, ("apply: [{field: dof", "bounds: [null, 50], apply: [{field: dof")))
    assert file.bounds("damping") == (0.0, 50.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("frame_skip", "frame_skp", "unknown key 'frame_skp' (lab.yaml:5 env.frame_skp): did you mean 'frame_skip'?"),
        ("hidden: true", "hiden: true", "lab.yaml:7 parameters.opening.hiden): did you mean 'hidden'?"),
        ("op: set", "opp: set", "lab.yaml:9 parameters.damping.apply.0.opp): did you mean 'op'?"),
        ("success:", "sucess:", "unknown key 'sucess' (lab.yaml:10 sucess): did you mean 'success'"),
        ("seed: 12", "seeds: 12", "lab.yaml:13 splits.test.seeds): did you mean 'seed'?"),
        ("version: 1\n", "", "version is missing (lab.yaml:1 version): add a line 'version: ...'"),
        ("version: 1\n", "version: true\n", "version is true (lab.yaml:3 version): a boolean is not a number"),
        ("family/1", "family/2", "schema is 'mql.task_family/2' (lab.yaml:1 schema): this version of mql reads"),
        ("schema: mql.task_family/1\n", "", "schema is missing"),
        ("name: lab-drawer", "name: a b", "name is 'a b' (lab.yaml:2 name): it must be as follows"),
        ("version: 1\n", "version: 1\nprobe: 1\n", "probe is 1 (lab.yaml:4 probe): it must be a list, such as [1]"),
        ("version: 1\n", "version: 1\nsensing: 1\n", "(lab.yaml:4 sensing): it has keys of its own"),
        ("  opening: {", "  o-p: {", "'o-p' is not a name (lab.yaml:7 parameters.o-p)"),
        ("  opening: {", "  lambda: {", "'lambda' is not a name"),
        ("dist: uniform", "dist: unifrm", "unknown distribution 'unifrm'"),
        ("low: 0.05", "lo: 0.05", "(lab.yaml:7 parameters.opening.value): did you mean 'low'"),
        ("low: 0.05", "low: .nan", "low is nan (lab.yaml:7 parameters.opening.value.low): give a finite number"),
        ("low: 0.05", "low: true", "low is True (lab.yaml:7 parameters.opening.value"),
        ("low: 0.05", "low: [1, 2], size: 3", "low and high of different sizes (lab.yaml:7 parameters.opening.value)"),
        ("low: 0.05", "low: [0.1, .nan]", "low is nan (lab.yaml:7 parameters.opening.value.low)"),
        ("low: 0.05", f"low: {'9' * 400}", "give a finite number"),
        ("low: 0.05", "low: 0.5", "uniform distribution is out of order (lab.yaml:7 parameters.opening.value)"),
        ("value: {dist: uniform, low: 0.05, high: 0.14}", "value: 3", "the value is not a distribution (lab.yaml:7"),
        ("{dist: loguniform, low: 0.5", "{dist: uniform, low: -1", "mass is drawn from -1 to 4"),
        ("{dist: loguniform, low: 1.0, high: 40.0}", "{dist: normal, mean: 1, std: 1}", "is drawn without limits"),
        ("hidden: true", "bounds: [0.1, 0.2]", "opening is drawn from 0.05 to 0.14"),
        ("hidden: true", "bounds: [2, 1]", "bounds 2 and 1 are out of order (lab.yaml:7 parameters.opening.bounds)"),
        ("hidden: true", "hidden: 1", "hidden is 1 (lab.yaml:7 parameters.opening.hidden): it must be"),
        ("field: body_mass", "field: body_mas", "(lab.yaml:8 parameters.mass.apply.0.field): did you mean 'body_mass'"),
        ("joint: drawer", "body: drawer", "dof_damping has no body (lab.yaml:9 parameters.damping.apply.0.body)"),
        ("joint: drawer, ", "", "dof_damping doesn't say which joint (lab.yaml:9 parameters.damping.apply.0)"),
        ("op: set", "op: put", "(lab.yaml:9 parameters.damping.apply.0.op): it must be 'set', 'scale' or"),
        ("op: set", "op: set, index: 3", "dof_damping has no component 3"),
        ("high: 40.0", "high: 40.0, size: 2", "a parameter of size 2 for 1 x dof_damping (lab.yaml:9"),
        ("env: {mjcf", "env: {id: Ant-v5, mjcf", "id and mjcf are given (lab.yaml:5 env.mjcf): give one of"),
        ("env: {mjcf: drawer.xml", "env: {robot: arm7", "robot without a scene"),
        (", frame_skip: 10", "", "frame_skip is missing (lab.yaml:5 env): add"),
        ("episode_length: 150", "episode_length: 3.0s", "'3.0s' is no number (lab.yaml:5 env.episode_length)"),
        ("episode_length: 150", "episode_length: 100001", "is 100001 (lab.yaml:5 env.episode_length)"),
        ("drawer_task.py:DrawerTask", "drawer_task.py", "is 'drawer_task.py' (lab.yaml:5 env.python): it must be"),
        ("n: 60", "n: 0", "n is 0 (lab.yaml:12 splits.train.n): it must be greater than or equal to 1"),
        ("n: 60", "n: 100001", "n is 100001"),
        ("n: 60", "n: 1.5", "n is 1.5"),
        ("  test: {n: 20, seed: 12}\n", "", "there is no split 'test' (lab.yaml:11 splits): add 'test:"),
        ("  ood:", "  odd:", "(lab.yaml:14 splits.odd): it must be 'train', 'validation', 'test', 'ood' or"),
        ("override: {opening", "override: {openin", "(lab.yaml:14 splits.ood.override.openin): did you mean"),
        ("high: 0.18}", "high: 0.18, size: 2}", "the override has size 2 (lab.yaml:14 splits.ood.override.opening)"),
        ("override: {opening: {dist: uniform, low: 0.16", "override: {mass: {dist: uniform, low: -1", "mass is drawn"),
        ("seed: 12", "seed: 11", "share the task opening 0.06157, mass "),
        ("success: {hold: 10}", "success: {expr: 'task.openin < 1'}", "'openin' (column 1) (lab.yaml:10 success.expr)"),
        ("success: {hold: 10}", "success: {expr: 'task.mass[0] < 1'}", "it is one number"),
        ("success: {hold: 10}", "success: {expr: 'open(1)'}", "'open' (column 1) is not a function"),
        ("success: {hold: 10}", "success: {hold: 0}", "hold is 0"),
        ("success: {hold: 10}", "reward: {terms: {go: {expr: '', weight: 1}}}", "(lab.yaml:10 reward.terms.go.expr)"),
        ("  ood:", "  test:", "the key 'test' appears twice (lab.yaml:14 splits.test): it is already on line 13"),
        ("success: {hold: 10}", "success: *a", "not valid YAML: found undefined alias"),
        ("success: {hold: 10}", "success: !!python/name:os.system ''", "could not determine a constructor"),
        ("success: {hold: 10}", "success: {<<: {hold: 10}}", "merge keys (<<) are not read (lab.yaml:10 success.<<)"),
        ("description: Push", "description: 2020-01-01 #", "a date instead of text or a number (lab.yaml:4"),
        ("success: {hold: 10}", "success: 3", "success is 3 (lab.yaml:10 success): it has keys of its own"),
        ("mjcf: drawer.xml", "mjcf: ../lab.xml", "lies outside the definition's folder (lab.yaml:5 env.mjcf)"),
        ("mjcf: drawer.xml", "mjcf: /etc/passwd", "'/etc/passwd' is an absolute path (lab.yaml:5 env.mjcf)"),
        ("mjcf: drawer.xml", "mjcf: lost.xml", "the file 'lost.xml' is missing (lab.yaml:5 env.mjcf): put it at"),
        ("drawer_task.py:D", "../x.py:D", "lies outside the definition's folder (lab.yaml:5 env.python)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(lab: Callable[..., Path], old: str, new: str, said: str) -> None:
    assert said in refusal(lab(DRAWER, (old, new)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  id: HalfCheetah-v5\n", "", "nothing to simulate (lab.yaml:5 env): give one of id, mjcf, and robot"),
        ("episode_length: 200", "frame_skip: 5", "frame_skip doesn't go with id (lab.yaml:8 env.frame_skip)"),
        ("episode_length: 200", "python: 'a.py:A'", "python doesn't go with id (lab.yaml:8 env.python)"),
        (', hold: 20}', '}\nsuccess: {hold: 3}', "the key 'success' appears twice"),
        ('{expr: "abs(info.x_velocity - task.velocity) < 0.25", hold: 20}', "{hold: 3}", "success has no expr"),
        ("  terms:\n", "  term:\n", "did you mean 'terms'?"),
        ("task.velocity)\"}", "task.velocty)\"}", "(lab.yaml:14 reward.terms.track.expr): did you mean 'velocity'?"),
    ],
)  # fmt: skip
def test_a_mistake_around_a_registered_environment(lab: Callable[..., Path], old: str, new: str, said: str) -> None:
    assert said in refusal(lab(CHEETAH, (old, new)))


def test_a_model_without_python_needs_its_reward(lab: Callable[..., Path]) -> None:
    plain = (', python: "drawer_task.py:DrawerTask"', "")
    assert "there is no reward (lab.yaml:1)" in refusal(lab(DRAWER, plain, ("success: {hold: 10}\n", "")))
    added = ("success: {hold: 10}", "reward: {mode: add, terms: {go: {expr: 0.5}}}")
    assert "there is no reward to add to (lab.yaml:10 reward.mode)" in refusal(lab(DRAWER, plain, added))
    given = read_definition(lab(DRAWER, plain, ("success: {hold: 10}", "reward: {terms: {go: {expr: 0.5}}}")))
    assert given.definition.reward is not None and given.definition.reward.terms["go"].expr == "0.5"


def test_what_the_mjcf_names_must_lie_in_the_folder(lab: Callable[..., Path], tmp_path: Path) -> None:
    path = lab()
    (tmp_path / "drawer.xml").write_text('<mujoco>\n<asset><mesh file="../m.obj"/></asset></mujoco>')
    assert "'../m.obj' lies outside the model's folder (drawer.xml:2 mesh)" in refusal(path)
    (tmp_path / "drawer.xml").write_text('<mujoco>\n<asset><mesh file="lost.obj"/></asset></mujoco>')
    assert "the file 'lost.obj' is missing (drawer.xml:2 mesh): put it at" in refusal(path)
    os.remove(tmp_path / "drawer_task.py")
    os.symlink("/etc/hostname", tmp_path / "drawer_task.py")
    assert "'drawer_task.py' lies outside" in refusal(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the file is empty (lab.yaml:1)"),
        (b"- 1\n", "not a mapping (lab.yaml:1)"),
        (b"a: [1\n", "not valid YAML"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * 1_000_001, "larger than 1 MB"),
        (b"a: " + b"[" * 5_000, "nested too deeply"),
        (b"a: &a [*a]\n", "nested too deeply"),
        (b"? [1]\n: 2\n", "a key is not a word (lab.yaml:1)"),
        (b"a: &a [1]\n" + b"".join(LAUGHS), "more than 20,000 values"),
    ],
)  # fmt: skip
def test_what_is_no_definition_is_one_line(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "lab.yaml").write_bytes(text)
    assert said in refusal(tmp_path / "lab.yaml")


def test_a_robot_and_a_scene_by_path_are_files_of_the_definition(lab: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "arm").mkdir()
    (tmp_path / "arm" / "arm.yaml").write_text("schema: mql.robot/1\nmjcf: arm.xml\n")
    (tmp_path / "arm" / "arm.xml").write_text("<mujoco/>")
    (tmp_path / "table.xml").write_text("<mujoco/>")
    composed = ("mjcf: drawer.xml", "robot: arm/arm.yaml, scene: table.xml")
    files = read_definition(lab(DRAWER, composed)).files
    assert {path.name for path in files} == {"lab.yaml", "drawer_task.py", "arm.yaml", "arm.xml", "table.xml"}
    by_name = read_definition(lab(DRAWER, ("mjcf: drawer.xml", "robot: arm7, scene: table")))
    assert [path.name for path in by_name.files] == ["lab.yaml", "drawer_task.py"]
    assert "'../arm.yaml' lies outside" in refusal(
        lab(DRAWER, ("mjcf: drawer.xml", "robot: ../arm.yaml, scene: table"))
    )


def test_splits_are_drawn_as_a_family_draws_them(lab: Callable[..., Path]) -> None:
    few = ("value: {dist: uniform, low: 0.05, high: 0.14}", "value: {dist: choice, options: [1, 2]}")
    only = DRAWER[: DRAWER.index("  mass:")] + DRAWER[DRAWER.index("success:") :]
    said = refusal(lab(only, few, ("n: 60", "n: 1"), ("n: 20", "n: 9")))
    assert "splits train and test share the task opening" in said and "lab.yaml:11 splits.test" in said


def test_validation_may_be_stated_or_follows_from_test(lab: Callable[..., Path]) -> None:
    family = outline(lab(DRAWER))
    assert family.summary_row()["splits"] == {
        "train": 60,
        "test": 20,
        "ood": 20,
        "validation": 20,
        "validation-ood": 20,
    }
    stated = outline(lab(DRAWER, ("  ood:", "  validation: {n: 7, seed: 9}\n  ood:")))
    assert len(stated.tasks("validation")) == 7 and len(stated.tasks("validation-ood")) == 20
    assert [stated.tasks(split) for split in ("train", "test", "ood")] == [
        family.tasks(split) for split in ("train", "test", "ood")
    ]
    said = refusal(lab(DRAWER, ("  ood:", "  validation: {n: 7, seed: 12}\n  ood:")))
    assert "splits test and validation share the task" in said


def test_a_definition_file_is_frozen(lab: Callable[..., Path]) -> None:
    file: DefinitionFile = read_definition(lab())
    with pytest.raises(AttributeError):
        file.digest = ""  # type: ignore[misc]
    assert np.all([path.is_absolute() for path in file.files]) and file.path == file.files[0]
