"""The runs of a study, each with its configuration: every family with every method, variant and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mql.api.checking import check_before_training
from mql.api.families import as_trained_on
from mql.api.plan import Need, check_plan, needs_at_once, room_in
from mql.api.possible import check_suits
from mql.api.training import check_device
from mql.config.loading import load_experiment
from mql.config.schema import Config
from mql.config.yaml_text import Given, Layer
from mql.errors import UserError
from mql.study.file import StudyFile, Variant, place_of
from mql.tasks import registry
from mql.tasks.definitions.family import check_trust, load_definition
from mql.tasks.definitions.file import read_definition


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        family: its short name in the study: the family's, or that of the file that stands for it.
        definition: the file that defines the family, with its digest; None: the family is known by its name.
        settled: the keys that the study's files and settings give, for messages.
    """

    family: str
    method: str
    variant: str
    seed: int
    config: Config
    definition: tuple[Path, str] | None
    given: Layer

    @property
    def place(self) -> Path:
        """Where its run directory is, below the study's."""
        return place_of(self.family, self.method, self.variant, self.seed)

    @property
    def label(self) -> str:
        """What a person calls it."""
        return self.place.as_posix()


def cells_of(study: StudyFile) -> list[Cell]:
    """Return a study's runs, in the order in which they are made.

    Raises:
        UserError: an unknown family, a wrong key or value, values that do not agree, or no run at all.
    """
    cells = [_cell(study, short, method, variant, seed) for short, method, variant, seed in study.places()]
    if not cells:
        mend = "loosen what their 'for' says"
        raise UserError("no variant holds for any family and method", where=study.where("variants"), mend=mend)
    return cells


def _cell(study: StudyFile, short: str, method: str, variant: Variant, seed: int) -> Cell:
    target = study.families[short]
    # The method first: where a setting does not go with it, the setting's line is named.
    chosen = {"method": Given(method, study.where("methods")), **study.settings, **variant.settings}
    place = list(study.families).index(short)
    try:
        experiment = load_experiment(
            target,
            overrides=chosen,
            seed=seed,
            families=registry.names(),
            environments=registry.environments(),
        )
    except UserError as error:
        if error.where is not None and Path(error.where) != Path(target):
            raise
        raise UserError(error.what, where=study.where(f"families.{place}"), mend=error.mend) from None
    definition = experiment.definition
    digest = None if definition is None else (definition, read_definition(definition).digest)
    return Cell(short, method, variant.name, seed, experiment.config, digest, dict(experiment.given))


def check_cells(cells: Sequence[Cell], *, workers: int, trust: bool, check: bool, here: bool = True) -> None:
    """Refuse what would fail only when a run begins: families, splits, devices, memory for all runs of one time.

    Runs that are not made `here` find out about device and memory where they are.

    Raises:
        UserError: something of that kind, in one line.
        Untrusted: a definition would run Python that nobody trusts.
    """
    needs: list[Sequence[Need]] = []
    checked: set[Path] = set()
    seeds_apart = {cell.place.parent: cell for cell in cells}.values()
    for cell in seeds_apart:
        config = cell.config
        if here:
            check_device(config)
        if cell.definition is None:
            family = registry.load(config.family)
        else:
            path = cell.definition[0]
            check_trust(read_definition(path), given=trust)
            family = load_definition(path, trust=trust)
            if check and path not in checked:
                check_before_training(family, path, processes=config.workers)
            checked.add(path)
        harder = as_trained_on(family, config)
        check_suits(config, harder)
        check_plan(config, harder, cell.given)
        own = needs_at_once(config, harder) if here else []
        needs += [own] * sum(other.place.parent == cell.place.parent for other in cells)
    check_memory_of_all(needs, workers=workers)


def check_memory_of_all(needs: Sequence[Sequence[Need]], *, workers: int) -> None:
    """Refuse runs of which those that are made at the same time do not fit: into memory, onto the GPU or a disk.

    Whether they share a process makes no difference.

    Args:
        needs: what each run needs.
        workers: runs at the same time.

    Raises:
        UserError: says what they need, and what is free.
    """
    for place in dict.fromkeys(need.place for own in needs for need in own):
        here = [[need for need in own if need.place == place] for own in needs]
        largest = sorted(here, key=_nbytes)[-workers:]
        needed, there = sum(map(_nbytes, largest)), room_in(place)
        if needed > there.nbytes:
            one = len(largest) == 1
            what = f"{'a run needs' if one else f'{len(largest)} runs at the same time need'} {needed / 1e9:,.1f} GB"
            key = max(largest[-1], key=lambda need: need.nbytes).key
            left = f"{there.nbytes / 1e9:,.1f} GB are free {there.where}"
            mend = f"{left}: " + ("" if one else "use fewer workers (and a smaller population), or ") + f"lower {key}"
            raise UserError(what, where=key if one else "workers", mend=mend)


def _nbytes(needs: Sequence[Need]) -> float:
    return sum(need.nbytes for need in needs)
