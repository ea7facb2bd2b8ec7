"""Run directories that somebody with bad intentions, or bad luck, made out of a good one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

Change = Callable[[Path], None]


def newest(run: Path) -> Path:
    return max((run / "checkpoints").iterdir(), key=lambda folder: int(folder.name))


def seal(run: Path) -> None:
    """Give the newest checkpoint's manifest a checksum that fits it."""
    text = (newest(run) / "checkpoint.json").read_bytes()
    (newest(run) / "checkpoint.sha256").write_text(f"{sha256(text).hexdigest()}  checkpoint.json\n")


def said(text: bytes) -> Change:
    def change(run: Path) -> None:
        (newest(run) / "checkpoint.json").write_bytes(text)
        seal(run)

    return change


def manifest(change: Callable[[dict[str, Any]], object]) -> Change:
    def apply(run: Path) -> None:
        found = json.loads((newest(run) / "checkpoint.json").read_text())
        change(found)
        said(json.dumps(found).encode())(run)

    return apply


def entry(key: str, value: object) -> Change:
    return manifest(lambda found: found.update({key: value}))


def without(key: str) -> Change:
    return manifest(lambda found: found.pop(key))


def state(key: str, value: object) -> Change:
    return manifest(lambda found: found["state"].update({key: value}))


def chunk(key: str, value: object) -> Change:
    return manifest(lambda found: found["chunks"][-1].update({key: value}))


def tensors(change: Callable[[bytes], bytes]) -> Change:
    """Change the agent's file, with checksums that fit."""

    def apply(run: Path) -> None:
        file = newest(run) / "agent.safetensors"
        data = change(file.read_bytes())
        file.write_bytes(data)
        manifest(lambda found: found["sha256"].update({file.name: sha256(data).hexdigest()}))(run)

    return apply


def episodes(change: Callable[[bytes], bytes]) -> Change:
    """Change the last chunk of episodes, with checksums that fit."""

    def apply(run: Path) -> None:
        found = json.loads((newest(run) / "checkpoint.json").read_text())
        file = run / "replay" / found["chunks"][-1]["file"]
        data = change(file.read_bytes())
        file.write_bytes(data)
        chunk("sha256", sha256(data).hexdigest())(run)

    return apply


def header(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Change the header of a safetensors text; the arrays stay."""

    def apply(data: bytes) -> bytes:
        (length,) = struct.unpack("<Q", data[:8])
        found = json.loads(data[8 : 8 + length])
        change(found)
        text = json.dumps(found).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return apply


def facts(change: Callable[[list[Any]], object]) -> Callable[[bytes], bytes]:
    """Change what a chunk says of its episodes."""

    def apply(found: dict[str, Any]) -> None:
        told = json.loads(found["__metadata__"]["episodes"])
        change(told)
        found["__metadata__"]["episodes"] = json.dumps(told)

    return header(apply)


def linked(name: str, outside: str) -> Change:
    """Put a link in the place of a file or folder of the run; what it was lies beside the run then."""

    def apply(run: Path) -> None:
        place, target = run / name, run.parent / "outside" / outside
        if place.exists():
            os.rename(place, target)
        place.symlink_to(target)

    return apply


def piped(name: str) -> Change:
    def apply(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return apply


def shared(name: str) -> Change:
    """Give a file of the run a second name outside."""
    return lambda run: os.link(run / name, run.parent / "outside" / "second-name")


def environment(**facts: object) -> Change:
    def apply(run: Path) -> None:
        found = json.loads((run / "environment.json").read_text())
        (run / "environment.json").write_text(json.dumps({**found, **facts}))

    return apply


def deep(text: str) -> bytes:
    return (text * 100_000).encode()


def other_dtype(found: dict[str, Any]) -> None:
    name = next(name for name, facts in found.items() if name != "__metadata__" and facts["dtype"] == "F32")
    found[name]["dtype"] = "I32"


def first_tensor(found: dict[str, Any]) -> dict[str, Any]:
    tensor: dict[str, Any] = next(facts for name, facts in found.items() if name != "__metadata__")
    return tensor


OUTSIDE: dict[str, Change] = {
    "a log that is any file": entry("line_bytes", {"../outside/precious": 0}),
    "a log that is an absolute path": entry("line_bytes", {"/tmp/mql-nobody-has-this": 0, "metrics.jsonl": 0}),
    "a log that is the configuration": entry("line_bytes", {"config.yaml": 0}),
    "a checksum of any file": entry("line_sha256", {"../outside/precious": "0" * 64}),
    "a chunk above": chunk("file", "../../outside/precious"),
    "a chunk that is a path": chunk("file", "/etc/hostname"),
    "a definition above": environment(definition="../outside/precious", family_digest="0" * 64),
    "a definition that is a path": environment(definition="/etc/hostname", family_digest="0" * 64),
    "a definition that goes up": environment(
        definition=f"definition/{'0' * 64}/../../../x.yaml", family_digest="0" * 64
    ),
    "a definition that is a number": environment(definition=3, family_digest=4),
    **{
        f"a link {name}": linked(name, outside)
        for name, outside in {
            "replay": "replay",
            "checkpoints": "checkpoints",
            "lock": "precious",
            "metrics.jsonl": "metrics",
            "evaluations.jsonl": "evaluations",
            "config.yaml": "config",
            "tasks.json": "tasks",
            "environment.json": "environment",
            "finished.json": "finished",
            "SHA256SUMS": "sums",
            "checkpoints/600": "checkpoint",
            "checkpoints/600/agent.safetensors": "agent",
            "checkpoints/600.tmp": "precious-folder",
            "replay/000000099-000000100.safetensors": "precious",
            "prior": "precious-folder",
            "definition": "precious-folder",
        }.items()
    },
    **{f"a pipe {name}": piped(name) for name in ("lock", "metrics.jsonl", "config.yaml", "finished.json")},
    "a pipe in a checkpoint": piped("checkpoints/600/agent.safetensors"),
    **{f"a second name of {name}": shared(name) for name in ("metrics.jsonl", "evaluations.jsonl", "lock")},
    "a folder as lock": lambda run: ((run / "lock").unlink(), (run / "lock").mkdir())[0],
}

MANIFESTS: dict[str, Change] = {
    "empty": said(b""),
    "no JSON": said(b"\xff\x00{"),
    "a list": said(b"[]"),
    "a number": said(b"7"),
    "endless": said(deep("[")),
    "endless mappings": said(deep('{"a":')),
    "a number of a million digits": said(b'{"env_steps": ' + b"9" * 1_000_000 + b"}"),
    **{
        f"without {key}": without(key)
        for key in (
            "format_version",
            "env_steps",
            "state",
            "first_live_episode",
            "next_episode",
            "chunks",
            "line_bytes",
            "sha256",
        )
    },
    **{
        f"{key} is {value!r}": entry(key, value)
        for key, value in [
            ("format_version", "2"),
            ("format_version", 99),
            ("env_steps", None),
            ("env_steps", 400),
            ("env_steps", True),
            ("state", []),
            ("first_live_episode", -1),
            ("first_live_episode", 10**9),
            ("next_episode", 2**80),
            ("next_episode", 1.5),
            ("chunks", {}),
            ("chunks", [[]]),
            ("chunks", [None]),
            ("line_bytes", []),
            ("line_bytes", {"metrics.jsonl": -5}),
            ("line_bytes", {"metrics.jsonl": "all"}),
            ("line_bytes", {"metrics.jsonl": 10**15}),
            ("line_sha256", {"metrics.jsonl": 5}),
            ("sha256", {}),
            ("sha256", []),
        ]
    },
    "a chunk without its file": manifest(lambda found: found["chunks"][-1].pop("file")),
    "a chunk with more": manifest(lambda found: found["chunks"].append(found["chunks"][-1])),
    "a chunk backwards": chunk("last", 0),
    "a chunk of text": chunk("first", "0"),
}

STATES: dict[str, Change] = {
    "no wall_seconds": manifest(lambda found: found["state"].pop("wall_seconds")),
    "wall_seconds is a text": state("wall_seconds", "long"),
    "evaluated is a list": state("evaluated", []),
    "updates is a mapping": state("updates", {}),
    "no iterations": manifest(lambda found: found["state"].pop("iterations")),
    "no state": entry("state", {}),
}

TENSORS: dict[str, Change] = {
    "empty": tensors(lambda data: b""),
    "short": tensors(lambda data: data[:6]),
    "cut": tensors(lambda data: data[:-5]),
    "longer": tensors(lambda data: data + b"\x00" * 8),
    "a header of 2^60 bytes": tensors(lambda data: struct.pack("<Q", 2**60) + data[8:]),
    "a header of nothing": tensors(lambda data: struct.pack("<Q", 0) + data[8:]),
    "no JSON": tensors(lambda data: struct.pack("<Q", 20) + b"x" * 40),
    "an endless header": tensors(lambda data: struct.pack("<Q", 100_000) + deep("[")),
    "a list": tensors(lambda data: struct.pack("<Q", 2) + b"[]"),
    "no tensors": tensors(lambda data: struct.pack("<Q", 2) + b"{}"),
    "another dtype": tensors(header(other_dtype)),
    "an unknown dtype": tensors(header(lambda found: first_tensor(found).update(dtype="Q99"))),
    "another shape": tensors(header(lambda found: first_tensor(found).update(shape=[1, 10**12]))),
    "a negative shape": tensors(header(lambda found: first_tensor(found).update(shape=[-1]))),
    "offsets beyond": tensors(header(lambda found: first_tensor(found).update(data_offsets=[0, 10**15]))),
    "a tensor less": tensors(header(lambda found: found.pop(next(iter(found))))),
}

EPISODES: dict[str, Change] = {
    "empty": episodes(lambda data: b""),
    "cut": episodes(lambda data: data[:-9]),
    "no JSON": episodes(lambda data: struct.pack("<Q", 20) + b"x" * 40),
    "no metadata": episodes(header(lambda found: found.pop("__metadata__"))),
    "metadata of another kind": episodes(header(lambda found: found.update(__metadata__={"episodes": "7"}))),
    "metadata that is no JSON": episodes(header(lambda found: found.update(__metadata__={"episodes": "["}))),
    "metadata that is deep": episodes(header(lambda found: found.update(__metadata__={"episodes": "[" * 90_000}))),
    "no rewards": episodes(header(lambda found: found.pop("reward"))),
    "another dtype": episodes(header(lambda found: found["obs"].update(dtype="I32"))),
    "other dimensions": episodes(header(lambda found: found["reward"].update(shape=[1, *found["reward"]["shape"]]))),
    "an episode less": episodes(facts(lambda told: told.pop())),
    "an episode more": episodes(facts(lambda told: told.append(dict(told[-1])))),
    "no episodes": episodes(facts(lambda told: told.clear())),
    "a negative length": episodes(facts(lambda told: told[-1].update(length=-3))),
    "a long length": episodes(facts(lambda told: told[-1].update(length=10**12))),
    "a length of text": episodes(facts(lambda told: told[-1].update(length="9"))),
    "no length": episodes(facts(lambda told: told[-1].pop("length"))),
    "a task that does not exist": episodes(facts(lambda told: told[-1].update(task=10**6))),
    "a negative task": episodes(facts(lambda told: told[-1].update(task=-1))),
    "a task of text": episodes(facts(lambda told: told[-1].update(task="first"))),
    "an unknown fact": episodes(facts(lambda told: told[-1].update(obs=[1]))),
    "a final_info of text": episodes(facts(lambda told: told[-1].update(final_info={"a": "b"}))),
    "an episode that is a list": episodes(facts(lambda told: told.__setitem__(-1, []))),
    "a huge seed": episodes(facts(lambda told: told[-1].update(seed=10**40))),
    "not a number": episodes(lambda data: data[:-8] + b"\xff" * 8),
}
