"""A family as a vector environment of Gymnasium: the family's batch behind Gymnasium's interface.

Each row plays, bit for bit, the episodes of a `FamilyEnvironment` with the same seeds. Rows that start at the same time
are one batch of the family, stepped together; a row whose episode ends early starts the next one in a batch of its own.
Families whose episodes all last equally long thus always are one batch.

Shapes: N rows, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from mql.errors import UserError, nearest
from mql.plain_text import counted
from mql.tasks.as_gymnasium.environment import checked_options, drawn_task, next_seed
from mql.tasks.family import BoolArray, FloatArray, Task, TaskBatch, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.tasks.stepping.checked import RENDER_MODES, check_render_mode, checked_actions

Given = Mapping[str, object] | str
Answer = tuple[FloatArray, npt.NDArray[np.float64], BoolArray, BoolArray, dict[str, Any]]


@dataclass
class _Cohort:
    """Rows that started together: the place of each in the vector, and which of them still are at that episode."""

    batch: TaskBatch
    rows: npt.NDArray[np.intp]
    playing: BoolArray


class FamilyVectorEnvironment(VectorEnv[FloatArray, FloatArray, npt.NDArray[Any]]):
    """N environments of a family in parallel.

    What happens with a row whose episode has ended is ``metadata["autoreset_mode"]``:

    - ``NEXT_STEP``: the next step ignores its action, gives the reward 0 and the first observation of a new episode;
    - ``SAME_STEP``: the same step gives that observation; the last one stands in ``infos["final_obs"]``;
    - ``DISABLED``: it stays as it is, with the reward 0, until ``reset(options={"reset_mask": rows})``.

    ``reset(options={"task": ...})`` plays that task (or those, a list of N) for one episode.

    Args:
        family: the family.
        num_envs: N.
        task: of every row, or a list of N; None: each reset of a row draws a training task from its seed.
        render_mode: None, or ``rgb_array`` for families that are stepped in parallel.
        threads: CPU threads of the family's batches.
        autoreset_mode: see above.

    Raises:
        UserError: an argument that does not fit.
    """

    def __init__(
        self,
        family: TaskFamily,
        num_envs: int,
        task: Given | Sequence[Given] | None = None,
        *,
        render_mode: str | None = None,
        threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        self.family, self.num_envs, self.render_mode, self._threads = family, num_envs, render_mode, threads
        where = f"family {family.name}"
        if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
            raise UserError(f"can't build {num_envs!r} environments", where=where, mend="give a whole number above 0")
        check_render_mode(family, render_mode)
        if render_mode is not None and not family.native:
            mend = "use vectorization_mode='sync', or no render_mode"
            raise UserError("its batches take no pictures", where=where, mend=mend)
        self._mode = _mode(autoreset_mode, where)
        fps = max(1, round(1.0 / family.control_timestep))
        self.metadata = {"autoreset_mode": self._mode, "render_modes": RENDER_MODES, "render_fps": fps}
        self.single_observation_space = cast("Space[Any]", family.observation_space)
        self.single_action_space = cast("Space[Any]", family.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._chosen = self._tasks_of(task)
        self.tasks: list[Task | None] = list(self._chosen)  # of the running episodes
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._cohorts: list[_Cohort] = []
        self._obs = np.zeros((num_envs, family.obs_dim), np.float32)
        self._terminated, self._truncated = np.zeros(num_envs, np.bool_), np.zeros(num_envs, np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode of every row, or of those in ``options["reset_mask"]``; return obs [N, O].

        Args:
            seed: of row i: ``seed + i``, or ``seed[i]``; None: the next number of the row's own stream.
            options: ``task`` and ``reset_mask`` [N] bool.

        Raises:
            UserError: another number of seeds, tasks or rows, an unknown option, or a task that does not fit.
        """
        given = checked_options(self.family, options, ("task", "reset_mask"))
        rows = self._masked(given["reset_mask"]) if "reset_mask" in given else np.arange(self.num_envs)
        chosen = self._tasks_of(given["task"]) if given.get("task") is not None else self._chosen
        if isinstance(seed, int | np.integer):
            super().reset(seed=int(seed))
            seed = [int(seed) + row for row in range(self.num_envs)]
        seeds: Sequence[int | None] = [None] * self.num_envs if seed is None else seed
        if len(seeds) != self.num_envs:
            what = f"{counted(len(seeds), 'seed')} for {counted(self.num_envs, 'row')}"
            raise UserError(what, where=f"family {self.family.name}", mend="give one number, or one for each row")
        if len(rows) < self.num_envs and not self._cohorts:
            raise UserError("no row has started", where=f"family {self.family.name}", mend="reset all of them first")
        self._begin(rows, [chosen[row] for row in rows], [seeds[row] for row in rows])
        return self._obs.copy(), {}

    def step(self, actions: npt.ArrayLike) -> Answer:
        """Advance every row by one control step with actions [N, A] in [-1, 1].

        Raises:
            UserError: actions not of shape [N, A] or not finite, or no reset before the first step.
            EpisodeFault, FloatingPointError: an environment failed, the physics diverged.
        """
        if not self._cohorts:
            raise UserError("step before reset", where=f"family {self.family.name}", mend="call reset first")
        action = checked_actions(self.family, self.num_envs, actions)
        reward = np.zeros(self.num_envs)
        infos: dict[str, Any] = {}
        ended = self._terminated | self._truncated
        starting = np.flatnonzero(ended) if self._mode is AutoresetMode.NEXT_STEP else np.zeros(0, np.intp)
        older = list(self._cohorts)
        if len(starting):
            self._begin(starting, [self._chosen[row] for row in starting], [None] * len(starting))
        for cohort in older:
            playing = cohort.playing & ~ended[cohort.rows]
            if playing.any():
                try:
                    self._advance(cohort, playing, action, reward, infos)
                except (EpisodeFault, FloatingPointError):
                    self.close_extras()  # the next reset builds others
                    raise
        terminated, truncated = self._terminated.copy(), self._truncated.copy()
        over = np.flatnonzero(terminated | truncated)
        if self._mode is AutoresetMode.SAME_STEP and len(over):
            infos = self._with_final(infos, over)
            self._begin(over, [self._chosen[row] for row in over], [None] * len(over))
        return self._obs.copy(), reward, terminated, truncated, infos

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture [height, width, 3] of every row, or None where no render mode was chosen."""
        if self.render_mode is None:
            return None
        pictures: list[Any] = [None] * self.num_envs
        for cohort in self._cohorts:
            for place in np.flatnonzero(cohort.playing):
                pictures[cohort.rows[place]] = cast("Any", cohort.batch).render(int(place))
        return tuple(pictures)

    def close_extras(self, **_: Any) -> None:
        """Release threads, processes and rendering contexts."""
        for cohort in self._cohorts:
            cohort.batch.close()
        self._cohorts = []

    def _begin(self, rows: npt.NDArray[np.intp], chosen: Sequence[Task | None], seeds: Sequence[int | None]) -> None:
        """Start an episode of each of `rows`: of its chosen task or a drawn one, from its seed or its own stream."""
        starts = [self._start(int(row), seed) for row, seed in zip(rows, seeds, strict=True)]
        tasks = [task or drawn_task(self.family, start) for task, start in zip(chosen, starts, strict=True)]
        cohort = self._left(rows, tasks)
        if cohort is None:
            batch = self.family.make_batch(tasks, threads=self._threads)
            cohort = _Cohort(batch, np.asarray(rows), np.ones(len(rows), np.bool_))
            self._cohorts.append(cohort)
        self._obs[rows] = cohort.batch.reset(starts)
        self._terminated[rows] = self._truncated[rows] = False
        for row, task in zip(rows, tasks, strict=True):
            self.tasks[row] = task

    def _left(self, rows: npt.NDArray[np.intp], tasks: Sequence[Task]) -> _Cohort | None:
        """Take `rows` out of their batches, and close those that are empty; return one that suits as it is."""
        same, kept = None, []
        for cohort in self._cohorts:
            whole = cohort.playing.all() and np.array_equal(cohort.rows, rows)
            if whole and [self.tasks[row] for row in rows] == list(tasks):
                same = cohort
                kept.append(cohort)
                continue
            cohort.playing &= ~np.isin(cohort.rows, rows)
            if cohort.playing.any():
                kept.append(cohort)
            else:
                cohort.batch.close()
        self._cohorts = kept
        return same

    def _start(self, row: int, seed: int | None) -> int:
        if seed is not None:
            self._rngs[row], _ = seeding.np_random(seed)
            return seed
        rng = self._rngs[row]
        if rng is None:
            self._rngs[row] = rng = seeding.np_random()[0]
        return next_seed(rng)

    def _advance(
        self,
        cohort: _Cohort,
        playing: BoolArray,
        action: npt.NDArray[np.float64],
        reward: npt.NDArray[np.float64],
        infos: dict[str, Any],
    ) -> None:
        """Step a batch, and write what it gives for the rows that are still at their episode."""
        step = cohort.batch.step(np.where(playing[:, None], action[cohort.rows], 0.0))
        rows = cohort.rows[playing]
        self._obs[rows], reward[rows] = step.obs[playing], step.reward[playing]
        self._terminated[rows], self._truncated[rows] = step.terminated[playing], step.truncated[playing]
        broken = ~(np.isfinite(self._obs[rows]).all(axis=1) & np.isfinite(reward[rows]))
        if broken.any():
            task = self.tasks[rows[int(np.flatnonzero(broken)[0])]]
            assert task is not None
            raise FloatingPointError(f"{self.family.name}: the physics of the task {task.to_json()} diverged")
        for name, values in step.info.items():
            if name not in infos:
                infos[name] = np.zeros((self.num_envs, *values.shape[1:]), values.dtype)
                infos[f"_{name}"] = np.zeros(self.num_envs, np.bool_)
            infos[name][rows], infos[f"_{name}"][rows] = values[playing], True

    def _with_final(self, infos: dict[str, Any], over: npt.NDArray[np.intp]) -> dict[str, Any]:
        """Move what the ended rows' last step said to ``final_obs`` and ``final_info``, as Gymnasium has them."""
        ended = np.zeros(self.num_envs, np.bool_)
        ended[over] = True
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in over:
            final_obs[row] = self._obs[row].copy()
        final: dict[str, Any] = {}
        for name in [name for name in infos if not name.startswith("_")]:
            values, told = infos[name], infos[f"_{name}"]
            final[name], final[f"_{name}"] = np.zeros_like(values), told & ended
            final[name][over] = values[over]
            values[over], told[over] = 0, False
        masks = {"_final_obs": ended, "_final_info": ended.copy()}
        return {**infos, "final_obs": final_obs, "final_info": final, **masks}

    def _tasks_of(self, given: Given | Sequence[Given] | None) -> list[Task | None]:
        """Return the task of every row; None where it is drawn."""
        if given is None:
            return [None] * self.num_envs
        if isinstance(given, Mapping | str):
            return [self.family.task(given)] * self.num_envs
        if not isinstance(given, Sequence | np.ndarray) or len(given) != self.num_envs:
            what = counted(len(given), "task") if isinstance(given, Sequence) else f"{type(given).__name__} tasks"
            mend = f"give one, or a list of {self.num_envs}"
            what = f"{what} for {counted(self.num_envs, 'row')}"
            raise UserError(what, where=f"family {self.family.name}", mend=mend)
        return [self.family.task(each) for each in given]

    def _masked(self, mask: Any) -> npt.NDArray[np.intp]:
        if not (isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,) and mask.dtype == np.bool_):
            mend = f"give a numpy array [{self.num_envs}] of bool"
            raise UserError("reset_mask does not say which rows", where=f"family {self.family.name}", mend=mend)
        if not mask.any():
            raise UserError("reset_mask is false everywhere", where=f"family {self.family.name}", mend="name a row")
        return np.flatnonzero(mask)


def _mode(given: AutoresetMode | str, where: str) -> AutoresetMode:
    try:
        return AutoresetMode(given)
    except ValueError:
        known = [mode.value for mode in AutoresetMode]
        raise UserError(f"no autoreset mode {given!r}", where=where, mend=nearest(str(given), known)) from None
