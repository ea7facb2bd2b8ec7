"""Checkpoints and the chunks of episodes that they name: safetensors and JSON, every byte under a checksum.

``checkpoints/<env_steps>/`` holds ``agent.safetensors`` (all tensors), ``checkpoint.json`` (counters, state, names and
checksums of all other files) and ``checkpoint.sha256`` (the checksum of ``checkpoint.json`` itself). A chunk
``replay/<first>-<last>.safetensors`` holds the episodes of these numbers (`mql.runs.episodes`) and never changes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from mql.errors import UserError, told
from mql.files import TEMPORARY, file_sha256, sha256, sync_folder, user_errors, write_atomic, write_file
from mql.runs.episodes import Undecodable, decode_episodes, encode_episodes
from mql.runs.manifest import AGENT, Chunk, Manifest, NotAManifest, chunk_name, parsed
from mql.types import JSON, Episode

if TYPE_CHECKING:  # commands that train nothing load no PyTorch
    import torch

FORMAT_VERSION = 2
# Agents of version 1 saw rewards in their context as they are, where `agent.reward_scale` was for the losses only: with
# another factor than 1 they would act wrongly now.
UNSCALED_CONTEXT = 1
READABLE = (UNSCALED_CONTEXT, FORMAT_VERSION)

_TENSORS, _MANIFEST, _DIGEST = AGENT, "checkpoint.json", "checkpoint.sha256"


@dataclass(frozen=True)
class Checkpoint:
    """A run as it stood after `env_steps` environment steps.

    ``state`` is what the caller saved (as JSON gives it back: lists for tuples, text for keys). Episodes below
    ``first_live_episode`` are no longer held by any replay; ``next_episode`` is the number of the first new one.
    ``line_bytes`` are the lengths of the run's two jsonl files at that time, ``line_sha256`` the checksums of what they
    held then (none in a checkpoint of an earlier version).
    """

    env_steps: int
    tensors: Mapping[str, torch.Tensor]
    state: Mapping[str, JSON]
    first_live_episode: int
    next_episode: int
    chunks: tuple[Chunk, ...]
    line_bytes: Mapping[str, int]
    run: Path
    format_version: int = FORMAT_VERSION
    line_sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def episodes(self) -> Iterator[tuple[int, Episode]]:
        """Yield (number, episode) of all episodes in the named chunks, oldest first, one chunk in memory at a time.

        The oldest chunk may begin with episodes below ``first_live_episode``. Raises UserError for a damaged chunk.
        """
        for chunk in self.chunks:
            data = _read_chunk(self.run, self.env_steps, chunk)
            number = chunk.first
            try:
                for number, episode in enumerate(decode_episodes(data), start=chunk.first):
                    if episode.task < 0:
                        raise Undecodable(f"episode {number} is of task {episode.task}")
                    yield number, episode
                whole = number == chunk.last
            except Undecodable as error:
                raise _damaged_chunk(self.run, self.env_steps, chunk, f"can't be read: {error}") from error
            if not whole:
                raise _damaged_chunk(self.run, self.env_steps, chunk, "holds other episodes than its name says")


def write_chunk(run: Path, first: int, episodes: Sequence[Episode]) -> Chunk:
    """Write episodes that are numbered from `first` on into a chunk file. An error leaves nothing of it."""
    last = first + len(episodes) - 1
    data = encode_episodes(episodes)
    path = run / "replay" / chunk_name(first, last)
    try:
        write_atomic(path, data)
    except BaseException:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return Chunk(file=path.name, first=first, last=last, sha256=sha256(data))


def write_checkpoint(
    run: Path,
    env_steps: int,
    *,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, JSON],
    first_live_episode: int,
    next_episode: int,
    chunks: Sequence[Chunk],
    line_bytes: Mapping[str, int],
    line_sha256: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the folder of a checkpoint under a temporary name, then rename it. An error leaves nothing of it."""
    files = checkpoint_files(
        env_steps,
        tensors=tensors,
        state=state,
        first_live_episode=first_live_episode,
        next_episode=next_episode,
        chunks=chunks,
        line_bytes=line_bytes,
        line_sha256=line_sha256,
    )
    folder = run / "checkpoints" / str(env_steps)
    unfinished = folder.with_name(folder.name + TEMPORARY)
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        os.mkdir(unfinished)
        for name, data in files.items():
            write_file(unfinished / name, data)
        sync_folder(unfinished)
        os.rename(unfinished, folder)
        sync_folder(folder.parent)
    except BaseException:
        with suppress(OSError):
            os.rename(folder, unfinished)  # the caller drops the chunks, so the checkpoint must go before them
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def checkpoint_files(
    env_steps: int,
    *,
    tensors: Mapping[str, torch.Tensor],
    state: Mapping[str, JSON],
    first_live_episode: int,
    next_episode: int,
    chunks: Sequence[Chunk],
    line_bytes: Mapping[str, int],
    line_sha256: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, bytes]:
    """Return the files of a checkpoint's folder by name, in the order in which they are written."""
    import safetensors.torch

    copies = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    agent = safetensors.torch.save(copies)
    manifest = {
        "format_version": FORMAT_VERSION,
        "env_steps": env_steps,
        "state": dict(state),
        "first_live_episode": first_live_episode,
        "next_episode": next_episode,
        "chunks": [asdict(chunk) for chunk in chunks],
        "line_bytes": dict(line_bytes),
        "line_sha256": dict(line_sha256),
        "sha256": {_TENSORS: sha256(agent)},
    }
    text = json.dumps(manifest, indent=1).encode() + b"\n"
    return {_TENSORS: agent, _MANIFEST: text, _DIGEST: _digest_line(text)}


def manifest_digest(run: Path, env_steps: int) -> str:
    """Return the SHA-256 of a checkpoint's manifest, which holds that of every other file of it."""
    path = run / "checkpoints" / str(env_steps) / _MANIFEST
    return sha256(_read(run, env_steps, path))


def episode_shapes(run: Path, env_steps: int) -> tuple[int, int] | None:
    """Return how many numbers an observation and an action of the stored episodes have; None where there are none."""
    chunks = read_manifest(run, env_steps).chunks
    if not chunks:
        return None
    data = _read_chunk(run, env_steps, chunks[-1])
    try:
        episode = next(decode_episodes(data))
    except (Undecodable, StopIteration) as error:
        raise _damaged_chunk(run, env_steps, chunks[-1], f"can't be read: {error}") from error
    return episode.obs.shape[1], episode.action.shape[1]


def list_checkpoints(run: Path) -> list[int]:
    """List the environment steps of the checkpoints in a run directory, oldest first."""
    with user_errors(run / "checkpoints"):
        names = os.listdir(run / "checkpoints")
    return sorted(int(name) for name in names if re.fullmatch("0|[1-9][0-9]{0,17}", name))


def read_checkpoint(run: Path, env_steps: int) -> Checkpoint:
    """Read and verify a checkpoint and all the chunks it names; episodes are decoded when they are asked for.

    Raises:
        UserError: a file is missing, differs from its checksum in any byte, or has another format version.
    """
    import safetensors.torch

    manifest = read_manifest(run, env_steps)
    path = run / "checkpoints" / str(env_steps) / _TENSORS
    data = _read(run, env_steps, path)
    if sha256(data) != manifest.agent_sha256:
        raise _damaged(run, env_steps, path)
    for chunk in manifest.chunks:
        file = run / "replay" / chunk.file
        with user_errors(file):
            digest = file_sha256(file) if file.exists() else None
        if digest != chunk.sha256:
            raise _damaged_chunk(run, env_steps, chunk, "is damaged" if digest else "is missing")
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # of safetensors or PyTorch: the header may say anything
        raise _damaged(run, env_steps, path, f"the checkpoint can't be read: {told(error)}") from error
    return Checkpoint(
        env_steps=env_steps,
        tensors=tensors,
        state=manifest.state,
        first_live_episode=manifest.first_live_episode,
        next_episode=manifest.next_episode,
        chunks=manifest.chunks,
        line_bytes=manifest.line_bytes,
        run=run,
        format_version=manifest.format_version,
        line_sha256=manifest.line_sha256,
    )


def named_chunks(run: Path, env_steps: int) -> set[str] | None:
    """Return the chunk files that a checkpoint names, or None where it is damaged and cannot say."""
    try:
        return {chunk.file for chunk in read_manifest(run, env_steps).chunks}
    except UserError:
        return None


def remove_unnamed_chunks(run: Path) -> None:
    """Delete the chunks that no checkpoint names; none, if a checkpoint is damaged and cannot tell what it needs."""
    named = [named_chunks(run, env_steps) for env_steps in list_checkpoints(run)]
    if any(names is None for names in named):
        return
    keep = {name for names in named if names for name in names}
    for path in sorted((run / "replay").glob("*.safetensors")):
        if path.name not in keep:
            path.unlink()


def read_manifest(run: Path, env_steps: int) -> Manifest:
    """Read what a checkpoint says of itself.

    Raises:
        UserError: it is missing, differs from its checksum, is of another format, or says what can't be.
    """
    path = run / "checkpoints" / str(env_steps) / _MANIFEST
    text, digest = _read(run, env_steps, path), _read(run, env_steps, path.parent / _DIGEST)
    if digest != _digest_line(text):
        raise _damaged(run, env_steps, path)
    try:
        manifest = parsed(text)
    except NotAManifest as error:
        raise _damaged(run, env_steps, path, f"the checkpoint can't be read: {error}") from error
    if manifest.format_version not in READABLE:
        what = f"the checkpoint has format {manifest.format_version}, but this version reads up to {FORMAT_VERSION}"
        raise UserError(what, where=str(path), mend="use the version of mql that wrote it (see environment.json)")
    if manifest.env_steps != env_steps:
        what = f"the folder holds checkpoint {manifest.env_steps}"
        raise UserError(what, where=str(path.parent), mend="rename the folder back")
    return manifest


def _read(run: Path, env_steps: int, path: Path) -> bytes:
    """Read a file of a checkpoint. Raises UserError where it is missing, or larger than the memory, too."""
    with user_errors(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise _damaged(run, env_steps, path, "a file of the checkpoint is missing") from None
        except MemoryError:
            raise _damaged(run, env_steps, path, "a file of the checkpoint is larger than the memory") from None


def _read_chunk(run: Path, env_steps: int, chunk: Chunk) -> bytes:
    path = run / "replay" / chunk.file
    with user_errors(path):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise _damaged_chunk(run, env_steps, chunk, "is missing") from None
        except MemoryError:
            raise _damaged_chunk(run, env_steps, chunk, "is larger than the memory") from None
    if sha256(data) != chunk.sha256:
        raise _damaged_chunk(run, env_steps, chunk, "is damaged")
    return data


def _digest_line(text: bytes) -> bytes:
    """One line as `sha256sum` writes and checks it."""
    return f"{sha256(text)}  {_MANIFEST}\n".encode()


def _damaged(run: Path, env_steps: int, path: Path, what: str = "the checkpoint is damaged") -> UserError:
    others = [steps for steps in list_checkpoints(run) if steps < env_steps]
    mend = "restore it from a copy"
    if others:
        mend += (
            f", or add --checkpoint {others[-1]} to use the one before (mql train --resume deletes the later ones then)"
        )
    return UserError(what, where=str(path), mend=mend + ("" if others else ", or start again"))


def _damaged_chunk(run: Path, env_steps: int, chunk: Chunk, what: str) -> UserError:
    """Name a chunk that cannot be used, and the newest checkpoint that does without it."""
    named = {steps: named_chunks(run, steps) for steps in list_checkpoints(run)}
    without = [steps for steps, names in named.items() if names is not None and chunk.file not in names]
    mend = "restore it from a copy, or "
    if without:
        mend += (
            f"add --checkpoint {without[-1]}, which does without it (mql train --resume deletes the later ones then)"
        )
    else:
        mend += "start the run again"
    where = str(run / "replay" / chunk.file)
    return UserError(f"a file of checkpoint {env_steps} {what}", where=where, mend=mend)
