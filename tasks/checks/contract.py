"""Checks of what a family is made of: its environment, its splits, and its way to other processes."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import numpy as np
from gymnasium.spaces import Box
from gymnasium.utils.env_checker import check_env

from mql.errors import told
from mql.plain_text import counted
from mql.robots.checks.verdict import Verdict, failed, passed, warned
from mql.tasks.checks.inspection import Inspection, name_tasks, name_values, play_environment, value_text
from mql.tasks.distributions import Choice, Disc, Distribution, Fixed
from mql.tasks.family import Task, TaskFamily
from mql.tasks.splits import OUTSIDE, VALIDATION

_RANGES_NAMED = 4  # parameters in a message
_PICKLE_STEPS = 10  # control steps that a copy must repeat


def check_builds(inspection: Inspection) -> Verdict:
    """The family makes an environment that Gymnasium's checker accepts, with actions in [-1, 1]."""
    family = inspection.family
    task = family.tasks("train")[0]
    for what, found, expected in (
        ("action space", family.action_space, Box(-1.0, 1.0, (family.action_dim,), np.float32)),
        ("observation shape", family.observation_space.shape, (family.obs_dim,)),
    ):
        if found != expected:
            return failed(f"the {what} is {found}: it must be {expected}")
    if family.episode_length < 1 or not family.control_timestep > 0:
        return failed(
            f"an episode has {family.episode_length} steps of {family.control_timestep:g} s: both must be positive"
        )
    with inspection.playing(task):
        env: Any = family.make(task)
        try:
            if env.action_space != family.action_space or env.observation_space != family.observation_space:
                spaces = f"{env.action_space} and {env.observation_space}"
                return failed(f"make() gave an environment with {spaces}: it must have the family's spaces")
            env.reset(seed=0)  # the checker draws some states and actions without a seed of its own
            env.action_space.seed(0)
            check_env(env, skip_render_check=True, skip_close_check=True)
        except AssertionError as error:
            return failed(f"Gymnasium's checker refuses the environment: {error}")
        finally:
            env.close()
    return passed(f"{family.obs_dim} observed numbers, {family.action_dim} actions, {family.episode_length} steps")


def check_splits(inspection: Inspection) -> Verdict:
    """The splits share no task, and a second build of the family draws the same lists."""
    family = inspection.family
    missing = [split for split in ("train", "test") if split not in family.splits]
    if missing:
        return failed(f"there is no {' and no '.join(missing)} split: every family needs train and test")
    lists = {split: family.tasks(split) for split in family.split_names}
    fresh = inspection.build()
    for split, tasks in lists.items():
        if [dict(task.parameters) for task in tasks] != [dict(task.parameters) for task in fresh.tasks(split)]:
            return failed(
                f"a second build draws another {split} split: draw tasks from the split's seed and nothing else"
            )
    sizes = ", ".join(f"{len(tasks)} {split}" for split, tasks in lists.items())
    keys = {split: {tuple(task.parameters.values()) for task in tasks} for split, tasks in lists.items()}
    shared = [
        (one, other, keys[one] & keys[other])
        for one in keys
        for other in keys
        if one < other and keys[one] & keys[other]
    ]
    if not shared:
        return passed(f"{sizes}, all different from split to split")
    derived = VALIDATION not in family.splits and not family.shared_splits
    if derived and all({one, other} == {"train", VALIDATION} for one, other, _ in shared):
        return warned(
            f"{sizes}; no other tasks are left for validation, so it has training tasks: evaluations while training "
            "say nothing about unseen tasks; name some under validation, or draw the tasks from ranges"
        )
    one, other, common = shared[0]
    if family.shared_splits:
        return warned(
            f"{other} and {one} are the same {len(common)} tasks: results say nothing about unseen tasks; "
            "report the minimum over tasks"
        )
    return failed(
        f"{other} and {one} share {counted(len(common), 'task')}: give the splits other seeds or other ranges"
    )


def check_ood(inspection: Inspection) -> Verdict:
    """Every ood and validation-ood task lies outside the training ranges, every other one inside."""
    family = inspection.family
    for split in family.split_names:
        outside = split in OUTSIDE
        wrong = [task for task in family.tasks(split) if task.in_training_range == outside]
        if split == VALIDATION and len(wrong) == len(family.tasks(split)):
            continue  # as test, which has the warning
        if split == "test" and len(wrong) == len(family.tasks(split)):
            return warned(
                "every test task lies outside the training ranges: fine where that is the point, as with environments "
                "that are only met in the test; else draw the test tasks from the training ranges"
            )
        wrong += [task for task in family.tasks(split) if outside and _inside(family, task)]
        if wrong:
            place = "inside" if outside else "outside"
            mend = "move the range of its override" if outside else "draw it from the training ranges"
            ranges = f"{name_tasks(wrong[:1])}; trained on {_trained_on(family, wrong[0])}"
            return failed(f"a task of split {split} lies {place} the training ranges ({ranges}): {mend}")
    if "ood" not in family.splits:
        return passed("there is no ood split")
    return passed(f"all {len(family.tasks('ood'))} ood tasks lie outside the training ranges")


def check_pickle(inspection: Inspection) -> Verdict:
    """A pickled copy has the same tasks and plays the same first steps."""
    family = inspection.family
    task = family.tasks("train")[0]
    # Worker processes get families by cloudpickle; parallel ones must do without, as any library may send them.
    tool: Any = pickle if family.native else cloudpickle
    try:
        copy, copied_task = pickle.loads(tool.dumps((family, task)))
    except Exception as error:
        return failed(
            f"the family does not pickle ({told(error)}): "
            "build it from functions and classes of a module, not from lambdas or open files"
        )
    for split in family.split_names:
        if copy.tasks(split) != family.tasks(split):
            return failed(
                f"a pickled copy has another {split} split: keep all that tasks depend on in the family's fields"
            )
    if copied_task != task:
        return failed("a pickled task is another one: keep its parameters plain numbers and tuples of numbers")
    episodes = []
    with inspection.playing(task):
        for each in (family, copy):
            env = each.make(task)
            try:
                episodes.append(play_environment(each, env, task, 0, _PICKLE_STEPS))
            finally:
                env.close()
    step = episodes[0].first_difference(episodes[1])
    if step is not None:
        return failed(
            f"a pickled copy plays another episode from step {step} on: keep its state in the family's fields"
        )
    return passed(f"a copy has the same tasks and repeats {len(episodes[0].rewards)} steps")


def _trained_on(family: TaskFamily, task: Task) -> str:
    """Write the training ranges, of parameters in which `task` lies outside, or else of all; the first few."""
    train = family.splits["train"]
    if train.listed:
        return f"{len(train.listed)} listed tasks"
    drawn = {name: train.override.get(name, spec.distribution) for name, spec in family.parameters.items()}
    beyond = {name: each for name, each in drawn.items() if not each.contains(task.parameters[name])}
    ranges = [_range(name, each) for name, each in (beyond or drawn).items()]
    return ", ".join(ranges[:_RANGES_NAMED] + (["..."] if len(ranges) > _RANGES_NAMED else []))


def _range(name: str, drawn: Distribution) -> str:
    match drawn:
        case Choice():
            return f"{name} one of " + "|".join(f"{option:.4g}" for option in drawn.options)
        case Disc():
            return f"{name} at a radius from {drawn.inner_radius:.4g} to {drawn.radius:.4g}"
        case Fixed():
            return name_values({name: drawn.value})
        case _:
            return f"{name} from {value_text(drawn.low)} to {value_text(drawn.high)}"


def _inside(family: TaskFamily, task: Task) -> bool:
    """Ask the training split itself, whatever the task says of itself."""
    train = family.splits["train"]
    if train.listed:
        return any(dict(task.parameters) == dict(listed) for listed in train.listed)
    return all(
        train.override.get(name, spec.distribution).contains(task.parameters[name])
        for name, spec in family.parameters.items()
    )
