"""What every test gets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _opengl_stays_as_it_was() -> Iterator[None]:
    """A command run in this process may choose an OpenGL library, which MuJoCo here, imported already, does not use."""
    before = os.environ.get("MUJOCO_GL")
    yield
    if before is None:
        os.environ.pop("MUJOCO_GL", None)
    else:
        os.environ["MUJOCO_GL"] = before
