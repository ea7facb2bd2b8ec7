"""Logs and data sets that are damaged, or lead out of their folder: one line, and never other numbers in silence."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hostile_text import check_refusal

from mql.data.reading import read
from mql.errors import UserError

STEPS = 30


def log() -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    return {
        "obs": rng.normal(size=(STEPS + 1, 3)).astype(np.float32),
        "action": rng.uniform(-1, 1, size=(STEPS, 2)).astype(np.float32),
        "reward": rng.normal(size=STEPS).astype(np.float32),
    }


def write(folder: Path, kind: str) -> Path:
    arrays, path = log(), folder / f"log.{kind}"
    if kind == "npz":
        np.savez_compressed(path, **arrays)
    elif kind == "h5":
        h5py = pytest.importorskip("h5py", reason="the extra data is not installed")
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file.create_dataset(name, data=values, fletcher32=True, chunks=True)
    elif kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow", reason="the extra data is not installed")
        parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is not installed")
        columns = {"observation.state": arrays["obs"][:STEPS].tolist(), "action": arrays["action"].tolist()}
        table = pyarrow.table({**columns, "next.reward": arrays["reward"].tolist(), "episode_index": [0] * STEPS})
        parquet.write_table(table, path, write_page_checksum=True)
    else:
        names = "time,obs_0,obs_1,obs_2,action_0,action_1,reward"
        rows = zip(arrays["obs"][:STEPS], arrays["action"], arrays["reward"], strict=True)
        lines = [",".join(map(str, [0.1 * n, *o, *a, r])) for n, (o, a, r) in enumerate(rows)]
        path.write_text("\n".join([names, *lines]) + "\n")
    return path


@pytest.mark.parametrize("kind", ["npz", "h5", "parquet", "csv"])
def test_a_random_change_is_noticed_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    """Where the format has checksums (NPZ always, the others where they were asked for), no other number is read."""
    path, rng = write(tmp_path, kind), random.Random(3)
    whole, good = path.read_bytes(), read(path)
    refused = 0
    for _ in range(60):
        new = bytearray(whole)
        if rng.randrange(3):
            new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
        else:
            del new[rng.randrange(len(new)) :]
        path.write_bytes(bytes(new))
        try:
            found = read(path)
        except UserError as error:
            refused += 1
            check_refusal(error, str(path))
            continue
        if kind in ("npz", "parquet"):
            assert all(np.array_equal(a.reward, b.reward) for a, b in zip(found, good, strict=True))
            assert all(np.array_equal(a.obs, b.obs) for a, b in zip(found, good, strict=True))
    assert refused > 20


def test_a_data_set_s_links_lead_nowhere(tmp_path: Path) -> None:
    outside = write(tmp_path, "parquet")
    folder = tmp_path / "set"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text("{}")
    (folder / "data" / "chunk-000").mkdir(parents=True)
    inside = folder / "data" / "chunk-000" / "file-000.parquet"
    inside.write_bytes(outside.read_bytes())
    assert len(read(folder)) == 1
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(UserError, match="leads outside") as caught:
        read(folder)
    check_refusal(caught.value, str(inside))


def test_a_minari_set_s_links_lead_nowhere(tmp_path: Path) -> None:
    outside = write(tmp_path, "h5")
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "main_data.hdf5").symlink_to(outside)
    with pytest.raises(UserError, match="leads outside"):
        read(folder)
