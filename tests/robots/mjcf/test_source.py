"""Kinds of files by their names, folders that a model may read from, and robots of the package robot_descriptions."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mql.errors import UserError
from mql.robots import registry
from mql.robots.mjcf.source import model_source

MODEL = '<mujoco>{}<worldbody><body name="b"><joint name="j"/><geom size="0.1"/>{}</body></worldbody></mujoco>'
MESH = '<compiler meshdir="../meshes"/><asset><mesh name="m" file="m.obj"/></asset>'
BOX = "v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"


@pytest.mark.parametrize("name", ["arm.xml", "arm.XML", "arm.mjcf", "Arm.Mjcf", "2f85.xml", "arm-ü.xml"])
@pytest.mark.parametrize("folder", ["", "./", "robots/"])
def test_a_model_is_known_by_its_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / name).write_text(MODEL.format("", ""))
    assert registry.load(f"{folder}{name}").compile().nbody == 2


@pytest.mark.parametrize("name", ["arm.txt", "./arm.txt", "folder/arm.json"])
def test_another_ending_is_one_line_with_and_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / name).write_text("")
    with pytest.raises(UserError, match=r"a robot's spec ends in \.yaml, a bare model in \.xml"):
        registry.load(name)


def test_meshes_in_a_folder_beside_the_models_folder_are_read(tmp_path: Path) -> None:
    for folder in ("mjcf", "plain"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "arm.xml").write_text(MODEL.format(MESH, '<geom type="mesh" mesh="m"/>'))
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "m.obj").write_text(BOX)
    assert registry.load(str(tmp_path / "mjcf" / "arm.xml")).compile().nmesh == 1
    with pytest.raises(UserError, match="outside the model's folder") as caught:
        registry.load(str(tmp_path / "plain" / "arm.xml")).compile()
    # What the line says does help: a spec in the folder above.
    assert f"put a spec (docs/robots.md) into {tmp_path}" in str(caught.value)
    above = tmp_path / "arm.yaml"
    above.write_text("schema: mql.robot/1\nname: arm\nlicence: MIT\nsource: own\nmjcf: plain/arm.xml\n")
    assert registry.load(str(above)).compile().nmesh == 1
    # In a definition it is the definition's folder, whatever its name.
    assert registry.load(str(tmp_path / "plain" / "arm.xml"), folder=tmp_path).compile().nmesh == 1
    (tmp_path / "package.xml").write_text("<package/>")
    assert registry.load(str(tmp_path / "plain" / "arm.xml")).compile().nmesh == 1


def test_a_urdf_reads_the_package_that_it_names(tmp_path: Path) -> None:
    folder = tmp_path / "all_arms" / "robots" / "one_arm"
    (folder / "urdf").mkdir(parents=True)
    (folder / "package.xml").write_text("<package/>")
    (tmp_path / "all_arms" / "meshes").mkdir()
    (tmp_path / "all_arms" / "meshes" / "m.obj").write_text(BOX)
    urdf = folder / "urdf" / "arm.urdf"
    shape = '<collision><geometry><mesh filename="package://all_arms/meshes/m.obj"/></geometry></collision>'
    urdf.write_text(f'<robot name="arm"><link name="base">{shape}</link></robot>')
    assert model_source(urdf).folder == tmp_path / "all_arms" and registry.load(str(urdf)).compile().nmesh == 1
    urdf.write_text('<robot name="arm"><link name="base"/></robot>')
    assert model_source(urdf).folder == folder


def test_an_installed_packages_model_reads_its_package(tmp_path: Path) -> None:
    model = tmp_path / "site-packages" / "robots_of_x" / "a" / "b" / "arm.xml"
    assert model_source(model).folder == tmp_path / "site-packages" / "robots_of_x"


def test_no_model_reads_all_of_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_source(tmp_path / "mjcf" / "arm.xml").folder == tmp_path / "mjcf"
    assert model_source(Path("/mjcf/arm.xml")).folder == Path("/mjcf")
    assert model_source(tmp_path / "go2" / "mjcf" / "arm.xml").folder == tmp_path / "go2"


@pytest.fixture
def descriptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package robot_descriptions, and the folder where it keeps clones."""
    package, cache = tmp_path / "site" / "robot_descriptions", tmp_path / "clones"
    package.mkdir(parents=True)
    cache.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_descriptions.py").write_text(
        "class Of:\n    def __init__(self, licence): self.license_spdx = licence\n"
        "DESCRIPTIONS = {'arm_mj_description': Of('BSD-3-Clause'), 'other_description': Of(None)}\n"
    )
    (package / "_repositories.py").write_text("class Of: cache_path = 'all_arms'\nREPOSITORIES = {'arms': Of}\n")
    module = (
        "import os\nfrom ._cache import clone_to_cache as _clone_to_cache\n"
        "REPOSITORY_PATH = _clone_to_cache('arms', commit=None)\n"
        "{} = os.path.join(REPOSITORY_PATH, 'arm', 'arm.xml')\n"
    )
    (package / "_cache.py").write_text(
        "import os\ndef clone_to_cache(name, commit):\n    open(os.environ['CLONED'], 'a').close()\n"
        "    return os.environ['ROBOT_DESCRIPTIONS_CACHE'] + '/all_arms'\n"
    )
    (package / "arm_mj_description.py").write_text(module.format("MJCF_PATH"))
    (package / "other_description.py").write_text(module.format("XACRO_PATH"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("ROBOT_DESCRIPTIONS_CACHE", str(cache))
    monkeypatch.setenv("CLONED", str(tmp_path / "cloned"))
    for name in [name for name in sys.modules if name.startswith("robot_descriptions")]:
        monkeypatch.delitem(sys.modules, name)
    yield cache
    for name in [name for name in sys.modules if name.startswith("robot_descriptions")]:
        del sys.modules[name]


def test_a_description_is_read_from_its_clone_and_nothing_is_cloned_unasked(descriptions: Path) -> None:
    spec = registry.load("descriptions:arm_mj")
    assert spec.licence == "BSD-3-Clause"
    with pytest.raises(UserError, match="python -m robot_descriptions pull arm_mj_description"):
        spec.compile()
    assert not (descriptions.parent / "cloned").exists()
    (descriptions / "all_arms" / "arm").mkdir(parents=True)
    (descriptions / "all_arms" / "meshes").mkdir()
    (descriptions / "all_arms" / "meshes" / "m.obj").write_text(BOX)
    (descriptions / "all_arms" / "arm" / "arm.xml").write_text(MODEL.format(MESH, '<geom type="mesh" mesh="m"/>'))
    for name in ("arm_mj", "arm_mj_description"):
        assert registry.load(f"descriptions:{name}").compile().nmesh == 1
    with pytest.raises(UserError, match="neither an MJCF nor a URDF"):
        registry.load("descriptions:other").path()
    with pytest.raises(UserError, match="did you mean 'arm_mj"):
        registry.load("descriptions:arm_mjj").path()


def test_without_the_package_the_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mql.robots.mjcf.descriptions.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install robot-descriptions"):
        registry.load("descriptions:go2").path()


def test_a_model_inside_an_installed_package() -> None:
    spec = registry.load("package:gymnasium/envs/mujoco/assets/ant.xml")
    assert spec.compile().nu == 8
    with pytest.raises(UserError, match="there is no file"):
        registry.load("package:gymnasium/nothing.xml").path()
