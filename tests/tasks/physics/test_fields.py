"""Every field of the table: the changed model moves like one compiled from the changed file, over 200 steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
import pytest
from changed_models import Lab, all_bytes, change, lab, moved

from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import FIELDS, Change

pytestmark = pytest.mark.newest

HINGE, PUCK, LINK, TIP, CORD = (
    {"joint": "hinge"},
    {"geom": "puck"},
    {"body": "link"},
    {"body": "tip"},
    {"tendon": "cord"},
)
FREE = 'friction="0.8 0.005 0.0001"'
INERTIAL = '<inertial pos="0.01 0 0" mass="0.2" diaginertia="0.002 0.003 0.001"/>'
IN_PUCK = 'size=".1 .1 .08" pos="0 0 0" quat="1 0 0 0"'
HALF_TURN = float(np.cos(0.3))


class Case(NamedTuple):
    """A change, its value, and the same written into the file: pieces of text and what stands there instead."""

    change: dict[str, Any]
    value: Any
    edits: tuple[tuple[str, str], ...]


def inertial(text: str) -> tuple[str, str]:
    return INERTIAL, f"<inertial {text}/>"


CASES: dict[str, list[Case]] = {
    "body_mass": [
        Case(
            change("body_mass", **TIP), 0.5, (inertial('pos="0.01 0 0" mass="0.5" diaginertia="0.005 0.0075 0.0025"'),)
        ),
        Case(
            change("body_mass", "scale", **LINK),
            3.0,
            (('mass="0.5"', 'mass="1.5"'), ('.1" mass="0.1"/>\n        <body', '.1" mass="0.3"/>\n        <body')),
        ),
        Case(
            change("body_mass", "add", **TIP),
            0.3,
            (inertial('pos="0.01 0 0" mass="0.5" diaginertia="0.005 0.0075 0.0025"'),),
        ),
    ],
    "body_mass_only": [
        Case(
            change("body_mass_only", "scale", **TIP),
            3.0,
            (inertial('pos="0.01 0 0" mass="0.6" diaginertia="0.002 0.003 0.001"'),),
        )
    ],
    "body_inertia": [
        Case(
            change("body_inertia", "scale", **TIP),
            10.0,
            (inertial('pos="0.01 0 0" mass="0.2" diaginertia="0.02 0.03 0.01"'),),
        )
    ],
    "body_ipos": [
        Case(
            change("body_ipos", index=0, **TIP),
            0.1,
            (inertial('pos="0.1 0 0" mass="0.2" diaginertia="0.002 0.003 0.001"'),),
        ),
        Case(
            change("body_ipos", "add", **TIP),
            (0.1, 0.02, -0.3),
            (inertial('pos="0.11 0.02 -0.3" mass="0.2" diaginertia="0.002 0.003 0.001"'),),
        ),
    ],
    "body_pos": [
        Case(change("body_pos", index=0, **TIP), 0.5, (('<body name="tip" pos=".3', '<body name="tip" pos=".5'),)),
        Case(
            change("body_pos", "add", body="base"),
            (0.1, 0.0, -0.2),
            (('<body name="base" pos="0 0 .45"', '<body name="base" pos=".1 0 .25"'),),
        ),
    ],
    "body_quat": [
        Case(
            change("body_quat", body="base"),
            (0.9, 0.1, 0.2, 0.3),
            (('pos="0 0 .45" quat="1 0 0 0"', 'pos="0 0 .45" quat="0.9 0.1 0.2 0.3"'),),
        )
    ],
    "body_turn": [
        Case(
            change("body_turn", "add", 1, body="tip"),
            0.6,
            (('pos=".3 0 .1" quat="1 0 0 0"', f'pos=".3 0 .1" quat="{HALF_TURN!r} 0 {float(np.sin(0.3))!r} 0"'),),
        )
    ],
    "body_gravcomp": [Case(change("body_gravcomp", **LINK), 1.0, (('gravcomp="0.2"', 'gravcomp="1"'),))],
    "geom_friction": [
        Case(change("geom_friction", **PUCK), 0.3, ((FREE, 'friction="0.3 0.005 0.0001"'),)),
        Case(change("geom_friction", index=1, **PUCK), 0.1, ((FREE, 'friction="0.8 0.1 0.0001"'),)),
        Case(change("geom_friction", **PUCK), (0.3, 0.02, 0.001), ((FREE, 'friction="0.3 0.02 0.001"'),)),
    ],
    "geom_solref": [
        Case(change("geom_solref", index=0, **PUCK), 0.1, (('0.0001" solref="0.02 1"', '0.0001" solref="0.1 1"'),))
    ],
    "geom_solimp": [
        Case(
            change("geom_solimp", index=0, **PUCK),
            0.4,
            (('0.0001" solref="0.02 1" solimp="0.9', '0.0001" solref="0.02 1" solimp="0.4'),),
        )
    ],
    "geom_pos": [
        Case(change("geom_pos", index=2, geom="foot"), -0.3, (('pos=".12 0 -.03"', 'pos=".12 0 -.3"'),)),
        Case(
            change("geom_pos", "add", **PUCK),
            (0.05, 0.1, 0.15),
            ((IN_PUCK, IN_PUCK.replace('pos="0 0 0"', 'pos=".05 .1 .15"')),),
        ),
        Case(change("geom_pos", index=0, geom="wall"), 1.2, (('pos="1.6 0 .3"', 'pos="1.2 0 .3"'),)),
        Case(change("geom_pos", "add", 0, geom="rod"), 0.1, (('fromto="0 0 0 .4 0 .1"', 'fromto=".1 0 0 .5 0 .1"'),)),
        Case(
            change("geom_pos", index=2, body="stone"),
            -0.05,
            (
                ('mesh="wedge" mass', 'mesh="wedge" pos="0 0 -.05" mass'),
                ('pos="0 0 .2" mass="0.1"', 'pos="0 0 -.05" mass="0.1"'),
            ),
        ),
    ],
    "geom_quat": [
        Case(
            change("geom_quat", **PUCK),
            (0.9, 0.1, 0.2, 0.3),
            ((IN_PUCK, IN_PUCK.replace("1 0 0 0", "0.9 0.1 0.2 0.3")),),
        )
    ],
    "geom_turn": [
        Case(
            change("geom_turn", "add", 0, **PUCK),
            0.6,
            ((IN_PUCK, IN_PUCK.replace("1 0 0 0", f"{HALF_TURN!r} {float(np.sin(0.3))!r} 0 0")),),
        )
    ],
    "geom_size": [
        Case(
            change("geom_size", index=0, geom="foot"),
            0.1,
            (('size=".05" pos=".12 0 -.03"', 'size=".1" pos=".12 0 -.03"'),),
        ),
        Case(change("geom_size", "scale", **PUCK), 1.5, ((IN_PUCK, IN_PUCK.replace(".1 .1 .08", ".15 .15 .12")),)),
        Case(change("geom_size", **PUCK), (0.2, 0.1, 0.12), ((IN_PUCK, IN_PUCK.replace(".1 .1 .08", ".2 .1 .12")),)),
        Case(
            change("geom_size", "scale", 0, geom="rod"),
            2.0,
            (('type="capsule" size=".03"', 'type="capsule" size=".06"'),),
        ),
        Case(change("geom_size", "scale", 1, geom="horn"), 2.0, (('size=".02 .05"', 'size=".02 .1"'),)),
    ],
    "mesh_scale": [
        Case(change("mesh_scale", "scale", mesh="wedge"), 1.5, (('scale="1 1 1"', 'scale="1.5 1.5 1.5"'),)),
        Case(change("mesh_scale", index=2, mesh="wedge"), 2.0, (('scale="1 1 1"', 'scale="1 1 2"'),)),
    ],
    "dof_damping": [Case(change("dof_damping", **HINGE), 2.0, (('damping="0.3"', 'damping="2"'),))],
    "dof_frictionloss": [
        Case(change("dof_frictionloss", "scale", **HINGE), 4.0, (('frictionloss="0.1"', 'frictionloss="0.4"'),))
    ],
    "dof_armature": [Case(change("dof_armature", **HINGE), 0.5, (('armature="0.02"', 'armature="0.5"'),))],
    "jnt_range": [
        Case(change("jnt_range", **HINGE), (-0.02, 0.02), (('range="-1 1.5"', 'range="-0.02 0.02"'),)),
        Case(change("jnt_range", "scale", **HINGE), 0.1, (('range="-1 1.5"', 'range="-0.1 0.15"'),)),
    ],
    "jnt_stiffness": [Case(change("jnt_stiffness", **HINGE), 9.0, (('stiffness="2"', 'stiffness="9"'),))],
    "qpos_spring": [Case(change("qpos_spring", **HINGE), -0.4, (('springref="0.1"', 'springref="-0.4"'),))],
    "actuator_gear": [Case(change("actuator_gear", **HINGE), 0.5, (('gear="3"', 'gear="0.5"'),))],
    "position_gain": [
        Case(change("position_gain", actuator="servo"), 60.0, (('kp="20"', 'kp="60"'),)),
        Case(change("position_gain", "scale", joint="slide"), 3.0, (('kp="20"', 'kp="60"'),)),
    ],
    "position_damping": [
        Case(change("position_damping", actuator="servo"), 5.0, (('kv="1"', 'kv="5"'),)),
        Case(change("position_damping", "add", actuator="servo"), 4.0, (('kv="1"', 'kv="5"'),)),
    ],
    "actuator_forcerange": [
        Case(change("actuator_forcerange", "scale", **HINGE), 0.1, (('forcerange="-5 5"', 'forcerange="-0.5 0.5"'),))
    ],
    "site_pos": [
        Case(change("site_pos", index=0, site="hung"), 0.2, (('pos="0 0 -.1"/></body>', 'pos=".2 0 -.1"/></body>'),))
    ],
    "tendon_stiffness": [Case(change("tendon_stiffness", **CORD), 50.0, (('stiffness="5"', 'stiffness="50"'),))],
    "tendon_damping": [Case(change("tendon_damping", "add", **CORD), 2.0, (('damping="0.2"', 'damping="2.2"'),))],
    "tendon_frictionloss": [
        Case(change("tendon_frictionloss", **CORD), 0.5, (('frictionloss="0.05"', 'frictionloss="0.5"'),))
    ],
    "tendon_range": [Case(change("tendon_range", "scale", **CORD), 0.5, (('range="-.05 .05"', 'range="-.025 .025"'),))],
    "tendon_lengthspring": [
        Case(change("tendon_lengthspring", **CORD), (0.3, 0.4), (('springlength="0 0.01"', 'springlength="0.3 0.4"'),))
    ],
    "eq_polycoef": [
        Case(change("eq_polycoef", index=1, equality="couple"), -2.0, (('polycoef="0 1 0', 'polycoef="0 -2 0'),))
    ],
    "eq_anchor": [Case(change("eq_anchor", index=2, equality="pin"), 0.5, (('anchor="0 0 .3"', 'anchor="0 0 .5"'),))],
    "eq_relpos": [
        Case(
            change("eq_relpos", equality="glue"),
            (0.1, 0.0, -0.2),
            (('torquescale="1"', 'torquescale="1" relpose="0.1 0 -0.2 1 0 0 0"'),),
        )
    ],
    "eq_torquescale": [
        Case(change("eq_torquescale", equality="glue"), 0.05, (('torquescale="1"', 'torquescale="0.05"'),))
    ],
    "eq_solref": [
        Case(
            change("eq_solref", index=0, equality="couple"), 0.3, (('0 0 0" solref="0.02 1"', '0 0 0" solref="0.3 1"'),)
        )
    ],
    "eq_solimp": [
        Case(
            change("eq_solimp", index=0, equality="couple"),
            0.1,
            (('0 0 0" solref="0.02 1"\n      solimp="0.9', '0 0 0" solref="0.02 1"\n      solimp="0.1'),),
        )
    ],
    "gravity": [
        Case(change("gravity", index=2), -1.6, (('gravity="0 0 -9.81"', 'gravity="0 0 -1.6"'),)),
        Case(change("gravity", "scale"), 0.5, (('gravity="0 0 -9.81"', 'gravity="0 0 -4.905"'),)),
        Case(change("gravity"), (1.0, 2.0, -3.0), (('gravity="0 0 -9.81"', 'gravity="1 2 -3"'),)),
    ],
    "wind": [Case(change("wind"), (9.0, -9.0, 3.0), (('wind="1 0 0"', 'wind="9 -9 3"'),))],
    "timestep": [Case(change("timestep"), 0.001, (('timestep="0.002"', 'timestep="0.001"'),))],
    "density": [Case(change("density"), 50.0, (('density="1.2"', 'density="50"'),))],
    "viscosity": [Case(change("viscosity", "add"), 0.5, (('viscosity="0.01"', 'viscosity="0.51"'),))],
}
ONLY_RICH = {"site_pos"} | {name for name in FIELDS if name.startswith(("tendon", "eq_"))}


def changes_of(laboratory: Lab, model: mujoco.MjModel, changes: dict[str, list[dict[str, Any]]]) -> PhysicsChanges:
    built = {name: [Change.model_validate(each) for each in listed] for name, listed in changes.items()}
    return PhysicsChanges(model, built, where=lambda key: f"lab.yaml:7 {key}", source=laboratory.source)


def listed() -> list[Any]:
    return [
        pytest.param(case, rich, id=f"{field}-{n}-{'rich' if rich else 'plain'}")
        for field in FIELDS
        for n, case in enumerate(CASES.get(field, [None]))  # type: ignore[list-item]
        for rich in (True, False)
        if rich or field not in ONLY_RICH
    ]


@pytest.mark.parametrize(("case", "rich"), listed())
def test_a_changed_model_moves_like_one_compiled_from_the_changed_file(
    case: Case | None, rich: bool, tmp_path: Path
) -> None:
    assert case is not None, "a field of the table without a case: add one to CASES"
    laboratory = lab(tmp_path, rich=rich)
    model = laboratory.model()
    own = moved(model)
    changes = changes_of(laboratory, model, {"p": [case.change]})
    changes.apply(model, {"p": case.value})
    now = moved(model)
    assert not np.allclose(now, own, rtol=0.0, atol=1e-4), "the change has no effect"
    np.testing.assert_allclose(now, moved(laboratory.model(*case.edits)), rtol=0.0, atol=1e-6)
    assert all_bytes(changes.of_copy(laboratory.model(), {"p": case.value})) == all_bytes(model)
