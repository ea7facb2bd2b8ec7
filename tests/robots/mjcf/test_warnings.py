"""MuJoCo's warnings: one handler for all threads, which is back when the last of them hears warnings again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import mujoco
import pytest

from mql.robots.mjcf.warnings import unheard_warnings


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What is warned of."""
    before, said = mujoco.get_mju_user_warning(), list[str]()
    mujoco.set_mju_user_warning(said.append)
    yield said
    mujoco.set_mju_user_warning(before)


def warn() -> None:
    """Let MuJoCo warn of a simulation that blows up."""
    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    data.qvel[:] = 1e20
    mujoco.mj_step(model, data)


def test_blocks_of_two_threads_overlap_and_the_handler_comes_back(heard: list[str]) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(unheard_warnings())
    second.enter_context(unheard_warnings())
    first.close()
    warn()
    assert not heard, "the second one still hears none"
    second.close()
    warn()
    assert len(heard) == 1
    with unheard_warnings(), unheard_warnings():
        warn()
    assert len(heard) == 1
