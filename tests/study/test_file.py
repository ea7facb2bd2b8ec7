"""A study's file: what it means, and its mistakes in one line with file, line and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mql.errors import UserError
from mql.study.cells import cells_of
from mql.study.editor_schema import schema_path, schema_text
from mql.study.file import parse_study, read_study

WHOLE = """schema: mql.study/1
families: [point-robot, reacher-goal]
methods: [mql, td3]
seeds: 2
settings:
  train: {env_steps: 20000}
  agent.lr: 0.01
variants:
  usual:
  blind: {agent: {use_context: false}, for: {methods: mql, families: [point-robot]}}
"""


def study(text: str, tmp_path: Path, name: str = "s.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_family_meets_every_method_variant_and_seed(tmp_path: Path) -> None:
    read = read_study(study(WHOLE, tmp_path))
    assert (read.name, read.seeds, read.reference) == ("s", (1, 2), "mql/usual")
    cells = cells_of(read)
    assert [cell.label for cell in cells[: len(cells) // 2]] == [
        "point-robot/mql/usual/seed-1",
        "point-robot/mql/blind/seed-1",
        "point-robot/td3/usual/seed-1",
        "reacher-goal/mql/usual/seed-1",
        "reacher-goal/td3/usual/seed-1",
    ]
    blind = cells[1].config
    assert (blind.agent.use_context, blind.agent.lr, blind.train.env_steps, blind.seed) == (False, 0.01, 20_000, 1)
    assert cells[0].config.agent.use_context and cells[2].config.method == "td3"
    assert {cell.config.evaluate.seed for cell in cells} == {0}, "all are judged from the same starts"


def test_it_says_the_same_from_another_folder(tmp_path: Path) -> None:
    experiment = tmp_path / "short.yaml"
    experiment.write_text("family: point-robot\ntrain: {env_steps: 5000}\n")
    text = "schema: mql.study/1\nfamilies: [short.yaml]\nseeds: [4, 7]\nsettings: {train.prior_data: [a.npz]}\n"
    read = read_study(study(text, tmp_path))
    elsewhere = tmp_path / "far" / "away"
    elsewhere.mkdir(parents=True)
    again = read_study(study(read.to_yaml(), elsewhere, "study.yaml"))
    assert [cell.label for cell in cells_of(again)] == ["short/mql/default/seed-4", "short/mql/default/seed-7"]
    assert [cell.config for cell in cells_of(again)] == [cell.config for cell in cells_of(read)]
    assert cells_of(again)[0].config.train.prior_data == (str(tmp_path / "a.npz"),)
    assert cells_of(again)[0].config.train.env_steps == 5000


def test_the_schema_for_editors_is_what_the_program_reads() -> None:
    text = schema_path().read_text(encoding="utf-8")
    assert text == schema_text(), "run: python -m mql.study.editor_schema"
    schema = json.loads(text)
    assert set(yaml.safe_load(WHOLE)) <= set(schema["properties"]) and schema["required"] == [
        "schema",
        "families",
        "seeds",
    ]


HEAD = "schema: mql.study/1\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("families: [point-robot]\nseeds: 1\n", "s.yaml:1 schema): a study says 'schema: mql.study/1'"),
        (HEAD + "seeds: 1\n", "the key 'families' is missing"),
        (HEAD + "families: [point-robot]\nseeds: 0\n", "seeds is 0 ("),
        (HEAD + "families: [point-robot]\nseeds: []\n", "there is no seed"),
        (HEAD + "families: [point-robot]\nseeds: [1, 1]\n", "the seed 1 is named twice"),
        (HEAD + "families: [point-robot]\nseed: 1\n", "unknown key 'seed' (s.yaml:3 seed): did you mean 'seeds'?"),
        (HEAD + "families: [point-robto]\nseeds: 1\n", "unknown family 'point-robto' (s.yaml:2 families.0)"),
        (HEAD + "families: [a.yaml]\nseeds: 1\n", "no such file (s.yaml:2 families.0)"),
        (HEAD + "families: [point-robot]\nseeds: 1\nmethods: [mql,\n  tdd3]\n", "(s.yaml:5 methods.1): did you mean"),
        (HEAD + "families: [point-robot]\nseeds: 1\nsettings: {train: {env_step: 3}}\n", "unknown key 'env_step'"),
        (
            HEAD + "families: [point-robot]\nseeds: 1\nsettings:\n  agent.lr: -1\n",
            "agent.lr is -1 (s.yaml:5 settings.agent.lr)",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nsettings: {agent.lrr: 1}\n", "(s.yaml:4 settings.agent.lrr)"),
        (HEAD + "families: [point-robot]\nseeds: 1\nsettings: {seed: 3}\n", "list it under 'seeds'"),
        (HEAD + "families: [point-robot]\nseeds: 1\nsettings: {start_from: a}\n", "a study's runs start anew"),
        (
            HEAD + "families: [point-robot]\nseeds: 1\nsettings: {agent: {lr: 1}, agent.lr: 2}\n",
            "agent.lr is given twice",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nvariants:\n  a/b: {}\n", "(s.yaml:5 variants.a/b)"),
        (
            HEAD + "families: [point-robot]\nseeds: 1\nvariants:\n  a: {for: {methods: td3}}\n",
            "the study has no method 'td3' (s.yaml:5 variants.a.for.methods)",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nreference: td3\n", "the study has no 'td3' (s.yaml:4 reference)"),
        (
            HEAD + "families: [point-robot]\nmethods: [mql, td3]\nseeds: 1\n"
            "variants: {a: {}, b: {for: {methods: [td3]}}}\nreference: mql/b\n",
            "the study has no 'mql/b' (s.yaml:6 reference)",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nvariants: {a: {}, A: {}}\n", "the variants 'A' and 'a' share"),
        (HEAD + "families: [point-robot, ./Point-Robot.yaml]\nseeds: 1\n", "two families are called 'Point-Robot'"),
        (HEAD + "families: [point-robot, ./point-robot.yaml]\nseeds: 1\n", "two families are called 'point-robot'"),
        (
            HEAD + "families: [./lock.yaml]\nseeds: 1\n",
            "lock is a file of the study's own folder (s.yaml:2 families.0)",
        ),
        (
            HEAD + "families: [point-robot]\nseeds: 1\nvariants: {a: {for: 3}}\n",
            "for is 3 (s.yaml:4 variants.a.for): it has",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nreference: [mql]\n", "(METHOD or METHOD/VARIANT that"),
        (
            HEAD + "families: [point-robot]\nmethods: [rl2]\nseeds: 1\nsettings: {train.env_steps: 800}\n",
            "rl2.steps_per_iteration is 6000, more than the run's 800 steps",
        ),
        (HEAD + "families: [point-robot]\nseeds: 1\nworkers: 0\n", "workers is 0 (s.yaml:4 workers)"),
        (
            HEAD + "families: [point-robot]\nmethods: [mql, td3]\nseeds: 1\nsettings:\n  agent.use_context: true\n",
            "agent.use_context is true, but method td3 has false there (s.yaml:6 settings.agent.use_context)",
        ),
    ],
)
def test_mistakes_are_one_line_with_file_line_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        cells_of(parse_study(text, Path("s.yaml")))
    assert line in str(caught.value) and "\n" not in str(caught.value)
