"""A run that starts from the agent of another one: which checkpoint that is, and what the new run takes from it.

The new run begins with a checkpoint of its own, at 0 env steps, that holds the other's networks, targets, optimiser and
scaling and, where they are kept, its stored episodes. From then on it needs the other run no more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mql.config.loading import flat
from mql.config.schema import Config
from mql.config.yaml_text import Given
from mql.errors import UserError
from mql.plain_text import counted
from mql.runs.checkpoint import Checkpoint, checkpoint_files, episode_shapes, manifest_digest
from mql.runs.run_dir import RunDir
from mql.types import JSON

# What a fork may change of the section `agent`: how it learns from here on. All else is what the networks are and what
# they read, and stays the other run's.
CHANGEABLE = frozenset(
    f"agent.{name}"
    for name in (
        "lr",
        "discount",
        "n_step",
        "tau",
        "policy_delay",
        "exploration",
        "exploration_noise",
        "exploration_spread",
        "target_policy_noise",
        "target_noise_clip",
        "proximal_c",
        "segment_length",
        "burn_in",
        "precision",
    )
)


@dataclass(frozen=True)
class Parent:
    """A run and the checkpoint that another run starts from; ``given`` is the run's path as the user wrote it."""

    given: str
    run: RunDir
    env_steps: int

    @classmethod
    def open(cls, text: str) -> Parent:
        """Find what ``RUN`` or ``RUN@STEPS`` names; without steps, the newest checkpoint.

        Raises:
            UserError: there is no such run or checkpoint.
        """
        given, at, steps = text.rpartition("@")
        if not at or not steps.isascii() or not steps.isdigit() or os.path.isdir(text):
            given, steps = text, ""
        run = RunDir.open_readonly(given)
        known = run.checkpoints()
        if not known:
            raise UserError("the run has no checkpoint to start from", where=given, mend="wait for its first one")
        if steps and int(steps) not in known:
            mend = f"choose one of {', '.join(f'{given}@{each}' for each in known)}"
            raise UserError(f"there is no checkpoint {steps}", where=text, mend=mend)
        return cls(given, run, int(steps) if steps else known[-1])

    @property
    def text(self) -> str:
        """``RUN@STEPS``, for the new run's configuration."""
        return f"{self.given}@{self.env_steps}"

    def inherited(self, config: Config, *, whole: bool) -> dict[str, Any]:
        """Return the values of the parent's configuration that a fork starts from, by key.

        Random steps are left out: the agent can act already.

        Args:
            config: the parent's.
            whole: all values; otherwise those that the agent's networks hang on.
        """
        values = flat(config)
        if not whole:
            values = {k: v for k, v in values.items() if k.startswith("agent.") and k not in CHANGEABLE}
        return {**values, "train.random_steps": 0}

    def check_agent(self, config: Config, given: Mapping[str, Given]) -> None:
        """Refuse a configuration under which the parent's networks would be others.

        Args:
            config: the new run's.
            given: what the user has said himself, with its place.

        Raises:
            UserError: names the first key that differs.
        """
        before, after = flat(self.run.config), flat(config)
        for key, value in after.items():
            fixed = (key.startswith("agent.") and key not in CHANGEABLE) or key == "method"
            if fixed and value != before[key]:
                what = f"{key} is {value}, but the agent of {self.text} has {before[key]}"
                where = (given[key].where if key in given else None) or key
                raise UserError(what, where=where, mend="leave it out, or train a new agent")

    def check_spaces(self, *, obs_dim: int, action_dim: int, family: str) -> None:
        """Refuse a family with other spaces than the parent's, as far as its stored episodes tell."""
        shapes = episode_shapes(self.run.path, self.env_steps)
        if shapes is None:
            return
        for what, there, here in (("observations", shapes[0], obs_dim), ("actions", shapes[1], action_dim)):
            if there != here:
                raise UserError(
                    f"{what} of {family} have {counted(here, 'number')}, but those of {self.text} have {there}",
                    where="start_from",
                    mend="choose a family with the same spaces",
                )

    def files(self, checkpoint: Checkpoint, *, keep_replay: bool) -> dict[str, bytes | Path]:
        """Return what the new run's folder begins with, by path in it; a path stands for the file to copy."""
        chunks = checkpoint.chunks if keep_replay else ()
        # States of stored episodes are left out: they are computed afresh before the first update.
        tensors = {name: value for name, value in checkpoint.tensors.items() if not name.startswith("replay.")}
        named = checkpoint_files(
            0,
            tensors=tensors,
            state={"env_steps": 0, "iterations": 0, "updates": 0, "evaluated": 0, "wall_seconds": 0.0},
            first_live_episode=checkpoint.first_live_episode if keep_replay else 0,
            next_episode=checkpoint.next_episode if keep_replay else 0,
            chunks=chunks,
            line_bytes={"metrics.jsonl": 0, "evaluations.jsonl": 0},
        )
        return {
            **{f"checkpoints/0/{name}": data for name, data in named.items()},
            **{f"replay/{chunk.file}": self.run.path / "replay" / chunk.file for chunk in chunks},
        }

    def facts(self, checkpoint: Checkpoint, *, keep_replay: bool) -> dict[str, JSON]:
        """Return what ``environment.json`` says of it."""
        episodes = checkpoint.next_episode - checkpoint.first_live_episode if keep_replay else 0
        return {
            "forked_from": {
                "path": str(self.run.path),
                "env_steps": self.env_steps,
                "checkpoint_sha256": manifest_digest(self.run.path, self.env_steps),
                "family": self.run.config.family,
                "kept_episodes": episodes,
            }
        }
