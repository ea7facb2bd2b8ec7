"""Definitions as Gymnasium environments, one simulation each: here those around a registered environment.

An environment is told by `set_task` which task comes next, applies its changes of the physics before every reset, and
judges each step by the definition's own terms. Task parameters that are not hidden stand at the end of the observation.

Shapes: O observation, A action in [-1, 1].
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import gymnasium
import mujoco
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box

from mql.errors import UserError, close_names, did_you_mean, installation, nearest, told
from mql.stopping import NOT_THEIRS
from mql.tasks.definitions.episodes import episode_physics, first_change
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.judge import Judge, Verdict
from mql.tasks.definitions.scaling import scaling_of, visible_names, visible_part
from mql.tasks.definitions.terms import Terms, terms_of
from mql.tasks.distributions import Value
from mql.tasks.name_choice import plain_name
from mql.tasks.physics.episode import ChangingModel, EpisodePhysics
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.scenes.source import MjcfFile, ModelSource
from mql.tasks.wrapped.answers import BadAnswer, reset_answer, step_answer, what_went_wrong
from mql.tasks.wrapped.any_environment import timestep_of
from mql.tasks.wrapped.environment_source import Environment, close_quietly
from mql.tasks.wrapped.spaces import FlatObservation, action_size, affine_to, flat_parts

Array = npt.NDArray[np.float64]
Result = TypeVar("Result")

_REGISTERED_BY = {"dm_control": "shimmy", "ALE": "ale_py"}  # namespace of an id -> the module to import
Answer = tuple[Array, float, bool, bool, dict[str, Any]]
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_OWN = ("reward", "time")  # what is found below ``info`` of every environment, the latter where it tells none itself


class DefinedEnvironment(gymnasium.Env[Array, Array]):
    """What all kinds share: the task, its physics, the visible parameters, and what the definition makes of a step.

    ``info["at_goal"]`` says whether the task now is where success wants it; for how long it must be, the family counts.

    Args:
        file: the definition.
        terms: its reward terms and success.
    """

    def __init__(self, file: DefinitionFile, terms: Terms) -> None:
        self.terms = terms
        self._visible = visible_names(file)
        self._seen = np.zeros(0)  # their values
        self._names = {name: names for name in file.definition.parameters if (names := file.names(name))}
        self._scaling = file.definition.env.scaling
        self._task: dict[str, Any] = {}
        self._judge = Judge(terms)
        self._parameters: Mapping[str, Value] = {}
        self._physics: EpisodePhysics | None = None
        self._changing: ChangingModel | None = None
        # Definitions without expressions need no scope, which takes as long to make as a small simulation's step.
        self._judged = bool(terms.keyed)

    @property
    def obs_dim(self) -> int:
        """Length O of an observation."""
        assert self.observation_space.shape is not None
        return self.observation_space.shape[0]

    @property
    def action_dim(self) -> int:
        """Length A of an action."""
        assert self.action_space.shape is not None
        return self.action_space.shape[0]

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Choose the task of the next episode; names may come as texts."""
        self._parameters = parameters
        numbers = parameters
        if self._names:
            numbers = {n: self._names[n].named(str(v)) if n in self._names else v for n, v in parameters.items()}
        self._task = {name: np.array(v) if isinstance(v, tuple) else v for name, v in numbers.items()}
        self._seen = visible_part(self._scaling, numbers, self._visible, 1)[0]

    def _change(self, physics: EpisodePhysics | None, model: mujoco.MjModel) -> None:
        """Let tasks and episodes change `model`."""
        if physics is not None:
            self._physics, self._changing = physics, ChangingModel(physics, model)

    def _begin_physics(self) -> None:
        """Give the model the physics of the task and of the episode that begins, whose generator has been set."""
        if self._physics is not None and self._changing is not None:
            drawn = self._physics.draw(self.np_random) if self._physics.draws else None
            self._changing.begin(self._parameters, drawn)

    def _begin(self, obs: Array, info: Mapping[str, Any], named: Mapping[str, Any] = _NOTHING) -> None:
        """Let the definition's expressions know the start of an episode; see `_verdict`."""
        if self._judged:
            self._judge.begin({"info": info, "obs": obs, "obs.NAME": named}, self.action_dim)

    def _verdict(
        self, obs: Array, action: Array, info: Mapping[str, Any], own: float, named: Mapping[str, Any] = _NOTHING
    ) -> Verdict:
        """Judge a step by the definition's expressions.

        Args:
            obs: [O].
            action: [A].
            info: what expressions find below ``info``.
            own: the reward that the environment or the class gives.
            named: what they find below ``obs``.
        """
        if not self._judged:
            return Verdict(own)
        scope = {"info": info, "task": self._task, "obs": obs, "obs.NAME": named, "action": action}
        return self._judge.judge(scope, own)

    def _with_visible(self, obs: Array) -> Array:
        return np.concatenate((obs, self._seen)) if self._visible else obs


class IdEnvironment(DefinedEnvironment):
    """A registered Gymnasium environment, whose actions are mapped from [-1, 1]."""

    def __init__(
        self, file: DefinitionFile, render_mode: str | None = None, nuisances: Sequence[Nuisance] = ()
    ) -> None:
        super().__init__(file, terms_of(file))
        self._file, self.render_mode, self._nuisances = file, render_mode, nuisances
        self._where = file.where("env.id")
        # Which arguments of the environment are parameters of the task: those with other values want another one.
        self._told = told_by_task(file)
        rng = np.random.default_rng(0)
        drawn = {name: file.distribution(name).sample(rng) for name in file.definition.parameters}
        self._values = {name: plain_name(drawn[name]) for name in self._told.values()}
        self.inner = self._made()
        self._look_up()
        self.spec, self.metadata = self.inner.spec, self.inner.metadata
        self.action_space = Box(-1.0, 1.0, (action_size(self.inner.action_space, self._where),), np.float64)
        self.named = {f"obs.{name}": part.size for name, part in self._named.items()}
        # Of what its observation consists, without visible parameters: name -> numbers; "" where it has no names.
        self.widths = self._flat.widths
        size = self._flat.size + sum(file.distribution(name).size or 1 for name in self._visible)
        self.observation_space = Box(-np.inf, np.inf, (size,), np.float64)
        scaling_of(file, {})
        self._steps = 0
        self._reads_names = bool(self.terms.names("obs") | self.terms.names("last.obs"))

    @property
    def limit(self) -> int | None:
        """The environment's own time limit in control steps, as it was registered."""
        spec = self.inner.spec
        return gymnasium.registry[spec.id].max_episode_steps if spec and spec.id in gymnasium.registry else None

    @property
    def source(self) -> ModelSource | None:
        """The file of the environment's MuJoCo model; None: nobody knows it."""
        path = getattr(self.inner.unwrapped, "fullpath", None)
        return MjcfFile(Path(path)) if isinstance(path, str) and os.path.isfile(path) else None

    @property
    def unwrapped(self) -> Environment:
        """The original environment."""
        return self.inner.unwrapped

    def info_sizes(self) -> tuple[dict[str, int], frozenset[str]]:
        """Return what expressions find below ``info`` -> components (0: a number), and which of it a reset tells, too.

        A step is played to see it.
        """
        begun = tried("reset", self._where, lambda: reset_answer(self.inner.reset(seed=0))).info
        still = self._control(np.zeros(self.action_dim))
        info = tried("step 1", self._where, lambda: step_answer(self.inner.step(still))).info
        found = {name: int(np.size(value)) * np.ndim(value) for name, value in info.items() if is_numeric(value)}
        at_start = {name for name, value in begun.items() if is_numeric(value)} | set(_OWN)
        return dict.fromkeys(_OWN, 0) | found, frozenset(at_start)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode of the task that was set."""
        super().reset(seed=seed)
        self._begin_physics()
        seen, info = reset_answer(self.inner.reset(seed=seed))
        self._steps = 0
        obs = self._with_visible(self._flat(seen))
        self._begin(obs, self._known(info, 0.0, self.terms.names("last.info")), self._named_if_read(seen))
        return obs, {}

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Choose the task of the next episode."""
        super().set_task(parameters)
        values = {name: plain_name(parameters[name]) for name in self._told.values()}
        if values != self._values:
            close_quietly(self.inner)
            self._values = values
            self.inner = self._made()
            size, actions = self._flat.size, self.action_dim
            self._look_up()
            if (self._flat.size, action_size(self.inner.action_space, self._where)) != (size, actions):
                raise BadAnswer(f"gave another number of observations or actions with {values}")

    def _made(self) -> Environment:
        """Build the environment with the arguments of the task at hand."""
        env = self._file.definition.env
        given = env.kwargs | {key: self._values[name] for key, name in self._told.items()}
        if self.render_mode is not None:
            given["render_mode"] = self.render_mode
        # The family ends its episodes itself: without Gymnasium's limit, whatever a step answers is seen here first.
        try:
            made: Environment = gymnasium.make(str(env.id), disable_env_checker=True, max_episode_steps=-1, **given)
        except (UserError, *NOT_THEIRS):
            raise
        except BaseException as error:  # ``sys.exit()``, too
            what = f"gymnasium.make({env.id!r}) raised {told(error)}"
            raise UserError(what, where=self._where, mend="fix id or kwargs, or that package") from error
        return made

    def _look_up(self) -> None:
        """Note how the environment is read, told what to do, and changed."""
        file, where = self._file, self._where
        env = file.definition.env
        action_size(self.inner.action_space, where)
        self._control = affine_to(self.inner.action_space)  # type: ignore[arg-type]
        seen_at, keys = file.where("env.observe") if env.observe else where, env.observe or ()
        self._flat = FlatObservation(self.inner.observation_space, keys, where=seen_at, option="env.observe")
        # The parts of a Dict observation that are numbers, observed or not: expressions read them by name.
        self._named = flat_parts(self.inner.observation_space)
        self._dt = timestep_of(self.inner)
        change = first_change(file, self._nuisances)
        if change is not None:
            model = getattr(self.inner.unwrapped, "model", None)
            if not isinstance(model, mujoco.MjModel):
                mend = "leave out apply, and let the reward read the parameter"
                if not change.startswith("parameters"):
                    mend = "leave it out: there are no numbers that could differ"
                raise UserError(f"{env.id} has no MuJoCo model", where=file.where(change), mend=mend)
            physics = episode_physics(
                file, model, control_timestep=self._dt, source=self.source, nuisances=self._nuisances
            )
            self._change(physics, model)

    def step(self, action: Array) -> Answer:
        """Advance by one control step with action [A] in [-1, 1]."""
        if self._changing is not None:
            self._changing.advance()
        answer = step_answer(self.inner.step(self._control(np.asarray(action, np.float64))))
        obs = self._with_visible(self._flat(answer.seen))
        self._steps += 1
        known = self._known(answer.info, answer.reward, self.terms.info_names)
        verdict = self._verdict(obs, action, known, answer.reward, self._named_if_read(answer.seen))
        ended = answer.terminated or verdict.terminated
        return obs, verdict.reward, ended, answer.truncated, {**verdict.info, "at_goal": verdict.at_goal}

    def render(self) -> Any:
        """Return the environment's picture."""
        return self.inner.render()

    def close(self) -> None:
        """Close the environment."""
        close_quietly(self.inner)

    def _known(self, info: Mapping[str, Any], own: float, names: frozenset[str]) -> dict[str, Any]:
        """Return what expressions find below ``info``: `names` of the environment's own, and what every one has."""
        known: dict[str, Any] = {"reward": own, "time": self._steps * self._dt}
        for name in names:
            if name in info or name not in _OWN:
                known[name] = number(name, info)
        return known

    def _named_if_read(self, seen: Any) -> Mapping[str, Any]:
        return {name: part(seen) for name, part in self._named.items()} if self._reads_names else _NOTHING


def told_by_task(file: DefinitionFile) -> dict[str, str]:
    """Return which arguments of the environment are parameters of the task: ``kwargs: {gravity: task.gravity}``.

    Raises:
        UserError: there is no such parameter.
    """
    told = {}
    for key, value in file.definition.env.kwargs.items():
        if isinstance(value, str) and value.startswith("task."):
            told[key] = name = value.removeprefix("task.")
            if name not in file.definition.parameters:
                mend = nearest(name, file.definition.parameters)
                raise UserError(f"unknown parameter {name!r}", where=file.where(f"env.kwargs.{key}"), mend=mend)
    return told


def check_id(file: DefinitionFile) -> None:
    """Refuse an id that nobody registered, and arguments that make an environment read files of their own.

    Raises:
        UserError: one of these.
    """
    env = file.definition.env
    for key, value in env.kwargs.items():
        text = str(value) if isinstance(value, str | os.PathLike) else ""
        if text.startswith(("/", "~", ".")) or ".." in text or "\\" in text:
            mend = "an environment with a model of your own is 'mjcf: FILE.xml' instead of 'id'"
            raise UserError(f"{key} is the path {text!r}", where=file.where(f"env.kwargs.{key}"), mend=mend)
    name = str(env.id)
    if ":" in name or name in gymnasium.registry:
        return
    more = ""
    try:
        import gymnasium_robotics
    except ModuleNotFoundError as error:
        more = f"; those of Gymnasium-Robotics need {installation(error.name or 'gymnasium_robotics')}"
    else:
        gymnasium.register_envs(gymnasium_robotics)
    if name not in gymnasium.registry:
        what = f"no environment {name!r} is registered with Gymnasium"
        near = close_names(name, (known for known in gymnasium.registry if not known.startswith("mql/")))
        module = _REGISTERED_BY.get(name.partition("/")[0], "MODULE")
        mend = f"write '{module}:{name}', with the module that registers it"
        if near:
            mend = f"{did_you_mean(map(repr, near))} An id of another package wants its module, '{module}:{name}'"
        raise UserError(what, where=file.where("env.id"), mend=mend + more)


def tried(name: str, where: str, act: Callable[[], Result]) -> Result:
    """Do something with an environment for the first time; what goes wrong becomes one line.

    Raises:
        UserError: it went wrong.
    """
    try:
        return act()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        mend = "fix the environment, or wrap it into one with Gymnasium's interface"
        raise UserError(f"{name} {what_went_wrong(error)}", where=where, mend=mend) from error


def is_numeric(value: Any) -> bool:
    """Whether an entry of ``info`` can stand in an expression: a number, or a vector of numbers."""
    return isinstance(value, int | float | np.number | np.bool_) or (
        isinstance(value, np.ndarray) and value.ndim <= 1 and value.dtype.kind in "fiub"
    )


def number(name: str, info: Mapping[str, Any]) -> Any:
    """Return an entry of ``info`` as a float, or as [D] float64."""
    if name not in info:
        raise RuntimeError(f"this step's info has no {name!r}")
    value = info[name]
    # A copy: some environments change the array that they gave.
    return np.array(value, np.float64) if np.ndim(value) else float(value)
