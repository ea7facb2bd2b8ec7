"""What a run takes from the one that it starts from (`mql train --from`), and whether it may."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mql.config.loading import Overrides, with_values
from mql.config.schema import Config
from mql.config.yaml_text import Given
from mql.errors import UserError
from mql.learning.prior import Prior
from mql.runs.checkpoint import Checkpoint
from mql.runs.definition import DefinitionCopy, kept_definition
from mql.runs.fork import Parent
from mql.runs.prior_files import read_prior
from mql.tasks import registry
from mql.tasks.family import TaskFamily
from mql.types import JSON


@dataclass(frozen=True)
class Fork:
    """A new run's start from another one.

    Args:
        parent: the other run, and the checkpoint.
        keep_replay: its stored episodes are taken, too; None: where they are of the same family and tasks.
    """

    parent: Parent
    keep_replay: bool | None = None

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The parent's checkpoint, verified; None of its episodes is decoded."""
        return self.parent.run.load_checkpoint(self.parent.env_steps)

    def settled(self, config: Config, given: Mapping[str, Given]) -> Config:
        """Return the new run's configuration, as the run keeps it.

        Raises:
            UserError: the parent's agent would not be the one that it describes.
        """
        self.parent.check_agent(config, given)
        return config.model_copy(update={"start_from": self.parent.text})

    def check(self, config: Config, plain: TaskFamily, harder: TaskFamily, definition: DefinitionCopy | None) -> Fork:
        """Return this fork with its question of the replay answered.

        Args:
            config: the new run's.
            plain: its family.
            harder: that family with what ``env`` says.
            definition: of the family, where a file defines it.

        Raises:
            UserError: other spaces, or a replay of other tasks that is to be kept.
        """
        self.parent.check_spaces(obs_dim=harder.obs_dim, action_dim=harder.action_dim, family=plain.name)
        same_tasks = self.parent.run.tasks["train"] == [task.to_json() for task in plain.tasks("train")]
        if self.keep_replay and not same_tasks:
            what = f"the stored episodes of {self.parent.text} are of other training tasks than those of {plain.name}"
            raise UserError(what, where="--keep-replay", mend="leave it out")
        if self.keep_replay is not None:
            return self
        same = same_tasks and self.parent.run.config.env == config.env and self._same_family(config, definition)
        return Fork(self.parent, keep_replay=same)

    def prior(self, config: Config, definition: DefinitionCopy | None) -> Prior | None:
        """Return the parent's prior data, where reading it again would give the same; None: it is to be read.

        That is where the new run names the same files and column map, and its family, which computes what was not
        logged, is the parent's.

        Raises:
            UserError: it is damaged.
        """
        old = self.parent.run.config
        same = (config.train.prior_data, config.train.prior_columns) == (old.train.prior_data, old.train.prior_columns)
        same = same and config.env == old.env and self._same_family(config, definition)
        return read_prior(self.parent.run) if same and config.train.prior_data else None

    def _same_family(self, config: Config, definition: DefinitionCopy | None) -> bool:
        kept = kept_definition(self.parent.run.path)
        same_definition = (kept.digest if kept else None) == (definition.digest if definition else None)
        return same_definition and self.parent.run.config.family == config.family

    def begins_with(self) -> dict[str, bytes | Path]:
        """Return the files that the new run begins with; after `check`."""
        return self.parent.files(self.checkpoint, keep_replay=bool(self.keep_replay))

    def facts(self) -> dict[str, JSON]:
        """Return what ``environment.json`` says; after `check`."""
        return self.parent.facts(self.checkpoint, keep_replay=bool(self.keep_replay))


@dataclass(frozen=True)
class ForkRequest:
    """What a user asks for: where to start from, if anywhere, and what to train on, if that is said.

    ``target`` is then a name, a path or a family; ``definition`` the parent's own, where the parent's family is meant.
    """

    target: str | os.PathLike[str] | TaskFamily
    settings: Overrides
    definition: Path | None
    whole: bool

    @classmethod
    def of(
        cls, target: str | os.PathLike[str] | TaskFamily | None, settings: Overrides, start_from: str | None
    ) -> ForkRequest:
        """Settle the target.

        Raises:
            UserError: neither a target nor a run to start from is given, or there is no such run.
        """
        if start_from is not None:
            settings = with_values(settings, {"start_from": start_from})
        if target is not None:
            return cls(target, settings, None, whole=False)
        if start_from is None:
            raise UserError(
                "there is nothing to train on",
                mend="name a task family ('mql tasks list' lists them) or a file, or a run to start from with --from",
            )
        run = Parent.open(start_from).run
        kept = kept_definition(run.path)
        if kept is None and run.config.family not in (*registry.names(), *registry.environments()):
            what = f"the family {run.config.family!r} was given to mql.train as an object"
            raise UserError(what, where=start_from, mend="give it again: mql.train(family, start_from=...)")
        return cls(run.config.family, settings, kept.path if kept else None, whole=True)

    def inherited(self, origin: str) -> Mapping[str, Any]:
        """Return the values that come from the run that ``start_from`` names, by key."""
        parent = Parent.open(origin)
        return parent.inherited(parent.run.config, whole=self.whole)
