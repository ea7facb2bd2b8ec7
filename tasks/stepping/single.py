"""One task as a Gymnasium environment: a view of a batch with that task alone, for use with any other library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import Space

from mql.tasks.family import FloatArray, Task, TaskBatch, TaskFamily
from mql.tasks.stepping.checked import RENDER_MODES, check_render_mode, checked_action
from mql.tasks.stepping.simulation import Simulation


class StartableBatch(TaskBatch, Protocol):
    """A batch whose episodes also start from generators and from given states, and that can be drawn."""

    def reset_from(self, rngs: Sequence[np.random.Generator]) -> FloatArray:
        """Start an episode of every task, each drawing from its own generator; return obs [N, O]."""
        ...

    def set_state(self, qpos: npt.ArrayLike, qvel: npt.ArrayLike) -> FloatArray:
        """Start an episode of every task from a given state qpos [N, Q], qvel [N, V]; return obs [N, O]."""
        ...

    def render(self, row: int = 0) -> npt.NDArray[np.uint8]:
        """Return a picture [height, width, 3] of one task."""
        ...

    def simulation(self, row: int = 0) -> Simulation | None:
        """Return the MuJoCo simulation of one task; None where its laws of motion are others."""
        ...


class TaskEnvironment(gymnasium.Env[FloatArray, FloatArray]):
    """One task of a parallel family; it truncates itself after the family's episode length.

    Args:
        family: the family.
        task: one of its tasks.
        batch: of that task alone.
        render_mode: None or ``rgb_array``.

    Raises:
        UserError: an unknown render mode.
    """

    def __init__(
        self, family: TaskFamily, task: Task, batch: StartableBatch, *, render_mode: str | None = None
    ) -> None:
        check_render_mode(family, render_mode)
        self.family = family
        self.task = task
        self.render_mode = render_mode
        self.metadata = {"render_modes": RENDER_MODES, "render_fps": round(1.0 / family.control_timestep)}
        self.observation_space = cast("Space[FloatArray]", family.observation_space)
        self.action_space = cast("Space[FloatArray]", family.action_space)
        self._batch = batch

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode. With `seed` it is as in a batch with that seed; without, the next of the stream."""
        super().reset(seed=seed)
        return self._batch.reset_from([self.np_random])[0], {}

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step with action [A].

        Raises:
            UserError: an action of another shape, or one that is not finite.
            FloatingPointError: the physics diverged, or the reward is not finite.
        """
        step = self._batch.step(checked_action(self.family, action)[None])
        if not np.isfinite(step.obs).all():
            raise FloatingPointError(f"{self.family.name}: the physics of the task {self.task.to_json()} diverged")
        if not np.isfinite(step.reward).all():
            terms = [name for name, value in step.info.items() if name.startswith("reward_") and not np.isfinite(value)]
            named = f" (its term {terms[0].removeprefix('reward_')!r})" if terms else ""
            raise FloatingPointError(
                f"{self.family.name}: the reward is {step.reward[0]}{named} in the task {self.task.to_json()}"
            )
        info = {name: values[0].item() for name, values in step.info.items()}
        return step.obs[0], float(step.reward[0]), bool(step.terminated[0]), bool(step.truncated[0]), info

    def set_state(self, qpos: npt.ArrayLike, qvel: npt.ArrayLike) -> FloatArray:
        """Start an episode from qpos [Q] and qvel [V]; return the observation [O]."""
        obs: FloatArray = self._batch.set_state(np.asarray(qpos)[None], np.asarray(qvel)[None])[0]
        return obs

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture [height, width, 3], or None where no render mode was chosen."""
        return self._batch.render() if self.render_mode == "rgb_array" else None

    def simulation(self) -> Simulation | None:
        """Return the MuJoCo simulation behind the task; None where there is none."""
        return self._batch.simulation()

    def close(self) -> None:
        """Release the rendering context."""
        self._batch.close()
