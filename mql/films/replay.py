"""Plays an episode once more, to be looked at: the same task, seed and actions, with pictures taken on the way.

So drawing never changes what was measured, and what is drawn is compared with it: rewards must come out equal, bit for
bit, in every environment that is a function of its task, its seed and its actions.

Shapes: T steps, A action; a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.drawing.shot import Shot
from mql.tasks.checks.inspection import choose, random_actions
from mql.tasks.family import Task, TaskFamily
from mql.types import Episode, FloatArray

if TYPE_CHECKING:
    from mql.tasks.stepping.camera import Camera

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Take:
    """An episode to be looked at.

    Args:
        label: what stands above it; empty: whose the actions are.
        seed: of the reset.
        actions: [T, A]; None: those of the family's probe, or random ones that belong to the seed.
        rewards: [T], what they gave when the episode was measured; None: nobody knows.
    """

    label: str
    seed: int
    actions: FloatArray | None = None
    rewards: FloatArray | None = None

    @classmethod
    def of(cls, label: str, episode: Episode) -> Take:
        """Return the take of an episode that was played."""
        return cls(label, episode.seed, episode.action, episode.reward)


@dataclass(frozen=True)
class Moment:
    """What a take looks like after `step` steps.

    Attributes:
        picture: of the environment.
        step: control steps so far.
        episode_return: sum of the rewards so far, as `Episode.episode_return` adds them.
        success: whether the episode has been a success so far; None: the family knows none.
        ended: it was the last step.
        as_measured: all rewards so far are those of the take, or it has none.
    """

    picture: Picture
    step: int
    episode_return: float
    success: bool | None
    ended: bool = False
    as_measured: bool = True


def moments(
    family: TaskFamily,
    task: Task,
    take: Take,
    *,
    wanted: Container[int],
    steps: int | None = None,
    shot: Shot | None = None,
) -> Iterator[Moment]:
    """Play a take and yield the start, the moments after `wanted` numbers of steps, and the last one.

    Args:
        steps: at most so many; None: all.
        shot: through which camera of the model, and how large; None: the family's own pictures.

    Raises:
        UserError: the family can't be drawn here.
    """
    length = family.episode_length if take.actions is None else len(take.actions)
    length = length if steps is None else min(steps, length)
    env: Any = family.make(task, render_mode="rgb_array")
    draw, close = _drawing(family, env, shot)
    try:
        obs, _ = env.reset(seed=take.seed)
        actions = random_actions(family, take.seed, length) if take.actions is None else take.actions
        rewards = np.zeros(length, np.float32)
        success = False if family.has_success else None
        as_measured = True
        yield Moment(draw(), 0, 0.0, success)
        for step in range(length):
            action = choose(family, env, obs, step, actions[step]) if take.actions is None else actions[step]
            obs, reward, terminated, truncated, info = env.step(action)
            rewards[step] = reward
            success = None if success is None else success or bool(info.get("success", False))
            as_measured &= take.rewards is None or bool(rewards[step] == take.rewards[step])
            ended = bool(terminated or truncated or step + 1 == length)
            if ended or step + 1 in wanted:
                episode_return = float(rewards[: step + 1].sum(dtype=np.float64))
                whole = take.rewards is None or not ended or step + 1 == len(take.rewards)
                yield Moment(draw(), step + 1, episode_return, success, ended, as_measured and whole)
            if ended:
                return
    finally:
        close()
        env.close()


def _drawing(family: TaskFamily, env: Any, shot: Shot | None) -> tuple[Callable[[], Picture], Callable[[], None]]:
    """Return how a picture of the environment is taken, and what is to be called after the last one."""
    if shot is None:
        return lambda: _own_picture(family, env), lambda: None
    # With them comes MuJoCo, without which this module must say why it can't be imported.
    from mql.tasks.stepping.camera import Camera
    from mql.tasks.stepping.simulation import simulation_of

    camera: Camera | None = None

    def draw() -> Picture:
        nonlocal camera
        shown = simulation_of(env)
        if shown is None:
            mend = "leave --camera and --size out"
            raise UserError("it is no simulation of MuJoCo's", where=f"family {family.name}", mend=mend)
        camera = camera or Camera(shown.view, shot)
        return camera.picture(shown.model, shown.data)

    return draw, lambda: camera.close() if camera is not None else None


def _own_picture(family: TaskFamily, env: Any) -> Picture:
    """Return the picture that the family itself takes.

    Raises:
        UserError: it takes none.
    """
    picture = env.render()
    if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] != 3:
        mend = "its environment must give pictures [height, width, 3] for render_mode='rgb_array'"
        raise UserError("the family draws no pictures of itself", where=f"family {family.name}", mend=mend)
    return picture.astype(np.uint8, copy=False)
