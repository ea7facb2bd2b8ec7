"""What walker-params and hopper-params share: a planar runner whose physical numbers are multiplied, vector by vector.

The reset and the observation are those of Gymnasium's v5 environments; a seed gives the same first state as there.

The four vectors scale what the model holds, number by number, in its own order:

- mass [B]: each body's mass, and only the mass;
- inertia [3 B]: each body's three principal moments of inertia;
- friction [3 G]: each geom's sliding, torsional and rolling friction;
- damping [J]: the damping of each degree of freedom.

Some entries can't act, and are kept so that the vectors have the model's own shapes: the world's mass and inertia, the
two moments of each body about axes in the plane of motion, torsional and rolling friction (nothing turns about a
contact's normal in the plane, and these contacts don't resist rolling), and the damping of the three root joints (it
is 0). A contact's friction is the larger one of the two geoms', so the floor's bounds a foot's from below.

Shapes: N tasks, B bodies with the world, G geoms, J degrees of freedom; qpos [N, J] and qvel [N, J]: x, z, pitch, then
the joints; observation [N, 2 J - 1].
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np

from mql.robots.description import Robot
from mql.tasks.distributions import Distribution, LogUniform, Value
from mql.tasks.families.rewards import control_cost
from mql.tasks.family import Array, BoolArray, Split
from mql.tasks.parameter import Parameter
from mql.tasks.physics.fields import SMALLEST_SCALE, Change, change
from mql.tasks.stepping.rollout import MujocoFamily
from mql.tasks.stepping.state import Outcome, State

EPISODE_LENGTH = 200  # control steps: 3.2 s
PHYSICS_TIMESTEP = 0.004  # s; twice the model files', as published; four make a control step
RESET_NOISE = 5e-3  # m or rad for positions, m/s or rad/s for velocities; uniform
VELOCITY_LIMIT = 10.0  # m/s or rad/s; the agent sees nothing faster
ALIVE_REWARD = 1.0  # per step, as much as running at 1 m/s
CONTROL_COST_WEIGHT = 1e-3  # per step and squared unit of action: a hint only, six joints at full torque cost 0.006

# A multiplier is BASE ** u with u uniform in [-SPREAD, SPREAD]: damping varies less than the others.
SPREAD = 3.0
BASE = 1.5
DAMPING_BASE = 1.3
# Tasks outside: slipperier and more damped than any in training. Masses and inertias stay what training has.
OUTSIDE = (3.05, 4.0)  # of the exponent


@dataclass(frozen=True, kw_only=True, eq=False)
class PlanarRunner(MujocoFamily):
    """A planar runner with varied physics, rewarded for speed; a subclass says when it has fallen."""

    episode_length: int = EPISODE_LENGTH

    def changes(self) -> Mapping[str, Sequence[Change]]:
        """Return what the multipliers change, body by body and geom by geom, and the length of a physics step."""
        return {
            "mass": (change("scale", "body_mass_only", body=self._names("body")[1:]),),
            **{f"inertia {n}": (change("scale", "body_inertia", body=n),) for n in self._names("body")[1:]},
            **{f"friction {n}": (change("scale", "geom_friction", geom=n),) for n in self._names("geom")},
            "damping": (change("scale", "dof_damping", joint=self.robot.joints),),
            "timestep": (change("set", "timestep"),),  # twice the model file's, but for the variant ``v5``
        }

    def changed_to(self, parameters: Mapping[str, Value]) -> Mapping[str, Value]:
        """Return the values of these changes: the world has no mass and no inertia."""
        values = cast(Mapping[str, tuple[float, ...]], parameters)
        inertia, friction = (
            {f"{name} {each}": values[name][3 * n : 3 * n + 3] for n, each in enumerate(self._names(kind))}
            for name, kind in (("inertia", "body"), ("friction", "geom"))
        )
        own: dict[str, Value] = {
            "mass": values["mass"][1:],
            "damping": values["damping"],
            "timestep": self.robot.physics_timestep,
        }
        return inertia | friction | own

    def _names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the model's bodies or geoms, in its order."""
        base = self.base()
        count = {"body": base.nbody, "geom": base.ngeom}[kind]
        return tuple(getattr(base, kind)(index).name for index in range(count))

    def initial_state(self, rng: np.random.Generator, parameters: Mapping[str, Value]) -> tuple[Array, Array]:
        """Draw a pose next to the upright one, all but at rest."""
        rest = np.array(self.robot.rest)
        qpos = rest + rng.uniform(-RESET_NOISE, RESET_NOISE, size=rest.size)
        qvel = rng.uniform(-RESET_NOISE, RESET_NOISE, size=rest.size)
        return qpos, qvel

    def observe(self, state: State) -> Array:
        """Return all positions but x, and all velocities, clipped: [N, 2 J - 1]."""
        return np.concatenate([state.qpos[:, 1:], np.clip(state.qvel, -VELOCITY_LIMIT, VELOCITY_LIMIT)], axis=1)

    def seen_states(self, before: Array, after: Array) -> tuple[State, State]:
        """Return the states that observations tell, with the torso's way estimated from its speeds, for `reward`."""
        joints = len(self.robot.joints)
        states = []
        for obs in (before, after):
            qpos = np.zeros((len(obs), joints))
            qpos[:, 1:] = obs[:, : joints - 1]
            states.append(State(qpos, obs[:, joints - 1 :]))
        first, second = states
        second.qpos[:, 0] = self.displacement(first.qvel[:, 0], second.qvel[:, 0])
        return first, second

    def at_model_clock(self, robot: Robot) -> Self:
        """Return the variant ``v5``: `robot` with its model's own clock, as in Gymnasium's v5 environments."""
        step = robot.control_timestep
        return self.variant("v5", f"Gymnasium's control step of {step:g} s", robot=robot, control_timestep=step)

    @abstractmethod
    def fallen(self, after: State) -> BoolArray:
        """Tell which robots have fallen, [N]; NaN has not."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        """Reward forward speed and being up, and punish effort a little."""
        speed = (after.qpos[:, 0] - before.qpos[:, 0]) / self.control_timestep
        effort = control_cost(action, weight=CONTROL_COST_WEIGHT)
        reward: Array = speed + ALIVE_REWARD - effort
        return Outcome(reward, terminated=self.fallen(after), info={"x_velocity": speed, "control_cost": effort})


def clocked(robot: Robot) -> Robot:
    """Return a robot that steps as in the published program, 0.016 s."""
    return replace(robot, physics_timestep=PHYSICS_TIMESTEP)


def multipliers(robot: Robot) -> dict[str, Parameter]:
    """Return the four vectors of multipliers for a robot with one geom for each body, the floor being the world's."""
    bodies = len(robot.masses) + 1
    heavy = (SMALLEST_SCALE, math.inf)  # a mass or inertia of 0 can't be moved
    rough = (0.0, math.inf)
    return {
        "mass": _parameter(BASE, bodies, "mass of each body, with the world", heavy),
        "inertia": _parameter(BASE, 3 * bodies, "three moments of inertia of each body", heavy),
        "friction": _parameter(BASE, 3 * bodies, "sliding, torsional and rolling friction of each geom", rough),
        "damping": _parameter(DAMPING_BASE, len(robot.joints), "damping of each degree of freedom", rough),
    }


def splits(robot: Robot) -> dict[str, Split]:
    """Return the splits: 40 tasks to train on, 10 to test on, and 10 outside."""
    low, high = OUTSIDE
    outside: dict[str, Distribution] = {
        "friction": LogUniform(BASE**-high, BASE**-low, 3 * (len(robot.masses) + 1)),
        "damping": LogUniform(DAMPING_BASE**low, DAMPING_BASE**high, len(robot.joints)),
    }
    return {
        "train": Split(n=40, seed=1),
        "test": Split(n=10, seed=2),
        "ood": Split(n=10, seed=3, override=outside),
    }


def _parameter(base: float, size: int, doc: str, bounds: tuple[float, float]) -> Parameter:
    spread = LogUniform(base**-SPREAD, base**SPREAD, size)
    return Parameter(distribution=spread, unit="1", doc=f"factors on the {doc}", bounds=bounds)
