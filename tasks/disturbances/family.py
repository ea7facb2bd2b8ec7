"""Any family made harder: its senses are noisy, late or biased, its actuators slow, weak or limited::

    from mql.tasks.disturbances.family import disturbed
    from mql.tasks.disturbances.settings import Actuation, Sensing

    family = disturbed(registry.load("cheetah-vel"), Sensing(noise=0.01), Actuation(delay_s=0.05))

The result is a family like any other, of the same name and the same tasks. Rewards, success and info are those of the
true state, and follow from the action that reaches the simulation; the agent, its context and the replay hold what was
seen and what was commanded, as a lab's log does. So `TaskFamily.reward` is None here: what rewards follow from is not
seen.

Shapes: N tasks, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from mql.tasks.disturbances.actuators import Actuators
from mql.tasks.disturbances.batch import DisturbedBatch, DisturbedEnvironment
from mql.tasks.disturbances.checking import check, known_bounds
from mql.tasks.disturbances.sensors import Layout, Sensors, steps_of
from mql.tasks.disturbances.settings import Actuation, Sensed, Sensing, disturbance_lines
from mql.tasks.family import Definition, FloatArray, Handling, Task, TaskFamily
from mql.tasks.physics.nuisances import Nuisance


@dataclass(frozen=True, kw_only=True, eq=False)
class DisturbedFamily(TaskFamily):
    """A family around another one; `disturbed` builds it.

    Args:
        inner: the family as it was.
        sensed: how the numbers of its observations are seen; those that it doesn't name, as they are.
        actuation: what becomes of actions.
        section: what messages put before the keys, such as ``env.``.
    """

    inner: TaskFamily
    sensed: tuple[Sensed, ...]
    actuation: Actuation
    section: str = ""

    @property
    def depth(self) -> int:
        """How many disturbed families lie inside."""
        return self.inner.depth + 1 if isinstance(self.inner, DisturbedFamily) else 0

    @property
    def visible(self) -> tuple[str, ...]:
        """The task parameters that stand at the end of the observation, undisturbed."""
        return self.inner.visible

    @property
    def definition(self) -> Definition | None:
        """The file that defines the inner family."""
        return self.inner.definition

    @property
    def handling(self) -> Handling | None:
        """Where the inner family shows hand and object: the newest readings stand first, in their order."""
        return self.inner.handling

    def make(self, task: Task, render_mode: str | None = None) -> gymnasium.Env[FloatArray, FloatArray]:
        """Build one Gymnasium environment for `task`; `env` of it is the undisturbed one.

        Raises:
            UserError: a task of another family, or an unknown render mode.
        """
        environment = self.inner.make(task, render_mode=render_mode)
        return DisturbedEnvironment(self, environment, self._sensors([task]), self._actuators([task]))

    def make_batch(self, tasks: Sequence[Task], *, threads: int = 1) -> DisturbedBatch:
        """Build a batch of `tasks`.

        Raises:
            UserError: no tasks, tasks of another family, or a thread count below 1.
        """
        batch = self.inner.make_batch(tasks, threads=threads)
        return DisturbedBatch(self, batch, self._sensors(tasks), self._actuators(tasks))

    def observed(self, signals: Mapping[str, npt.ArrayLike]) -> FloatArray | None:
        """Return what the inner family would have shown, with its history; the log's sensors did the rest.

        See `TaskFamily.observed`.
        """
        seen = self.inner.observed(signals)
        if seen is None or not self.sensed:
            return seen
        width = sensed_width(self.inner)
        layout = Layout.of(self.sensed, width)
        rows = np.maximum(np.arange(len(seen))[:, None] - layout.age, 0)
        stacked: FloatArray = np.concatenate([seen[rows, layout.columns], seen[:, width:]], axis=1)
        return stacked

    def variant(self, suffix: str, note: str, **changes: Any) -> Any:
        """Return the variant of the inner family, disturbed likewise."""
        return disturbed(self.inner.variant(suffix, note, **changes), self.sensed, self.actuation, section=self.section)

    def randomised(self, nuisances: Sequence[Nuisance]) -> TaskFamily:
        """Return the inner family with numbers of its model drawn anew for each episode, disturbed likewise."""
        return disturbed(self.inner.randomised(nuisances), self.sensed, self.actuation, section=self.section)

    def as_oracle(self) -> Any:
        """Return the ``-oracle`` variant, disturbed likewise; what it sees of the task parameters is true."""
        return disturbed(self.inner.as_oracle(), self.sensed, self.actuation, section=self.section)

    def _sensors(self, tasks: Sequence[Task]) -> Sensors | None:
        if not self.sensed:
            return None
        return Sensors(self.sensed, tasks, sensed_width(self.inner), self.control_timestep, self.depth)

    def _actuators(self, tasks: Sequence[Task]) -> Actuators | None:
        if self.actuation.off:
            return None
        return Actuators(self.actuation, tasks, self.action_dim, self.control_timestep)

    @property
    def _lists(self) -> dict[str, tuple[Task, ...]]:
        return self.inner._lists

    def _in_training_range(self, values: Any) -> bool:
        return self.inner._in_training_range(values)

    def __getstate__(self) -> dict[str, Any]:
        """Only what the family was made from."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def disturbed(
    family: TaskFamily,
    sensing: Sensing | Sequence[Sensed] = Sensing(),  # noqa: B008 - frozen
    actuation: Actuation = Actuation(),  # noqa: B008 - frozen
    *,
    section: str = "",
    where: Callable[[str], str] | None = None,
) -> TaskFamily:
    """Return `family` as it is seen and moved through disturbances; the family itself where there are none.

    Args:
        family: any family.
        sensing: how observations are seen: all numbers alike, or some each in its way. Visible task parameters, which
            stand at the end of an observation, are never disturbed.
        actuation: what becomes of actions.
        section: what messages put before the keys, such as ``env.``.
        where: says for messages where a dotted key such as ``sensing.noise`` stands, without the section.

    Raises:
        UserError: a negative number, a delay of an episode or more, or of less than half a control step, a history that
            is longer than an episode or too large, the name of no task parameter, or a wrong number of numbers.
    """
    sensed = sensing
    if isinstance(sensed, Sensing):
        whole = () if sensed.off else tuple(range(sensed_width(family)))
        sensed = (Sensed(key="sensing", columns=whole, sensing=sensed),)
    sensed = tuple(each for each in sensed if not each.sensing.off and each.columns)
    check(family, sensed, actuation, where or (lambda key: f"family {family.name}, {section}{key}"))
    if not sensed and actuation.off:
        return family
    width = sensed_width(family)
    own = {field.name: getattr(family, field.name) for field in fields(TaskFamily)}
    own["obs_dim"] = len(Layout.of(sensed, width).columns) + family.obs_dim - width
    own["parameters"] = known_bounds(family, sensed, actuation)
    own["episodes"] = (*family.episodes, *disturbance_lines(sensed, actuation))
    if family.probe is not None:
        own["probe"] = partial(_probe, family.probe)
    return DisturbedFamily(**own, inner=family, sensed=sensed, actuation=actuation, section=section)


def undisturbed(family: TaskFamily) -> TaskFamily:
    """Return the family that lies within all disturbances."""
    return undisturbed(family.inner) if isinstance(family, DisturbedFamily) else family


def sensed_width(family: TaskFamily) -> int:
    """Return how many numbers of a family's observations are no visible task parameters."""
    return family.obs_dim - sum(family.parameters[name].width for name in family.visible)


def remarks(family: TaskFamily) -> list[str]:
    """Say in a line each what of a family's disturbances is not simulated to the letter: delays that are rounded."""
    found: list[str] = []
    while isinstance(family, DisturbedFamily):
        step = family.control_timestep
        given = [(each.where("delay_s"), each.sensing.delay_s) for each in family.sensed]
        for key, delay in [*given, ("actuation.delay_s", family.actuation.delay_s)]:
            if isinstance(delay, str):
                continue
            whole = float(steps_of(np.array(delay), step)) * step
            if abs(delay - whole) > 1e-6 * step:
                text = f"{delay:g} s counts as {whole:g} s, whole control steps of {step:g} s"
                found.append(f"{family.section}{key} of {text}")
        family = family.inner
    return list(dict.fromkeys(found))


def _probe(
    probe: Callable[[gymnasium.Env[Any, Any], FloatArray, int], FloatArray],
    environment: gymnasium.Env[Any, Any],
    obs: FloatArray,
    step: int,
) -> FloatArray:
    """Ask a family's probe, which knows the undisturbed environment and what that shows."""
    assert isinstance(environment, DisturbedEnvironment)
    return probe(environment.env, environment.true_obs, step)
