"""`mql tasks`: list, show, check and draw task families."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from mql.api.families import builder, find_family
from mql.cli.check import FamilyResults, check_families
from mql.cli.results import tell, tell_aside
from mql.cli.tables import print_checks, print_families, print_family, print_json, print_main_families, tally
from mql.errors import UserError
from mql.films.files import check_name
from mql.films.opengl import open_opengl
from mql.films.replay import Take
from mql.films.studio import Studio, check_sides
from mql.plain_text import plain
from mql.robots.drawing.shot import shot_of
from mql.tasks import registry
from mql.tasks.checks.effort import FULL, QUICK
from mql.tasks.checks.run import representatives
from mql.tasks.definitions.family import outline
from mql.tasks.definitions.layout import commanded_numbers, observed_numbers, own_text
from mql.tasks.definitions.trust import Untrusted

SLOTS = 2  # families checked at a time; each takes one core
ML1 = "ml1-reach"  # stands for all of ml1-*, which differ in their environment only
DEFAULT_TASKS = 6  # of a picture


def list_families(*, everything: bool, as_json: bool) -> None:
    """Do what `mql tasks list` does; families whose package is missing are left out, and standard error says so.

    Without `everything`, and not as JSON, families that belong together are one line.
    """
    names = registry.names()
    belonging = dict.fromkeys(names, ()) if everything or as_json else with_variants(names)
    rows = []
    missing: dict[str, int] = {}
    for name, others in belonging.items():
        try:
            rows.append(registry.load(name).summary_row() | ({} if as_json else {"variants": others}))
        except UserError as error:
            why = f"{error.what}: {error.mend}"
            missing[why] = missing.get(why, 0) + 1 + len(others)
    for clash in registry.left_out():
        tell_aside(f"skipped a family: {clash}")
    for why, count in missing.items():
        tell_aside(f"skipped {count} {'family' if count == 1 else 'families'}: {why}")
    if as_json:
        print_json(rows)
    elif everything:
        print_families(rows)
    else:
        print_main_families(rows)
        tell_aside(f"{len(names)} families with all variants and sizes: mql tasks list --all; one: mql tasks show NAME")


def with_variants(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the families that stand for others, with these.

    A family's variants have its name and more: cheetah-vel-oracle. One of ml1-* stands for all of Meta-World's
    environments.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=len):
        shorter = (each for each in found if name.startswith(f"{each}-"))
        stands = ML1 if name.startswith("ml1-") and ML1 in names else next(shorter, name)
        found.setdefault(stands, []).append(name)
    belonging = {each: tuple(name for name in names if name in found[each] and name != each) for each in found}
    return {name: belonging[name] for name in names if name in belonging}


def show(name: str, *, trust: bool, as_json: bool) -> None:
    """Do what `mql tasks show` does; of a definition whose Python may not be run, it shows what the file says.

    Raises:
        UserError: there is no such family, or a package that it needs is missing.
    """
    try:
        family = find_family(name, trust=trust)
        numbers = {"observation": observed_numbers(family), "action": commanded_numbers(family)}
        description = family.describe() | numbers | {"text": own_text(family)}
    except Untrusted as error:
        tell_aside(f"sizes are unknown: {error}")
        description = outline(Path(name)).describe() | {"obs_dim": None, "action_dim": None}
    print_json(description) if as_json else print_family(description)


def check(names: Sequence[str], *, quick: bool, trust: bool, as_json: bool) -> int:
    """Do what `mql tasks check` does; return the exit status, 2 where a check fails.

    Raises:
        UserError: there is no such family.
        Untrusted: a definition would run Python that nobody trusts.
    """
    everything = registry.names()
    chosen = list(dict.fromkeys(names)) or (representatives() if quick else everything)
    builds = {name: builder(name, trust=trust) for name in chosen}
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if quick and not names:
        number = f"{len(chosen)} of {len(everything)} families"
        console.print(Text(plain(f"quick: {number}, the first of each module (those of one module share their code)")))
    opengl = open_opengl()
    done: list[FamilyResults] = []
    effort = QUICK if quick else FULL
    for family in check_families(builds, effort, opengl=opengl, slots=min(SLOTS, os.cpu_count() or 1)):
        done.append(family)
        console.print(Text(plain(f"{len(done)}/{len(chosen)} {_line(family)}")))
    done.sort(key=lambda family: chosen.index(family.family))
    results = [result for family in done for result in family.results]
    if as_json:
        print_json([result.to_json() for result in results])
    else:
        print_checks([(family.family, family.seconds, [r.to_json() for r in family.results]) for family in done])
    return 2 if any(result.result == "fail" for result in results) else 0


def render(
    name: str,
    *,
    out: Path,
    split: str,
    tasks: int | None,
    seed: int,
    camera: str | None,
    size: str | None,
    trust: bool,
) -> None:
    """Do what `mql tasks render` does.

    Raises:
        UserError: there is no such family, split or camera, the suffix of `out` is unknown, or nothing can be drawn or
            written.
    """
    shot = None if camera is None and size is None else shot_of(camera, size)
    build = builder(name, trust=trust)
    suffix = check_name(out)
    check_sides(suffix, shot)
    if suffix != ".png" and tasks not in (None, 1):
        raise UserError("a film shows a single task", where="--tasks", mend="leave out --tasks, or write a .png")
    with Studio() as studio:
        if suffix == ".png":
            studio.make_grid(out, build, split, tasks=tasks or DEFAULT_TASKS, seed=seed, shot=shot)
        else:
            studio.make(out, build, split, [[Take("", seed)]], shot)
    tell(f"written: {out}")


def _line(family: FamilyResults) -> str:
    counts = tally(result.result for result in family.results)
    return f"{family.family}: {counts} ({family.seconds:.1f} s)"
