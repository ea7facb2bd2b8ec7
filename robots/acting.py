"""What becomes of each key of a robot's spec: which ones a simulation follows, which are compared with the model.

A key that does neither is said by name in `mql robots check` (the check *stated*): it is worth writing down for the
real machine, but nobody should take it for simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mql.robots.spec import RobotSpec

TEXT = "for people"
COMPARED = "compared with the model by mql robots check"
_BUILT = f"{COMPARED}; built from this where it has none, or with replace_actuators"
_CONTROL = "control modes keep it"

# Dotted key, with * for a name -> what follows it; None: nothing does.
ACTS: Mapping[str, str | None] = {
    "schema": "the file's format",
    "name": TEXT,
    "version": TEXT,
    "description": TEXT,
    "licence": TEXT,
    "source": TEXT,
    "sources": TEXT,
    "mjcf": "the model",
    "physics_timestep_s": f"{COMPARED}; a URDF gets it",
    "base.body": COMPARED,
    "base.kind": f"{COMPARED}; free: a URDF gets a free joint",
    "base.joints": "mql tasks new leaves them out of the goal",
    "mount.pos": "scenes: the robot stands there",
    "mount.quat": "scenes: the robot stands so",
    "home": "episodes start there, where the model has no keyframe home",
    "end_effector.site": "ee_delta moves it, mql tasks new aims at it; a URDF gets a site where it names a link",
    "gripper.actuators": "ee_delta has a number for them",
    "gripper.open": "ee_delta",
    "gripper.close": "ee_delta",
    "joints.*.kind": COMPARED,
    "joints.*.position_range": COMPARED,
    "joints.*.unlimited": COMPARED,
    "joints.*.velocity_limit": _CONTROL,
    "joints.*.effort_limit": COMPARED,
    "joints.*.armature": f"{COMPARED}; a URDF gets it",
    "actuators.*.joint": _BUILT,
    "actuators.*.kind": _BUILT,
    "actuators.*.control_range": _BUILT,
    "actuators.*.gain": _BUILT,
    "actuators.*.damping": _BUILT,
    "actuators.*.gear": _BUILT,
    "actuators.*.force_range": _BUILT,
    "replace_actuators": "the model gets the actuators that are stated",
    "control.*": "what an action means, in definitions with this robot",
    "exclude": "these bodies do not collide",
    "sensors.*": "noise and delay of what definitions with this robot observe",
    "randomise.*": "definitions that say 'randomise: robot' draw it per episode",
    "attach.*.site": f"{COMPARED}; a URDF gets a site where it names a link",
    "attach.*.body": COMPARED,
    "safety.joint_speed_fraction": _CONTROL,
    "safety.end_effector_speed_m_s": _CONTROL,
    "safety.contact_force_n": None,
    "safety.payload_kg": "mql robots check: can the motors hold it at home?",
    "safety.workspace_low_m": _CONTROL,
    "safety.workspace_high_m": _CONTROL,
    "masses": COMPARED,
    "view": "pictures",
}

# What to do about a key that nothing follows.
INSTEAD: Mapping[str, str] = {"safety.contact_force_n": "punish it by a term of the reward"}


def not_simulated(spec: RobotSpec) -> list[str]:
    """Return the dotted keys that a spec states and nothing follows."""
    idle = [key for key, follows in ACTS.items() if follows is None]
    stated = spec.model_dump(by_alias=True, exclude_unset=True)
    return [found for key in idle for found in _stated(stated, key.split("."), "")]


def _stated(tree: Any, rest: list[str], done: str) -> Iterator[str]:
    if not rest:
        if tree is not None:
            yield done
        return
    if not isinstance(tree, Mapping):
        return
    for name in tree if rest[0] == "*" else [rest[0]] if rest[0] in tree else []:
        yield from _stated(tree[name], rest[1:], f"{done}.{name}" if done else str(name))
