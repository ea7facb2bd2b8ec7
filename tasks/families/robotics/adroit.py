"""adroit-door and adroit-hammer: a hand on an arm opens a door or drives a nail, with hidden physics.

Description: the Adroit hand of Gymnasium-Robotics, 200 steps, with the package's dense reward: terms for hand, door
or hammer and nail, and bonuses for what is done. An episode never ends early. Where door or nail board stands is
drawn from the seed and seen; what is hidden is how hard the work is.
Parameters (multiples of the package's values): door: damping and dry friction of the hinge, dry friction of the
latch, and mass of the door. Hammer: mass of the hammer, dry friction of the nail, and friction of all surfaces. All
half to twice in training; tasks outside: more resistance and less hold.
Success: the door is open by 1.35 rad, or the nail is within 0.01 m of its place, at any step.

Shapes: door: observation [39], action [28]; hammer: observation [46], action [26].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from mql.tasks.distributions import Distribution, LogUniform, Value
from mql.tasks.families.robotics.environment import make_robotics, set_task, simulation_of
from mql.tasks.family import FloatArray, Split
from mql.tasks.parameter import Parameter
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import Change, change
from mql.tasks.scenes.source import MjcfFile
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

EPISODE_LENGTH = 200  # control steps: 2 s
CONTROL_TIMESTEP = 0.01  # s; 5 physics steps of 2 ms
SCALES = LogUniform(0.5, 2.0)
HEAVIER = LogUniform(2.2, 4.0)
MORE_SLIPPERY = LogUniform(0.25, 0.45)
SCALE_BOUNDS = (0.01, 100.0)  # beyond, the physics step of 2 ms no longer holds the contacts

# What the probes press with; each is between what the easiest and the hardest training task needs, or above.
LATCH_TORQUE = 12.0  # N m; dry friction takes 2.5 to 10
HINGE_TORQUE = 6.0  # N m that opens the door; dry friction takes 1 to 4
NAIL_FORCE = 8.0  # N at the end of a ramp; dry friction takes 1.25 to 5
HAMMER_LIFT = 4.0  # N; the hammer weighs 1.2 to 5
HAMMER_PUSH = 1.5  # N along the table


Changes = Mapping[str, tuple[Change, ...]]


class AdroitTask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An Adroit environment whose physics are set as multiples of the package's."""

    def __init__(self, env: gymnasium.Env[Any, Any], changes: Changes) -> None:
        super().__init__(env)
        simulation: Any = env.unwrapped
        self._simulation = simulation
        self.physics_changes = PhysicsChanges(
            simulation.model, changes, where=lambda key: f"adroit: {key}", source=MjcfFile(Path(simulation.fullpath))
        )

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Change the physics at once."""
        self.physics_changes.apply(self._simulation.model, parameters)


DOOR: Changes = {
    "hinge_damping": (change("scale", "dof_damping", joint="door_hinge"),),
    "hinge_friction": (change("scale", "dof_frictionloss", joint="door_hinge"),),
    "latch_friction": (change("scale", "dof_frictionloss", joint="latch"),),
    "mass": (change("scale", "body_mass", body="door"),),
}
HAMMER: Changes = {
    "nail_friction": (change("scale", "dof_frictionloss", joint="nail_dir"),),
    "friction": tuple(change("scale", "geom_friction", index=index, geom="*") for index in range(3)),
    "mass": (change("scale", "body_mass", body="Object"),),
}


def make_adroit(env_id: str, changes: Changes, render_mode: str | None = None) -> AdroitTask:
    """Build one environment; `changes` say what a task changes in its model."""
    return AdroitTask(make_robotics(env_id, render_mode=render_mode), changes)


def probe_door(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Turn the latch and pull the door open with unseen forces, let go halfway; the hand keeps out of the way."""
    simulation = simulation_of(env)
    force, model = simulation.data.qfrc_applied, simulation.model
    force[_dof(model, "latch")] = LATCH_TORQUE if 10 <= t < 100 else 0.0
    force[_dof(model, "door_hinge")] = HINGE_TORQUE if 50 <= t < 100 else 0.0
    return _rest(simulation)


def probe_hammer(env: gymnasium.Env[Any, Any], obs: FloatArray, t: int) -> FloatArray:
    """Press on the nail ever harder, push the hammer along the table, lift it; the hand keeps out of the way."""
    simulation = simulation_of(env)
    data, model = simulation.data, simulation.model
    data.qfrc_applied[_dof(model, "nail_dir")] = NAIL_FORCE * t / EPISODE_LENGTH
    push = HAMMER_PUSH if 20 <= t < 60 else 0.0
    lift = HAMMER_LIFT if 100 <= t < 130 else 0.0
    data.xfrc_applied[int(model.body("Object").id), :3] = [push, 0.0, lift]
    return _rest(simulation)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What tells the door from the hammer."""

    env_id: str
    summary: str
    obs_dim: int
    action_dim: int
    changes: Changes
    docs: Mapping[str, str]
    ood: Mapping[str, Distribution]
    probe: Callable[[gymnasium.Env[Any, Any], FloatArray, int], FloatArray]


WORKS = {
    "door": Work(
        env_id="AdroitHandDoor-v1",
        summary="a hand opens a door of hidden weight and friction",
        obs_dim=39,
        action_dim=28,
        changes=DOOR,
        docs={
            "hinge_damping": "damping of the door's hinge, in multiples of 1 N m s/rad",
            "hinge_friction": "dry friction of the door's hinge, in multiples of 2 N m",
            "latch_friction": "dry friction of the latch, in multiples of 5 N m",
            "mass": "mass and inertia of the door without its latch, in multiples of 2.4 kg",
        },
        ood={"hinge_damping": HEAVIER, "hinge_friction": HEAVIER, "latch_friction": HEAVIER, "mass": HEAVIER},
        probe=probe_door,
    ),
    "hammer": Work(
        env_id="AdroitHandHammer-v1",
        summary="a hand drives a nail with a hammer of hidden weight",
        obs_dim=46,
        action_dim=26,
        changes=HAMMER,
        docs={
            "mass": "mass and inertia of the hammer, in multiples of 0.25 kg",
            "nail_friction": "dry friction of the nail, in multiples of 2.5 N",
            "friction": "friction coefficients of all surfaces, in multiples of the package's",
        },
        ood={"mass": HEAVIER, "nail_friction": HEAVIER, "friction": MORE_SLIPPERY},
        probe=probe_hammer,
    ),
}


def adroit(work: str) -> GymnasiumFamily:
    """Build one family: `work` is door or hammer."""
    facts = WORKS[work]
    return GymnasiumFamily(
        name=f"adroit-{work}",
        summary=facts.summary,
        obs_dim=facts.obs_dim,
        action_dim=facts.action_dim,
        episode_length=EPISODE_LENGTH,
        control_timestep=CONTROL_TIMESTEP,
        make_env=partial(make_adroit, facts.env_id, facts.changes),
        set_task=set_task,
        success_key="success",
        has_success=True,
        parameters={
            name: Parameter(distribution=SCALES, unit="1", doc=doc, bounds=SCALE_BOUNDS)
            for name, doc in facts.docs.items()
        },
        splits={
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override=facts.ood),
        },
        probe=facts.probe,
    )


def _dof(model: mujoco.MjModel, joint: str) -> int:
    return int(model.joint(joint).dofadr[0])


def _rest(simulation: Any) -> FloatArray:
    """Return the action [A] that holds the joints where they start: at angle zero."""
    action: FloatArray = (-simulation.act_mean / simulation.act_rng).astype(np.float32)
    return action
