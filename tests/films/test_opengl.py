"""Which OpenGL library is chosen: the first that draws, and none where the user chose."""

from __future__ import annotations

import os

import pytest

from mql.errors import UserError
from mql.films import opengl
from mql.robots.drawing import opengl as choices

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL")


@pytest.fixture(autouse=True)
def _bare_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(choices.sys, "platform", "linux")


def test_without_a_screen_egl_is_tried_before_osmesa(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choices.opengl_choices() == ("egl", "osmesa")
    monkeypatch.setenv("DISPLAY", ":0")
    assert choices.opengl_choices() == (None, "egl", "osmesa")
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert choices.opengl_choices() == (None,)
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(choices.sys, "platform", "darwin")
    assert choices.opengl_choices() == (None,)


@pytest.mark.parametrize(("works", "chosen"), [(("egl", "osmesa"), "egl"), (("osmesa",), "osmesa"), ((), None)])
def test_the_first_library_that_draws_is_kept(
    works: tuple[str, ...], chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = lambda: None if os.environ["MUJOCO_GL"] in works else choices.NO_OPENGL  # noqa: E731
    monkeypatch.setattr(opengl, "_fault", fault)
    assert opengl.open_opengl() is (chosen is not None)
    assert os.environ.get("MUJOCO_GL") == chosen


def test_a_library_of_the_user_s_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(UserError, match="MUJOCO_GL=nonsense"):
        opengl.open_opengl()


def test_the_debian_packages_are_named() -> None:
    assert "libegl1" in choices.NO_OPENGL and "libosmesa6" in choices.NO_OPENGL
