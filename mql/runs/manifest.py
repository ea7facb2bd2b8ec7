"""What a checkpoint says of itself, read as data of somebody else's making: every name and number is looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mql.types import JSON

LOGS = ("metrics.jsonl", "evaluations.jsonl")
AGENT = "agent.safetensors"
_MOST = 2**63 - 1


class NotAManifest(ValueError):
    """The text says what no checkpoint says."""


@dataclass(frozen=True)
class Chunk:
    """The name of a chunk file in ``replay/``, its first and last episode number and its checksum."""

    file: str
    first: int
    last: int
    sha256: str

    def __post_init__(self) -> None:
        if self.file != chunk_name(self.first, self.last):
            raise NotAManifest(f"a chunk of episodes {self.first} to {self.last} is called otherwise")


@dataclass(frozen=True)
class Manifest:
    """The text of ``checkpoint.json``; `mql.runs.checkpoint.Checkpoint` says what it means."""

    format_version: int
    env_steps: int
    state: Mapping[str, JSON]
    first_live_episode: int
    next_episode: int
    chunks: tuple[Chunk, ...]
    line_bytes: Mapping[str, int]
    line_sha256: Mapping[str, str]
    agent_sha256: str


def chunk_name(first: int, last: int) -> str:
    """Return the name of the file that holds the episodes of these numbers."""
    return f"{first:09d}-{last:09d}.safetensors"


def parsed(text: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        NotAManifest: it is none: another structure, a name that is not known, a number that can't be.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotAManifest("checkpoint.json is no JSON") from None
    if not isinstance(found, dict):
        raise NotAManifest("checkpoint.json is no mapping")
    version = _number(found, "format_version")
    chunks = tuple(map(_chunk, _of(found, "chunks", list)))
    first, following = _number(found, "first_live_episode"), _number(found, "next_episode")
    if first > following:
        raise NotAManifest(f"first_live_episode {first} comes after next_episode {following}")
    for earlier, chunk in zip((None, *chunks), chunks, strict=False):
        if chunk.last < chunk.first or (earlier is not None and chunk.first != earlier.last + 1):
            raise NotAManifest("the chunks do not follow one another")
    if chunks and chunks[-1].last + 1 > following:
        raise NotAManifest("a chunk holds episodes that are still to come")
    lines, sums = _of(found, "line_bytes", dict), _of({"line_sha256": {}, **found}, "line_sha256", dict)
    if not {*lines, *sums} <= {*LOGS}:
        raise NotAManifest("line_bytes names a file that is no log of a run")
    return Manifest(
        format_version=version,
        env_steps=_number(found, "env_steps"),
        state=_of(found, "state", dict),
        first_live_episode=first,
        next_episode=following,
        chunks=chunks,
        line_bytes={name: _number(lines, name) for name in lines},
        line_sha256={name: _digest(sums, name) for name in sums},
        agent_sha256=_digest(_of(found, "sha256", dict), AGENT),
    )


def _chunk(entry: Any) -> Chunk:
    if not isinstance(entry, dict):
        raise NotAManifest("a chunk is no mapping")
    return Chunk(_of(entry, "file", str), _number(entry, "first"), _number(entry, "last"), _digest(entry, "sha256"))


def _of(entry: Mapping[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    if type(value) is not kind:
        raise NotAManifest(f"{key} is missing, or is not what belongs there")
    return value


def _number(entry: Mapping[str, Any], key: str) -> int:
    value: int = _of(entry, key, int)
    if not 0 <= value <= _MOST:
        raise NotAManifest(f"{key} is out of range")
    return value


def _digest(entry: Mapping[str, Any], key: str) -> str:
    value: str = _of(entry, key, str)
    if not re.fullmatch("[0-9a-f]{64}", value):
        raise NotAManifest(f"{key} is no checksum")
    return value
