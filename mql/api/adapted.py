"""An agent that was adapted to a task, what the adaptation says of itself, and the folder that keeps both.

A folder is a saved agent (`mql.agent.saving`) with ``config.yaml``, ``adaptation.json`` and, where a file defines the
family, a copy of the definition. It needs nothing of the run that it comes from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mql.adaptation.result import Report
from mql.agent import saving
from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.api.exporting import export_adapted
from mql.api.families import FamilySource, source_in
from mql.api.training import check_device
from mql.config.loading import Overrides, override, parse_overrides, read_resolved, to_yaml
from mql.config.schema import Config
from mql.errors import UserError
from mql.evaluation.held_out import TaskResult, evaluate
from mql.files import as_data, read_facts_from_folder, read_from_folder, to_json, write_folder
from mql.plain_text import counted
from mql.tasks.family import Task, TaskFamily
from mql.threads import limit_threads
from mql.training.records import measure_agent, record_of
from mql.types import JSON, Episode

FORMAT = "mql.adapted"
FORMAT_VERSION = 1

# Keys and sections that a finished training leaves open.
CHANGEABLE = ("adapt.", "evaluate.", "threads", "collect.", "device", "train.replay_on_disk")

FACTS, CONFIG = "adaptation.json", "config.yaml"


@dataclass(frozen=True)
class Adapted:
    """An adapted agent.

    Attributes:
        agent: the adapted one; the meta-trained agent stayed as it was.
        config: of its run, as changed for the adaptation.
        report: how the adaptation went: figures by name (docs/run-directory.md).
        episodes: the new task's data that it learned from; None where the agent was read from a folder.
        task: what it was adapted to; None: that is not known (own episodes, or an own environment).
        facts: more about it, such as ``run``, ``env_steps`` and ``seed``.
    """

    agent: Agent = field(repr=False)
    config: Config = field(repr=False)
    report: Mapping[str, JSON]
    episodes: Sequence[Episode] | None = field(repr=False)
    task: Mapping[str, JSON] | None
    facts: Mapping[str, JSON]
    source: FamilySource = field(repr=False)
    comparison: Comparison | None = field(default=None, repr=False)

    @property
    def family(self) -> TaskFamily:
        """The family of its task.

        Raises:
            UserError: it can't be built here.
        """
        return self.source.family

    def policy(self) -> RobotPolicy:
        """Return the adapted policy for one robot."""
        return RobotPolicy(self.agent)

    export = export_adapted

    def compare(self) -> dict[str, JSON]:
        """Play the evaluation episodes of its task before and after adaptation: the row that `mql adapt --json` prints.

        Raises:
            UserError: the task is not known, or the agent before adaptation is not there (it was read from a folder).
            EpisodeFault: an episode could not be finished.
        """
        if self.comparison is None:
            mend = "compare before saving, where the adaptation was to a task; or use evaluate"
            raise UserError("there is nothing to compare: the task, or the agent before, is not known", mend=mend)
        return self.comparison.row(self.family, self.agent, self.config)

    def evaluate(
        self,
        *,
        split: str | None = None,
        tasks: int | None = None,
        on_task: Callable[[int, int], None] | None = None,
        on_result: Callable[[TaskResult], None] | None = None,
    ) -> dict[str, JSON]:
        """Evaluate the agent as it is now, without another adaptation: the form of `Run.evaluate`.

        ``zero_shot`` in the result means this agent; ``adapted_to`` is the task that it was adapted to.

        Args:
            split: tasks to play; None: the task that it was adapted to.
            tasks: the first ones of the split; None: at most ``evaluate.final_tasks``.
            on_task: called with (done, tasks); `on_result` with what each task gave.

        Raises:
            UserError: no such split or not so many tasks, or the own task is not known.
        """
        config, family = self.config, self.family
        if split is not None:
            chosen = tasks_of(family, config, split, tasks)
        elif self.task is None:
            raise UserError("the task that the agent was adapted to is not known", mend="give a split")
        else:
            chosen = [family.task(self.task)]
        limit_threads(config.threads)

        def tell(index: int, result: TaskResult) -> None:
            if on_result:
                on_result(result)
            if on_task:
                on_task(index + 1, len(chosen))

        split = split or chosen[0].split
        results = measure_agent(self.agent, family, chosen, config=config, split=split, with_random=True, on_task=tell)
        record = record_of(config, family, results, split=split)
        digest = {key: self.facts[key] for key in ("family_digest",) if key in self.facts}
        adapted_to = None if self.task is None else dict(self.task)
        return as_data(record | {"env_steps": self.facts["env_steps"], "adapted_to": adapted_to, **digest})

    def save(self, folder: str | os.PathLike[str], *, facts: Mapping[str, JSON] | None = None) -> None:
        """Write a new folder that `load`, `mql.load_policy`, `Agent.load` and `mql evaluate` read.

        Args:
            folder: it must not exist, or be empty; it appears when it is complete.
            facts: more for ``adaptation.json``, such as the name of a robot.

        Raises:
            UserError: something stands there, or it can't be written.
        """
        definition = self.source.copy
        described = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "family": self.config.family,
            **self.source.facts,
            **(definition.facts if definition else {}),
            "parameters": self.task,
            **self.facts,
            "report": self.report,
        }
        for name, value in (facts or {}).items():
            if name in described and described[name] != value:
                raise UserError(f"{name!r} has a meaning of its own", where="facts", mend="give it another name")
        described |= facts or {}
        files = {
            **saving.files_of(self.agent),
            CONFIG: to_yaml(self.config).encode(),
            FACTS: _written(described),
            **(definition.in_run if definition else {}),
        }
        write_folder(Path(folder), files)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        family: TaskFamily | None = None,
        trust: bool = False,
        settings: Overrides | None = None,
    ) -> Adapted:
        """Read what `save` wrote.

        Args:
            family: of its task, where it was trained on a family given as an object.
            trust: the Python of its definition may be run.
            settings: of ``evaluate``, ``collect``, ``threads`` and ``device``.

        Raises:
            UserError: the folder holds no adapted agent, or a damaged one, or one of another format version.
        """
        path = Path(os.path.abspath(folder))
        if not is_adapted(path):
            mend = "give one that Adapted.save or mql adapt --out wrote"
            raise UserError("the folder holds no adapted agent", where=str(path), mend=mend)
        described = read_facts_from_folder(path, FACTS)
        if described.pop("format", None) != FORMAT or described.pop("format_version", None) != FORMAT_VERSION:
            mend = "use the version of mql that wrote it"
            raise UserError("the format is one that this version does not read", where=str(path / FACTS), mend=mend)
        read_from_folder(path, CONFIG)
        report, task = described.pop("report", None), described.pop("parameters", None)
        if not isinstance(report, dict) or not isinstance(task, dict | None) or "env_steps" not in described:
            raise UserError("its facts are not complete", where=str(path / FACTS), mend="save the agent again")
        config = changed_config(read_resolved(path / CONFIG), settings)
        agent = Agent.load(path, device=config.device)
        source = source_in(path, config, described, given=family, trust=trust)
        return cls(agent, config, report, None, task, described, source)


@dataclass(frozen=True)
class Comparison:
    """The agent before adaptation and its task, to be compared with the adapted one from the same starts."""

    before: Agent
    task: Task
    seed: int
    report: Report

    def row(self, family: TaskFamily, after: Agent, config: Config) -> dict[str, JSON]:
        """Return the row of `mql adapt --json`."""
        limit_threads(config.threads)
        played = [
            evaluate(
                agent,
                family,
                [self.task],
                evaluation_episodes=config.evaluate.evaluation_episodes,
                seed=self.seed,
                workers=config.workforce,
            )[0].zero_shot
            for agent in (self.before, after)
        ]
        result = TaskResult(self.task, played[0], played[1], self.report)
        return as_data({**result.to_json(), "in_training_range": self.task.in_training_range})


def _written(described: Mapping[str, JSON]) -> bytes:
    try:
        return to_json(described, indent=1)
    except TypeError as error:
        mend = "give text, numbers, and lists and dicts of them"
        raise UserError(f"a fact can't be written ({error})", where="facts", mend=mend) from None


def changed_config(config: Config, settings: Overrides | None) -> Config:
    """Return a configuration with settings of what may still be changed after training.

    Raises:
        UserError: a key that is unknown or was fixed by training, or a wrong value.
    """
    settings = {} if settings is None else settings
    for key, given in parse_overrides(settings).items():
        if not key.startswith(CHANGEABLE):
            mend = "only adapt.*, evaluate.*, threads, collect.*, device and train.replay_on_disk can be changed now"
            raise UserError(f"{key} was fixed when the agent was trained", where=given.where, mend=mend)
    changed = override(config, settings)
    check_device(changed)
    return changed


def is_adapted(folder: Path) -> bool:
    """Tell whether `Adapted.save` or `mql adapt --out` wrote this folder."""
    return (folder / FACTS).is_file()


def tasks_of(family: TaskFamily, config: Config, split: str, tasks: int | None) -> list[Task]:
    """Return the first tasks of a split: as many as asked for, or at most ``evaluate.final_tasks``.

    Raises:
        UserError: there is no such split, or it has fewer.
    """
    listed = family.tasks(split)
    if tasks is None:
        return listed[: config.evaluate.final_tasks]
    return first_tasks(listed, tasks, split)


def first_tasks(listed: Sequence[Task], tasks: int, split: str) -> list[Task]:
    """Return the first `tasks` of a split's tasks.

    Raises:
        UserError: it has fewer, or none are asked for.
    """
    if not isinstance(tasks, int) or not 1 <= tasks <= len(listed):
        mend = f"ask for a whole number from 1 to {len(listed)}"
        raise UserError(f"{split} has {counted(len(listed), 'task')}, not {tasks}", where="tasks", mend=mend)
    return list(listed[:tasks])
