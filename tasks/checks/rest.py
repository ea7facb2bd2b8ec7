"""Does a robot that is asked for nothing stay where it is?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mql.robots.checks.verdict import Verdict, failed, passed, warned
from mql.tasks.checks.inspection import Inspection, name_tasks
from mql.tasks.control.rest import ALLOWED, Resting
from mql.tasks.definitions.family import DefinedFamily
from mql.tasks.definitions.python_environment import PythonEnvironment
from mql.tasks.disturbances.family import undisturbed
from mql.tasks.family import Task, TaskFamily

_SECONDS = 5.0  # of simulation, or an episode where that is shorter
_SEED = 83


def check_rest(inspection: Inspection) -> Verdict:
    """Without an action the end effector stays within a centimetre, whatever the task has changed."""
    family = undisturbed(inspection.family)
    many = inspection.amount.pose_tasks
    tasks = family.tasks("train")[:many] + (family.tasks("ood")[: many // 2] if "ood" in family.splits else [])
    seconds = min(_SECONDS, family.episode_length * family.control_timestep)
    resting = _resting_of(family)
    worst: tuple[float, Task] | None = None
    for task in tasks:
        with inspection.playing(task):
            robot = resting(task)
            if robot is None:
                return passed("not looked at: no action of this family is known to ask its robot to stay")
            drift = robot.drift(seconds)
            if worst is None or drift > worst[0]:
                worst = drift, task
    assert worst is not None
    drift, task = worst
    named = f"[task {name_tasks([task])}]"
    with inspection.playing(task):
        robot = resting(task)  # once more: the model of the last task may serve all of them
        assert robot is not None
        left = robot.left_behind()
        if drift <= ALLOWED and left <= ALLOWED:
            return passed(f"without an action the end effector stays within {100 * drift:.2f} cm in {len(tasks)} tasks")
        text = f"without an action the end effector goes {100 * drift:.3g} cm in {seconds:.3g} s {named}"
        if drift <= ALLOWED:
            text = f"a load that is hung on the end effector and taken off leaves it {100 * left:.3g} cm away {named}"
        weak = robot.why()
        if weak is not None:
            return warned(f"{text}: its servos are too weak: {weak}: raise their force or range, or lower the load")
        if robot.touches():
            return warned(f"{text}: something touches it at the start")
    mend = "let episodes start at rest and within the joints' ranges, or look at the servos' gains"
    return failed(f"{text}, and its servos could carry it: {mend}")


def _resting_of(family: TaskFamily) -> Callable[[Task], Resting | None]:
    """Return what gives a task's robot that is asked to stay, if there is one."""
    known: Any = getattr(family, "resting", None)
    if known is not None:
        chosen: Callable[[Task], Resting | None] = known
        return chosen
    environment = family.make_env() if isinstance(family, DefinedFamily) else None
    if not isinstance(environment, PythonEnvironment):
        return lambda task: None
    played = environment

    def of_class(task: Task) -> Resting | None:
        played.set_task(task.parameters)
        played.reset(seed=_SEED)
        return played.resting()

    return of_class
