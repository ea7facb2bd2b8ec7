"""The numbers of a compiled MuJoCo model that a definition may change: who has them, how many, and their limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SMALLEST = 1e-9  # kg, kg m^2, s or a scale: physics needs more than 0, and nothing that a lab weighs is lighter


@dataclass(frozen=True, kw_only=True)
class ChangeField:
    """One field.

    Args:
        array: the array of the model that holds it: ``model.<array>``, or ``model.opt.<array>`` for an option.
        targets: which keys of a change may name what is changed; empty for an option, which is the model's own.
        width: components of each one's value.
        unit: of a value that is set or added.
        low: the lowest value that physics allows.
        default_index: the component that a plain number means where the change has no index; None: all of them for
            op scale, and an index is needed for set and add.
        increasing: the two components are a range, the first below the second.
    """

    array: str
    targets: tuple[str, ...] = ()
    width: int = 1
    unit: str = "1"
    low: float = -math.inf
    default_index: int | None = None
    increasing: bool = False


_BODY, _JOINT, _GEOM, _SITE = ("body",), ("joint",), ("geom",), ("site",)
_ACTUATOR = ("actuator", "joint")  # some models leave actuators unnamed; those go by the joint that they drive

FIELDS: Mapping[str, ChangeField] = MappingProxyType(
    {
        "body_mass": ChangeField(array="body_mass", targets=_BODY, unit="kg", low=SMALLEST),
        "body_inertia": ChangeField(array="body_inertia", targets=_BODY, width=3, unit="kg m^2", low=SMALLEST),
        "body_pos": ChangeField(array="body_pos", targets=_BODY, width=3, unit="m"),
        "body_gravcomp": ChangeField(array="body_gravcomp", targets=_BODY),
        "geom_friction": ChangeField(array="geom_friction", targets=_GEOM, width=3, low=0.0, default_index=0),
        "geom_pos": ChangeField(array="geom_pos", targets=_GEOM, width=3, unit="m"),
        "geom_size": ChangeField(array="geom_size", targets=_GEOM, width=3, unit="m", low=SMALLEST),
        "dof_damping": ChangeField(array="dof_damping", targets=_JOINT, unit="N s/m or N m s/rad", low=0.0),
        "dof_frictionloss": ChangeField(array="dof_frictionloss", targets=_JOINT, unit="N or N m", low=0.0),
        "dof_armature": ChangeField(array="dof_armature", targets=_JOINT, unit="kg or kg m^2", low=0.0),
        "jnt_range": ChangeField(array="jnt_range", targets=_JOINT, width=2, unit="m or rad", increasing=True),
        "jnt_stiffness": ChangeField(array="jnt_stiffness", targets=_JOINT, unit="N/m or N m/rad", low=0.0),
        "qpos_spring": ChangeField(array="qpos_spring", targets=_JOINT, unit="m or rad"),
        "actuator_gear": ChangeField(array="actuator_gear", targets=_ACTUATOR, width=6, default_index=0),
        "position_gain": ChangeField(array="actuator_gainprm", targets=_ACTUATOR, unit="N/m or N m/rad", low=0.0),
        "actuator_forcerange": ChangeField(
            array="actuator_forcerange", targets=_ACTUATOR, width=2, unit="N or N m", increasing=True
        ),
        "site_pos": ChangeField(array="site_pos", targets=_SITE, width=3, unit="m"),
        "gravity": ChangeField(array="gravity", width=3, unit="m/s^2"),
        "wind": ChangeField(array="wind", width=3, unit="m/s"),
        "timestep": ChangeField(array="timestep", unit="s", low=SMALLEST),
        "density": ChangeField(array="density", unit="kg/m^3", low=0.0),
        "viscosity": ChangeField(array="viscosity", unit="Pa s", low=0.0),
    }
)


def allowed_range(field: str, op: str) -> tuple[float, float]:
    """Return the lowest and highest parameter that physics allows a change of `field` by `op`.

    What is added is judged by the sum, which the model must be known for; so nothing is excluded here.
    """
    low = FIELDS[field].low
    if op == "add" or low < 0.0:
        return (-math.inf, math.inf)
    return (low, math.inf)
