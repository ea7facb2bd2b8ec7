"""Is a family valid? Checks, each of which says pass, warn or fail with the reason and the fix.

The checks speak through `mql.tasks.family` only, so they hold for parallel families, for families around
any Gymnasium environment, and for those that are still to be written (but `stated`, `reachable`, `recompiled` and
`rest`, which look into a definition or a model)::

    inspection = Inspection(build=lambda: registry.load("point-robot"))
    for name in CHECKS:
        print(run_check(inspection, name))
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from mql.errors import UserError, told
from mql.robots.checks.verdict import FAIL, Verdict, failed
from mql.tasks import registry
from mql.tasks.checks.agreement import check_agreement
from mql.tasks.checks.contract import check_builds, check_ood, check_pickle, check_splits
from mql.tasks.checks.effect import check_effect
from mql.tasks.checks.episodes import check_determinism, check_finite
from mql.tasks.checks.hidden import check_hidden
from mql.tasks.checks.identifiability import check_identifiability
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.reachable import check_reachable
from mql.tasks.checks.recompiled import check_recompiled
from mql.tasks.checks.rest import check_rest
from mql.tasks.checks.reward import check_reward
from mql.tasks.checks.running import check_render, check_speed, check_success
from mql.tasks.checks.stated import check_stated
from mql.tasks.fault import EpisodeFault

CHECKS: Mapping[str, Callable[[Inspection], Verdict]] = {
    "builds": check_builds,
    "splits": check_splits,
    "ood": check_ood,
    "stated": check_stated,
    "determinism": check_determinism,
    "agreement": check_agreement,
    "finite": check_finite,
    "hidden": check_hidden,
    "recompiled": check_recompiled,
    "effect": check_effect,
    "success": check_success,
    "reachable": check_reachable,
    "rest": check_rest,
    "identifiability": check_identifiability,
    "reward": check_reward,
    "speed": check_speed,
    "pickle": check_pickle,
    "render": check_render,
}


@dataclass(frozen=True)
class CheckResult:
    """One line of `mql tasks check`; `result` is pass, warn or fail."""

    family: str
    check: str
    result: str
    message: str

    def to_json(self) -> dict[str, str]:
        """Return the line as plain data."""
        return asdict(self)


def run_check(inspection: Inspection, name: str) -> Verdict:
    """Do one check. Whatever it meets becomes its verdict: nothing is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's remarks on unbounded boxes and missing specs, for instance
        try:
            inspection.at_hand = ""
            inspection.family  # noqa: B018 - a family that can't be built is found here, whichever check comes first
        except Exception as error:
            return _fault("the family can't be built", error, "")
        try:
            return CHECKS[name](inspection)
        except Exception as error:
            return _fault("it stopped", error, inspection.at_hand)


def finishes_an_episode(inspection: Inspection, tries: int = 5) -> bool:
    """Tell whether one of a few episodes, each of another task, comes to its end."""
    tasks = inspection.family.tasks("train")
    for seed in range(tries):
        try:
            inspection.play_alone(tasks[seed % len(tasks)], seed)
            return True
        except EpisodeFault:
            pass
    return False


def builds_at_all(verdict: Verdict) -> bool:
    """Tell from the verdict of `builds` whether there is a family that the other checks can look at."""
    return not (verdict.result == FAIL and verdict.message.startswith("the family can't be built"))


def representatives() -> list[str]:
    """Return the first family of every module, in the table's order."""
    first: dict[str, str] = {}
    for name in registry.names():
        first.setdefault(registry.module_of(name), name)
    return list(first.values())


def _fault(what: str, error: Exception, task: str) -> Verdict:
    """Say in one line what was raised, and with which task."""
    if isinstance(error, UserError | EpisodeFault):  # these say themselves where and how
        return replace(failed(f"{what}: {error}"), of_an_episode=isinstance(error, EpisodeFault))
    return failed(f"{what} with {told(error, whole=False)}" + (f" [task {task}]" if task else ""))
