"""Exports the agent of a run, or an adapted one, with all that is known about it and its family."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mql.agent.agent import Agent
from mql.config.schema import Config
from mql.deploy.card import About
from mql.deploy.folder import export
from mql.runs.folder import read_environment
from mql.runs.machine import describe_environment
from mql.tasks.definitions.layout import commanded_numbers, observed_numbers, own_text
from mql.tasks.definitions.reward_file import reward_file
from mql.tasks.family import Task, TaskFamily
from mql.types import JSON


class Exportable(Protocol):
    """What is known of a run."""

    @property
    def path(self) -> Path: ...
    @property
    def config(self) -> Config: ...
    @property
    def family(self) -> TaskFamily: ...
    @property
    def checkpoints(self) -> list[int]: ...

    def evaluations(self) -> list[dict[str, JSON]]: ...
    def agent(self, checkpoint: int | None = None) -> Agent: ...


class ExportableAdapted(Protocol):
    """What is known of an adapted agent."""

    @property
    def agent(self) -> Agent: ...
    @property
    def config(self) -> Config: ...
    @property
    def family(self) -> TaskFamily: ...
    @property
    def report(self) -> Mapping[str, JSON]: ...
    @property
    def task(self) -> Mapping[str, JSON] | None: ...
    @property
    def facts(self) -> Mapping[str, JSON]: ...


def export_run(run: Exportable, folder: str | os.PathLike[str], *, checkpoint: int | None = None) -> dict[str, Any]:
    """Write the agent's zero-shot policy into a new folder for a robot's computer; return its card (docs/export.md).

    Args:
        folder: it must not exist, or be empty; it appears when it is complete.
        checkpoint: env steps of the checkpoint to use; None: the newest.

    Raises:
        UserError: no such checkpoint, a package is missing, or the agent can't be exported.
    """
    agent = run.agent(checkpoint)
    steps = run.checkpoints[-1] if checkpoint is None else checkpoint
    made = read_environment(run.path)
    evaluated = [line for line in run.evaluations() if line.get("env_steps") == steps]
    training: dict[str, JSON] = {
        "run": run.path.name,
        "env_steps": steps,
        "seed": run.config.seed,
        "evaluation": _summary(evaluated[-1]) if evaluated else None,
        "commit": made.get("git_commit"),
        "versions": made.get("versions"),
    }
    return export(agent, folder, family=run.family, about=_about(run.family, training, None))


def export_adapted(adapted: ExportableAdapted, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write the adapted policy into a new folder for a robot's computer; return its card (docs/export.md).

    Args:
        folder: it must not exist, or be empty; it appears when it is complete.

    Raises:
        UserError: the family can't be built, a package is missing, or the agent can't be exported.
    """
    report = {name: adapted.report[name] for name in ("method", "accepted", "chosen") if name in adapted.report}
    training: dict[str, JSON] = {
        "run": os.path.basename(str(adapted.facts.get("run", ""))) or None,
        "env_steps": adapted.facts.get("env_steps"),
        "seed": adapted.facts.get("seed"),
        "adaptation": {"method": adapted.config.adapt.method, **report},
    }
    return export(
        adapted.agent,
        folder,
        family=adapted.family,
        about=_about(adapted.family, training, adapted.task),
    )


def _about(family: TaskFamily, training: Mapping[str, JSON], task: Mapping[str, JSON] | None) -> About:
    now = describe_environment([])
    asked: Task = family.tasks("train")[0] if task is None else family.task(task)
    return About(
        observation=observed_numbers(family),
        action=commanded_numbers(family),
        reward_file=reward_file(family, asked, adapted=task is not None),
        family_text=own_text(family),
        task=task,
        facts={"training": training, "versions": now["versions"], "commit": now["git_commit"]},
    )


def _summary(evaluation: Mapping[str, JSON]) -> JSON:
    """Return an evaluation without its single tasks."""
    return {name: evaluation.get(name) for name in ("split", "summary") if name in evaluation}
