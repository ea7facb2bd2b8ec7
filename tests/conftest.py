"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest
from ray_nodes import Two, two_nodes

from mql.errors import EXTRAS
from mql.robots import registry


@pytest.fixture(autouse=True)
def _opengl_stays_as_it_was() -> Iterator[None]:
    """A command run in this process may choose an OpenGL library, which MuJoCo here, imported already, does not use."""
    before = os.environ.get("MUJOCO_GL")
    yield
    if before is None:
        os.environ.pop("MUJOCO_GL", None)
    else:
        os.environ["MUJOCO_GL"] = before


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of models that were tried out is not written to the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """A Ray cluster of two nodes, which takes a tenth of a core; tests that ask for it need the extra cluster."""
    with two_nodes() as made:
        yield made


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test of a robot whose model comes with an extra."""
    parameters = getattr(item, "callspec", None)
    if parameters and any(value in robots_of_extras() for value in parameters.params.values() if type(value) is str):
        item.add_marker(pytest.mark.needs_extra)


@cache
def robots_of_extras() -> frozenset[str]:
    """Return the names of the robots whose model is a file of an extra's package."""
    places = tuple(f"package:{package}/" for package in EXTRAS)
    return frozenset(name for name in registry.names() if registry.load(name).mjcf.startswith(places))
