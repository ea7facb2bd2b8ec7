"""A saved agent: ``agent.safetensors`` (all tensors) and ``agent.json`` (sizes and configuration), under checksums.

Nothing is pickled, and nothing but these two files is needed to act or to learn on. The format has version 2 where
episodes begin with a carried context (`Agent.carried`), which a program that knows version 1 alone would leave out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import safetensors.torch
import torch
from pydantic import ValidationError

from mql.agent.acting import CarriedContext
from mql.config.findings import shown
from mql.config.schema import AgentConfig, saved_agent_config
from mql.errors import UserError, told
from mql.files import read_facts_from_folder, read_from_folder, to_json

FORMAT = "mql.agent"
FORMAT_VERSION, CARRYING_VERSION = 1, 2

MOST_NUMBERS = 1_000_000  # of an observation or an action
DESCRIPTION, TENSORS = "agent.json", "agent.safetensors"


class Saved(Protocol):
    """What is saved of an agent."""

    obs_dim: int
    action_dim: int
    config: AgentConfig
    carried: CarriedContext | None

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every learned tensor and buffer once, by name."""
        ...


def files_of(agent: Saved) -> dict[str, bytes]:
    """Return the files that a saved agent consists of, by name."""
    description = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION if agent.carried is None else CARRYING_VERSION,
        "obs_dim": agent.obs_dim,
        "action_dim": agent.action_dim,
        "config": agent.config.model_dump(mode="json"),
    }
    tensors = {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in agent.named_tensors()}
    return {DESCRIPTION: to_json(description, indent=1), TENSORS: safetensors.torch.save(tensors)}


def read_description(folder: Path) -> tuple[int, int, AgentConfig]:
    """Return O, A and the configuration of the agent that `folder` holds.

    Raises:
        UserError: it holds none, or a damaged one, or one that this version does not know.
    """
    where = str(folder / DESCRIPTION)
    if not (folder / DESCRIPTION).is_file():
        mend = "give one that Agent.save, Adapted.save or mql adapt --out wrote (of a run: mql.open_run(...).policy())"
        raise UserError("the folder holds no saved agent", where=str(folder), mend=mend)
    described = read_facts_from_folder(folder, DESCRIPTION)
    version, known = described.get("format_version"), (FORMAT_VERSION, CARRYING_VERSION)
    if described.get("format") != FORMAT or version not in known:
        what = f"the agent has format {version}, but this version reads {FORMAT_VERSION} and {CARRYING_VERSION}"
        raise UserError(what, where=where, mend="use the version of mql that wrote it")
    try:
        given = described.get("config")
        config = saved_agent_config(given if isinstance(given, dict) else {"": None})
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"])
        mend = "use the version of mql that wrote it"
        raise UserError(f"this version does not know the agent's {key}", where=where, mend=mend) from None
    sizes = [described.get(key) for key in ("obs_dim", "action_dim")]
    if not all(type(size) is int and 1 <= size <= MOST_NUMBERS for size in sizes):
        what = f"obs_dim and action_dim are {shown(sizes)}"
        raise UserError(what, where=where, mend="save the agent again")
    return sizes[0], sizes[1], config  # type: ignore[return-value]


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the agent that `folder` holds.

    Raises:
        UserError: they are missing or damaged.
    """
    data = read_from_folder(folder, TENSORS)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        mend = "restore it from a copy, or save the agent again"
        raise UserError(f"these are no tensors ({told(error)})", where=str(folder / TENSORS), mend=mend) from None


def check_size(
    tensors: Mapping[str, torch.Tensor], obs_dim: int, action_dim: int, config: AgentConfig, where: str
) -> None:
    """Refuse a description of an agent that is larger than its tensors, before such an agent is made.

    Raises:
        UserError: it is.
    """
    widths = (obs_dim, *config.hidden_sizes, action_dim)
    described = max(sum(a * b for a, b in pairwise(widths)), config.context_dim**2 if config.use_context else 0)
    there = sum(tensor.numel() for tensor in tensors.values())
    if described > there:
        what = f"the tensors hold {there:,} numbers, and the agent that is described {described:,} and more"
        raise UserError(what, where=where, mend="save the agent again")
