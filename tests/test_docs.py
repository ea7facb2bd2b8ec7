"""The documents say what the program does: tables, keys, names, commands, links and the example of the README.

``python tests/test_docs.py`` writes docs/configuration.md anew from the schema, the table of docs/tasks.md from the
registry, and the table of scenes in docs/definitions.md from their models.
"""

from __future__ import annotations

import re
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import mujoco
import pytest
import typer
import yaml
from documents import blocks

from mql.cli.app import app
from mql.config.allowed_values import allowed
from mql.config.schema import PROFILES
from mql.config.yaml_text import FIELDS, MODELS, SECTIONS, TOP
from mql.robots.mjcf.contents import contents
from mql.tasks import registry
from mql.tasks.definitions.schema import EnvSpec
from mql.tasks.families.meta_world.names import STEPPED
from mql.tasks.scenes.built_in import built_in
from mql.tasks.stepping.derived import FROM_SOLVER

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
TASKS = ROOT / "docs" / "tasks.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
GLOSSARY = ROOT / "docs" / "glossary.md"
PACKAGES = {"mql", "tasks", "robots"}
DEFINITIONS = ROOT / "docs" / "definitions.md"
FILE_TYPES = {"yaml", "json", "jsonl", "png", "html", "safetensors", "sha256"}
PYTHON = ROOT / "docs" / "python.md"
FULL, SHORT = '"train.env_steps": 10_000', '"train.env_steps": 2400, "evaluate.final_tasks": 2'  # and in their tests

HEAD = """# The configuration

One experiment is one YAML file with the keys below; a family's name alone stands for its default experiment,
`configs/<family>.yaml` (or the file whose name is the longest beginning of the family's: `fetch-push-physics` has the
experiment of `fetch-push`). Later layers win:

    defaults < profile < configs/<family>.yaml < your file < --set section.key=value

A file may hold a block `profiles: {paper: {...}, fast: {...}}` with sections; the chosen profile's comes right after
the file's other keys. An unknown key or a wrong value is an error that names file, line, key and what would be right;
a key of yours that another one turns off (`agent.burn_in` in windows, say) is named when training starts.
The resolved configuration is saved with the run as `config.yaml`.

```yaml
family: reacher-goal
seed: 3
train: {env_steps: 400000}
adapt: {step2_updates: 50}
```

The tables show the defaults of both profiles; family files change some of them. What a family's file says of `agent`,
`train` and `adapt` is the `fast` profile's; the `paper` profile takes from it the block `profiles: {paper: ...}` alone,
which has the published values of the paper's six families. Whole numbers are at most 10^12. This
page is written by `python tests/test_docs.py` from `mql/config/schema.py`, and a test compares.
"""


def configuration_page() -> str:
    """The text of docs/configuration.md."""
    parts = [HEAD, "## Top level\n", _table({name: name for name in TOP})]
    for section, fields in ((section, fields) for section, fields in SECTIONS.items() if fields):
        text = str(MODELS[section].__doc__).splitlines()[0]
        parts += [f"## {section}\n\n{text}\n", _table({name: f"{section}.{name}" for name in fields})]
    return "\n".join(parts).rstrip() + "\n"


def _table(keys: dict[str, str]) -> str:
    rows = ["| key | values | fast | paper | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, key in keys.items():
        field = FIELDS[key]
        values = re.sub(r"from (\d+) to 1_000_000_000_000", r"of at least \1", allowed(field))
        rows.append(f"| `{name}` | {values} | {_default(key)} | {_paper(key)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _default(key: str) -> str:
    return "required" if FIELDS[key].is_required() else _shown(FIELDS[key].default)


def _paper(key: str) -> str:
    section, _, name = key.rpartition(".")
    changed = PROFILES["paper"].get(section, {})
    if key == "profile":
        return _shown("paper")
    differs = name in changed and changed[name] != FIELDS[key].default
    return f"**{_shown(changed[name])}**" if differs else _default(key)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return yaml.safe_dump(value).splitlines()[0]


def test_configuration_page_is_that_of_the_schema() -> None:
    written = CONFIGURATION.read_text(encoding="utf-8")
    assert written == configuration_page(), "run: python tests/test_docs.py"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_keys_and_names_in_code_spans_exist(path: Path) -> None:
    """`train.env_steps` is a key of the configuration, `learning.td3` a name of the program, `mql/errors.py` a file."""
    wrong = []
    for span in re.findall(r"`([^`\n]+)`", _without_blocks(path)):
        word = re.split(r"[:=(\s]", span)[0]
        section, _, rest = word.partition(".")
        if re.fullmatch(r"(mql|tasks|robots|configs|notebooks|docs|examples|tests|results)/[\w./-]*", word):
            found = (ROOT / word).exists()
        elif not rest or rest in FILE_TYPES:
            continue
        elif section in SECTIONS or section in PACKAGES or _is_module(section):
            of_definition = section == "env" and rest in EnvSpec.model_fields  # which have a section of that name, too
            found = rest == "*" or word in {*FIELDS, *SECTIONS} or of_definition or _resolves(word.removeprefix("mql."))
        else:
            continue
        if not found:
            wrong.append(span)
    assert not wrong


def _is_module(name: str) -> bool:
    """Whether `mql.<name>` is one; the empty name of `.venv` is none."""
    return bool(name) and any((ROOT / "mql" / own).exists() for own in (f"{name}.py", f"{name}/__init__.py"))


def _resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for cut in range(len(parts), -1, -1):
        try:
            found: Any = import_module(".".join(["mql", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_commands_in_the_documents_are_those_of_the_program() -> None:
    """Every `mql ...` line names an existing command with existing options."""
    lines = [line for path in DOCUMENTS for block in blocks(path, "") for line in block.splitlines()]
    commands = [
        line.split("#")[0].removeprefix(".venv/bin/") for line in lines if re.match(r"(\.venv/bin/)?mql ", line)
    ]
    assert len(commands) > 5
    for line in commands:
        words = shlex.split(line)[1:]
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert not hasattr(command, "commands"), line
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= options, line
        for key in (word.partition("=")[0] for word in words if "=" in word and "." in word.partition("=")[0]):
            assert key in FIELDS, line


def test_make_targets_in_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"\bmake ([a-z]+)\b", " ".join(blocks(README, "")))):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_families_in_the_readme_exist() -> None:
    named = re.findall(r"^\| `([a-z0-9-]+)` \|", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(named) > 5 and set(named) <= set(registry.names())


def test_how_families_are_stepped_is_told_in_the_readme_as_in_the_table() -> None:
    """Of Meta-World's environments seven are batched, and the row says both."""
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \| (.*) \| ([^|]+) \|$", README.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    told = {name: stepped for name, _, stepped in rows if name in registry.names()}
    assert told.pop("ml1-reach") == f"{len(STEPPED)} batched, others by workers"
    assert {name: stepped == "batched" for name, stepped in told.items()} == {
        name: registry.load(name).native for name in told
    }


def test_the_table_of_families_is_that_of_the_registry() -> None:
    assert TASKS.read_text(encoding="utf-8") == tasks_page(), "run: python tests/test_docs.py"


def tasks_page() -> str:
    """The text of docs/tasks.md with its table made anew."""
    return _with_table(TASKS, "families", _families_table())


def test_the_table_of_scenes_is_that_of_their_models() -> None:
    assert DEFINITIONS.read_text(encoding="utf-8") == definitions_page(), "run: python tests/test_docs.py"


def definitions_page() -> str:
    """The text of docs/definitions.md with its table of scenes made anew."""
    return _with_table(DEFINITIONS, "scenes", _scenes_table())


def _with_table(page: Path, of: str, table: str) -> str:
    """The text of a page with what stands between two marks made anew."""
    begins, ends = f"<!-- {of} -->", f"<!-- end of {of} -->"
    head, _, rest = page.read_text(encoding="utf-8").partition(begins)
    _, _, tail = rest.partition(ends)
    return head + begins + "\n" + table + ends + tail


def _scenes_table() -> str:
    kinds = ("bodies", "sites", "joints", "geoms")
    rows = [f"| scene | {' | '.join(kinds)} |", "| --- |" + " --- |" * len(kinds)]
    for name, path in built_in("scene").items():
        held = contents(mujoco.MjModel.from_xml_path(str(path)))
        assert not held["actuators"] and not held["sensors"]  # else they need columns
        cells = (", ".join(f"`{each['name']}`" for each in held[kind]) or "-" for kind in kinds)
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _families_table() -> str:
    rows = [
        "| family | what it is | hidden parameters | obs / action | steps | train / valid. / test / ood | stepped |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    reach_of_ml1 = "ml1-reach"  # one row stands for the fifty, which differ in their environment only
    for name in registry.names():
        if name.endswith("-oracle") or (name.startswith("ml1-") and name != reach_of_ml1):
            continue
        family = registry.load(name)
        row = family.summary_row()
        splits = " / ".join(str(row["splits"].get(split, 0)) for split in ("train", "validation", "test", "ood"))
        hidden = ", ".join(key for key, parameter in family.parameters.items() if parameter.hidden) or "none"
        alone = FROM_SOLVER.intersection(getattr(family, "derived", ()))  # contact forces, of simulations that go on
        stepped = "task by task" if alone else "batched" if family.native else "by workers"
        sizes = f"{row['obs_dim']} / {row['action_dim']}"
        rows.append(
            f"| `{name}` | {family.summary} | {hidden} | {sizes} | {family.episode_length} | {splits} | {stepped} |"
        )
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("path", [README, PYTHON], ids=lambda path: path.name)
def test_the_examples_in_python_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, with shorter trainings."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "example"}
    parts = blocks(path, "python")
    assert any(FULL in block for block in parts)
    for block in parts:
        exec(compile(block.replace(FULL, SHORT), str(path), "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == sum(block.count("print(") for block in parts) > 0


def test_the_glossary_has_the_words_that_outputs_use_in_their_order() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", GLOSSARY.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    words = [row.replace("`", "").split(",")[0].strip().lower() for row in rows]
    assert words == sorted(words, key=str.lower)
    assert {"auto", "relabel", "paired", "trial", "batched", "zero-shot", "adapted", "gate", "ood"} <= set(words)


def test_the_readme_lists_every_document() -> None:
    listed = README.read_text(encoding="utf-8").partition("## Documents")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"\]\(docs/([\w-]+\.md)\)", listed)) == sorted(
        p.name for p in (ROOT / "docs").glob("*.md")
    )


def test_the_readme_has_one_example_of_eleven_lines() -> None:
    [example] = blocks(README, "python")
    assert len([line for line in example.splitlines() if line]) == 11


def _without_blocks(path: Path) -> str:
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    CONFIGURATION.write_text(configuration_page(), encoding="utf-8")
    TASKS.write_text(tasks_page(), encoding="utf-8")
    DEFINITIONS.write_text(definitions_page(), encoding="utf-8")
    print(f"written: {CONFIGURATION} and the tables of {TASKS} and {DEFINITIONS}", file=sys.stderr)
