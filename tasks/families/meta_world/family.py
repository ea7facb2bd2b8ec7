"""Meta-World: a Sawyer arm at a table, in 50 environments; the goal is hidden, as its meta-learning benchmarks have it.

Description: the arm's hand is moved and its gripper opened or closed for 500 steps of 0.0125 s; an episode never ends
early. Reward: the package's own, 0 to 10 a step. ``ml1-<environment>``: one environment, many goals; ``ml10`` and
``ml45``: 10 and 45 environments to learn from, 5 others to be tested on; ``mt10``: 10 environments, the same ones for
test, as a reference without anything hidden.
Parameters: rand_vec (m), where the object and the goal are, or just one of them: the package's own vector, 3 or 6
numbers. An object's place is seen at once, a goal has to be found out (with 3 numbers, mostly the object's place alone
decides where the goal is). ml10, ml45 and mt10 also have `environment`, the
place in `names.ENVIRONMENTS`, and pad rand_vec with zeros to 6 numbers.
Success: the package's flag, true at any step.

Splits: train and test are the package's own 50 and 50 goals of each environment, for one seed (`goals.py`). The package
has none to choose settings on. For ml1, validation is another 50 goals that it draws, of another seed; for ml10, these
goals of five environments that are neither trained nor tested on; for ml45, which leaves no environment, five of these
goals of each training environment.
Outside (ml1 only): 20 vectors with one component 10 to 30 % beyond its range; whether all of them can be solved is not
known.

Shapes: observation [39]: hand x y z, gripper opening, objects' places and quaternions (18 numbers), the same one step
ago (18), goal (3; zeros but in mt10); mt10 [49]: with the environment as one-hot. Action [4].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from metaworld.types import Task as PackageTask

from mql.tasks.distributions import Choice, Uniform, Value
from mql.tasks.families.meta_world.environment import (
    OBSERVATION_SIZE,
    apply_task,
    make_environment,
    package_task,
    place,
)
from mql.tasks.families.meta_world.goals import WIDTH, FloatArray, Goals, load
from mql.tasks.families.meta_world.names import (
    ENVIRONMENTS,
    ML10_TEST,
    ML10_TRAIN,
    ML10_VALIDATION,
    ML45_TEST,
    ML45_TRAIN,
    MT10,
    SAME_START,
    number_of,
)
from mql.tasks.families.meta_world.probe import probe
from mql.tasks.family import Handling, Split, Task
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

Box: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]  # lower and upper ends, m

ACTION_SIZE = 4
EPISODE_LENGTH = 500  # control steps: 6.25 s; the package refuses to go on after them
CONTROL_TIMESTEP = 0.0125  # s
PLACES = (-1.5, 1.5)  # m; table and arm are well within
FEW = 5  # validation goals of each training environment
INFO_KEYS = ("obj_to_target", "in_place_reward", "grasp_reward")


@dataclass(frozen=True, kw_only=True, eq=False)
class MetaWorldFamily(GymnasiumFamily):
    """A family of Meta-World's tasks.

    Args:
        boxes: what the training environments draw their vectors from, by their number.
    """

    boxes: Mapping[int, Box]

    def package_task(self, task: Task) -> PackageTask:
        """Write a task in the package's own form, for its environments."""
        name, vector = place(task.parameters, only=self._only)
        return package_task(name, vector, goal_visible=not self.parameters["rand_vec"].hidden)

    def environment_name(self, task: Task) -> str:
        """Return the environment of a task, one of `ENVIRONMENTS`."""
        return place(task.parameters, only=self._only)[0]

    @property
    def handling(self) -> Handling:
        """The hand and the first object; an action may lead the hand's target 0.01 m away."""
        return Handling(hand=0, thing=4, stroke=0.01, closing=1.0)

    @property
    def _only(self) -> str | None:
        return None if "environment" in self.parameters else ENVIRONMENTS[next(iter(self.boxes))]

    def _in_training_range(self, values: Mapping[str, Value]) -> bool:
        """Tell whether the environment is one that is trained on, and every number lies within its box."""
        vector, number = values["rand_vec"], values.get("environment", next(iter(self.boxes)))
        if not isinstance(number, float | int) or number not in self.boxes or not isinstance(vector, tuple):
            return False
        low, high = self.boxes[int(number)]
        return all(least <= place <= most for least, place, most in zip(low, vector, high, strict=True))


def ml1(environment: str) -> MetaWorldFamily:
    """Build ``ml1-<environment>``."""
    goals, number = load(), number_of(environment)
    width = int(goals.size[number])
    vectors = {
        "train": goals.ml1_train,
        "test": goals.ml1_test,
        "ood": goals.ml1_ood,
        "validation": goals.ml1_validation,
        "validation-ood": goals.ml1_validation_ood,
    }
    box = _box(goals, number, width)
    return MetaWorldFamily(
        name=f"ml1-{environment}",
        summary=f"Meta-World's {environment} with hidden goals",
        obs_dim=OBSERVATION_SIZE,
        action_dim=ACTION_SIZE,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        parameters={"rand_vec": _rand_vec(box, observed_start=environment not in SAME_START)},
        splits={
            name: Split(listed=tuple({"rand_vec": _vector(row, width)} for row in rows[number]))
            for name, rows in vectors.items()
        },
        has_success=True,
        success_key="success",
        info_keys=INFO_KEYS,
        make_env=partial(make_environment, (environment,)),
        set_task=partial(apply_task, only=environment),
        probe=probe,
        boxes={number: box},
    )


def ml10() -> MetaWorldFamily:
    """Build ml10."""
    goals = load()
    splits = {
        "train": _tasks(ML10_TRAIN, goals.ml10_train),
        "test": _tasks(ML10_TEST, goals.ml10_test),
        "validation": _tasks(ML10_VALIDATION, _validation(goals, ML10_VALIDATION)),
    }
    return _many("ml10", "Meta-World's ML10: 5 unseen environments after 10", ML10_TRAIN, splits)


def ml45() -> MetaWorldFamily:
    """Build ml45."""
    goals = load()
    splits = {
        "train": _tasks(ML45_TRAIN, goals.ml45_train),
        "test": _tasks(ML45_TEST, goals.ml45_test),
        "validation": _tasks(ML45_TRAIN, _validation(goals, ML45_TRAIN)[:, :FEW]),
    }
    return _many("ml45", "Meta-World's ML45: 5 unseen environments after 45", ML45_TRAIN, splits)


def mt10() -> MetaWorldFamily:
    """Build mt10: environment and goal are seen, and the tasks of the test are those of the training."""
    tasks = _tasks(MT10, load().mt10)
    splits = {"train": tasks, "test": tasks}
    return _many("mt10", "Meta-World's MT10: 10 environments, nothing hidden", MT10, splits, visible=True)


def _many(
    name: str,
    summary: str,
    environments: Sequence[str],
    splits: Mapping[str, tuple[Mapping[str, Value], ...]],
    *,
    visible: bool = False,
) -> MetaWorldFamily:
    goals = load()
    boxes = {number_of(environment): _box(goals, number_of(environment), WIDTH) for environment in environments}
    one_hot = tuple(environments) if visible else ()
    which = Parameter(
        distribution=Choice(tuple(boxes)),
        unit="1",
        doc="environment: place in the list of Meta-World's 50",
        hidden=not visible,
        allowed=tuple(float(number) for number in range(len(ENVIRONMENTS))),
        observed_start=not visible,  # other objects, at other places
    )
    return MetaWorldFamily(
        name=name,
        summary=summary,
        obs_dim=OBSERVATION_SIZE + len(one_hot),
        action_dim=ACTION_SIZE,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        parameters={
            "environment": which,
            "rand_vec": _rand_vec(*boxes.values(), hidden=not visible, observed_start=not visible),
        },
        splits={split: Split(listed=tasks) for split, tasks in splits.items()},
        has_success=True,
        shared_splits=visible,
        success_key="success",
        info_keys=INFO_KEYS,
        make_env=partial(make_environment, tuple(environments), goal_visible=visible, one_hot=one_hot),
        set_task=apply_task,
        probe=probe,
        boxes=boxes,
    )


def _rand_vec(*boxes: Box, observed_start: bool, hidden: bool = True) -> Parameter:
    """Describe the vector. The distribution only gives the range over all components; tasks are listed one by one."""
    ends = [end for box in boxes for component in box for end in component]
    return Parameter(
        distribution=Uniform(min(ends), max(ends), size=len(boxes[0][0])),
        unit="m",
        doc="Meta-World's own vector: places of object and goal",
        hidden=hidden,
        bounds=PLACES,
        observed_start=observed_start,
    )


def _tasks(environments: Sequence[str], vectors: FloatArray) -> tuple[Mapping[str, Value], ...]:
    """List the tasks of several environments, vectors [environments, tasks, W]: the first of each, then the second ...

    So the beginning of the list, which is what short evaluations look at, has all environments in it.
    """
    return tuple(
        {"environment": float(number_of(environment)), "rand_vec": _vector(row, WIDTH)}
        for rows in vectors.swapaxes(0, 1)
        for environment, row in zip(environments, rows, strict=True)
    )


def _validation(goals: Goals, environments: Sequence[str]) -> FloatArray:
    return goals.ml1_validation[[number_of(environment) for environment in environments]]


def _box(goals: Goals, number: int, width: int) -> Box:
    return _vector(goals.low[number], width), _vector(goals.high[number], width)


def _vector(row: Iterable[float], width: int) -> tuple[float, ...]:
    return tuple(float(place) for place in row)[:width]
