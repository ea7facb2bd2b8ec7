"""Can a task of this family be solved at all? Goals out of a robot's reach are found before it is trained for them."""

from __future__ import annotations

import numpy as np

from mql.robots.checks.verdict import Verdict, passed, warned
from mql.tasks.checks.inspection import Inspection, name_tasks
from mql.tasks.definitions.poses import PoseFault, Unjudged, reachable

_SEED = 71


def check_reachable(inspection: Inspection) -> Verdict:
    """Some pose of the model succeeds. A search proves nothing: that none was found is a warning at most."""
    family = inspection.family
    if not family.has_success:
        return passed("no success is defined; returns are compared")
    many = inspection.amount.pose_tasks
    tasks = family.tasks("test")[:many] + (family.tasks("ood")[: many // 2] if "ood" in family.splits else [])
    try:
        with inspection.playing(*tasks):
            found = reachable(family, tasks, np.random.default_rng(_SEED))
    except Unjudged as reason:
        return passed(f"not looked at: {reason}")
    except PoseFault as fault:
        mend = "let observe, reward and success take any pose, then this can be looked at"
        return warned(f"the class raised in a sampled pose, {fault} [task {inspection.at_hand}]: {mend}")
    text = f"success is reached in {found.count(True)} of {len(tasks)} tasks by sampled poses"
    missed = [task for task, reached in zip(tasks, found, strict=True) if reached is False]
    unknown = [task for task, reached in zip(tasks, found, strict=True) if reached is None]
    if missed:
        mend = "move the goals nearer to where the robot's end can be, or widen the tolerance"
        return warned(f"{text}; no pose at rest was found for [task {name_tasks(missed)}]: {mend}")
    if None in found:
        mend = "look whether the goals are within reach; if success needs motion, nothing is wrong"
        return warned(f"{text}, which are at rest, and success reads speeds [task {name_tasks(unknown)}]: {mend}")
    return passed(text)
