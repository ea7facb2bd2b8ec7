"""Films of one task: what they show is the episode that was measured, frame after frame."""

from __future__ import annotations

import dataclasses
import io
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from lab_environments import Cart
from PIL import Image

from mql.agent.agent import Agent
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.films import frames, scenes
from mql.films.grid import draw_grid
from mql.films.replay import Moment, Take, moments
from mql.tasks import registry
from mql.tasks.distributions import Uniform
from mql.tasks.family import TaskFamily
from mql.tasks.parameter import Parameter
from mql.tasks.splits import Split
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.types import Episode

POINT = registry.load("point-robot")


def cart(make_env: Any = Cart) -> TaskFamily:
    return GymnasiumFamily(
        name="cart",
        summary="carts",
        obs_dim=2,
        action_dim=1,
        episode_length=12,
        control_timestep=0.05,
        parameters={"gain": Parameter(distribution=Uniform(0.5, 1.5), unit="1", doc="gain")},
        splits={"train": Split(n=3, seed=1), "test": Split(n=3, seed=2)},
        make_env=make_env,
        has_success=True,
        success_key="is_success",
    )


def episodes_of(family: TaskFamily, n: int, seed: int = 5) -> list[Episode]:
    """Episodes of an agent without training, with noise in its actions."""
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,), context_dim=4), seed=seed)
    task = family.tasks("test")[0]
    return collect(agent, family, [task] * n, list(range(seed, seed + n)))


@pytest.mark.parametrize("name", ["point-robot", "cart"])
def test_an_episode_played_again_is_the_same_to_the_bit(name: str) -> None:
    family = POINT if name == "point-robot" else cart()
    for episode in episodes_of(family, 3):
        every = list(moments(family, family.tasks("test")[0], Take.of("", episode), wanted=range(99)))
        assert [moment.step for moment in every] == list(range(episode.length + 1))
        assert every[-1].episode_return == episode.episode_return
        assert every[0].episode_return == 0.0 and every[-1].ended and not every[-2].ended
        assert all(moment.as_measured for moment in every)
        sums = np.cumsum(episode.reward.astype(np.float64))
        assert [moment.episode_return for moment in every[1:]] == pytest.approx(list(sums), abs=1e-12)
        assert every[-1].success is episode.success


def test_only_what_is_wanted_is_drawn_and_always_the_end() -> None:
    family, task = POINT, POINT.tasks("test")[0]
    shown = list(moments(family, task, Take("", 3), wanted=range(0, 21, 8)))
    assert [moment.step for moment in shown] == [0, 8, 16, 20]
    assert (shown[0].picture != shown[-1].picture).any()


class Forgetful(Cart):
    """A cart whose reward depends on how many were built before: no function of task, seed and actions."""

    built = 0

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        type(self).built += 1
        self.number = type(self).built

    def step(self, action: Any) -> Any:
        seen, reward, terminated, truncated, info = super().step(action)
        return seen, reward - self.number, terminated, truncated, info


def test_what_goes_otherwise_the_second_time_is_told() -> None:
    family = cart(Forgetful)
    task, episode = family.tasks("test")[0], episodes_of(cart(), 1)[0]
    told = scenes.draw(family, task, [[Take.of("zero-shot", episode)]], ".png")[1]
    assert [one.as_measured for one in told] == [False]
    assert told[0].episode_return != episode.episode_return


def test_takes_go_on_side_by_side_and_one_that_has_ended_waits(tmp_path: Path) -> None:
    """A take of 20 steps beside one of 7: the first frame, 20 more, and a second of the last one."""
    task = POINT.tasks("test")[0]
    long, short = episodes_of(POINT, 2)
    cut = dataclasses.replace(short, action=short.action[:7], reward=short.reward[:7])
    data, told = scenes.draw(POINT, task, [[Take.of("before", long), Take.of("after", cut)]], ".mp4")
    (tmp_path / "film.mp4").write_bytes(data)
    film = imageio_ffmpeg.read_frames(str(tmp_path / "film.mp4"))
    facts = next(film)
    assert facts["fps"] == pytest.approx(10.0)  # a control step of 0.1 s
    width, height = facts["size"]
    assert width % 2 == height % 2 == 0 and width > 2 * frames.PANEL
    assert len(list(film)) == 1 + 20 + 10
    assert [one.steps for one in told] == [20, 7]
    assert told[0].episode_return == long.episode_return and told[1].episode_return == cut.episode_return


def test_scenes_follow_each_other(tmp_path: Path) -> None:
    task, played = POINT.tasks("test")[0], episodes_of(POINT, 2)
    data, told = scenes.draw(POINT, task, [[Take.of("zero-shot", one)] for one in played], ".gif")
    assert Image.open(io.BytesIO(data)).format == "GIF"
    assert [one.seed for one in told] == [5, 6]


def test_a_strip_has_six_pictures_for_each_take() -> None:
    task, (one, other) = POINT.tasks("test")[0], episodes_of(POINT, 2)
    single = Image.open(io.BytesIO(scenes.draw(POINT, task, [[Take.of("zero-shot", one)]], ".png")[0]))
    both = Image.open(
        io.BytesIO(scenes.draw(POINT, task, [[Take.of("before", one), Take.of("after", other)]], ".png")[0])
    )
    assert both.size == (single.width, 2 * single.height) and single.width % 6 == 0
    cells = np.split(np.asarray(single), 6, axis=1)
    assert all((first != second).any() for first, second in itertools.pairwise(cells))


def test_actions_that_nobody_gives_are_the_probe_s_or_random() -> None:
    task = POINT.tasks("test")[0]
    assert [one.label for one in scenes.draw(POINT, task, [[Take("", 0)]], ".png")[1]] == ["random actions"]
    assert [one.label for one in scenes.draw(partial(registry.load, "point-robot"), "test", [[Take("", 0)]], ".png")[1]]


def test_a_frame_marks_success_and_writes_what_is_known() -> None:
    """Each word changes the pixels where it stands, and only there."""
    picture = np.full((48, 64, 3), 90, np.uint8)
    layout = frames.Layout.around("family, test task 0", ["speed = 2 m/s"], 2, picture, width=200)

    def drawn(success: bool, episode_return: float, note: str = "") -> np.ndarray:
        before = frames.Panel("before", Moment(picture, 3, -1.0, False))
        after = frames.Panel("after", Moment(picture, 3, episode_return, success))
        return layout.frame([before, after], note=note, clock="0.30 s", filled=0.5)

    plain = drawn(False, -2.0)
    assert plain.shape[0] % 2 == plain.shape[1] % 2 == 0
    for other in (drawn(True, -2.0), drawn(False, -3.5)):
        changed = np.argwhere((plain != other).any(axis=2))
        assert len(changed) and changed[:, 1].min() > plain.shape[1] // 2  # in the right panel
    noted = np.argwhere((plain != drawn(False, -2.0, "episode 1 of 2")).any(axis=2))
    assert noted[:, 0].max() < 40


def test_a_listed_task_has_its_name_also_where_it_is_given_by_its_values() -> None:
    """As an adapted agent's task is, which is stored by its values alone."""
    family = registry.load("point-robot")
    for split in ("test", "ood", "train"):
        listed = family.tasks(split)[3]
        given = family.task(listed.to_json())
        assert given.split == "custom" and scenes.title(family, given) == f"point-robot, {split} task 3"
        assert scenes.title(family, given) == scenes.title(family, listed)
    assert scenes.title(family, family.task({"goal": [0.5, 0.25]})) == "point-robot, a task of your own"


def test_long_words_are_cut_and_never_leave_the_frame() -> None:
    style = frames.font(14)
    text = frames.shortened("a family with a very long name " * 5, style, 200)
    assert style.getlength(text) <= 200 and text.endswith("\N{HORIZONTAL ELLIPSIS}")
    lines = frames.wrapped([f"parameter{n} = {n}" for n in range(30)], style, 300, 2)
    assert len(lines) == 2 and max(map(style.getlength, lines)) <= 300
    assert frames.number_text(-12.345) == "\N{MINUS SIGN}12.35" and frames.number_text(123.45) == "123.5"


def test_what_can_not_be_drawn_is_one_line() -> None:
    class Blind(Cart):
        def render(self) -> Any:
            raise NotImplementedError("it has no eyes")

    class Plain(Cart):
        def __init__(self, gain: float = 1.0) -> None:
            super().__init__(gain)

    for kind, why in ((Blind, "it has no eyes"), (Plain, "render_mode")):
        family = cart(kind)
        with pytest.raises(UserError, match=why) as caught:
            scenes.draw(family, family.tasks("test")[0], [[Take("", 0)]], ".png")
        assert "can't draw (family cart)" in str(caught.value) and "\n" not in str(caught.value)


def test_the_grid_has_a_cell_for_each_task() -> None:
    sizes = {n: Image.open(io.BytesIO(draw_grid(POINT, POINT.tasks("test")[:n]))).size for n in (1, 3, 4)}
    assert sizes[3][0] == 3 * sizes[1][0] and sizes[3][1] == sizes[1][1]
    assert sizes[4][0] == sizes[3][0] and sizes[4][1] > sizes[3][1]
