"""Families of installed packages, by entry points: found by name, loaded when asked for, broken ones left out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_definitions import write_parallel, write_python

from mql.cli import app as cli
from mql.errors import UserError
from mql.tasks import packages as lab_packages
from mql.tasks import registry
from mql.tasks.families import table

PACKAGE = '''"""A lab's package."""


def point():
    from mql.tasks.families.small.point_robot import point_robot

    return point_robot().variant("of-lab", "a lab's own")


def broken():
    raise ValueError("the lab is closed")


def nothing():
    return 3
'''
ENTRY_POINTS = """[mql.tasks]
point-robot-of-lab = lab_cart:point
lab-cart = lab_cart:cart.yaml
lab-broken = lab_cart:broken
lab-nothing = lab_cart:nothing
lab-missing = lab_cart:absent.yaml
lab-gone = lab_gone:gone
lab-renamed = lab_cart:point
cheetah-vel = lab_cart:point
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package `lab-cart`, as far as Python can tell."""
    folder = tmp_path / "site"
    write_python(folder / "lab_cart")
    (folder / "lab_cart" / "__init__.py").write_text(PACKAGE)
    facts = folder / "lab_cart-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-cart\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    lab_packages.installed.cache_clear()
    registry._load.cache_clear()
    yield folder / "lab_cart"
    lab_packages.installed.cache_clear()
    registry._load.cache_clear()
    sys.modules.pop("lab_cart", None)


def test_names_are_known_without_running_anything(package: Path) -> None:
    names = registry.names()
    assert {"point-robot-of-lab", "lab-cart", "lab-broken"} <= set(names) and len(names) == len(set(names))
    assert "lab_cart" not in sys.modules and not (package / "ran").exists()


def test_a_function_and_a_definition_are_loaded(package: Path) -> None:
    assert registry.load("point-robot-of-lab").name == "point-robot-of-lab"
    assert registry.load("lab-cart") is registry.load("lab-cart")
    assert registry.load("lab-cart").obs_dim == 4
    assert (package / "ran").exists()  # an installed package is trusted, and so is its definition's Python
    assert registry.module_of("lab-cart") == "lab_cart:cart.yaml"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lab-broken", "it raised ValueError: the lab is closed (entry point lab-broken of package lab-cart)"),
        ("lab-nothing", "lab_cart:nothing gave int, not a TaskFamily"),
        ("lab-missing", "no such file"),
        ("lab-gone", "it raised ModuleNotFoundError"),
        ("lab-renamed", "it builds a family called 'point-robot-of-lab'"),
    ],
)
def test_a_broken_entry_point_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        registry.load(name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_built_in_name_can_t_be_taken() -> None:
    assert registry.load("cheetah-vel").summary.startswith("half-cheetah")
    assert [str(fault) for fault in registry.left_out()] == [
        "the family name 'cheetah-vel' is taken by mql itself (entry point cheetah-vel of package lab-cart): "
        "rename it in that package, or uninstall it"
    ]


def test_the_list_shows_all_but_the_broken_ones(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "TABLE", (("point-robot", "mql.tasks.families.small.point_robot:point_robot"),))
    monkeypatch.setattr(registry, "_added", {})
    assert cli.run(["tasks", "list", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["name"] for row in json.loads(out)] == ["point-robot", "lab-cart", "point-robot-of-lab"]
    assert "the lab is closed" in err and "ModuleNotFoundError" in err


def test_a_definition_of_an_entry_point_has_the_name_of_it(package: Path) -> None:
    path = write_parallel(package)
    path.write_text(path.read_text().replace("name: lab-cart", "name: other-cart"))
    with pytest.raises(UserError, match="it builds a family called 'other-cart'"):
        registry.load("lab-cart")
