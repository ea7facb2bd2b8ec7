"""Checkpoints and chunks: what is saved comes back bit for bit, and a single changed byte is found."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mql.errors import UserError
from mql.runs.checkpoint import (
    Checkpoint,
    decode_episodes,
    encode_episodes,
    list_checkpoints,
    named_chunks,
    read_checkpoint,
    remove_unnamed_chunks,
    write_checkpoint,
    write_chunk,
)
from mql.types import Episode

TENSORS = {
    "weight": torch.tensor([[1.0, -0.0], [math.pi, 1e-42]]),
    "half": torch.tensor([1.5, math.inf], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
}


def episode(number: int, length: int = 3) -> Episode:
    rng = np.random.default_rng(number)
    return Episode(
        obs=rng.normal(size=(length + 1, 2)).astype(np.float32),
        action=rng.normal(size=(length, 1)).astype(np.float32),
        reward=rng.normal(size=length).astype(np.float32),
        terminated=number % 2 == 0,
        truncated=number % 3 == 0,
        task=number,
        seed=2**31 - 1 - number,
        policy_version=10**6 * number,
        success=(None, True, False)[number % 3],
        final_info={"distance": 0.1 * number, "unknown": math.nan} if number % 2 else {},
    )


def same(left: Episode, right: Episode) -> bool:
    arrays = all(
        getattr(left, name).tobytes() == getattr(right, name).tobytes()
        and getattr(left, name).shape == getattr(right, name).shape
        and getattr(left, name).dtype == getattr(right, name).dtype
        for name in ("obs", "action", "reward")
    )
    names = ("terminated", "truncated", "task", "seed", "policy_version", "success")
    return (
        arrays
        and all(repr(getattr(left, name)) == repr(getattr(right, name)) for name in names)
        and repr(dict(left.final_info)) == repr(dict(right.final_info))
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with checkpoint 10 (episodes 0-2) and checkpoint 20 (episodes 0-4 in two chunks)."""
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "replay").mkdir()
    chunks = []
    for env_steps, first, numbers in ((10, 0, (0, 1, 2)), (20, 3, (3, 4))):
        chunks.append(write_chunk(tmp_path, first, [episode(number) for number in numbers]))
        write_checkpoint(
            tmp_path,
            env_steps,
            tensors=TENSORS,
            state={"updates": 3, "best": math.nan, "names": ["a"]},
            first_live_episode=1,
            next_episode=numbers[-1] + 1,
            chunks=chunks,
            line_bytes={"metrics.jsonl": 5},
        )
    return tmp_path


def drain(checkpoint: Checkpoint) -> list[int]:
    return [number for number, _ in checkpoint.episodes]


def test_episodes_come_back_bit_for_bit() -> None:
    episodes = [episode(number, length) for number, length in enumerate((3, 1, 0, 5, 2))]
    data = encode_episodes(episodes)
    back = list(decode_episodes(data))
    assert all(map(same, episodes, back))
    assert len(back) == len(episodes)
    assert encode_episodes(back) == data
    assert [entry.success for entry in back] == [None, True, False, None, True]


def test_episodes_of_another_precision_are_not_rounded_silently() -> None:
    original = episode(0)
    wide = Episode(**{**vars(original), "reward": original.reward.astype(np.float64)})
    with pytest.raises(TypeError, match=r"episode\.reward is float64"):
        encode_episodes([wide])


def test_a_checkpoint_comes_back_bit_for_bit(run: Path) -> None:
    checkpoint = read_checkpoint(run, 20)
    assert set(checkpoint.tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        back = checkpoint.tensors[name]
        assert back.dtype == tensor.dtype and back.shape == tensor.shape
        assert back.contiguous().view(-1).view(torch.uint8).tolist() == tensor.view(-1).view(torch.uint8).tolist()
    assert checkpoint.state["updates"] == 3 and math.isnan(checkpoint.state["best"])
    assert (checkpoint.env_steps, checkpoint.first_live_episode, checkpoint.next_episode) == (20, 1, 5)
    assert checkpoint.line_bytes == {"metrics.jsonl": 5}
    numbered = list(checkpoint.episodes)
    assert [number for number, _ in numbered] == [0, 1, 2, 3, 4]
    assert all(same(back, episode(number)) for number, back in numbered)
    assert drain(checkpoint) == [0, 1, 2, 3, 4]  # can be read again


def test_tensors_that_share_memory_are_saved_each(run: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    tensors = {"base": base, "alias": base, "transposed": base.T, "parameter": torch.nn.Parameter(base[0])}
    write_checkpoint(run, 30, tensors=tensors, state={}, first_live_episode=0, next_episode=0, chunks=[], line_bytes={})
    back = read_checkpoint(run, 30).tensors
    assert all(torch.equal(back[name], tensor) for name, tensor in tensors.items())


def test_saving_the_same_again_gives_the_same_bytes(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "replay").mkdir()
    (other / "checkpoints").mkdir()
    chunk = write_chunk(other, 0, [episode(number) for number in (0, 1, 2)])
    state = {"updates": 3, "best": math.nan, "names": ["a"]}
    write_checkpoint(
        other,
        10,
        tensors=TENSORS,
        state=state,
        first_live_episode=1,
        next_episode=3,
        chunks=[chunk],
        line_bytes={"metrics.jsonl": 5},
    )
    files = [path.relative_to(other) for path in other.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert all((other / file).read_bytes() == (run / file).read_bytes() for file in files)


def damage_in_every_way(path: Path, check: Callable[[str], None]) -> None:
    """Flip one bit at many places, cut, lengthen and empty a file; it is whole again afterwards."""
    data = path.read_bytes()
    places = sorted({*range(0, len(data), max(1, len(data) // 150)), len(data) - 1})
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        check(f"byte {place}")
    for changed in (data[:-1], data + b"\n", b"", data[: len(data) // 2]):
        path.write_bytes(changed)
        check(f"{len(changed)} of {len(data)} bytes")
    path.unlink()
    check("missing")
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["agent.safetensors", "checkpoint.json", "checkpoint.sha256"])
def test_any_damage_to_a_checkpoint_is_found(run: Path, name: str) -> None:
    path = run / "checkpoints" / "20" / name

    def check(what: str) -> None:
        with pytest.raises(UserError) as caught:
            read_checkpoint(run, 20)
        assert str(path.parent) in str(caught.value), what
        assert drain(read_checkpoint(run, 10)) == [0, 1, 2]

    damage_in_every_way(path, check)
    assert drain(read_checkpoint(run, 20)) == [0, 1, 2, 3, 4]


def test_any_damage_to_a_chunk_is_found_and_named(run: Path) -> None:
    chunk = run / "replay" / "000000003-000000004.safetensors"

    def check(what: str) -> None:
        with pytest.raises(UserError, match=r"add --checkpoint 10, which does without it") as caught:
            read_checkpoint(run, 20)
        assert str(chunk) in str(caught.value), what
        assert drain(read_checkpoint(run, 10)) == [0, 1, 2]

    damage_in_every_way(chunk, check)
    assert drain(read_checkpoint(run, 20)) == [0, 1, 2, 3, 4]


def test_a_chunk_damaged_after_loading_is_found_while_reading(run: Path) -> None:
    checkpoint = read_checkpoint(run, 20)
    chunk = run / "replay" / "000000003-000000004.safetensors"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="is damaged"):
        drain(checkpoint)


def test_messages_say_how_to_go_on(run: Path) -> None:
    (run / "checkpoints" / "20" / "agent.safetensors").write_bytes(b"")
    with pytest.raises(
        UserError,
        match=r"add --checkpoint 10 to use the one before \(mql train --resume deletes the later ones then\)$",
    ):
        read_checkpoint(run, 20)
    (run / "checkpoints" / "10" / "agent.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=r"restore it from a copy, or start again$"):
        read_checkpoint(run, 10)


def test_a_checkpoint_under_another_ones_name_is_refused(run: Path) -> None:
    (run / "checkpoints" / "20").rename(run / "checkpoints" / "30")
    with pytest.raises(UserError, match="holds checkpoint 20"):
        read_checkpoint(run, 30)


def test_another_format_version_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mql.runs.checkpoint.READABLE", (3,))
    with pytest.raises(UserError, match="the checkpoint has format 2, but this version reads up to"):
        read_checkpoint(run, 20)


def test_only_whole_checkpoints_are_listed(run: Path) -> None:
    (run / "checkpoints" / "30.tmp").mkdir()
    (run / "checkpoints" / "notes").mkdir()
    assert list_checkpoints(run) == [10, 20]


def test_chunks_that_no_checkpoint_names_are_removed(run: Path) -> None:
    write_chunk(run, 5, [episode(5)])
    remove_unnamed_chunks(run)
    assert len(list((run / "replay").iterdir())) == 2
    assert named_chunks(run, 20) == {path.name for path in (run / "replay").iterdir()}


def test_no_chunk_is_removed_while_a_damaged_checkpoint_may_need_it(run: Path) -> None:
    (run / "checkpoints" / "20" / "checkpoint.json").write_bytes(b"{}")
    remove_unnamed_chunks(run)
    assert len(list((run / "replay").iterdir())) == 2


def test_files_are_plain_json_and_the_checksum_line_is_that_of_sha256sum(run: Path) -> None:
    folder = run / "checkpoints" / "20"
    assert json.loads((folder / "checkpoint.json").read_text())["env_steps"] == 20
    try:
        done = subprocess.run(["sha256sum", "-c", "checkpoint.sha256"], cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no sha256sum here")
    assert done.stdout == "checkpoint.json: OK\n"
