"""A YAML definition as a task family::

    from mql import tasks

    family = tasks.from_file("examples/cheetah-vel-yaml.yaml")

There are three kinds. An ``id`` is a family around a registered Gymnasium environment; an ``mjcf`` (or a ``robot`` in a
``scene``) with a ``python`` class is one simulation per environment: both are played by worker processes. A model
without Python is stepped in parallel, as arrays (`mql.tasks.definitions.parallel`).

A family keeps its definition's path and digest, not its objects. Whoever builds an environment from it later, in a
worker process, say, reads the files again and refuses them where they have changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.definitions.environment import DefinedEnvironment, IdEnvironment, check_id, tried
from mql.tasks.definitions.episode_lines import episode_lines
from mql.tasks.definitions.file import DefinitionFile, read_definition
from mql.tasks.definitions.model import as_travelling, reopened
from mql.tasks.definitions.probe import probe_of
from mql.tasks.definitions.python import check_parameter_names, guarded, python_path
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.definitions.quantities import vector_sizes
from mql.tasks.definitions.scaling import visible_part
from mql.tasks.definitions.schema import Scaling
from mql.tasks.definitions.seen_reward import SeenReward, parts_of, seen_reward, shows_task
from mql.tasks.definitions.sensing import as_sensed, observed_numbers
from mql.tasks.definitions.terms import check_names, terms_of
from mql.tasks.definitions.trust import require_trust
from mql.tasks.distributions import Value, from_spec
from mql.tasks.disturbances.family import sensed_width
from mql.tasks.families import table
from mql.tasks.family import Definition, FloatArray, Split, Task, TaskFamily
from mql.tasks.parameter import Parameter
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.stepping.checked import checked_transitions
from mql.tasks.wrapped.any_environment import timestep_of
from mql.tasks.wrapped.environment_source import Environment
from mql.tasks.wrapped.gymnasium_environment import GymnasiumEnvironment
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily


def load_definition(path: Path, *, trust: bool = False) -> TaskFamily:
    """Build the family that a definition file describes.

    Args:
        path: the YAML file.
        trust: its Python code may be run, whatever the user's list of trusted definitions says.

    Raises:
        UserError: the file is not in order, or names what does not exist.
        Untrusted: it would run Python that nobody trusts; none of it has run.
    """
    file = read_definition(Path(path))
    name = file.definition.name
    if name in table.names():
        raise UserError(f"{name!r} is a family of mql's own", where=file.where("name"), mend="choose another name")
    check_trust(file, given=trust)
    family = _of_kind(file)
    _check_steps(file, family.episode_length)
    return family


def from_file(path: str | os.PathLike[str], trust: bool = False) -> TaskFamily:
    """Build the family that a definition file describes; see `load_definition`."""
    return load_definition(Path(path), trust=trust)


def check_trust(file: DefinitionFile, *, given: bool) -> None:
    """Refuse a definition whose Python may not be run; `given`: the user said that it may.

    Raises:
        Untrusted: neither the caller nor the user's list allows it.
    """
    runs = code_of(file)
    if runs is not None:
        what, where = runs
        require_trust(file.path, file.digest, runs=what, where=where, given=given)


def code_of(file: DefinitionFile) -> tuple[str, str] | None:
    """Return what Python a definition would run and the line that says so, or None: it runs none of its own.

    What an installed package registered with Gymnasium is trusted like any other installed package.
    """
    env = file.definition.env
    if env.python is not None:
        path, name = python_path(file)
        return f"class {name} of {path}", file.where("env.python")
    if env.id is not None and ":" in env.id:
        return f"module {env.id.partition(':')[0]}, which {env.id!r} imports", file.where("env.id")
    return None


def outline(path: Path) -> TaskFamily:
    """Return what a definition says of its tasks without running any code: nothing can be made of it.

    Its ``obs_dim`` and ``action_dim`` are 0: they are not known.

    Raises:
        UserError: the file is not in order.
    """
    file = read_definition(path)
    shared = _shared(file)
    length = file.definition.env.episode_length or 0
    success = file.definition.success is not None
    return _Outline(**shared, has_success=success, obs_dim=0, action_dim=0, episode_length=length, control_timestep=0.0)


@dataclass(frozen=True)
class EnvironmentMaker:
    """Builds a definition's environment in any process, from files that must still be the same.

    Args:
        path: of the definition.
        digest: of the definition and all its files.
        nuisances: what each episode draws of the model's numbers, besides what the definition says.
    """

    path: str
    digest: str
    nuisances: tuple[Nuisance, ...] = ()

    def __call__(self, render_mode: str | None = None) -> DefinedEnvironment:
        """Build one.

        Raises:
            UserError: a file has changed, or the environment can't be built.
        """
        return _build(reopened(self.path, self.digest), render_mode, self.nuisances)


@dataclass(frozen=True, kw_only=True, eq=False)
class DefinedFamily(GymnasiumFamily):
    """A family around a definition's environments.

    Args:
        digest: of the definition and all its files.
        shown: the parameters that its environments put at the end of an observation themselves.
        widths: of which named parts an observation consists before them; "" is one without a name.
    """

    digest: str
    shown: tuple[str, ...] = ()
    widths: Mapping[str, int] = field(default_factory=dict)

    def reward(self, before: FloatArray, after: FloatArray, action: npt.ArrayLike, task: Task) -> FloatArray | None:
        """Return what transitions are worth in `task`, [n] float32, by the definition's expressions.

        See `TaskFamily.reward`. None: a part of the reward is the environment's or the class's own, or the expressions
        read ``info``, which is not observed, or what a task itself puts somewhere.
        """
        given = checked_transitions(self, before, after, action, task)
        found, scaling = stated_reward(self)
        if found is None:
            return None
        visible = visible_part(scaling, given.parameters, self.shown, len(given.action))
        return found(given, visible).astype(np.float32)

    def randomised(self, nuisances: Sequence[Nuisance]) -> Self:
        """Return this family with further numbers of the model drawn anew for each episode."""
        maker = self.make_env
        assert isinstance(maker, EnvironmentMaker)
        maker = replace(maker, nuisances=(*maker.nuisances, *nuisances))
        maker().close()  # which looks their names up
        return replace(self, make_env=maker)

    @property
    def definition(self) -> Definition:
        """The file that describes it."""
        assert isinstance(self.make_env, EnvironmentMaker)
        return as_travelling(self.make_env.path, self.digest)

    @property
    def visible(self) -> tuple[str, ...]:
        """The task parameters that stand at the end of the observation."""
        return (*self.shown, *super().visible)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outline(TaskFamily):
    native: bool = False

    def make(self, task: Task, render_mode: str | None = None) -> Any:
        raise UserError("only an outline was read", where=f"family {self.name}", mend="load the definition")

    def make_batch(self, tasks: Any, *, threads: int = 1) -> Any:
        return self.make(tasks[0])


def _of_kind(file: DefinitionFile) -> TaskFamily:
    env = file.definition.env
    if env.kind == "id":
        return _id_family(file)
    if env.python is not None:
        return _python_family(file)
    from mql.tasks.definitions.parallel import parallel_family

    return parallel_family(file, _shared(file))


def _check_steps(file: DefinitionFile, episode_length: int) -> None:
    """Refuse what must last longer than an episode does, and so never comes about."""
    definition = file.definition
    lasting = {f"terminate.{n}.after": ending.after for n, ending in enumerate(definition.terminate)}
    if definition.success is not None:
        lasting["success.hold"] = definition.success.hold
    for key, steps in lasting.items():
        if steps > episode_length:
            what = f"{key.rpartition('.')[2]} is {steps}, an episode has {episode_length} control steps"
            raise UserError(what, where=file.where(key), mend="give at most as many")


def _shared(file: DefinitionFile) -> dict[str, Any]:
    """Return the fields of a family that its definition says itself, whatever its kind."""
    definition = file.definition
    return {
        "name": definition.name,
        "summary": definition.description,
        "hold_steps": definition.success.hold if definition.success is not None else 1,
        "success_at": definition.success.at if definition.success is not None else "any",
        "parameters": {name: _parameter(file, name) for name in definition.parameters},
        "episodes": tuple(episode_lines(definition)),
        "splits": {
            name: Split(
                n=split.n,
                seed=split.seed,
                override={
                    key: from_spec(spec, where=file.where(f"splits.{name}.override.{key}"), names=True)
                    for key, spec in split.override.items()
                },
            )
            for name, split in definition.splits.items()
        },
    }


def _parameter(file: DefinitionFile, name: str) -> Parameter:
    spec = file.definition.parameters[name]
    return Parameter(
        distribution=file.distribution(name),
        unit=spec.unit,
        doc=spec.doc or name,
        hidden=spec.hidden,
        bounds=file.bounds(name),
    )


def _id_family(file: DefinitionFile) -> TaskFamily:
    env, where = file.definition.env, file.where("env.id")
    check_id(file)
    built = IdEnvironment(file)
    try:
        length = env.episode_length or built.limit
        if length is None:
            mend = "add 'episode_length: 200' (control steps)"
            raise UserError(f"{env.id} has no time limit of its own", where=where, mend=mend)
        info, at_start = built.info_sizes()
        sizes = {"obs": built.obs_dim, "action": built.action_dim} | built.named
        sizes |= {f"info.{name}": size for name, size in info.items()}
        names = [name.removeprefix("obs.") for name in built.named]
        check_names(file, built.terms, info=info, obs=names, sizes=sizes, at_start=at_start)
        answer = tried("the first step", where, lambda: _first_step(file, built))
        family = _family(file, built, answer, episode_length=length, has_success=built.terms.success is not None)
        return as_sensed(file, family, observed_numbers(built.widths))
    finally:
        built.close()


def _python_family(file: DefinitionFile) -> TaskFamily:
    check_parameter_names(file)
    path, name = python_path(file)
    if file.definition.env.observe:
        what = "observe says what is seen, and so does the class"
        raise UserError(what, where=file.where("env.observe"), mend="leave it out")
    built = PythonEnvironment(file)
    sizes = vector_sizes(built.known) | {"action": built.action_dim}
    info = built.info_names()
    check_names(file, built.terms, info=info, obs=(), sizes=sizes)

    def check() -> None:
        check_names(file, built.terms, info=info, obs=(), sizes=sizes | {"obs": built.obs_dim})

    answer = guarded(path, file.where("env.python"), f"class {name}", lambda: _first_step(file, built, check))
    length = file.definition.env.episode_length
    assert length is not None
    probe = _probe if built.has_probe else None
    if probe is not None and file.definition.probe:
        raise UserError("the class has a probe, too", where=file.where("probe"), mend="leave one of them out")
    family = _family(file, built, answer, episode_length=length, has_success=built.has_success, probe=probe)
    return as_sensed(file, family, observed_numbers({"": sensed_width(family)}))


@lru_cache(maxsize=64)
def stated_reward(family: DefinedFamily) -> tuple[SeenReward | None, Mapping[str, Scaling]]:
    """Read the definition's reward again, and how visible parameters are scaled."""
    maker = family.make_env
    assert isinstance(maker, EnvironmentMaker)
    file = reopened(maker.path, maker.digest)
    terms = terms_of(file)
    found = seen_reward(terms, parts_of(family.widths, {})) if terms.replaces else None
    shown = found is not None and shows_task(family, found.columns)
    return None if shown else found, file.definition.env.scaling


def _first_step(
    file: DefinitionFile, environment: IdEnvironment | PythonEnvironment, check: Callable[[], None] | None = None
) -> dict[str, Any]:
    """Try a definition out: play one step of a training task, and return its info; `check` is called before it."""
    rng = np.random.default_rng(0)
    environment.set_task({name: file.distribution(name).sample(rng) for name in file.definition.parameters})
    environment.reset(seed=0)
    if check is not None:
        check()
    obs, reward, _, _, info = environment.step(np.zeros(environment.action_dim))
    for what, values in (("observation", obs), ("reward", reward)):
        if not np.isfinite(values).all():
            mend = "look for a division by zero or a blow-up"
            raise UserError(f"the {what} of the first step is not finite", where=file.where("env"), mend=mend)
    return info


def _family(
    file: DefinitionFile,
    built: IdEnvironment | PythonEnvironment,
    info: Mapping[str, Any],
    *,
    episode_length: int,
    has_success: bool,
    probe: Callable[[gymnasium.Env[Any, Any], FloatArray, int], FloatArray] | None = None,
) -> DefinedFamily:
    shared = _shared(file)
    if isinstance(built, PythonEnvironment):
        shared["parameters"] = built.drawn.known(shared["parameters"])
    seen = tuple(name for name, spec in file.definition.parameters.items() if not spec.hidden)
    unnamed = built.obs_dim - sum(shared["parameters"][name].width for name in seen)
    return DefinedFamily(
        **shared,
        obs_dim=built.obs_dim,
        action_dim=built.action_dim,
        episode_length=episode_length,
        control_timestep=timestep_of(built),
        has_success=has_success,
        probe=probe or probe_of(file, built.action_dim),
        make_env=EnvironmentMaker(str(file.path), file.digest),
        set_task=_set_task,
        success_key="at_goal" if has_success else None,
        info_keys=tuple(key for key in info if key != "at_goal"),
        digest=file.digest,
        shown=seen,
        widths=built.widths if isinstance(built, IdEnvironment) else {"": unnamed},
    )


def _build(
    file: DefinitionFile, render_mode: str | None, nuisances: Sequence[Nuisance] = ()
) -> IdEnvironment | PythonEnvironment:
    kind = IdEnvironment if file.definition.env.kind == "id" else PythonEnvironment
    return kind(file, render_mode, nuisances)


def _set_task(environment: Environment, parameters: Mapping[str, Value]) -> None:
    assert isinstance(environment, DefinedEnvironment)
    environment.set_task(parameters)


def _probe(environment: gymnasium.Env[Any, Any], obs: FloatArray, step: int) -> FloatArray:
    assert isinstance(environment, GymnasiumEnvironment) and isinstance(environment.inner, PythonEnvironment)
    return environment.inner.probe(step).astype(np.float32)
