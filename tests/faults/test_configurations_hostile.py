"""Experiments and studies in YAML that nobody should write: each is refused in one line with file, line and key."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hostile_text import KEYS, VALUES, check_refusal

from mql.cli.app import run
from mql.config.loading import load_experiment
from mql.config.yaml_text import FIELDS
from mql.errors import UserError
from mql.study.file import read_study

KNOWN = ["point-robot"]
# Text of an experiment -> what its refusal says of the place.
TEXTS = {
    "a hexadecimal number of 5000 digits": (f"family: point-robot\nseed: 0x{'f' * 5000}", ":2 seed"),
    "a binary number": (f"family: point-robot\nagent:\n  lr: 0b{'1' * 20000}", ":3 agent.lr"),
    "a number of minutes and seconds": (f"family: point-robot\nseed: {':'.join(['59'] * 3000)}", ":2 seed"),
    "half a character": ('family: "\\ud800"', ":1 family"),
    "half a character as a key": ('family: point-robot\nagent:\n  "\\udc00": 1', ":3"),
    "an escape sequence": ('family: point-robot\nwandb:\n  name: "\\e]0;title\\a"', ":3 wandb.name"),
    "an escape sequence as a key": ('family: point-robot\n"\\e[31mred": 1', ":2"),
    "a turned text": ('family: point-robot\nwandb:\n  name: "\\u202eabc"', ":3 wandb.name"),
    "a raw control character": ("family: point-robot\nseed: \x1b[31m1", ":2"),
    "forty thousand layers": (f"family: point-robot\nagent:\n  hidden_sizes: [{'2,' * 40_000}2]", ":3"),
    "deep lists": (f"family: point-robot\nagent: {'[' * 20_000}", ":2"),
    "deep mappings": (f"family: point-robot\nagent: {'{a: ' * 500}1{'}' * 500}", ":2"),
    "a bomb of aliases": (
        "family: point-robot\na: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "YAML",
    ),
    "an alias within itself": ("family: point-robot\nagent: &a {lr: *a}", "YAML"),
    "code": ("family: !!python/object/apply:os.system [true]", ":1"),
    "a very long key": (f"family: point-robot\n{'a' * 900}: 1", ":2"),
    "a value of a profile that is not chosen": ("family: point-robot\nprofiles:\n  paper: {agent: {lr: -1}}", ":3"),
    "a text in one": ("family: point-robot\nprofiles:\n  paper:\n    agent: {lr: x}", ":4 profiles.paper.agent.lr"),
    "one that does not agree": (
        "family: point-robot\nprofiles:\n  paper: {train: {random_steps: 90_000_000}}",
        ":3 profiles.paper.train.random_steps",
    ),
    "more layers than a network has": (f"family: point-robot\nagent:\n  hidden_sizes: [{'2,' * 100}2]", ":3"),
    "too fast": ("family: point-robot\nagent: {lr: 10}", ":2 agent.lr"),
    "a noise without end": ("family: point-robot\nagent: {target_noise_clip: 1e308}", ":2 agent.target_noise_clip"),
    "an adaptation without end": ("family: point-robot\nadapt: {step2_updates: 1e12}", ":2 adapt.step2_updates"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_an_experiment_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    text, place = TEXTS[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    begun = time.process_time()
    with pytest.raises(UserError) as caught:
        load_experiment(str(path), families=KNOWN)
    assert time.process_time() - begun < 60.0  # of the processor: the slowest of these once took minutes
    check_refusal(caught.value, str(path))
    assert place == "YAML" or f"{path}{place}" in str(caught.value)


def test_what_a_profile_that_is_not_chosen_says_may_be_right(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("family: point-robot\nagent: {lr: 1e-3}\nprofiles:\n  paper: {agent: {lr: 2e-4}}\n")
    assert load_experiment(str(path), families=KNOWN).config.agent.lr == 1e-3
    assert load_experiment(str(path), families=KNOWN, overrides=["profile=paper"]).config.agent.lr == 2e-4


def test_every_key_with_every_hostile_value(tmp_path: Path) -> None:
    """Each is taken or refused in one line with its place; a tenth of the pairs here, all of them in the long part."""
    assert _every_key(tmp_path, step=23) > 100


@pytest.mark.faults
def test_every_key_with_every_hostile_value_of_all(tmp_path: Path) -> None:
    assert _every_key(tmp_path, step=1) > 3000


def _every_key(folder: Path, *, step: int) -> int:
    path = folder / "mine.yaml"
    refused = 0
    for key, value in [(key, value) for key in FIELDS for value in VALUES][::step]:
        *sections, last = key.split(".")
        lines = [f"{'  ' * depth}{section}:" for depth, section in enumerate(sections)]
        text = "\n".join([*lines, f"{'  ' * len(sections)}{last}: {value}"])
        path.write_text(("" if key == "family" else "family: point-robot\n") + text + "\n", encoding="utf-8")
        try:
            load_experiment(str(path), families=KNOWN)
        except UserError as error:
            refused += 1
            check_refusal(error, str(path), "/etc/passwd")
    return refused


@pytest.mark.parametrize("key", KEYS)
def test_hostile_keys(tmp_path: Path, key: str) -> None:
    for text in (f"family: point-robot\n{key}: 1\n", f"family: point-robot\nagent:\n  {key}: 1\n"):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError) as caught:
            load_experiment(str(path), families=KNOWN)
        check_refusal(caught.value, str(path))


STUDY = "schema: mql.study/1\nfamilies: [point-robot]\nmethods: [mql]\nseeds: 2\n"
STUDIES = {
    **{f"seeds {value[:20]}": STUDY.replace("seeds: 2", f"seeds: {value}") for value in VALUES},
    **{f"settings {value[:20]}": STUDY + f"settings: {{train.env_steps: {value}}}\n" for value in VALUES},
    **{f"a variant {value[:20]}": STUDY + f"variants: {{a: {value}}}\n" for value in VALUES},
    **{f"workers {value[:20]}": STUDY + f"workers: {value}\n" for value in VALUES},
    **{f"families {value[:20]}": STUDY.replace("[point-robot]", value) for value in VALUES},
    **{f"the name {value[:20]}": STUDY + f"name: {value}\n" for value in VALUES},
    **{f"a variant called {key[:20]}": STUDY + f"variants:\n  {key}: {{}}\n" for key in KEYS},
}


def test_studies(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    refused = 0
    for text in STUDIES.values():
        path.write_text(text, encoding="utf-8")
        try:
            assert read_study(path).seeds
        except UserError as error:
            refused += 1
            check_refusal(error, str(path))
    assert refused > 0.7 * len(STUDIES)


@pytest.mark.parametrize(
    "setting", ['seed=0x{"f"*5000}', f"seed=0x{'f' * 5000}", 'family="\\ud800"', 'agent.lr="\\e[2J"']
)
def test_settings_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["train", "point-robot", "--set", setting]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and said[:-1].isprintable()
    assert not any(tmp_path.iterdir())


def test_no_key_of_a_saved_configuration_is_lost_on_the_way(tmp_path: Path) -> None:
    """A file that says all defaults is taken as it is: no bound is tighter than a default."""
    from mql.config.loading import to_yaml

    config = load_experiment("point-robot").config
    path = tmp_path / "all.yaml"
    path.write_text(to_yaml(config))
    with contextlib.chdir(tmp_path):
        assert load_experiment("all.yaml", families=KNOWN).config == config
