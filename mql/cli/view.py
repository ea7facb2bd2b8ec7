"""`mql tasks view`: shows a task in MuJoCo's own window, episode after episode, until the window is closed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import mujoco
import numpy as np

from mql.api.families import find_family
from mql.cli.results import tell
from mql.cli.task_argument import chosen_task
from mql.errors import UserError, nearest
from mql.robots.drawing.shot import fixed_camera
from mql.tasks.checks.inspection import choose, name_values, random_actions
from mql.tasks.family import FloatArray, Task, TaskFamily
from mql.tasks.stepping.simulation import Simulation, simulation_of

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value  # everything that a simulation goes on from

ACTIONS = ("random", "zero", "probe")


class Window(Protocol):
    """What MuJoCo's viewer gives: a window that shows a model and data until it is closed."""

    cam: mujoco.MjvCamera

    def is_running(self) -> bool:
        """Whether the window is still there."""
        ...

    def lock(self) -> Any:
        """Keep the window from drawing while the data change: a context manager."""
        ...

    def sync(self) -> None:
        """Draw the data as they are now."""
        ...

    def close(self) -> None:
        """Close the window."""
        ...


class Actor(Protocol):
    """Who acts: `begin` before each episode, then `act` at each step."""

    def begin(self, seed: int) -> None:
        """Forget the last episode; what is drawn in the next one comes from `seed`."""
        ...

    def act(self, obs: FloatArray, reward: float | None, step: int) -> FloatArray:
        """Return an action [A] for an observation [O]; `reward` is that of the step before, None at the first."""
        ...


def view(
    name: str,
    *,
    given: Sequence[str],
    split: str,
    actions: str | None,
    run: Path | None,
    camera: str | None,
    seed: int,
    trust: bool,
) -> None:
    """Do what `mql tasks view` does.

    Raises:
        UserError: there is no such family, task, camera or run, the family is no simulation of MuJoCo's, or there is no
            display to open a window on.
    """
    if actions is not None and actions not in ACTIONS:
        raise UserError(f"there are no actions {actions!r}", where="--actions", mend=nearest(actions, ACTIONS))
    if actions is not None and run is not None:
        raise UserError("--actions and --run contradict each other", mend="give only one of them")
    family = find_family(name, trust=trust)
    task = chosen_task(family, given, split=split)
    if not has_display():
        mend = f"draw into a file instead: mql tasks render {name} -o episode.mp4 (or tasks.png)"
        raise UserError("there is no display to open a window on", mend=mend)

    def actor_of(env: Any) -> Actor:
        return _Drawn(family, env, actions or "random") if run is None else _policy_of(run, family, trust=trust)

    show_in_window(family, task, actor_of, camera=camera, seed=seed)


def show_in_window(
    family: TaskFamily, task: Task, actor_of: Callable[[Any], Actor], *, camera: str | None, seed: int
) -> None:
    """Show a task in a window until that is closed.

    Args:
        family: of the task.
        task: what is shown.
        actor_of: returns who acts in the environment that it is given.
        camera: of the model; None: from where the robot says.
        seed: of the first episode.

    Raises:
        UserError: the family is no simulation of MuJoCo's, there is no such camera, or no window can be opened.
    """
    env: Any = family.make(task)
    try:
        actor = actor_of(env)
        env.reset(seed=seed)
        shown = simulation_of(env)
        if shown is None:
            what, mend = (
                "it is no simulation of MuJoCo's, which the window shows",
                "draw it into a file instead: -o FILE",
            )
            raise UserError(what, where=family.name, mend=mend)
        data = mujoco.MjData(shown.model)
        window = open_window(shown.model, data)
        try:
            _aim(window, shown, camera)
            tell(f"{family.name}, {task.split} task: {name_values(task.parameters)}; close the window to stop")
            play(env, actor, shown.model, data, window, seed=seed, seconds=family.control_timestep)
        finally:
            window.close()
    finally:
        env.close()


def has_display() -> bool:
    """Whether a window can be opened; only Linux is known to come without a screen."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(model: mujoco.MjModel, data: mujoco.MjData) -> Window:
    """Open MuJoCo's window.

    Raises:
        UserError: it can't be opened here.
    """
    try:
        import mujoco.viewer

        window: Window = mujoco.viewer.launch_passive(model, data)
    except (RuntimeError, ImportError, OSError, mujoco.FatalError) as error:
        text = " ".join(str(error).split())
        again = "start the command as: mjpython -m mql tasks view ..."  # which macOS wants for windows
        mend = again if "mjpython" in text else "draw into a file instead: mql tasks render"
        raise UserError(f"the window can't be opened ({text})", mend=mend) from error
    return window


def play(
    env: Any, actor: Actor, model: mujoco.MjModel, data: mujoco.MjData, window: Window, *, seed: int, seconds: float
) -> int:
    """Play episodes of seeds `seed`, `seed` + 1, ... at the robot's own speed; return how many steps were shown.

    Args:
        env: of one task.
        actor: who acts.
        model: of the task.
        data: what the window shows.
        window: it is played until this is closed.
        seed: of the first episode.
        seconds: of a control step.
    """
    steps = 0
    while window.is_running():
        obs, _ = env.reset(seed=seed)
        actor.begin(seed)
        reward: float | None = None
        _show(env, model, data, window)
        due, step, ended = time.monotonic(), 0, False
        while window.is_running() and not ended:
            obs, reward, terminated, truncated, _ = env.step(actor.act(obs, reward, step))
            step, ended = step + 1, terminated or truncated
            _show(env, model, data, window)
            due += seconds
            time.sleep(max(0.0, due - time.monotonic()))
        steps, seed = steps + step, seed + 1
    return steps


def _show(env: Any, model: mujoco.MjModel, data: mujoco.MjData, window: Window) -> None:
    """Give the window the whole state that the environment is in."""
    now = simulation_of(env)
    assert now is not None
    state = np.empty(mujoco.mj_stateSize(model, _STATE))
    mujoco.mj_getState(model, now.data, state, _STATE)
    with window.lock():
        mujoco.mj_setState(model, data, state, _STATE)
        mujoco.mj_forward(model, data)
    window.sync()


def _aim(window: Window, shown: Simulation, camera: str | None) -> None:
    """Look from where the user, or else the robot, says."""
    if camera is not None:
        wanted = fixed_camera(shown.model, camera)
        window.cam.type, window.cam.fixedcamid = wanted.type, wanted.fixedcamid
    elif shown.view is not None:
        mujoco.mj_forward(shown.model, shown.data)
        window.cam.distance, window.cam.azimuth = shown.view.distance, shown.view.azimuth
        window.cam.elevation = shown.view.elevation
        window.cam.lookat[:] = shown.data.body(shown.view.body).xpos if shown.view.body else 0.0


class _Drawn:
    """Random actions, none at all, or those of the family's probe."""

    def __init__(self, family: TaskFamily, env: Any, kind: str) -> None:
        if kind == "probe" and family.probe is None:
            raise UserError("the family has no probe", where="--actions", mend="choose random or zero")
        self._family, self._env, self._kind = family, env, kind
        self._actions = np.zeros((family.episode_length, family.action_dim), np.float32)

    def begin(self, seed: int) -> None:
        if self._kind != "zero":
            self._actions = random_actions(self._family, seed, self._family.episode_length)

    def act(self, obs: FloatArray, reward: float | None, step: int) -> FloatArray:
        if self._kind == "probe":
            return choose(self._family, self._env, obs, step, self._actions[step])
        drawn: FloatArray = self._actions[step]
        return drawn


class Trained:
    """The agent of a run, which finds out about its task as it goes."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    def begin(self, seed: int) -> None:
        self._policy.reset()

    def act(self, obs: FloatArray, reward: float | None, step: int) -> FloatArray:
        action: FloatArray = self._policy.act(obs, reward)
        return action


def _policy_of(run: Path, family: TaskFamily, *, trust: bool) -> Actor:
    from mql.api.run import open_run  # with PyTorch, which nobody else here needs

    opened = open_run(run, trust=trust)
    if opened.config.family != family.name:
        what = f"it was trained on {opened.config.family}, not on {family.name}"
        raise UserError(what, where=str(run), mend=f"view {opened.config.family} with it")
    return Trained(opened.policy())
