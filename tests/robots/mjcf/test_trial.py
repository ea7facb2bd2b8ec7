"""Models that would fill the memory are refused in one line; what did no harm is remembered."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import mujoco
import pytest

from mql.errors import UserError
from mql.robots.mjcf import trial
from mql.robots.mjcf.compiled import compile_mjcf
from mql.robots.mjcf.files import read_files
from mql.robots.mjcf.sealed import seal

pytestmark = pytest.mark.newest

MODEL = '<mujoco>{}<worldbody><body><joint name="j"/><geom size="0.1"/></body></worldbody>{}</mujoco>'


def refusal(folder: Path, before: str = "", after: str = "") -> str:
    path = folder / "model.xml"
    path.write_text(MODEL.format(before, after))
    with pytest.raises(UserError) as caught:
        compile_mjcf(path, folder)
    assert "\n" not in str(caught.value) and "model.xml" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('<asset><hfield name="h" nrow="32000" ncol="32000" size="1 1 1 1"/></asset>', "", "nrow is '32000'"),
        ('<size nuser_geom="300000000"/>', "", "nuser_geom is '300000000'"),
        ('<size nkey="2000000000"/>', "", "nkey is '2000000000'"),
        ('<size memory="8G"/>', "", "memory is '8G'"),
        ('<custom><numeric name="n" size="2000000000" data="1"/></custom>', "", "size is '2000000000'"),
        ("", '<sensor><user name="s" dim="2000000000"/></sensor>', "dim is '2000000000'"),
    ],
)
def test_sizes_that_no_model_has_use_for(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert said in refusal(tmp_path, before, after)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the limit of memory holds on Linux")
@pytest.mark.parametrize("size", ['nuserdata="900000"', 'memory="900M"', 'nuser_geom="900"'])
def test_what_is_within_these_sizes_but_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    monkeypatch.setattr(trial, "MOST_MEMORY", 3_000_000)
    assert "of memory" in refusal(tmp_path, f"<size {size}/>")


def test_memory_that_is_only_reserved_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text(MODEL.format('<size njmax="8000" nconmax="4000"/>', ""))
    assert compile_mjcf(path, tmp_path).narena > trial.MOST_MEMORY


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="the limit of memory holds on Linux")
@pytest.mark.slow
def test_many_small_parts_that_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    bodies = '<body><joint/><geom size="0.1"/></body>' * 12_000
    path.write_text(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")
    with pytest.raises(UserError, match="more than 2 GB of memory"):
        compile_mjcf(path, tmp_path)


def test_what_did_no_harm_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    ask = trial._ask
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(trial, "_ask", lambda sealed: (asked.append(sealed), ask(sealed))[1])
    path = tmp_path / "model.xml"
    path.write_text(MODEL.format("", ""))
    for _ in range(2):
        compile_mjcf(path, tmp_path)
    moved = tmp_path / "moved.xml"
    path.rename(moved)
    compile_mjcf(moved, tmp_path)  # the same content elsewhere
    assert len(asked) == 1
    moved.write_text(MODEL.format("", "<sensor/>"))
    compile_mjcf(moved, tmp_path)
    assert len(asked) == 2


def test_a_process_that_dies_is_one_line_and_the_next_model_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.xml"
    path.write_text(MODEL.format("", ""))
    sealed = seal(read_files(path, tmp_path))
    process = trial._started()
    os.kill(process.pid, signal.SIGKILL)
    monkeypatch.setattr(trial, "_started", lambda: process)
    with pytest.raises(UserError, match="MuJoCo crashes on the model"):
        trial.try_out(sealed)
    monkeypatch.undo()
    assert trial.try_out(sealed) == "1 1 0 0 0 0"  # numbers of a keyframe


def test_models_of_this_program_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from mql.robots import registry

    monkeypatch.setattr(trial, "_ask", lambda sealed: pytest.fail("it was tried"))
    assert isinstance(registry.load("planar2").compile(), mujoco.MjModel)
