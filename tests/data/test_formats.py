"""Reading and writing: every format says the same of the same episodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from logged_files import good_log

from mql.data.column_map import columns_of, parse_columns
from mql.data.logged import LoggedEpisode
from mql.data.reading import read
from mql.data.units import factor
from mql.data.writing import write
from mql.errors import UserError


def with_signals() -> list[LoggedEpisode]:
    log = [replace(each, signals={"positions": np.cumsum(np.ones((51, 2)), axis=0)}) for each in good_log()]
    return [replace(log[0], terminated=True, truncated=False), *log[1:]]


@pytest.mark.parametrize("suffix", ["npz", "h5", "csv"])
def test_what_is_written_is_read_back(suffix: str, tmp_path: Path) -> None:
    """Bit for bit; CSV gives float64 that is exactly the float32 written."""
    write(tmp_path / f"log.{suffix}", with_signals())
    found = read(tmp_path / f"log.{suffix}")
    for one, other in zip(found, with_signals(), strict=True):
        for key in ("obs", "action", "reward", "time"):
            mine, theirs = getattr(one, key), getattr(other, key)
            assert mine.dtype == theirs.dtype or suffix == "csv"
            assert np.array_equal(mine.astype(theirs.dtype), theirs) and np.array_equal(mine, theirs)
        assert np.array_equal(one.signals["positions"], other.signals["positions"])
        assert (one.terminated, one.truncated, one.success) == (other.terminated, other.truncated, other.success)
        assert one.task == other.task and one.name == other.name


def test_an_episode_of_its_own_at_the_top(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", observations=np.zeros((4, 2)), actions=np.ones((3, 1)), rewards=np.arange(3))
    [episode] = read(tmp_path / "log.npz")
    assert episode.length == 3 and episode.obs is not None and episode.obs.shape == (4, 2)
    assert episode.truncated and not episode.terminated and episode.reward is not None
    assert episode.reward.tolist() == [0, 1, 2]


def test_rows_of_several_episodes_are_told_apart(tmp_path: Path) -> None:
    np.savez(tmp_path / "log.npz", episode=[4, 4, 4, 2, 2], obs=np.arange(5), action=np.arange(5) / 10)
    first, second = read(tmp_path / "log.npz")
    assert (first.name, second.name) == ("4", "2")
    assert first.action[:, 0].tolist() == [0.0, 0.1] and second.action[:, 0].tolist() == pytest.approx([0.3])
    assert "left out" in first.notes[0]


def test_the_end_of_a_dropped_step_is_no_end(tmp_path: Path) -> None:
    """D4RL marks the last row, whose next observation it does not have."""
    np.savez(tmp_path / "log.npz", observations=np.zeros((3, 1)), actions=np.ones((3, 1)), terminals=[0, 0, 1])
    [episode] = read(tmp_path / "log.npz")
    assert episode.length == 2 and not episode.terminated and episode.truncated
    np.savez(
        tmp_path / "log.npz",
        obs=np.zeros((3, 1)),
        action=np.ones((3, 1)),
        terminals=[0, 0, 1],
        next_obs=np.ones((3, 1)),
    )
    [episode] = read(tmp_path / "log.npz")
    assert episode.length == 3 and episode.terminated and episode.obs is not None and episode.obs[-1] == 1


CSV = """trial;t;q1;q2;u;score
a;0;0;90;2.5;1
a;10;180;90;-5;2
a;20;0;90;;
b;0;1;1;1;1
b;10;1;1;1;1
"""
MAP = """schema: mql.columns/1
episode: trial
time: {column: t, unit: ms}
obs: [{columns: [q1, q2], unit: deg}, {column: q1, scale: 2, offset: 1}]
action: {column: u, scale: 0.2}
reward: score
task: {payload: 1.5}
"""


def test_a_column_map_names_columns_and_units(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    (tmp_path / "map.yaml").write_text(MAP)
    a, b = read(tmp_path / "log.csv", columns=tmp_path / "map.yaml")
    assert a.obs is not None and a.time is not None and a.reward is not None
    assert np.allclose(a.obs, [[0, np.pi / 2, 1], [np.pi, np.pi / 2, 361], [0, np.pi / 2, 1]])
    assert a.action[:, 0].tolist() == [0.5, -1.0] and a.reward.tolist() == [1, 2]
    assert np.allclose(a.time, [0, 0.01, 0.02]) and a.task == {"payload": 1.5}
    assert (a.name, b.name, b.length) == ("a", "b", 1)


def test_null_in_a_column_map_leaves_a_column_out(tmp_path: Path) -> None:
    write(tmp_path / "log.npz", list(good_log()))
    assert all(each.reward is None for each in read(tmp_path / "log.npz", columns=columns_of({"reward": None})))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("obss: [a]", "unknown key 'obss' (map.yaml:2 obss): did you mean 'obs'"),
        ("obs: [{column: a, unit: degree}]", "there is no unit 'degree' (map.yaml:2 obs.0.unit): did you mean 'deg'?"),
        ("obs: [{unit: deg}]", "either 'column' or 'columns' (map.yaml:2 obs.0)"),
        ("obs: []", "(map.yaml:2 obs)"),
        ("obs: [{column: a, index: [-1]}]", "(map.yaml:2 obs.0.index.0)"),
        ("time: {column: t, unit: 3}", "(map.yaml:2 time.unit)"),
        ("obs: !!python/object:os.system [a]", "(map.yaml:2"),
    ],
)
def test_a_wrong_column_map_gives_its_line(line: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_columns(f"schema: mql.columns/1\n{line}\n", "map.yaml")
    assert said in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_the_maps_line(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(CSV)
    known = parse_columns("schema: mql.columns/1\nobs: [q1, q3]\naction: u\n", "map.yaml")
    with pytest.raises(UserError, match=r"no column 'q3' in .*log.csv \(map.yaml:2 obs\): choose one of q1, q2"):
        read(tmp_path / "log.csv", columns=known)


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("deg", np.pi / 180),
        ("mm/s", 1e-3),
        ("mm/s^2", 1e-3),
        ("m/s2", 1.0),
        ("rpm", np.pi / 30),
        ("deg / s", np.pi / 180),
    ],
)
def test_units(unit: str, value: float) -> None:
    assert factor(unit) == pytest.approx(value, rel=1e-12)


def test_a_robomimic_file(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        for name in ("demo_10", "demo_2"):
            group = file.create_group(f"data/{name}")
            group["obs/pos"], group["obs/image"] = np.ones((4, 3)), np.zeros((4, 8, 8, 3), np.uint8)
            group["next_obs/pos"] = 2 * np.ones((4, 3))
            group["actions"], group["rewards"], group["dones"] = np.ones((4, 2)), np.arange(4.0), np.array([0, 0, 1, 1])
    with pytest.raises(UserError, match=r"'obs' is a group of 2 columns .*obs/image, obs/pos"):
        read(tmp_path / "demo.hdf5")
    one, other = read(tmp_path / "demo.hdf5", columns=columns_of({"obs": "obs/pos", "next_obs": "next_obs/pos"}))
    assert (one.name, other.name) == ("2", "10") and one.length == 4 and not one.terminated
    assert one.obs is not None and one.obs.shape == (5, 3) and one.obs[-1].tolist() == [2, 2, 2]


def test_a_lerobot_data_set(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "info.json").write_text('{"fps": 50}')
    for chunk, count in enumerate((4, 3)):
        (tmp_path / "data" / f"chunk-{chunk:03d}").mkdir(parents=True)
        table: dict[str, Any] = {
            "observation.state": pa.array([[n, 2.0] for n in range(count)], pa.list_(pa.float32(), 2)),
            "action": pa.array([[0.1 * n] for n in range(count)], pa.list_(pa.float32())),
            "timestamp": pa.array([0.02 * n for n in range(count)], pa.float32()),
            "episode_index": [chunk] * count,
            "next.reward": [float(n) for n in range(count)],
            "task": ["pick"] * count,
        }
        pq.write_table(pa.table(table), tmp_path / "data" / f"chunk-{chunk:03d}" / "episode.parquet")
    first, second = read(tmp_path)
    assert (first.length, second.length) == (3, 2) and first.obs is not None and first.reward is not None
    assert first.obs[:, 0].tolist() == [0, 1, 2, 3] and first.reward.tolist() == [0, 1, 2]
    assert first.action[:, 0].tolist() == pytest.approx([0, 0.1, 0.2]) and first.time is not None


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_a_minari_data_set(data_format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Minari itself writes it."""
    pytest.importorskip("minari")
    from gymnasium.spaces import Box
    from minari.data_collector.episode_buffer import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    folder = tmp_path / "test" / "push-v0"
    (folder / "data").mkdir(parents=True)
    spaces = {"observation_space": Box(-9, 9, (3,)), "action_space": Box(-2, 2, (1,))}
    storage = MinariStorage.new(folder / "data", env_spec=None, data_format=data_format, **spaces)
    rng = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            id=number,
            observations=list(rng.normal(size=(6, 3)).astype(np.float32)),
            actions=list(rng.uniform(-1, 1, (5, 1)).astype(np.float32)),
            rewards=list(range(5)),
            terminations=[False] * 4 + [number == 1],
            truncations=[False] * 4 + [number == 0],
            infos={},
        )
        for number in range(2)
    ]
    storage.update_episodes(buffers)
    storage.update_metadata({"dataset_id": "test/push-v0", "minari_version": "0.5.4"})
    for path in ("minari:test/push-v0", str(folder)):
        found = read(path)
        assert [each.name for each in found] == ["0", "1"]
        assert [each.terminated for each in found] == [False, True]
        for episode, buffer in zip(found, buffers, strict=True):
            assert episode.obs is not None and episode.reward is not None and isinstance(buffer.observations, list)
            assert np.array_equal(episode.obs, np.asarray(buffer.observations))
            assert np.array_equal(episode.action, np.asarray(buffer.actions))
            assert episode.reward.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="minari download test/other-v0"):
        read("minari:test/other-v0")


@pytest.mark.parametrize(
    ("package", "name"), [("h5py", "log.h5"), ("pyarrow", "log.parquet"), ("minari", "minari:a/b-v0")]
)
def test_a_missing_package_is_one_line(
    package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for module in [known for known in sys.modules if known.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    begins = {"log.h5": b"\x89HDF\r\n\x1a\n", "log.parquet": b"PAR1"}.get(name)
    if begins is not None:
        (tmp_path / name).write_bytes(begins)
    with pytest.raises(UserError, match=rf"package {package} is missing .*pip install 'mql\[data\]'"):
        read(str(tmp_path / name) if begins is not None else name)


def test_rows_of_two_episodes_are_not_taken_for_one(tmp_path: Path) -> None:
    obs = np.concatenate([np.arange(6.0), 50 + np.arange(5.0)])[:, None]
    after = obs + 1  # of row 5 (6) is not what row 6 begins with (50)
    path = tmp_path / "flat.npz"
    np.savez(path, observations=obs, next_observations=after, actions=np.zeros((11, 1)), rewards=np.zeros(11))
    with pytest.raises(UserError, match=r"the value is 6, and the next row's observation 50 .*step 5 next_obs\[0\]"):
        read(path)
    np.savez(path, observations=obs[:6], next_observations=after[:6], actions=np.zeros((6, 1)), rewards=np.zeros(6))
    assert read(path)[0].length == 6


@pytest.mark.parametrize("unit", ["deg", "m", "Hz"])
def test_time_in_another_kind_of_unit_is_refused(unit: str) -> None:
    with pytest.raises(UserError, match=f"time is in {unit} .*columns.* choose one of s, ms, us, ns, min, h"):
        columns_of({"time": {"column": "t", "unit": unit}})
    columns_of({"time": {"column": "t", "unit": "min"}})
