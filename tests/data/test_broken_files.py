"""Files that are broken in every way we could think of: one line each, which names the place, and nothing runs."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_files import FAMILY, changed, columns_of, family, good_log, save_npz

from mql.cli import app as cli
from mql.data.fitting import fit
from mql.data.reading import read
from mql.data.writing import write
from mql.errors import UserError

h5py = pytest.importorskip("h5py")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Make = Callable[[Path], Path]
RAN = "RAN"  # a file that appears where something of a broken file is run


class Runs:
    """Something that runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def npz(key: str, change: Any) -> Make:
    return lambda folder: save_npz(folder / "log.npz", columns_of(changed(key, change)))


def with_array(name: str, value: Any) -> Make:
    return lambda folder: save_npz(folder / "log.npz", {**columns_of(list(good_log())), name: value})


def at(place: Any, value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


def text(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> Path:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        return folder / name

    return make


def hdf5(change: Callable[[Any, Path], None]) -> Make:
    def make(folder: Path) -> Path:
        write(folder / "log.h5", list(good_log()))
        with h5py.File(folder / "log.h5", "a") as file:
            change(file, folder)
        return folder / "log.h5"

    return make


def pickled(folder: Path) -> Path:
    value = np.empty(1, dtype=object)
    value[0] = Runs(folder / RAN)
    return save_npz(folder / "log.npz", {**columns_of(list(good_log())), "episode_1/obs": value}, pickled=True)


def bomb(folder: Path) -> Path:
    """300 MB of zeros in 300 kB."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (75_000_000, 1)})
    with zipfile.ZipFile(folder / "log.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("obs.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(300):
                member.write(bytes(1_000_000))
        archive.writestr("action.npy", array_bytes(np.zeros((3, 2))))
    return folder / "log.npz"


def array_bytes(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def lying_header(folder: Path) -> Path:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 8)})
    with zipfile.ZipFile(folder / "log.npz", "w") as archive:
        archive.writestr("obs.npy", header.getvalue() + bytes(64))
        archive.writestr("action.npy", array_bytes(np.zeros((3, 2))))
    return folder / "log.npz"


def cut(name: str, part: float) -> Make:
    def make(folder: Path) -> Path:
        write(folder / name, list(good_log()))
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(part * len(data))])
        return folder / name

    return make


def damaged_member(folder: Path) -> Path:
    path = save_npz(folder / "log.npz", columns_of(list(good_log())))
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("episode_2/obs.npy")
    place = info.header_offset + 400
    data[place : place + 4] = b"\xff\x00\xff\x00"
    path.write_bytes(bytes(data))
    return path


def swapped(key: str, one: int, other: int) -> Make:
    def make(folder: Path) -> Path:
        log = []
        for episode in good_log(8):
            values = getattr(episode, key).copy()
            values[:, [one, other]] = values[:, [other, one]]
            log.append(replace(episode, **{key: values}))
        write(folder / "log.npz", log)
        return folder / "log.npz"

    return make


def scaled(place: int, factor: float) -> Make:
    def make(folder: Path) -> Path:
        log = []
        for episode in good_log():
            assert episode.obs is not None
            obs = episode.obs.copy()
            obs[:, place] *= factor
            log.append(replace(episode, obs=obs))
        write(folder / "log.h5", log)
        return folder / "log.h5"

    return make


def external_link(file: Any, folder: Path) -> None:
    file["episode_1/more"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    file["episode_1/obs"] = h5py.SoftLink("/episode_0/obs")


def external_data(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    (folder / "raw").write_bytes(bytes(51 * 8 * 4))
    file.create_dataset("episode_1/obs", (51, 8), "f4", external=[(str(folder / "raw"), 0, 51 * 8 * 4)])


def virtual(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    layout = h5py.VirtualLayout((51, 8), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "obs", (51, 8))
    file.create_virtual_dataset("episode_1/obs", layout)


def references(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    file.create_dataset("episode_1/obs", (51,), h5py.ref_dtype)


def huge(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    file.create_dataset("episode_1/obs", (10**9, 8), "f4", chunks=(1000, 8))  # nothing of it is stored


def nested(file: Any, folder: Path) -> None:
    file["episode_1/loop"] = file["episode_1"]


def plugin(file: Any, folder: Path) -> None:
    del file["episode_1/obs"]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((51, 8))
    plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((51, 8))
    h5py.h5d.create(file["episode_1"].id, b"obs", h5py.h5t.IEEE_F32LE, space, plist)


def parquet(**changes: Any) -> Make:
    def make(folder: Path) -> Path:
        columns: dict[str, Any] = {
            "observation.state": [[0.1 * n] * 8 for n in range(6)],
            "action": [[0.1, -0.1 * n] for n in range(6)],
            "next.reward": [1.0] * 6,
            "timestamp": [0.02 * n for n in range(6)],
            "episode_index": [0, 0, 0, 1, 1, 1],
        }
        columns |= {key.replace("__", "."): value for key, value in changes.items()}
        pq.write_table(
            pa.table({key: value for key, value in columns.items() if value is not None}), folder / "log.parquet"
        )
        return folder / "log.parquet"

    return make


CSV = "time,obs_0,obs_1,obs_2,obs_3,obs_4,obs_5,obs_6,obs_7,action_0,action_1,reward\n"
ROW = "{t},.1,.2,.3,.4,.5,.6,.7,.8,.1,-.2,1\n"
ROWS = [ROW.format(t=0.02 * n) for n in range(5)]

# name -> (how to make it, what its line says: all of these). Steps count from 0.
BROKEN: dict[str, tuple[Make, tuple[str, ...]]] = {
    "obs-of-another-size": (npz("obs", lambda a: a[:, :7]), ("episode 1 obs", "7 values", "has 8")),
    "action-of-another-size": (npz("action", lambda a: a[:, :1]), ("episode 1 action", "1 value", "has 2")),
    "nan-in-obs": (npz("obs", at((17, 3), np.nan)), ("episode 1 step 17 obs[3]", "nan")),
    "infinite-action": (npz("action", at((4, 1), np.inf)), ("episode 1 step 4 action[1]", "inf")),
    "nan-in-reward": (npz("reward", at(9, np.nan)), ("episode 1 step 9 reward", "nan")),
    "nan-in-time": (npz("time", at(9, np.nan)), ("episode 1 step 9 time", "nan")),
    "action-outside": (npz("action", at((30, 0), 1.7)), ("episode 1 step 30 action[0]", "1.7", "outside [-1, 1]")),
    "gap-in-time": (npz("time", lambda t: t + 0.3 * (np.arange(51) > 20)), ("episode 1 step 20 time", "0.32 s")),
    "time-goes-back": (npz("time", at(12, 0.0)), ("episode 1 step 11 time", "goes back")),
    "time-stands-still": (npz("time", at(12, 0.22)), ("episode 1 step 11 time", "stands still")),
    "time-in-milliseconds": (npz("time", lambda t: 1000 * t), ("episode 1 time", "20 s", "unit: ms")),
    "too-few-obs": (npz("obs", lambda a: a[:40]), ("episode 1 obs", "40 rows", "action 50")),
    "too-few-rewards": (npz("reward", lambda a: a[:49]), ("episode 1 reward", "49 rows, not 50")),
    "too-few-times": (npz("time", lambda a: a[:50]), ("episode 1 time", "50 rows, not 51")),
    "no-step": (npz("action", lambda a: a[:0]), ("episode 1", "0")),
    "three-axes": (npz("obs", lambda a: a[:, None]), ("episode 1 obs", "shape [51, 1, 8]")),
    "texts": (npz("obs", lambda a: a.astype(str)), ("episode 1 obs", "texts, not numbers")),
    "complex": (npz("action", lambda a: a.astype(complex)), ("episode 1 action", "complex numbers")),
    "records": (npz("obs", lambda a: np.zeros(51, "f4,f4")), ("episode 1 obs", "records")),
    "terminated-in-between": (
        with_array("episode_1/terminated", np.arange(50) == 7),
        ("episode 1 step 7 terminated", "goes on"),
    ),
    "flags-of-other-numbers": (with_array("episode_1/success", np.array(3)), ("episode 1 success", "0 and 1")),
    "task-is-no-json": (with_array("episode_1/task", np.array("{")), ("episode 1 task", "JSON")),
    "unknown-task-parameter": (
        lambda folder: save_npz(
            folder / "log.npz",
            {k: v for k, v in columns_of(list(good_log())).items() if k != "episode_1/reward"}
            | {"episode_1/task": np.array('{"targe": 1}')},
        ),
        ("episode 1", "no such task parameter", "target"),
    ),
    "pickle": (pickled, ("episode 1 obs", "pickled")),
    "zip-bomb": (bomb, ("obs", "more than 200 MB")),
    "lying-header": (lying_header, ("obs", "announces")),
    "cut-npz": (cut("log.npz", 0.7), ("not an NPZ file",)),
    "damaged-npz": (damaged_member, ("episode_2/obs", "damaged")),
    "npz-with-a-script": (
        lambda folder: zip_of(folder, {"obs.npy": array_bytes(np.zeros((4, 8))), "run.py": b"import os"}),
        ("'run.py' is no array",),
    ),
    "empty-npz": (lambda folder: zip_of(folder, {}), ("nothing in the file",)),
    "npz-without-actions": (
        lambda folder: save_npz(folder / "log.npz", {"obs": np.zeros((4, 8)), "torque": np.zeros((3, 2))}),
        ("no column is called 'action'", "torque"),
    ),
    "swapped-axes": (swapped("obs", 1, 6), ("obs[1]", "axes are swapped", "obs 6")),
    "swapped-actions": (swapped("action", 0, 1), ("action[0]", "axes are swapped")),
    "degrees": (scaled(6, 180 / np.pi), ("obs[6]", "degrees")),
    "cut-hdf5": (cut("log.h5", 0.6), ("not an HDF5 file, or cut off",)),
    "external-link": (hdf5(external_link), ("episode_1/more", "a link to another file")),
    "soft-link": (hdf5(soft_link), ("episode_1/obs", "a soft link")),
    "external-data": (hdf5(external_data), ("episode 1 obs", "in another file")),
    "virtual-data": (hdf5(virtual), ("episode 1 obs", "in another file")),
    "object-references": (hdf5(references), ("episode 1 obs", "not numbers")),
    "huge-hdf5": (hdf5(huge), ("episode 1 obs", "more than 200 MB")),
    "groups-in-a-circle": (hdf5(nested), ("nested too deeply",)),
    "plugin-filter": (hdf5(plugin), ("episode 1 obs", "filter 32015", "plugin")),
    "csv-of-numbers": (text("log.csv", "1,2,3\n4,5,6\n"), (":1", "numbers, not names")),
    "csv-with-a-word": (text("log.csv", CSV + ROWS[0] + ROWS[1].replace(".5", "oops")), (":3 obs_4", "'oops'")),
    "csv-with-a-short-row": (text("log.csv", CSV + ROWS[0] + "0.02,1,2\n"), (":3", "3 cells", "12")),
    "csv-with-a-blank": (text("log.csv", CSV + "".join(ROWS).replace("0.04,.1", "0.04,")), ("step 2 obs[0]", "nan")),
    "csv-with-an-endless-cell": (text("log.csv", CSV + "1" * 200_000 + ROWS[0][1:]), (":2", "can't be read")),
    "csv-of-bytes": (text("log.csv", CSV.encode() + b"\xff\xfe,2\n"), ("not UTF-8",)),
    "csv-with-two-names-alike": (text("log.csv", CSV.replace("obs_1", "obs_0") + ROWS[0]), (":1", "'obs_0'")),
    "csv-of-names-alone": (text("log.csv", CSV), ("no step",)),
    "csv-with-an-episode-that-goes-on": (
        text("log.csv", "episode," + CSV + "".join(f"{n % 2}," + row for n, row in enumerate(ROWS))),
        ("episode 0 goes on",),
    ),
    "ragged-parquet": (parquet(action=[[0.1, 0.2]] * 4 + [[0.1]] * 2), ("action", "row 4")),
    "parquet-of-texts": (parquet(action=["left"] * 6), ("action", "texts, not numbers")),
    "cut-parquet": (
        lambda folder: shortened(parquet()(folder)),
        ("not a Parquet file, or cut off",),
    ),
    "empty-file": (text("log.h5", b""), ("the file is empty",)),
    "unknown-kind": (text("log.bag", b"#ROSBAG V2.0"), ("kind of the file is not known",)),
    "folder": (lambda folder: made(folder / "log"), ("the folder is no data set",)),
}


def zip_of(folder: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "log.npz", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return folder / "log.npz"


def shortened(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-50])
    return path


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_there_are_enough_broken_files() -> None:
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, said = BROKEN[name]
    path = make(tmp_path)
    status = cli.run(["data", "check", str(path), "--family", FAMILY, "--max-mb", "200"])
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1, out
    assert str(path) in lines[0] and all(part in lines[0] for part in said), lines[0]
    assert re.search(r"\): .+", lines[0]), "it says how to mend it"
    assert "Traceback" not in out + err and not (tmp_path / RAN).exists()
    counted = out.splitlines()[-1]
    assert counted.startswith("1 error"), counted


@pytest.mark.parametrize("name", [name for name in BROKEN if not name.startswith(("swapped", "degrees"))])
def test_a_broken_file_is_not_learned_from(name: str, tmp_path: Path) -> None:
    path = BROKEN[name][0](tmp_path)
    with pytest.raises(UserError) as caught:
        fit(family(), read(path, max_bytes=200 * 1024**2))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert not (tmp_path / RAN).exists()


def test_the_good_log_is_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "log.npz", list(good_log()))
    assert cli.run(["data", "check", str(tmp_path / "log.npz"), "--family", FAMILY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["errors"], found["warnings"]) == (0, 0)
    assert found["files"][0]["episodes"] == 3 and found["files"][0]["steps"] == 150


def test_the_marker_would_tell(tmp_path: Path) -> None:
    """The pickle in these tests does run where somebody allows it."""
    with pytest.raises((TypeError, ValueError)), np.load(pickled(tmp_path), allow_pickle=True) as file:
        np.asarray(file["episode_1/obs"][0], dtype=float) + struct.calcsize("d")
        raise ValueError
    assert (tmp_path / RAN).exists()
