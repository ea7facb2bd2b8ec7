"""Experiments, studies, definitions and robots' specs, mutated at random: taken sensibly, or refused in one line.

A mutation changes a value, a key, a line or a byte. What is taken still says the same when it is written out and read
again; what is refused names the file. The mutations are the same each time (hypothesis, derandomised).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile_text import KEYS, VALUES, check_refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lab_definitions import MJCF, REWARD, SUCCESS, YAML

from mql.config.loading import load_experiment, read_resolved, to_yaml
from mql.config.yaml_text import FIELDS
from mql.errors import UserError
from mql.robots import registry as robots
from mql.study.file import parse_study, read_study
from mql.tasks.definitions.file import read_definition

EXPERIMENT = """family: point-robot
profile: fast
seed: 3
agent:
  hidden_sizes: [64, 64]
  lr: 1e-3
  context_mode: carry
train:
  env_steps: 20_000
  random_steps: 1000
  batch_size: 64
adapt: {method: finetune, adaptation_episodes: 4}
env: {sensing: {noise: 0.01}, actuation: {gain: 1.1}}
profiles:
  paper:
    train: {env_steps: 50_000}
"""
STUDY = """schema: mql.study/1
name: small
families: [point-robot]
methods: [mql, td3]
seeds: [1, 2]
settings: {train.env_steps: 20000, agent: {lr: 1e-3}}
variants:
  usual: {}
  blind: {agent.use_context: false, for: {methods: [mql]}}
reference: mql/usual
workers: 2
"""
DEFINITION = YAML.format(python="", env="", parameters="", reward=REWARD, success=SUCCESS) + (
    "start: {joints: {rail: {dist: uniform, low: -0.1, high: 0.1}}}\n"
    "sensing: {all: {noise: 0.01, history: 2}}\nactuation: {delay_s: 0.02, gain: 0.9}\n"
    'terminate: {expr: "abs(info.joint_rail) > 3", after: 2}\nprobe: [1.0]\n'
)
ROBOT = """schema: mql.robot/1
name: cart
version: 1
description: A cart on a rail
licence: Apache-2.0
source: drawn for a test
mjcf: cart.xml
physics_timestep_s: 0.01
home: {rail: 0.1}
joints:
  rail: {kind: slide, velocity_limit: 8.0, effort_limit: 4.0}
actuators:
  push: {joint: rail, kind: motor, control_range: [-0.5, 1.5], gain: 1.0, gear: 10.0}
sensors:
  rail: {kind: joint_position, noise: 0.001, delay_s: 0.005}
randomise:
  body_mass: {low: 0.5, high: 2.0, of: [cart]}
safety: {joint_speed_fraction: 0.5}
masses: {cart: 2.0}
"""


def _experiment(path: Path) -> None:
    config = load_experiment(str(path), families=["point-robot"]).config
    written = path.with_name("written.yaml")
    written.write_text(to_yaml(config), encoding="utf-8")
    assert read_resolved(written) == config


def _study(path: Path) -> None:
    study = read_study(path)
    assert 0 < len(list(study.places())) <= 1000 * len(study.families) * len(study.methods) * len(study.variants)
    again = parse_study(study.to_yaml(), path)
    assert (again.seeds, again.methods, list(again.families)) == (study.seeds, study.methods, list(study.families))


def _definition(path: Path) -> None:
    file = read_definition(path)
    for split in file.definition.splits:
        assert all(source.size is not None or source for source in file.sources(split).values())
    assert read_definition(path).digest == file.digest


def _robot(path: Path) -> None:
    spec = robots.load(str(path), folder=path.parent)
    assert spec.name and spec.describe()


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "experiment": (EXPERIMENT, _experiment),
    "study": (STUDY, _study),
    "definition": (DEFINITION, _definition),
    "robot": (ROBOT, _robot),
}
LINE = st.integers(0, 60)
MUTATION = st.one_of(
    st.tuples(st.just("value"), LINE, st.sampled_from(VALUES)),
    st.tuples(st.just("inner"), LINE, st.sampled_from(VALUES)),
    st.tuples(st.just("key"), LINE, st.sampled_from(KEYS)),
    st.tuples(st.just("drop"), LINE, st.just("")),
    st.tuples(st.just("double"), LINE, st.just("")),
    st.tuples(st.just("indent"), LINE, st.sampled_from(["  ", "\t", " ", "- "])),
    st.tuples(st.just("add"), LINE, st.sampled_from(sorted(FIELDS))),
    st.tuples(st.just("byte"), st.integers(0, 3000), st.characters(max_codepoint=0x2FF)),
    st.tuples(st.just("cut"), st.integers(0, 900), st.just("")),
)


def mutated(text: str, mutations: list[tuple[str, int, str]]) -> str:
    for kind, place, value in mutations:
        lines = text.splitlines()
        if not lines:
            return text
        number = place % len(lines)
        line = lines[number]
        if kind == "value":
            lines[number] = f"{line.partition(':')[0]}: {value}"
        elif kind == "inner":  # one of the values within a line
            parts = line.split(", ")
            parts[place % len(parts)] = f"{parts[place % len(parts)].rpartition(':')[0]}: {value}"
            lines[number] = ", ".join(parts)
        elif kind == "key":
            lines[number] = f"{line[: len(line) - len(line.lstrip())]}{value}:{line.partition(':')[2]}"
        elif kind == "drop":
            del lines[number]
        elif kind == "double":
            lines.insert(number, line)
        elif kind == "indent":
            lines[number] = value + line
        elif kind == "add":
            lines.insert(number, f"{value}: {VALUES[place % len(VALUES)]}")
        elif kind == "byte":
            at = place % len(text)
            text = text[:at] + value + text[at + 1 :]
            continue
        else:
            text = text[: place % len(text)]
            continue
        text = "\n".join(lines) + "\n"
    return text


def attack(folder: Path, examples: int) -> None:
    (folder / "cart.xml").write_text(MJCF)
    ends = {"taken": 0, "refused": 0}

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(kind=st.sampled_from(sorted(KINDS)), mutations=st.lists(MUTATION, min_size=1, max_size=2))
    def one(kind: str, mutations: list[tuple[str, int, str]]) -> None:
        text, read = KINDS[kind]
        path = folder / f"{kind}.yaml"
        path.write_text(mutated(text, mutations), encoding="utf-8", errors="surrogatepass")
        try:
            read(path)
            ends["taken"] += 1
        except UserError as error:
            ends["refused"] += 1
            check_refusal(error, str(folder), "cart", "robot")

    one()
    assert ends["taken"] and ends["refused"] > examples // 3, ends
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_in_order_as_it_is(tmp_path: Path, kind: str) -> None:
    text, read = KINDS[kind]
    (tmp_path / "cart.xml").write_text(MJCF)
    (tmp_path / f"{kind}.yaml").write_text(text)
    read(tmp_path / f"{kind}.yaml")


def test_sixty_mutations(tmp_path: Path) -> None:
    attack(tmp_path, 60)


@pytest.mark.faults
def test_six_hundred_mutations(tmp_path: Path) -> None:
    attack(tmp_path, 600)


def all_values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for inner in value.values() for each in all_values(inner)]
    return [each for inner in value for each in all_values(inner)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("kind", ["definition", "robot", "study"])
def test_every_value_replaced_by_every_hostile_one(tmp_path: Path, kind: str) -> None:
    """Not at random: each place of the tree gets some of the hostile values, in turn."""
    text, read = KINDS[kind]
    (tmp_path / "cart.xml").write_text(MJCF)
    places = len(all_values(yaml.safe_load(text)))
    path, refused = tmp_path / f"{kind}.yaml", 0
    for place in range(places):
        for turn in range(3):
            value = VALUES[(7 * place + 19 * turn) % len(VALUES)]
            marker = "HOSTILE"
            tree, seen = yaml.safe_load(text), [0]

            def put(node: Any, place: int = place, seen: list[int] = seen) -> Any:
                if isinstance(node, dict):
                    return {key: put(inner) for key, inner in node.items()}
                if isinstance(node, list):
                    return [put(inner) for inner in node]
                seen[0] += 1
                return "HOSTILE" if seen[0] == place + 1 else node

            dumped = yaml.safe_dump(put(tree), sort_keys=False, width=10_000)
            path.write_text(dumped.replace(marker, value, 1), encoding="utf-8")
            try:
                read(path)
            except UserError as error:
                refused += 1
                check_refusal(error, str(tmp_path), "cart", "robot")
    assert refused > places
