"""The Fetch robot's four tasks of Gymnasium-Robotics, with hidden goals and hidden physics.

Description: an arm of 7 joints, driven by displacements of its gripper, reaches a point (``fetch-reach``), pushes a
block (``fetch-push``), hits a puck so that it slides (``fetch-slide``) or lifts a block (``fetch-pick``). Reward at
each of 50 steps: minus the distance (m) of gripper or object to the goal; in the ``-sparse`` families -1 beyond 0.05
m, else 0. An episode never ends early. The agent sees neither the goal nor the distance: it must infer the goal from
rewards.
Parameters: goal (m), as far around the gripper's first place as the package draws it; mass of the object and friction
between object and table, as multiples of the package's. ``-physics`` adds damping of the arm, strength of the grip
(pick, where the fingers move), delay and gain of actions, and an offset of the seen gripper.
Success: the object is within 0.05 m of the goal at any step. In ``fetch-reach`` the gripper must be there at the last
step, because one that moves at random passes a fifth of the goals.

Shapes: observation [10] for reach, [25] with an object; action [4]: displacement x, y, z and gripper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from mql.tasks.distributions import Choice, Disc, Distribution, LogUniform, Uniform
from mql.tasks.families.robotics.environment import set_task
from mql.tasks.families.robotics.fetch_environment import EPISODE_LENGTH, make_fetch
from mql.tasks.families.robotics.fetch_parallel import FetchFamily
from mql.tasks.families.robotics.fetch_probe import probe_grasping, probe_pushing, probe_reaching, probe_sliding
from mql.tasks.families.robotics.fetch_scenes import SCENES
from mql.tasks.family import Split, SuccessAt
from mql.tasks.parameter import Parameter
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

CONTROL_TIMESTEP = 0.04  # s; 20 physics steps of 2 ms
GOAL_RANGE = 0.15  # m; training goals lie this far in x and y (reach: and z) from the gripper's first place
SLIDE_GOAL_RANGE = 0.3  # m; likewise around a point 0.4 m ahead of the gripper
GOAL_HEIGHT = 0.45  # m; lifted blocks go up to here, and the arm follows up to 0.5 m within 0.02 m
GOAL_BOUNDS = (-1.0, 1.0)  # m; far beyond the arm's reach, but still a number to be judged by

REACH_OOD = Uniform(0.155, 0.2, size=3)  # m; ahead, left and up, beyond the training cube
# Rings around the training square, whose corners are sqrt(2) times its range away.
PUSH_OOD = Disc(radius=0.22, inner_radius=0.2125)  # m; up to 0.016 m over the table edge, less than the tolerance
SLIDE_OOD = Disc(radius=0.46, inner_radius=0.4255)  # m; up to 0.01 m over the edge
HEIGHT_OOD = Uniform(0.455, 0.5)  # m

SCALES = LogUniform(0.5, 2.0)  # half to twice what the package has: block and puck of 1 to 4 kg
HEAVIER = LogUniform(2.2, 4.0)
MORE_SLIPPERY = LogUniform(0.25, 0.45)
SCALE_BOUNDS = (0.01, 100.0)  # beyond, the physics step of 2 ms no longer holds the contact
DELAYS = (0.0, 1.0, 2.0)  # control steps, of 40 ms
LATER = 3.0  # control steps
LONGEST_DELAY = 10  # control steps; a fifth of an episode
GAINS = Uniform(0.5, 1.5)
WEAKER_GAINS = Uniform(0.3, 0.45)
GAIN_BOUNDS = (0.0, 10.0)
SENSOR_OFFSETS = Uniform(-0.02, 0.02, size=3)  # m; less than half a block
LARGER_OFFSETS = Uniform(0.025, 0.04, size=3)  # m


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What tells one of the four tasks from the others; `goal` and `ood` say where goals lie."""

    env_id: str
    summary: str
    goal: Distribution
    ood: Mapping[str, Distribution]
    doc: str
    has_object: bool = True
    success_at: SuccessAt = "any"
    lifts: bool = False


KINDS = {
    "reach": Kind(
        env_id="FetchReach-v4",
        summary="an arm reaches a hidden point",
        goal=Uniform(-GOAL_RANGE, GOAL_RANGE, size=3),
        ood={"goal": REACH_OOD},
        doc="target of the gripper, x, y and z seen from its first place",
        has_object=False,
        success_at="end",
    ),
    "push": Kind(
        env_id="FetchPush-v4",
        summary="an arm pushes a block of hidden mass and friction to a hidden place",
        goal=Uniform(-GOAL_RANGE, GOAL_RANGE, size=2),
        ood={"goal": PUSH_OOD},
        doc="target of the block on the table, x and y seen from the gripper's first place",
    ),
    "slide": Kind(
        env_id="FetchSlide-v4",
        summary="an arm hits a puck of hidden mass and friction so that it slides to a hidden place",
        goal=Uniform(-SLIDE_GOAL_RANGE, SLIDE_GOAL_RANGE, size=2),
        ood={"goal": SLIDE_OOD},
        doc="target of the puck, x and y seen from 0.4 m ahead of the gripper's first place",
    ),
    "pick": Kind(
        env_id="FetchPickAndPlace-v4",
        summary="an arm brings a block of hidden mass and friction to a hidden place, on the table or in the air",
        goal=Uniform(-GOAL_RANGE, GOAL_RANGE, size=2),
        ood={"goal": PUSH_OOD, "goal_height": HEIGHT_OOD},
        doc="target of the block, x and y seen from the gripper's first place",
        lifts=True,
    ),
}
PROBES = {"reach": probe_reaching, "push": probe_pushing, "slide": probe_sliding, "pick": probe_grasping}


def fetch(kind: str, variant: str = "") -> FetchFamily:
    """Build one family: `kind` is reach, push, slide or pick; `variant` is nothing, ``sparse`` or ``physics``."""
    return FetchFamily(
        **_common(kind, variant),
        scene=SCENES[kind],
        sparse=variant == "sparse",
    )


def wrapped(kind: str, variant: str = "") -> GymnasiumFamily:
    """Build the same family around the package's own environment, to compare with: its name ends in ``-wrapped``."""
    common = _common(kind, variant)
    return GymnasiumFamily(
        **common | {"name": f"{common['name']}-wrapped", "summary": f"{common['summary']} (the package's environment)"},
        make_env=partial(make_fetch, KINDS[kind].env_id, "sparse" if variant == "sparse" else "dense"),
        set_task=set_task,
        observed_keys=("observation",),
        success_key="is_success",
    )


def _common(kind: str, variant: str) -> dict[str, Any]:
    facts = KINDS[kind]
    parameters, ood = _goal(facts), dict(facts.ood)
    if facts.has_object:
        parameters |= _object_physics()
        ood |= {"mass": HEAVIER, "friction": MORE_SLIPPERY}
    if variant == "physics":
        parameters |= _robot_physics(facts)
        ood |= {
            "damping": HEAVIER,
            "action_delay": Choice((LATER,)),
            "action_gain": WEAKER_GAINS,
            "sensor_offset": LARGER_OFFSETS,
        }
        ood |= {"grip": MORE_SLIPPERY} if facts.lifts else {}
    return {
        "name": f"fetch-{kind}-{variant}" if variant else f"fetch-{kind}",
        "summary": facts.summary
        + {"": "", "sparse": "; sparse reward", "physics": ", with hidden actuation and sensing"}[variant],
        "obs_dim": 25 if facts.has_object else 10,
        "action_dim": 4,
        "episode_length": EPISODE_LENGTH,
        "control_timestep": CONTROL_TIMESTEP,
        "success_at": facts.success_at,
        "has_success": True,
        "parameters": parameters,
        "splits": {
            "train": Split(n=100, seed=1),
            "test": Split(n=30, seed=2),
            "ood": Split(n=20, seed=3, override=ood),
        },
        "probe": PROBES[kind],
    }


def _goal(facts: Kind) -> dict[str, Parameter]:
    goal = {"goal": Parameter(distribution=facts.goal, unit="m", doc=facts.doc, bounds=GOAL_BOUNDS)}
    if not facts.lifts:
        return goal
    # Half of the goals lie on the table, as in the package: everything below 0 means 0.
    height = Parameter(
        distribution=Uniform(-GOAL_HEIGHT, GOAL_HEIGHT),
        unit="m",
        doc="target of the block above the table; on the table from 0 down",
        bounds=GOAL_BOUNDS,
    )
    return goal | {"goal_height": height}


def _object_physics() -> dict[str, Parameter]:
    return {
        "mass": _scale("mass and inertia of the object, in multiples of 2 kg"),
        "friction": _scale("friction coefficients of object and table, in multiples of the package's"),
    }


def _robot_physics(facts: Kind) -> dict[str, Parameter]:
    grip = {"grip": _scale("position gain of both fingers, in multiples of 30 kN/m")} if facts.lifts else {}
    return {
        "damping": _scale("damping of the arm's seven joints, in multiples of the package's"),
        **grip,
        "action_delay": Parameter(
            distribution=Choice(DELAYS),
            unit="steps",
            doc="control steps of 0.04 s by which actions come late",
            allowed=tuple(float(steps) for steps in range(LONGEST_DELAY + 1)),
        ),
        "action_gain": Parameter(
            distribution=GAINS,
            unit="1",
            doc="the displacement is multiplied by this, then cut to a full stroke",
            bounds=GAIN_BOUNDS,
        ),
        "sensor_offset": Parameter(
            distribution=SENSOR_OFFSETS,
            unit="m",
            doc="x, y and z by which the gripper is seen beside its place",
            bounds=GOAL_BOUNDS,
            observed_start=True,  # the gripper always starts at one place, so where it is seen there tells the offset
        ),
    }


def _scale(doc: str) -> Parameter:
    return Parameter(distribution=SCALES, unit="1", doc=doc, bounds=SCALE_BOUNDS)
