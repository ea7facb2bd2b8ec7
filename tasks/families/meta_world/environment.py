"""Meta-World's environments as one Gymnasium environment that takes any of their tasks before a reset.

Dynamics, rewards, success and observations are the package's own. Kept away from here are its registered vector
environments (the ones named train serve test tasks) and termination on success.

Shapes: observation [39], or [39 + K] with the place in a list of K environments as one-hot; action [4] in [-1, 1]: the
hand's move in x, y and z (1 is 0.01 m a step) and the gripper's effort.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task as PackageTask

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.families.meta_world.goals import load
from mql.tasks.families.meta_world.names import ENVIRONMENTS, number_of

FloatArray = npt.NDArray[np.float64]

OBSERVATION_SIZE = 39  # hand, gripper and objects now (18) and one step ago (18), goal (3; zeros where it is hidden)
CAMERA = "corner2"  # sees arm and table; like all of the package's corner cameras it stands on its head
# Environments that one process keeps built, about 25 MB each: those of ML10 all stay. Building one takes 0.2 s.
KEPT = 15
# Reads of the task's vector in one reset; the package needs 2. It reads on for ever where it rejects the vector.
READS_PER_RESET = 10


class MetaWorldEnvironment(gymnasium.Wrapper[Any, Any, Any, Any]):
    """One of several of Meta-World's environments, with one of its tasks; `set_task` chooses both for the next reset.

    Args:
        names: environments, without the ending "-v3"; the first one is built at once.
        goal_visible: the goal's place is the observation's last three numbers before the one-hot (zeros otherwise).
        one_hot: environments whose place in this list is appended to the observation; empty: nothing is.
        render_mode: None or ``rgb_array``.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        goal_visible: bool = False,
        one_hot: Sequence[str] = (),
        render_mode: str | None = None,
    ) -> None:
        self._goal_visible, self._one_hot, self._render_mode = goal_visible, tuple(one_hot), render_mode
        self._built: OrderedDict[str, Any] = OrderedDict()
        self._name = names[0]
        self._pending: tuple[str, FloatArray] | None = None
        self._reads = 0
        super().__init__(self._environment(self._name))
        size = OBSERVATION_SIZE + len(self._one_hot)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float64)

    @property
    def environment_name(self) -> str:
        """The environment of the running episode, without the ending "-v3"."""
        return self._name

    def set_task(self, name: str, rand_vec: FloatArray) -> None:
        """Choose the environment and the task's vector (m) for all resets to come; nothing changes before a reset."""
        self._pending = (name, rand_vec)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[FloatArray, dict[str, Any]]:
        """Start an episode of the chosen task. `seed` has no effect: Meta-World's resets are not random.

        Raises:
            UserError: the package rejects the vector, because object and goal are too close to one another.
            RuntimeError: no task was chosen.
        """
        if self._pending is None:
            raise RuntimeError("Meta-World needs a task before a reset")
        self._name, rand_vec = self._pending
        environment = self._environment(self._name)
        self.env = environment
        self._reads = 0
        # A fresh copy each time: some environments write into the vector.
        environment.set_task(package_task(self._name, rand_vec, goal_visible=self._goal_visible))
        obs, info = environment.reset(seed=seed)
        return self._observation(obs), info

    def step(self, action: npt.ArrayLike) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """Advance by one control step. ``terminated`` is never true: an episode goes on after success."""
        # float32, the type of the package's action space, and of all that learned policies give.
        obs, reward, _, truncated, info = self.env.step(np.asarray(action, dtype=np.float32))
        return self._observation(obs), float(reward), False, truncated, info

    def render(self) -> npt.NDArray[np.uint8] | None:
        """Return a picture [height, width, 3], the right way up; None without a render mode."""
        picture: Any = self.env.render()
        return None if picture is None else np.ascontiguousarray(picture[::-1, ::-1])

    def close(self) -> None:
        """Close all environments that were built."""
        for environment in self._built.values():
            environment.close()
        self._built.clear()

    def _observation(self, obs: FloatArray) -> FloatArray:
        if not self._one_hot:
            return obs
        return np.concatenate([obs, [float(name == self._name) for name in self._one_hot]])

    def _environment(self, name: str) -> Any:
        if name not in self._built:
            while len(self._built) >= KEPT:
                self._built.popitem(last=False)[1].close()
            self._built[name] = self._build(name)
        self._built.move_to_end(name)
        return self._built[name]

    def _build(self, name: str) -> Any:
        camera = CAMERA if self._render_mode is not None else None
        environment = package_class(name)(render_mode=self._render_mode, camera_name=camera)
        read = environment._get_state_rand_vec

        def counted() -> FloatArray:
            self._reads += 1
            if self._reads > READS_PER_RESET:
                raise rejected(name)
            vector: FloatArray = read()
            return vector

        environment._get_state_rand_vec = counted
        # The package's own builds objects for every contact and name: a quarter of a step.
        environment.touching_object = partial(touches, environment.data, *pads(environment.model))
        return environment


def rejected(name: str) -> UserError:
    """Return what says that the package rejects a task's vector: it would look for another goal for ever."""
    what = f"Meta-World's {name} rejects the task's rand_vec"
    return UserError(what, mend="move the goal away from the object, to 0.25 m or more")


def pads(model: mujoco.MjModel) -> tuple[int, int]:
    """Return the geoms of the gripper's left and right pad."""
    return model.geom("leftpad_geom").id, model.geom("rightpad_geom").id


def touches(data: mujoco.MjData, left: int, right: int, geom: int) -> bool:
    """Tell whether both of the gripper's pads press on `geom`: what the package's `touching_object` says."""
    contact = data.contact
    with_geom = (contact.geom1 == geom) | (contact.geom2 == geom)
    if not with_geom.any():
        return False
    for pad in (left, right):
        pressing = with_geom & ((contact.geom1 == pad) | (contact.geom2 == pad))
        if not data.efc_force[contact.efc_address[pressing]].sum() > 0:
            return False
    return True


def make_environment(
    names: Sequence[str], *, goal_visible: bool = False, one_hot: Sequence[str] = (), render_mode: str | None = None
) -> MetaWorldEnvironment:
    """Build a `MetaWorldEnvironment`."""
    return MetaWorldEnvironment(names, goal_visible=goal_visible, one_hot=one_hot, render_mode=render_mode)


def apply_task(env: gymnasium.Env[Any, Any], parameters: Mapping[str, Value], *, only: str | None = None) -> None:
    """Hand a task's parameters to a `MetaWorldEnvironment`; `only`: see `place`."""
    assert isinstance(env, MetaWorldEnvironment)
    env.set_task(*place(parameters, only=only))


def place(parameters: Mapping[str, Value], *, only: str | None = None) -> tuple[str, FloatArray]:
    """Read task parameters: the environment's name, and its vector in m without padding.

    Args:
        parameters: ``rand_vec`` and, unless `only` is given, ``environment``.
        only: the environment of a family that has just one.
    """
    number = parameters["environment"] if only is None else float(number_of(only))
    assert isinstance(number, float)
    vector = np.asarray(parameters["rand_vec"], dtype=np.float64)
    return ENVIRONMENTS[int(number)], vector[: load().size[int(number)]]


def package_class(name: str) -> Callable[..., Any]:
    """Return the package's class of an environment."""
    return ALL_V3_ENVIRONMENTS[f"{name}-v3"]


def package_task(name: str, rand_vec: npt.ArrayLike, *, goal_visible: bool) -> PackageTask:
    """Write a task in the package's own form."""
    vector = np.array(rand_vec, dtype=np.float64)
    data = {"rand_vec": vector, "env_cls": package_class(name), "partially_observable": not goal_visible}
    return PackageTask(env_name=f"{name}-v3", data=pickle.dumps(data))
