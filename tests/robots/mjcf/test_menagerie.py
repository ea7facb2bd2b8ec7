"""Robots of the menagerie: a path by hand, then MENAGERIE_ROOT, then the package's cache, else an error."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from lab_robots import not_passed

from mql.errors import UserError
from mql.robots import registry
from mql.robots.mjcf import menagerie

BODY = '<body name="{name}"><joint name="hinge"/><geom size="0.1"/></body>'
ROBOT = f'<mujoco model="{{name}}"><worldbody>{BODY}</worldbody></mujoco>'
FLOOR = '<worldbody><geom type="plane" size="1 1 1"/></worldbody>'


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setattr(menagerie, "_package", lambda: None)


def make_copy(root: Path, **robots: tuple[str, ...]) -> Path:
    """A copy of the menagerie: robot -> its models, of which the first stands in scene.xml."""
    for robot, models in robots.items():
        folder = root / robot
        folder.mkdir(parents=True)
        for model in models:
            (folder / f"{model}.xml").write_text(ROBOT.format(name=model), encoding="utf-8")
        scene = f'<mujoco><include file="{models[0]}.xml"/>{FLOOR}</mujoco>'
        (folder / "scene.xml").write_text(scene, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Entry:
    """An entry point as the package describes it."""

    name: str
    file: str


@dataclass(frozen=True)
class Known:
    """A robot as the package describes it."""

    name: str
    license: str = "BSD-3-Clause"
    default_model: str = "b"
    download_size: int = 4_200_000
    entry_points: tuple[Entry, ...] = (Entry("b", "b.xml"), Entry("both", "a.xml"))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A stand-in for the package mujoco-menagerie that knows the robot `dog`; yields its cache."""
    cache = tmp_path / "cache"

    class Cache:
        def is_cached(self, robot: Known) -> bool:
            return (cache / robot.name).is_dir()

        def model_path(self, robot: Known) -> Path:
            return cache / robot.name

    module = ModuleType("mujoco_menagerie")
    module.__dict__.update(names=lambda: ["dog"], get=Known, Cache=Cache)
    monkeypatch.setitem(sys.modules, "mujoco_menagerie", module)
    monkeypatch.setattr(menagerie, "_package", lambda: module)
    yield cache


def test_the_path_given_by_hand_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    by_hand = make_copy(tmp_path / "by-hand", dog=("dog",))
    monkeypatch.setenv("MENAGERIE_ROOT", str(make_copy(tmp_path / "variable", dog=("dog",))))
    make_copy(package, dog=("a", "b"))
    assert registry.load("menagerie:dog/dog", by_hand).path() == by_hand / "dog" / "dog.xml"


def test_then_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    variable = make_copy(tmp_path / "variable", dog=("b",))
    monkeypatch.setenv("MENAGERIE_ROOT", str(variable))
    make_copy(package, dog=("a", "b"))
    assert registry.load("menagerie:dog").path() == variable / "dog" / "b.xml"


def test_then_the_package_s_cache(package: Path) -> None:
    make_copy(package, dog=("a", "b"))
    spec = registry.load("menagerie:dog")
    assert spec.path() == package / "dog" / "b.xml"  # the package's default model, not the scene's
    assert spec.licence == "BSD-3-Clause"
    assert registry.load("menagerie:dog/both").path() == package / "dog" / "a.xml"
    assert spec.compile().njnt == 1


def test_else_the_ways_to_get_it(package: Path) -> None:
    with pytest.raises(UserError) as caught:
        registry.load("menagerie:dog").path()
    for text in ("not on this machine", "prefetch dog", "4 MB", "--menagerie DIR", "MENAGERIE_ROOT"):
        assert text in str(caught.value)
    assert "pip install" not in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_package_it_is_named_too() -> None:
    with pytest.raises(UserError, match=r"pip install 'mql\[robots\]'"):
        registry.load("menagerie:dog").path()


def test_the_nearest_robot_is_offered(tmp_path: Path, package: Path) -> None:
    copy = make_copy(tmp_path / "copy", unitree_go2=("go2",), unitree_h1=("h1",))
    with pytest.raises(UserError, match="did you mean 'unitree_go2'"):
        registry.load("menagerie:unitree_go3", copy).path()
    with pytest.raises(UserError, match="did you mean 'dog'"):
        registry.load("menagerie:dogs").path()
    with pytest.raises(UserError, match="'go2'"):
        registry.load("menagerie:unitree_go2/g2", copy).path()
    with pytest.raises(UserError, match="there is no folder"):
        registry.load("menagerie:unitree_go2", tmp_path / "nowhere").path()


def test_without_the_package_the_scene_tells_which_model(tmp_path: Path) -> None:
    copy = make_copy(tmp_path, arm=("with_hand", "alone"))
    assert registry.load("menagerie:arm", copy).path().name == "with_hand.xml"
    assert registry.load("menagerie:arm/alone", copy).path().name == "alone.xml"
    (copy / "arm" / "scene.xml").unlink()
    with pytest.raises(UserError, match=r"has several models.*menagerie:arm/alone"):
        registry.load("menagerie:arm", copy).path()
    (copy / "arm" / "alone.xml").unlink()
    assert registry.load("menagerie:arm", copy).path().name == "with_hand.xml"


def test_a_spec_may_stand_on_a_menagerie_robot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENAGERIE_ROOT", str(make_copy(tmp_path / "copy", arm=("arm",))))
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: mql.robot/1\nname: mine\nlicence: MIT\nsource: ours\nmjcf: menagerie:arm\n"
        "base: {body: world, kind: fixed}\njoints: {hinge: {kind: hinge, unlimited: true}}\n",
        encoding="utf-8",
    )
    assert not_passed(path) == {"actuators": "warn"}


def test_nothing_is_read_outside_the_robot_s_folder(tmp_path: Path) -> None:
    copy = make_copy(tmp_path / "copy", arm=("arm",))
    (copy / "hull.stl").write_bytes(b"solid")
    mesh = '<mujoco><asset><mesh name="m" file="../hull.stl"/></asset></mujoco>'
    (copy / "arm" / "arm.xml").write_text(mesh, encoding="utf-8")
    with pytest.raises(UserError, match="outside"):
        registry.load("menagerie:arm", copy).compile()
    with pytest.raises(UserError, match="no robot"):
        registry.load("menagerie:../copy", tmp_path / "copy").path()
