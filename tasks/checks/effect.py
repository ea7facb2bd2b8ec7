"""Does every task parameter do something?

A parameter is set to the two ends of its training range, and the two tasks are played in lockstep with the same seed
and actions until an observation or a reward differs. A vector counts as a whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mql.robots.checks.verdict import Verdict, failed, passed, warned
from mql.tasks.checks.inspection import Inspection, choose, random_actions
from mql.tasks.checks.tasks import ends, of_each_name
from mql.tasks.family import Task

_SEEDS = (31, 32, 33)  # a parameter that acts on contact may need more than one try
_SMALLEST = 1e-6  # relative; smaller differences are rounding


def check_effect(inspection: Inspection) -> Verdict:
    """Every task parameter changes an observation or a reward somewhere in an episode."""
    family = inspection.family
    idle, mixed, single = [], [], []
    for name, parameter in family.parameters.items():
        found = ends(family, name)
        if found is None:
            single.append(name)
            continue
        low, high, alone = found
        if not alone:
            mixed.append(name)
        # What acts with one name only, such as the weight of a lid, is looked for with each of them.
        more = [pair for base in of_each_name(family) if (pair := ends(family, name, base))]
        pairs = [(low, high), *((one, other) for one, other, _ in more)]
        if not any(_differ(inspection, *pair, seed, visible=not parameter.hidden) for pair in pairs for seed in _SEEDS):
            idle.append(f"{name!r} (between {_at(low, name)} and {_at(high, name)})")
    how = "the family's probe" if family.probe is not None else "random actions"
    if idle and inspection.amount.longest < family.episode_length:
        return passed(
            f"no effect of {', '.join(idle)} is seen within {inspection.amount.longest} steps, which proves nothing"
        )
    if idle:
        mend = "apply it, leave it out, or give the family a probe whose actions let it act"
        return failed(f"no effect of {', '.join(idle)} on observations or rewards of {how}: {mend}")
    if single:
        return warned(f"{_list(single)} has one value in all training tasks: give it a range, or make it a constant")
    note = f"; {_list(mixed)} only together with others, as no two listed tasks differ in it alone" if mixed else ""
    return passed(f"an effect of {_list(list(family.parameters))} is seen under {how}{note}")


def _differ(inspection: Inspection, low: Task, high: Task, seed: int, *, visible: bool) -> bool:
    """Play two tasks in lockstep, both with the first one's actions, until something differs."""
    family = inspection.family
    with inspection.playing(low, high):
        envs: list[Any] = []
        try:
            for task in (low, high):
                envs.append(family.make(task))
            one, other = (env.reset(seed=seed)[0] for env in envs)
            # Where the observation shows the parameter by design, that is no effect: those numbers do not count.
            counted = _close(one, other) if visible else np.ones(np.shape(one), np.bool_)
            if not _close(one, other)[counted].all():
                return True
            length = min(inspection.amount.longest, family.episode_length)
            drawn = random_actions(family, seed, length)
            for step in range(length):
                action = choose(family, envs[0], one, step, drawn[step])
                (one, reward, *ended), (other, other_reward, *other_ended) = (env.step(action)[:4] for env in envs)
                if not _close(reward, other_reward).all() or not _close(one, other)[counted].all():
                    return True
                if ended != other_ended or any(ended):
                    return bool(ended != other_ended)
            return False
        finally:
            for env in envs:
                env.close()


def _close(one: Any, other: Any) -> Any:
    return np.isclose(one, other, rtol=_SMALLEST, atol=_SMALLEST, equal_nan=True)


def _at(task: Task, name: str) -> str:
    given = task.parameters[name]
    value = given if isinstance(given, tuple) else (given,)
    return ", ".join(f"{part:.4g}" for part in value[:3]) + (", ..." if len(value) > 3 else "")


def _list(names: list[str]) -> str:
    return " and ".join(repr(name) for name in names)
