"""Changed models: equal to recompiled ones, free of drift, and refused where a change could not act."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt
import pytest

from mql.errors import UserError
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import FIELDS, Change

pytestmark = pytest.mark.newest

NUMBERS: dict[str, Any] = {
    "mass": "0.5",
    "friction": "0.8 0.005 0.0001",
    "damping": "0.3",
    "frictionloss": "0.1",
    "armature": "0.02",
    "stiffness": "2",
    "springref": "0.1",
    "range": "-1 1",
    "gear": "3",
    "kp": "20",
    "forcerange": "-5 5",
    "gravity": "0 0 -9.81",
    "wind": "1 0 0",
    "density": "1.2",
    "viscosity": "0.01",
    "timestep": "0.002",
    "place": "0.3 0 0.1",
    "geom": "0 0 0",
    "gravcomp": "0.2",
    "more": "",
}


def compiled(**numbers: str) -> mujoco.MjModel:
    n = NUMBERS | numbers
    return mujoco.MjModel.from_xml_string(f"""
    <mujoco>
      <compiler angle="radian"/>
      <option gravity="{n["gravity"]}" wind="{n["wind"]}" density="{n["density"]}" viscosity="{n["viscosity"]}"
        timestep="{n["timestep"]}"/>{n["more"]}
      <worldbody>
        <geom name="floor" type="plane" size="5 5 .1" friction="0.1 0.001 0.00001"/>
        <body name="link" pos="0 0 0.5">
          <joint name="hinge" axis="0 1 0" damping="{n["damping"]}" frictionloss="{n["frictionloss"]}"
            armature="{n["armature"]}" stiffness="{n["stiffness"]}" springref="{n["springref"]}" limited="true"
            range="{n["range"]}"/>
          <geom name="rod" type="capsule" size=".03" fromto="0 0 0 .3 0 .1" mass="{n["mass"]}"/>
          <body name="tip" pos="{n["place"]}" gravcomp="{n["gravcomp"]}">
            <joint name="slide" type="slide" axis="1 0 0"/>
            <geom name="ball" size=".05" mass=".2"/>
            <site name="tip"/>
          </body>
        </body>
        <body name="puck" pos="1 0 .08"><freejoint name="free"/>
          <geom name="puck" pos="{n["geom"]}" type="box" size=".1 .1 .08" mass="1" condim="6"
            friction="{n["friction"]}"/></body>
      </worldbody>
      <actuator>
        <motor joint="hinge" gear="{n["gear"]}" forcelimited="true" forcerange="{n["forcerange"]}"/>
        <position name="servo" joint="slide" kp="{n["kp"]}" kv="1"/>
      </actuator>
    </mujoco>""")


def moved(model: mujoco.MjModel, steps: int = 50) -> npt.NDArray[np.float64]:
    """Positions after some steps from a start that makes every number of the model act."""
    data = mujoco.MjData(model)
    data.qvel[:] = np.linspace(0.5, 1.5, model.nv)
    data.joint("free").qvel[2] = -0.5  # the puck slides on the floor
    data.ctrl[:] = (2.5, 0.1)
    for _ in range(steps):
        mujoco.mj_step(model, data)
    return np.array(data.qpos)


def changes_of(model: mujoco.MjModel, /, **changes: Mapping[str, Any] | list[Mapping[str, Any]]) -> PhysicsChanges:
    listed = {name: value if isinstance(value, list) else [value] for name, value in changes.items()}
    built = {name: [Change.model_validate(change) for change in value] for name, value in listed.items()}
    return PhysicsChanges(model, built, where=lambda key: f"lab.yaml:7 {key}")


def change(field: str, op: str = "set", index: int | None = None, **target: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "index": index} | target


HINGE, PUCK, LINK = {"joint": "hinge"}, {"geom": "puck"}, {"body": "link"}


@pytest.mark.parametrize(
    ("changed", "value", "numbers"),
    [
        (change("body_mass", **LINK), 1.5, {"mass": "1.5"}),
        (change("body_mass", "scale", **LINK), 3.0, {"mass": "1.5"}),
        (change("body_mass", "add", **LINK), 1.0, {"mass": "1.5"}),
        (change("geom_friction", **PUCK), 0.3, {"friction": "0.3 0.005 0.0001"}),
        (change("geom_friction", index=1, **PUCK), 0.1, {"friction": "0.8 0.1 0.0001"}),
        (change("geom_friction", **PUCK), (0.3, 0.02, 0.001), {"friction": "0.3 0.02 0.001"}),
        (change("geom_pos", index=1, **PUCK), 0.05, None),
        (change("dof_damping", **HINGE), 2.0, {"damping": "2"}),
        (change("dof_frictionloss", "scale", **HINGE), 4.0, {"frictionloss": "0.4"}),
        (change("dof_armature", **HINGE), 0.5, {"armature": "0.5"}),
        (change("jnt_stiffness", **HINGE), 9.0, {"stiffness": "9"}),
        (change("qpos_spring", **HINGE), -0.4, {"springref": "-0.4"}),
        (change("jnt_range", **HINGE), (-0.02, 0.02), {"range": "-0.02 0.02"}),
        (change("jnt_range", "scale", **HINGE), 0.02, {"range": "-0.02 0.02"}),
        (change("actuator_gear", **HINGE), 0.5, {"gear": "0.5"}),
        (change("position_gain", actuator="servo"), 60.0, {"kp": "60"}),
        (change("position_gain", "scale", joint="slide"), 3.0, {"kp": "60"}),
        (change("actuator_forcerange", "scale", **HINGE), 0.1, {"forcerange": "-0.5 0.5"}),
        (change("gravity", index=2), -1.6, {"gravity": "0 0 -1.6"}),
        (change("gravity", "scale"), 0.5, {"gravity": "0 0 -4.905"}),
        (change("gravity"), (1.0, 2.0, -3.0), {"gravity": "1 2 -3"}),
        (change("wind"), (9.0, -9.0, 3.0), {"wind": "9 -9 3"}),
        (change("density"), 50.0, {"density": "50"}),
        (change("viscosity", "add"), 0.5, {"viscosity": "0.51"}),
        (change("timestep"), 0.001, {"timestep": "0.001"}),
        (change("body_pos", index=0, body="tip"), 0.6, {"place": "0.6 0 0.1"}),
        (change("body_gravcomp", body="tip"), 1.0, {"gravcomp": "1"}),
        (change("body_inertia", "scale", **LINK), 2.0, None),
    ],
)
def test_a_changed_model_moves_like_a_recompiled_one(
    changed: dict[str, Any], value: Any, numbers: dict[str, str] | None
) -> None:
    model = compiled()
    own = moved(model)
    changes_of(model, p=changed).apply(model, {"p": value})
    assert not np.allclose(moved(model), own, rtol=0.0, atol=1e-9), "the change has no effect"
    if numbers is not None:
        np.testing.assert_allclose(moved(model), moved(compiled(**numbers)), rtol=0.0, atol=1e-12)


def test_every_field_is_changed_by_a_test_but_the_size() -> None:
    tested = {case.values[0]["field"] for case in _cases()} | {"site_pos"}
    assert tested == set(FIELDS) - {"geom_size"}


def _cases() -> list[Any]:
    marks = test_a_changed_model_moves_like_a_recompiled_one.pytestmark  # type: ignore[attr-defined]
    return [pytest.param(*values) for values in marks[0].args[1]]


def test_a_site_at_its_bodys_origin_moves() -> None:
    model = compiled()
    changes_of(model, p=change("site_pos", site="tip")).apply(model, {"p": (0.1, 0.2, 0.3)})
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("tip").xpos - data.body("tip").xpos, (0.1, 0.2, 0.3), atol=1e-15)


EVERYTHING = {
    "mass": [change("body_mass", "scale", body=["link", "tip"])],
    "rest": [change("geom_friction", "scale", **PUCK), change("dof_damping", **HINGE), change("timestep", "scale")],
    "place": [change("body_pos", "add", **LINK)],
}
TASKS = [
    {"mass": 2.0, "rest": 0.5, "place": (0.0, 0.0, 0.1)},
    {"mass": 0.3, "rest": 1.7, "place": (0.2, 0.0, -0.1)},
]


def test_a_task_gives_the_same_model_bit_for_bit_whatever_came_before() -> None:
    used, fresh = compiled(), compiled()
    changes = changes_of(used, **EVERYTHING)
    for task in (*TASKS, TASKS[0]):
        changes.apply(used, task)
    changes_of(fresh, **EVERYTHING).apply(fresh, TASKS[0])
    assert all_bytes(used) == all_bytes(fresh)
    assert all_bytes(changes.of_copy(compiled(), TASKS[0])) == all_bytes(fresh)


def all_bytes(model: mujoco.MjModel) -> bytes:
    buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer.tobytes()


def test_a_copy_is_changed_and_the_base_stays() -> None:
    base = compiled()
    before = all_bytes(base)
    changed = changes_of(base, **EVERYTHING).of_copy(base, TASKS[1])
    assert all_bytes(base) == before and changed.body("link").mass[0] == pytest.approx(0.15)


def test_bodies_that_an_environment_has_moved_stay_where_they_are_and_derived_numbers_ignore_them() -> None:
    model, other = compiled(), compiled()
    changes = changes_of(model, mass=change("body_mass", "scale", body="tip"))
    changes.apply(other, {"mass": 2.0})
    model.body("link").pos[:] = (0.3, 0.0, 0.7)
    changes.apply(model, {"mass": 2.0})
    np.testing.assert_array_equal(model.body("link").pos, (0.3, 0.0, 0.7))
    np.testing.assert_array_equal(model.dof_invweight0, other.dof_invweight0)


def test_statistics_that_the_file_states_stay() -> None:
    model = compiled(more='<statistic extent="7" meaninertia="3"/>')
    changes_of(model, mass=change("body_mass", "scale", **LINK)).apply(model, {"mass": 2.0})
    assert (model.stat.extent, model.stat.meaninertia) == (7.0, 3.0)


def test_later_changes_of_a_number_act_on_the_earlier_ones() -> None:
    model = compiled()
    twice = {"scale": change("body_mass", "scale", **LINK), "load": change("body_mass", "add", **LINK)}
    changes_of(model, **twice).apply(model, {"scale": 2.0, "load": 0.25})
    assert model.body("link").mass[0] == 1.25


def test_a_vector_gives_one_component_to_each_name() -> None:
    model = compiled()
    changes_of(model, p=change("dof_damping", joint=["hinge", "free"])).apply(model, {"p": (3.0, 4.0)})
    np.testing.assert_array_equal(model.dof_damping, [3.0, 0.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])


def test_a_vector_on_a_vector_field_gives_its_components_to_every_name() -> None:
    model = compiled()
    changes_of(model, p=change("geom_friction", geom=["puck", "ball"])).apply(model, {"p": (0.3, 0.4)})
    np.testing.assert_array_equal(model.geom("puck").friction, [0.3, 0.4, 0.0001])
    np.testing.assert_array_equal(model.geom("ball").friction[:2], [0.3, 0.4])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (change("body_mass", body="lnk"), "no body 'lnk' (lab.yaml:7 parameters.p.apply.0.body): did you mean 'link'?"),
        (change("dof_damping", joint="hing"), "did you mean 'hinge'?"),
        (change("geom_friction", geom="pck"), "did you mean 'puck'?"),
        (change("position_gain", actuator="serv"), "did you mean 'servo'?"),
        (change("site_pos", site="x"), "the model has no site 'x'"),
        (change("body_mass", body="world"), "the world can't be changed"),
        (change("body_pos", body="puck"), "moves freely"),
        (change("actuator_gear", joint="free"), "no actuator drives the joint 'free'"),
        (change("position_gain", **HINGE), "is not a position actuator"),
        (change("actuator_forcerange", actuator="servo"), "has no force limits"),
        (change("jnt_range", joint="slide"), "has no limits"),
        (change("qpos_spring", joint="free"), "turns freely"),
    ],
)
def test_a_change_that_can_not_act_is_refused_with_the_mend(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        changes_of(compiled(), p=changed)
    assert said in str(caught.value) and "lab.yaml:7 parameters.p.apply.0" in str(caught.value)


def test_unnamed_actuators_are_addressed_by_joint() -> None:
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body name="b"><joint name="j"/><geom size=".1"/></body></worldbody>'
        '<actuator><motor joint="j"/></actuator></mujoco>'
    )
    with pytest.raises(UserError, match="write 'joint: NAME'"):
        changes_of(model, p=change("actuator_gear", actuator="j"))
    with pytest.raises(UserError, match="MuJoCo skips it"):
        changes_of(model, p=change("body_gravcomp", body="b"))


@pytest.mark.parametrize(
    ("changed", "value", "said"),
    [
        (change("body_mass", "add", **LINK), -2.0, "p makes body_mass -1.5 (lab.yaml:7 parameters.p.apply.0)"),
        (change("body_mass", **LINK), float("nan"), "p makes body_mass nan"),
        (change("dof_damping", **HINGE), -1.0, "physics allows 0"),
        (change("gravity", index=2), float("inf"), "give finite numbers"),
        (change("jnt_range", index=0, **HINGE), 2.0, "ends before it begins"),
        (change("wind"), 1.0, "wind has 3 components, the parameter is one number"),
        (change("dof_damping", **HINGE), (1.0, 2.0), "a parameter of size 2"),
    ],
)
def test_a_value_that_physics_forbids_is_refused(changed: dict[str, Any], value: Any, said: str) -> None:
    model = compiled()
    changes = changes_of(model, p=changed)
    with pytest.raises(UserError) as caught:
        changes.apply(copy.deepcopy(model), {"p": value})
    assert said in str(caught.value)
