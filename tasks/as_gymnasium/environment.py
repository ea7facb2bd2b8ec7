"""A family as one Gymnasium environment, whose episodes may be of different tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import Space

from mql.errors import UserError, nearest
from mql.tasks.family import FloatArray, Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.tasks.stepping.checked import RENDER_MODES, check_render_mode

_TASK_STREAM = 11  # keeps the draw of a task apart from what an episode draws from the same seed
_SEEDS = 2**31


class FamilyEnvironment(gymnasium.Env[FloatArray, FloatArray]):
    """One environment. ``reset(options={"task": {...}})`` plays that task for one episode, whatever `task` says.

    An episode is that of ``family.make(task).reset(seed=...)``, bit for bit. A reset without a seed takes the next
    number of the stream that the last seed began.

    Args:
        family: the family.
        task: of all episodes; None: each reset draws one of the training tasks, from its seed.
        render_mode: None or ``rgb_array``.

    Raises:
        UserError: an unknown render mode.
    """

    def __init__(self, family: TaskFamily, task: Task | None, *, render_mode: str | None = None) -> None:
        check_render_mode(family, render_mode)
        self.family, self.render_mode = family, render_mode
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": max(1, round(1.0 / family.control_timestep))}
        self.observation_space = cast("Space[FloatArray]", family.observation_space)
        self.action_space = cast("Space[FloatArray]", family.action_space)
        self._chosen = task
        self._task: Task | None = task
        self._env: gymnasium.Env[FloatArray, FloatArray] | None = None

    @property
    def task(self) -> Task | None:
        """The task of the running episode; None before the first reset where none was chosen."""
        return self._task

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode.

        Raises:
            UserError: an unknown option, or a task with unknown or forbidden parameters.
        """
        given = checked_options(self.family, options).get("task")
        super().reset(seed=seed)
        start = next_seed(self.np_random) if seed is None else seed
        task = self.family.task(given) if given is not None else self._chosen or drawn_task(self.family, start)
        if self._env is None or task != self._task:
            self.close()
            self._env = self.family.make(task, render_mode=self.render_mode)
        self._task = task
        with self._given_up_on_fault():
            return self._env.reset(seed=start)

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step with action [A] in [-1, 1].

        Raises:
            UserError: an action of another shape, or one that is not finite, or no reset before.
            EpisodeFault, FloatingPointError: the environment failed, the physics diverged.
        """
        with self._given_up_on_fault():
            obs, reward, terminated, truncated, info = self._running().step(np.asarray(action))
        return obs, float(np.float32(reward)), terminated, truncated, info  # as exact as a batch's

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture [height, width, 3], or None where no render mode was chosen."""
        return self._running().render()  # type: ignore[return-value]

    def close(self) -> None:
        """Release what the environment holds; a reset takes it up again."""
        if self._env is not None:
            self._env.close()
            self._env = None

    @contextmanager
    def _given_up_on_fault(self) -> Iterator[None]:
        """Let go of an environment that failed, so that the next reset builds another one."""
        try:
            yield
        except (EpisodeFault, FloatingPointError):
            self.close()
            raise

    def _running(self) -> gymnasium.Env[FloatArray, FloatArray]:
        if self._env is None:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        return self._env


def checked_options(
    family: TaskFamily, options: Mapping[str, Any] | None, known: tuple[str, ...] = ("task",)
) -> Mapping[str, Any]:
    """Return a reset's options, of which only `known` ones act.

    Raises:
        UserError: an unknown one.
    """
    for name in options or {}:
        if name not in known:
            raise UserError(f"no option {name!r} of reset", where=f"family {family.name}", mend=nearest(name, known))
    return options or {}


def drawn_task(family: TaskFamily, seed: int) -> Task:
    """Draw one of the training tasks, each equally likely, from the seed of an episode."""
    tasks = family.tasks("train")
    return tasks[int(np.random.default_rng([seed, _TASK_STREAM]).integers(len(tasks)))]


def next_seed(rng: np.random.Generator) -> int:
    """Draw the seed of an episode whose reset got none."""
    return int(rng.integers(_SEEDS))
