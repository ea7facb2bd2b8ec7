"""What lies in a folder of published results, and whether it keeps to the rule.

    results/<family>/curve.png                      drawn from all that lies below it
    results/<family>/notes.md                       what limits it, what was tried: a few sentences, no headings
    results/<family>/<method>/time.json             what training takes on an idle machine (`mql.bench.run_time`)
    results/<family>/<method>/seed-<n>/             config.yaml, environment.json, evaluations.jsonl of a run, and where
                                                    there is one: random.json, ood.json, again.json

``<method>`` is the key `method`, with more behind a hyphen where the settings are others than the family's usual ones
(``mql-paper``). All seeds of a method have the same settings. A family may have notes and no method. Other files are
let be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mql.config.schema import BEFORE
from mql.config.yaml_text import FIELDS
from mql.errors import UserError
from mql.files import read_json, read_json_lines, user_errors
from mql.report.page.facts import numeric
from mql.report.page.groups import NOT_A_SECTION, NOT_A_SETTING, task_key

Record = dict[str, Any]

CONFIG, ENVIRONMENT, EVALUATIONS = "config.yaml", "environment.json", "evaluations.jsonl"
RANDOM, OOD, AGAIN, TIME, NOTES, CURVE = "random.json", "ood.json", "again.json", "time.json", "notes.md", "curve.png"
# Results of other kinds, which have documents of their own.
OTHER_KINDS = ("adaptation", "normalize", "performance", "quickstart")

FAMILY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
METHOD_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9.]+)*")
_SEED_NAME = re.compile(r"seed-(\d+)")
_METHODS_FIRST = ("mql", "td3", "td3-context", "rl2", "pearl", "oracle")


@dataclass(frozen=True)
class Seed:
    """One run as it is published.

    Attributes:
        settings: its configuration by key.
        evaluations: the lines of evaluations.jsonl, at least one.
        random: returns and successes of random actions by task, where these were played afterwards.
        ood: what `mql evaluate --split ood --json` said of the final agent; None: it was not asked.
        again: what another `mql evaluate --json` said, with other ways to adapt; ``how`` in it says which.
    """

    path: Path
    seed: int
    settings: Mapping[str, Any]
    environment: Record
    evaluations: list[Record]
    random: Mapping[str, Record] = field(default_factory=dict)
    ood: Record | None = None
    again: Record | None = None

    @property
    def last(self) -> Record:
        """The last evaluation: the final one where the run has ended."""
        return self.evaluations[-1]

    @property
    def method(self) -> str:
        """What it was trained with."""
        return str(self.settings.get("method", "mql"))

    @property
    def planned(self) -> int:
        """Env steps that the run was made for."""
        return int(self.settings["train.env_steps"])

    @property
    def finished(self) -> bool:
        """Whether the last evaluation is the final one."""
        return bool(
            self.last["env_steps"] >= self.planned and self.last["split"] == self.settings.get("evaluate.split")
        )

    @property
    def commit(self) -> str | None:
        """The commit that made it; None where that was not recorded."""
        commit = self.environment.get("git_commit")
        return str(commit) if commit else None


@dataclass(frozen=True)
class Method:
    """The runs of one method on one family, by seed; ``time`` is what `time.json` says."""

    name: str
    path: Path
    seeds: tuple[Seed, ...]
    time: Record | None = None


@dataclass(frozen=True)
class Family:
    """All that is published of one family; without methods there are only notes."""

    name: str
    path: Path
    methods: tuple[Method, ...]
    notes: str = ""


def read_results(folder: Path) -> list[Family]:
    """Read a folder of results, families by name.

    Raises:
        UserError: there is no such folder, or the first thing in it that is missing, damaged or against the rule.
    """
    if not folder.is_dir():
        raise UserError("there is no such folder of results", where=str(folder), mend="give the one that holds them")
    own = [each for each in _folders(folder) if each.name not in OTHER_KINDS]
    return [read_family(each) for each in own]


def read_family(path: Path) -> Family:
    """Read what lies in ``results/<family>``.

    Raises:
        UserError: something is missing, damaged or against the rule.
    """
    methods = sorted((read_method(each) for each in _folders(path)), key=lambda method: rank_of(method.name))
    notes = path / NOTES
    with user_errors(notes):
        text = notes.read_text(encoding="utf-8").strip() if notes.exists() else ""
    if re.search(r"^#", text, flags=re.MULTILINE):
        raise UserError("the notes hold a heading", where=str(notes), mend="write sentences: the page has the headings")
    if not methods and not text:
        mend = "add a run (python -m mql.cli.publish add RUN) or notes.md, or remove the folder"
        raise UserError("the folder holds no result", where=str(path), mend=mend)
    return Family(path.name, path, tuple(methods), text)


def rank_of(method: str) -> tuple[int, str]:
    """Return a key that sorts methods: ours first, then those it is compared with, the oracle at the end."""
    known = [place for place, name in enumerate(_METHODS_FIRST) if method == name or method.startswith(f"{name}-")]
    return max(known, default=len(_METHODS_FIRST)), method


def is_name_of(name: str, method: str) -> bool:
    """Tell whether a folder may be called so that holds runs of a method."""
    return bool(METHOD_NAME.fullmatch(name)) and (name == method or name.startswith(f"{method}-"))


def read_method(path: Path) -> Method:
    """Read what lies in ``results/<family>/<method>``.

    Raises:
        UserError: something is missing, damaged or against the rule; seeds were made with different settings.
    """
    found = {each: _SEED_NAME.fullmatch(each.name) for each in _folders(path)}
    wrong = next((each for each, name in found.items() if name is None), None)
    if wrong is not None or not found or not METHOD_NAME.fullmatch(path.name):
        mend = "the rule is results/<family>/<method>/seed-<n> (results/README.md)"
        raise UserError("the folder has no place in the rule", where=str(wrong or path), mend=mend)
    seeds = sorted((read_seed(each) for each in found), key=lambda seed: seed.seed)
    for seed in seeds:
        if not is_name_of(path.name, seed.method):
            mend = f"call it {seed.method}, or {seed.method} with more behind a hyphen"
            raise UserError(f"the run's method is {seed.method}", where=str(seed.path), mend=mend)
        check_belong_together(seeds[0], seed)
    time = read_json(path / TIME) if (path / TIME).exists() else None
    if time is not None:
        check_time(path / TIME, time, seeds[0])
    return Method(path.name, path, tuple(seeds), time)


def read_seed(path: Path) -> Seed:
    """Read a run that is published, or a run directory as if it were.

    Raises:
        UserError: a file is missing or damaged.
    """
    settings, environment = read_settings(path / CONFIG), read_json(path / ENVIRONMENT)
    if not isinstance(environment, dict) or not isinstance(environment.get("machine"), dict):
        raise damaged(path / ENVIRONMENT, "machine")
    evaluations = read_json_lines(path / EVALUATIONS)
    if not evaluations:
        raise UserError("there is no evaluation", where=str(path / EVALUATIONS), mend="wait for the first one")
    for record in evaluations:
        check_record(path / EVALUATIONS, record)
    named = _SEED_NAME.fullmatch(path.name)
    if named and int(named[1]) != settings["seed"]:
        mend = f"name the folder seed-{settings['seed']}"
        raise UserError(f"the run's seed is {settings['seed']}", where=str(path), mend=mend)
    beside = {name: read_beside(path / name, evaluations[-1]) for name in (OOD, AGAIN)}
    return Seed(
        path=path,
        seed=settings["seed"],
        settings=settings,
        environment=environment,
        evaluations=evaluations,
        random=_random(path / RANDOM),
        ood=beside[OOD],
        again=beside[AGAIN],
    )


def read_settings(path: Path) -> dict[str, Any]:
    """Read a run's configuration by key as it stands: one of an earlier version may have keys that are gone.

    Raises:
        UserError: it is missing, damaged, or lacks what every run has.
    """
    with user_errors(path):
        data = path.read_bytes()
    try:
        settings = _flat(yaml.safe_load(data))
    except (yaml.YAMLError, AttributeError, ValueError, RecursionError) as error:
        raise UserError("the file is damaged", where=str(path), mend="restore it from a copy") from error
    for key, kind in (("family", str), ("seed", int), ("train.env_steps", int)):
        if type(settings.get(key)) is not kind:  # (True is no number here)
            raise damaged(path, key)
    if settings["seed"] < 0:
        raise damaged(path, "seed")
    return settings


def read_beside(path: Path, last: Record) -> Record | None:
    """Read the output of an `mql evaluate --json` of a run whose last evaluation is `last`; None: there is none.

    Raises:
        UserError: it is damaged, or of another agent.
    """
    if not path.exists():
        return None
    record = read_json(path)
    check_record(path, record)
    if path.name == OOD and record["split"] != "ood":
        mend = f"call it {AGAIN}, or evaluate with --split ood"
        raise UserError(f"its split is {record['split']}", where=str(path), mend=mend)
    for key in ("env_steps", "seed"):
        if key in record and key in last and record[key] != last[key]:
            what = f"its {key} is {record[key]}, that of the run {last[key]}"
            raise UserError(what, where=str(path), mend="evaluate the run's last checkpoint: mql evaluate RUN --json")
    return dict(record)


def check_record(path: Path, record: object) -> None:
    """Refuse what is no evaluation with rows of tasks.

    Raises:
        UserError: it is none.
    """
    if not isinstance(record, dict) or not isinstance(record.get("split"), str):
        raise damaged(path, "split")
    if numeric(record.get("env_steps")) is None:
        raise damaged(path, "env_steps")
    rows = record.get("tasks")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise damaged(path, "tasks")
    for row in rows:
        if not isinstance(row.get("parameters"), dict):
            raise damaged(path, "tasks: parameters")
        if "fault" not in row and numeric(row.get("zero_shot_return")) is None:
            raise damaged(path, "tasks: zero_shot_return")


def check_belong_together(one: Seed, other: Seed) -> None:
    """Refuse two seeds of a method that differ in more than that.

    Raises:
        UserError: names the first key that differs, or their last evaluations are on different tasks.
    """
    for key in sorted({*one.settings, *other.settings}):
        if key in NOT_A_SETTING or key.split(".")[0] in (*NOT_A_SECTION, "wandb"):
            continue
        first, second = (_value(seed.settings, key) for seed in (one, other))
        if json.dumps(first, default=str) != json.dumps(second, default=str):
            what = f"{key} is {second}, but {first} in {one.path}"
            mend = "keep it under another method's name (--as), or take the others away (--replace)"
            raise UserError(what, where=str(other.path), mend=mend)
    first, second = ([task_key(row["parameters"]) for row in seed.last["tasks"]] for seed in (one, other))
    if first != second:
        mend = f"keep it under another method's name than {one.path} (--as)"
        raise UserError("its last evaluation is on other tasks", where=str(other.path), mend=mend)


def check_time(path: Path, time: object, seed: Seed) -> None:
    """Refuse a time that is damaged, or of another plan than the run's.

    Raises:
        UserError: it is.
    """
    for key in ("wall_seconds", "env_steps_per_s", "env_steps", "machine", "date"):
        if not isinstance(time, dict) or key not in time:
            raise damaged(path, key)
    assert isinstance(time, dict)
    if time["env_steps"] != seed.planned:
        what = f"it is of a run of {time['env_steps']:,} env steps, not of {seed.planned:,}"
        raise UserError(what, where=str(path), mend="measure it again: python -m mql.cli.publish time RUN")


def damaged(path: Path, key: str) -> UserError:
    """Return the error of a file that lacks something."""
    return UserError(f"the file is damaged: it holds no {key!r}", where=str(path), mend="restore it from a copy")


def _value(settings: Mapping[str, Any], key: str) -> Any:
    """Return a setting; one that the run's version did not know is as it was then."""
    if key in settings or key not in FIELDS:
        return settings.get(key)
    default = BEFORE[key] if key in BEFORE else FIELDS[key].get_default(call_default_factory=True)
    return list(default) if isinstance(default, tuple) else default


def _random(path: Path) -> dict[str, Record]:
    if not path.exists():
        return {}
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("tasks"), list):
        raise damaged(path, "tasks")
    return {task_key(row["parameters"]): row for row in found["tasks"]}


def _folders(path: Path) -> list[Path]:
    with user_errors(path):
        return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
