"""The families that runs and commands work on: one of a name, one that a file defines, or the one of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from mql.config.disturbances import EnvConfig
from mql.config.loading import is_path
from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.errors import UserError, nearest
from mql.files import user_errors
from mql.runs.definition import DefinitionCopy, KeptDefinition, named_definition
from mql.runs.folder import read_environment
from mql.runs.run_dir import RunDir
from mql.tasks import registry
from mql.tasks.definitions.family import check_trust, load_definition
from mql.tasks.definitions.file import read_definition
from mql.tasks.definitions.model import reopened
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Actuation, Sensing
from mql.tasks.family import TaskFamily
from mql.tasks.physics.nuisances import factors
from mql.types import JSON

FROM_PYTHON: dict[str, JSON] = {"family_from": "python"}  # in environment.json, of a family given as an object


def find_family(target: str, *, trust: bool) -> TaskFamily:
    """Return the family called `target`, or the one that the file `target` defines.

    Args:
        target: a name or a path.
        trust: a definition's Python may be run.

    Raises:
        UserError: there is none, or it can't be built.
        Untrusted: it would run Python that nobody trusts.
    """
    return load_definition(Path(target), trust=trust) if is_path(target) else registry.load(target)


def builder(target: str, *, trust: bool) -> Callable[[], TaskFamily]:
    """Return a function for worker processes that builds the family afresh; whether it may is found out here.

    Raises:
        UserError: there is no such family or file.
        Untrusted: it would run Python that nobody trusts.
    """
    if not is_path(target):
        if target not in registry.names():
            mend = nearest(target, registry.names(), listed_by="'mql tasks list'")
            raise UserError(f"unknown task family {target!r}", mend=mend)
        return partial(registry.build, target)
    file = read_definition(Path(target))
    check_trust(file, given=trust)
    return partial(_build_trusted, str(file.path), file.digest)


def made_harder(family: TaskFamily, env: EnvConfig) -> TaskFamily:
    """Return `family` with what the section ``env`` of a configuration says; itself where that says nothing.

    Raises:
        UserError: it can't be simulated.
    """
    if env.randomise.ranges:
        family = family.randomised(factors(env.randomise.ranges, section="env."))
    sensing, actuation = Sensing(**env.sensing.model_dump()), Actuation(**env.actuation.model_dump())
    return disturbed(family, sensing, actuation, section="env.", where=lambda key: f"env.{key}")


def as_trained_on(family: TaskFamily, config: Config) -> TaskFamily:
    """Return `family` as a run with this configuration has it: as hard as ``env`` says, as visible as its method wants.

    Raises:
        UserError: it can't be simulated, or its tasks are visible already.
    """
    return _seen_by(config.method, made_harder(family, config.env))


def _seen_by(method: str, family: TaskFamily) -> TaskFamily:
    if not METHODS[method].sees_task:
        return family
    if family.oracle:
        what = f"the agent of {family.name} sees the task anyway"
        raise UserError(what, where="method", mend="use method td3, or the family without -oracle")
    return family.as_oracle()


@dataclass(frozen=True)
class FamilySource:
    """Where the family of a run, or of a saved agent, comes from; it is built when it is asked for.

    Args:
        name: the family's.
        folder: of the run or the agent, for messages.
        kept: its own copy of the definition, where a file defined the family.
        from_python: it was trained on an object that was given, and no name or file says how to build it.
        env: what makes the family harder.
        method: of the run; one may see more of the tasks.
        given: the family to use, as it is without that.
        trust: a definition's Python may be run.
    """

    name: str
    folder: Path
    kept: KeptDefinition | None
    from_python: bool
    env: EnvConfig = EnvConfig()  # noqa: RUF009 - frozen
    method: str = "mql"
    given: TaskFamily | None = None
    trust: bool = False

    @cached_property
    def family(self) -> TaskFamily:
        """The family, as hard as the configuration makes it, and as visible as the method wants it.

        Raises:
            UserError: there is none of this name, the definition was changed, or another family was given.
            Untrusted: it would run Python that nobody trusts.
        """
        return _seen_by(self.method, made_harder(self._plain, self.env))

    @property
    def _plain(self) -> TaskFamily:
        where = str(self.folder)
        if self.given is not None:
            if self.given.name != self.name:
                what = f"the family is {self.name}, not {self.given.name}"
                raise UserError(what, where=where, mend="give the one that the agent was trained on")
            return self.given
        if self.kept is not None:
            check_unchanged(self.kept, self.kept.path, mend="restore it from a copy")
            return load_definition(self.kept.path, trust=self.trust)
        if self.from_python and (
            registry.is_built_in(self.name) or self.name not in (*registry.names(), *registry.environments())
        ):
            what = f"the family {self.name!r} was given to mql.train as an object"
            raise UserError(
                what, where=where, mend="give it again from Python, as family=... of mql.open_run or mql.Adapted.load"
            )
        return registry.load(self.name)

    @property
    def facts(self) -> dict[str, JSON]:
        """What a saved agent says of its family, besides the name."""
        return {} if not self.from_python else FROM_PYTHON

    @property
    def copy(self) -> DefinitionCopy | None:
        """The definition with all its files, for a saved agent to keep; None where no file defines the family."""
        return None if self.kept is None else copy_of(self.kept.path)


def source_of(run: RunDir, *, given: TaskFamily | None = None, trust: bool = False) -> FamilySource:
    """Say where the family of a run comes from: the one `given`, the run's own copy of a definition, or a name."""
    return source_in(run.path, run.config, read_environment(run.path), given=given, trust=trust)


def source_in(
    folder: Path, config: Config, facts: Mapping[str, JSON], *, given: TaskFamily | None, trust: bool
) -> FamilySource:
    """Say where the family of a configuration comes from, of which a file in `folder` says these facts."""
    from_python = facts.get("family_from") == FROM_PYTHON["family_from"]
    kept = named_definition(folder, facts)
    return FamilySource(config.family, folder, kept, from_python, config.env, config.method, given, trust)


def family_of(run: RunDir, *, trust: bool) -> TaskFamily:
    """Return the family of a run: that of its own copy of a definition, or the one of its name.

    Raises:
        UserError: there is none of this name, or the copy was changed.
        Untrusted: it would run Python that nobody trusts.
    """
    return source_of(run, trust=trust).family


def check_same_tasks(run: RunDir, family: TaskFamily) -> None:
    """Refuse a family whose training tasks are not those that the run was started with.

    Raises:
        UserError: they are others.
    """
    if run.tasks["train"] != [task.to_json() for task in family.tasks("train")]:
        mend = "use the version of mql that trained it (see environment.json)"
        what = f"the training tasks of {family.name} are no longer those of the run"
        raise UserError(what, where=str(run.path), mend=mend)


def check_unchanged(kept: KeptDefinition, path: Path, *, mend: str) -> None:
    """Refuse a definition that is no longer the one a run was made with.

    Raises:
        UserError: a byte of the definition at `path`, or of a file that belongs to it, has changed.
    """
    if read_definition(path).digest != kept.digest:
        raise UserError("the definition has changed since the run was started", where=str(path), mend=mend)


def _build_trusted(path: str, digest: str) -> TaskFamily:
    """Build the family of a definition that may run its Python as long as its digest is this one."""
    return load_definition(reopened(path, digest).path, trust=True)


def copy_of(path: Path) -> DefinitionCopy:
    """Read a definition and all its files, for a run to keep.

    Raises:
        UserError: a file can't be read.
    """
    file = read_definition(path)
    with user_errors(path):
        files = {str(each.relative_to(file.folder)): each.read_bytes() for each in file.files}
    return DefinitionCopy(file.digest, str(file.path.relative_to(file.folder)), files)
