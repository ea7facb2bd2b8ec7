"""Changed models: free of drift, combined, and refused where a change could not act. Fields: test_fields."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from changed_models import Lab, all_bytes, change, lab, moved

from mql.errors import UserError
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import Change
from mql.tasks.physics.rebuild import unlike
from mql.tasks.scenes.compose import compose, scene_source
from mql.tasks.scenes.source import MjcfFile

pytestmark = pytest.mark.newest

HINGE, PUCK, LINK = {"joint": "hinge"}, {"geom": "puck"}, {"body": "link"}


@pytest.fixture(name="plain")
def _plain(tmp_path: Path) -> Lab:
    return lab(tmp_path, rich=False)


def changes_of(
    laboratory: Lab, model: mujoco.MjModel | None = None, /, **changes: Mapping[str, Any] | list[Mapping[str, Any]]
) -> PhysicsChanges:
    listed = {name: value if isinstance(value, list) else [value] for name, value in changes.items()}
    built = {name: [Change.model_validate(change) for change in value] for name, value in listed.items()}
    model = laboratory.model() if model is None else model
    return PhysicsChanges(model, built, where=lambda key: f"lab.yaml:7 {key}", source=laboratory.source)


def changed(laboratory: Lab, /, *listed: Mapping[str, Any], value: Any) -> mujoco.MjModel:
    return changes_of(laboratory, p=list(listed)).of_copy(laboratory.model(), {"p": value})


def test_a_site_at_its_bodys_origin_moves_and_comes_back(plain: Lab) -> None:
    model = plain.model()
    changes = changes_of(plain, model, p=change("site_pos", site="tip"))
    for place in ((0.1, 0.2, 0.3), (0.0, 0.0, 0.0)):
        changes.apply(model, {"p": place})
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(data.site("tip").xpos - data.body("tip").xpos, place, atol=1e-15)


EVERYTHING = {
    "mass": [change("body_mass", "scale", body=["link", "tip"])],
    "rest": [change("geom_friction", "scale", **PUCK), change("dof_damping", **HINGE), change("timestep", "scale")],
    "place": [change("body_pos", "add", body="base")],
    "foot": [change("geom_size", "scale", geom="foot"), change("geom_pos", index=2, geom="knob")],
    "load": [change("body_ipos", "add", 0, body="tip"), change("body_mass", "add", body="puck")],
    "grown": [change("mesh_scale", "scale", mesh="wedge"), change("geom_turn", "add", 1, geom="puck")],
}
TASKS: list[dict[str, Any]] = [
    {"mass": 2.0, "rest": 0.5, "place": (0.0, 0.0, 0.1), "foot": 1.4, "load": 0.1, "grown": 1.3},
    {"mass": 0.3, "rest": 1.7, "place": (0.2, 0.0, -0.1), "foot": 0.7, "load": 0.02, "grown": 0.8},
]


def test_a_task_gives_the_same_model_bit_for_bit_whatever_came_before(plain: Lab) -> None:
    used, fresh = plain.model(), plain.model()
    changes = changes_of(plain, used, **EVERYTHING)
    for task in (*TASKS, TASKS[0]):
        changes.apply(used, task)
    changes_of(plain, fresh, **EVERYTHING).apply(fresh, TASKS[0])
    assert all_bytes(used) == all_bytes(fresh)
    assert all_bytes(changes.of_copy(plain.model(), TASKS[0])) == all_bytes(fresh)


def test_fields_in_combination_move_like_the_changed_file(plain: Lab) -> None:
    """Sizes and places count first: the mass that a parameter adds comes on top of what they make."""
    model = changed(
        plain,
        change("geom_size", "scale", 0, geom="foot"),
        change("geom_pos", "scale", body="puck"),
        change("body_mass", "scale", body="puck"),
        change("mesh_scale", "scale", mesh="wedge"),
        change("body_pos", "scale", body="base"),
        change("geom_friction", "scale", geom="*"),
        change("dof_damping", "scale", joint="*"),
        value=1.25,
    )
    edits = [
        ('size=".05" pos=".12 0 -.03"', 'size=".0625" pos=".15 0 -.0375"'),
        ('mass="1" condim', 'mass="1.25" condim'),
        ('mass="0.3"', 'mass="0.375"'),
        ('scale="1 1 1"', 'scale="1.25 1.25 1.25"'),
        ('pos="0 0 .45"', 'pos="0 0 .5625"'),
        ('damping="0.3"', 'damping="0.375"'),
    ]
    text = plain.edited(*edits).replace("0.1 0.001 0.00001", "0.125 0.001 0.00001")
    text = text.replace("0.8 0.005 0.0001", "1 0.005 0.0001")
    default = '<default><geom friction="1.25 0.005 0.0001"/></default>'
    text = text.replace("<asset>", default + "<asset>")
    np.testing.assert_allclose(moved(model), moved(mujoco.MjModel.from_xml_string(text)), rtol=0.0, atol=1e-6)


def test_a_copy_is_changed_and_the_base_stays(plain: Lab) -> None:
    base = plain.model()
    before = all_bytes(base)
    copied = changes_of(plain, base, **EVERYTHING).of_copy(base, TASKS[1])
    assert all_bytes(base) == before and copied.body("link").mass[0] == pytest.approx(0.18)


def test_bodies_that_an_environment_has_moved_stay_where_they_are_and_derived_numbers_ignore_them(plain: Lab) -> None:
    model, other = plain.model(), plain.model()
    twice = {"mass": change("body_mass", "scale", body="tip"), "size": change("geom_size", "scale", geom="foot")}
    changes = changes_of(plain, model, **twice)
    changes.apply(other, {"mass": 2.0, "size": 1.2})
    model.body("base").pos[:] = (0.3, 0.0, 0.7)
    changes.apply(model, {"mass": 2.0, "size": 1.2})
    np.testing.assert_array_equal(model.body("base").pos, (0.3, 0.0, 0.7))
    np.testing.assert_array_equal(model.dof_invweight0, other.dof_invweight0)


def test_what_an_environment_has_set_elsewhere_stays(plain: Lab) -> None:
    model = plain.model()
    model.actuator_gainprm[1, 0], model.opt.timestep = 33.0, 0.004
    changes = changes_of(plain, model, p=change("geom_size", "scale", geom="foot"))
    changes.apply(model, {"p": 1.5})
    assert (model.actuator_gainprm[1, 0], model.opt.timestep) == (33.0, 0.004)
    np.testing.assert_allclose(model.geom("foot").size[0], 0.075)
    model = plain.model()
    model.geom("foot").size[0] = 0.06
    changes = changes_of(plain, model, p=change("geom_size", "scale", geom="foot"))
    with pytest.raises(UserError, match="the environment changes geom_size itself, and so does p"):
        changes.apply(model, {"p": 1.5})


def test_statistics_that_the_file_states_stay(plain: Lab) -> None:
    stated = Lab(plain.folder, plain.edited(("<asset>", '<statistic extent="7" meaninertia="3"/><asset>')))
    for each in (change("body_mass", "scale", **LINK), change("geom_size", "scale", geom="foot")):
        model = changed(stated, each, value=2.0)
        assert (model.stat.extent, model.stat.meaninertia) == (7.0, 3.0)


def test_later_changes_of_a_number_act_on_the_earlier_ones(plain: Lab) -> None:
    twice = {"scale": change("body_mass", "scale", **LINK), "load": change("body_mass", "add", **LINK)}
    model = changes_of(plain, **twice).of_copy(plain.model(), {"scale": 2.0, "load": 0.25})
    assert model.body("link").mass[0] == pytest.approx(1.45)
    sizes = {"scale": change("geom_size", "scale", geom="foot"), "more": change("geom_size", "add", 0, geom="foot")}
    model = changes_of(plain, **sizes).of_copy(plain.model(), {"scale": 2.0, "more": 0.01})
    assert model.geom("foot").size[0] == pytest.approx(0.11)


def test_a_total_mass_that_the_file_states_holds_for_the_file_not_for_the_load(tmp_path: Path) -> None:
    """As in Gymnasium's half-cheetah; a centre of mass is moved without weighing anything anew."""
    text = lab(tmp_path, rich=False).edited(
        ('angle="radian"', 'angle="radian" settotalmass="5" inertiafromgeom="true"')
    )
    total = Lab(tmp_path, text)
    changes = changes_of(
        total, load=change("body_mass", "scale", **LINK), shift=change("body_ipos", "add", 0, body="tip")
    )
    own, model = total.model(), changes.of_copy(total.model(), {"load": 2.0, "shift": 0.05})
    np.testing.assert_allclose(model.body_mass, own.body_mass * np.where(np.arange(own.nbody) == 2, 2.0, 1.0))
    np.testing.assert_allclose(model.body("tip").ipos, own.body("tip").ipos + np.array([0.05, 0.0, 0.0]))
    np.testing.assert_allclose(model.body("tip").inertia, own.body("tip").inertia)


def test_a_vector_gives_one_component_to_each_name(plain: Lab) -> None:
    model = changed(plain, change("dof_damping", joint=["hinge", "free"]), value=(3.0, 4.0))
    np.testing.assert_array_equal(model.dof_damping[:8], [3.0, 0.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])


def test_a_vector_on_a_vector_field_gives_its_components_to_every_name(plain: Lab) -> None:
    model = changed(plain, change("geom_friction", geom=["puck", "ball"]), value=(0.3, 0.4))
    np.testing.assert_array_equal(model.geom("puck").friction, [0.3, 0.4, 0.0001])
    np.testing.assert_array_equal(model.geom("ball").friction[:2], [0.3, 0.4])


def test_geoms_without_names_go_by_their_body_and_a_star_stands_for_all(plain: Lab) -> None:
    model = changed(plain, change("geom_friction", body="stone"), value=0.9)
    stone = model.geom_bodyid == model.body("stone").id
    np.testing.assert_array_equal(model.geom_friction[:, 0] == 0.9, stone)
    assert changed(plain, change("dof_damping", joint="*"), value=7.0).dof_damping.tolist() == [7.0] * 14
    own, model = plain.model(), changed(plain, change("body_mass", "scale", body="*"), value=2.0)
    np.testing.assert_allclose(model.body_mass, 2.0 * own.body_mass)
    gains = changed(plain, change("position_gain", joint="*"), value=9.0).actuator_gainprm[:, 0]
    assert gains.tolist() == [1.0, 9.0]  # a motor has no position gain


FRAMED = """<mujoco><worldbody><geom name="floor" type="plane" size="1 1 .1"/><body name="b" pos="0 0 1"><freejoint/>
  <geom size=".1" mass="1"/><frame pos="0 .1 0" euler="90 0 0"><geom name="g" type="capsule" size=".05 .1" mass="1"
  pos="0 0 .3" euler="0 30 0"/></frame></body></worldbody></mujoco>"""


def test_a_geom_in_a_frame_is_put_where_the_model_has_it(tmp_path: Path) -> None:
    framed = Lab(tmp_path, FRAMED)
    own, model = framed.model(), changed(framed, change("geom_pos", "add", 0, geom="g"), value=0.2)
    np.testing.assert_allclose(model.geom("g").pos, own.geom("g").pos + np.array([0.2, 0.0, 0.0]), atol=1e-12)
    np.testing.assert_allclose(model.geom("g").quat, own.geom("g").quat, atol=1e-12)
    with pytest.raises(UserError, match="compiler makes something else of it"):
        aligned = Lab(tmp_path, FRAMED.replace("<worldbody>", '<compiler alignfree="true"/><worldbody>'))
        changed(aligned, change("geom_pos", "add", 0, geom="g"), value=0.2)


SCENE = """<mujoco><compiler angle="radian"/><worldbody><geom name="table" type="box" size="1 1 .05" pos="0 0 -.05"/>
  <site name="robot_base"/><body name="ball" pos=".5 .2 .3"><freejoint name="ball"/>
  <geom name="ball" size=".05" density="500"/><geom name="bump" size=".02" pos=".05 0 0" density="500"/></body>
  </worldbody></mujoco>"""
ROBOT = """<mujoco><compiler settotalmass="2" inertiafromgeom="true"/><worldbody><body name="arm" pos="0 0 .3">
  <joint name="turn" axis="0 1 0" range="-60 60"/><geom name="rod" type="capsule" size=".03" fromto="0 0 0 .4 0 0"/>
  <body name="hand" pos=".4 0 0" euler="0 20 0"><joint name="wrist" axis="0 1 0"/>
  <geom name="hand" type="box" size=".05 .05 .02"/></body></body></worldbody>
  <actuator><motor name="m" joint="turn"/></actuator></mujoco>"""


def test_parts_of_a_scene_are_compiled_with_what_they_are_alone(tmp_path: Path) -> None:
    """Sizes and places change in the part's own file: with its density and total mass, before it joins the others."""

    def whole(scene: str, robot: str) -> tuple[mujoco.MjModel, Any]:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "scene.xml").write_text(scene)
        (folder / "robot.xml").write_text(robot)
        return compose("robot.xml", "scene.xml", folder=folder), scene_source("robot.xml", "scene.xml", folder=folder)

    model, source = whole(SCENE, ROBOT)
    listed = {
        "size": [change("geom_size", "scale", 0, geom="rod"), change("geom_size", "scale", geom=["ball", "bump"])],
        "far": [change("body_pos", "scale", body="hand"), change("body_ipos", "scale", 0, body="hand")],
        "turn": [change("geom_turn", "add", 1, geom="hand")],
    }
    built = {name: [Change.model_validate(each) for each in value] for name, value in listed.items()}
    changes = PhysicsChanges(model, built, where=str, source=source)
    result = changes.of_copy(model, {"size": 1.5, "far": 1.25, "turn": 0.2})
    scene = SCENE.replace('size=".05"', 'size=".075"').replace('size=".02"', 'size=".03"')
    robot = ROBOT.replace('size=".03"', 'size=".045"').replace('pos=".4 0 0"', 'pos=".5 0 0"')
    turned = f'quat="{np.cos(0.1)!r} 0 {np.sin(0.1)!r} 0"'.replace("np.float64(", "").replace(")", "")
    expected, _ = whole(scene, robot.replace('name="hand" type="box"', f'name="hand" {turned} type="box"'))
    assert unlike(result, expected) == []
    (tmp_path / "0" / "scene.xml").write_text(SCENE.replace("500", "400"))
    with pytest.raises(UserError, match="the model's file has changed meanwhile"):
        changes.of_copy(model, {"size": 1.6, "far": 1.25, "turn": 0.2})


def test_changes_in_mid_episode_leave_the_state_as_it_is(plain: Lab) -> None:
    model = plain.model()
    changes = changes_of(
        plain, model, p=change("body_mass", "scale", **LINK), f=change("geom_size", "scale", geom="foot")
    )
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, nstep=20)
    before = data.qpos.copy(), data.qvel.copy(), data.time
    changes.apply(model, {"p": 3.0, "f": 1.5})
    assert np.array_equal(data.qpos, before[0]) and np.array_equal(data.qvel, before[1]) and data.time == before[2]
    fresh = changes.of_copy(plain.model(), {"p": 3.0, "f": 1.5})
    other = mujoco.MjData(fresh)
    other.qpos[:], other.qvel[:] = before[:2]
    for one, state in ((model, data), (fresh, other)):
        state.qacc_warmstart[:] = 0.0
        mujoco.mj_step(one, state, nstep=20)
    np.testing.assert_allclose(data.qpos, other.qpos, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (change("body_mass", body="lnk"), "no body 'lnk' (lab.yaml:7 parameters.p.apply.0.body): did you mean 'link'?"),
        (change("dof_damping", joint="hing"), "did you mean 'hinge'?"),
        (change("geom_friction", geom="pck"), "did you mean 'puck'?"),
        (change("position_gain", actuator="serv"), "did you mean 'servo'?"),
        (change("mesh_scale", mesh="wege"), "did you mean 'wedge'?"),
        (change("tendon_damping", tendon="cor"), "the model has no tendon 'cor'"),
        (change("eq_solref", equality="x"), "the model has no equality 'x'"),
        (change("body_mass", body="world"), "the world can't be changed"),
        (change("body_pos", body="puck"), "moves freely"),
        (change("body_turn", "add", body="puck"), "moves freely"),
        (change("actuator_gear", joint="free"), "no actuator drives the joint 'free'"),
        (change("position_gain", **HINGE), "is not a position actuator"),
        (change("position_damping", **HINGE), "is not a position actuator"),
        (change("actuator_forcerange", actuator="servo"), "has no force limits"),
        (change("jnt_range", joint="free"), "has no limits"),
        (change("qpos_spring", joint="free"), "turns freely"),
        (change("geom_size", body="stone"), "has the size of its mesh"),
    ],
)
def test_a_change_that_can_not_act_is_refused_with_the_mend(listed: dict[str, Any], said: str, plain: Lab) -> None:
    with pytest.raises(UserError) as caught:
        changes_of(plain, p=listed)
    assert said in str(caught.value) and "lab.yaml:7 parameters.p.apply.0" in str(caught.value)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (change("eq_polycoef", equality="glue"), "'glue' is no <joint> or <tendon>"),
        (change("eq_anchor", equality="couple"), "'couple' is no <connect>"),
        (change("eq_relpos", equality="pin"), "'pin' is no <weld>"),
        (change("tendon_range", tendon="string"), "'string' has no limits"),
    ],
)
def test_so_are_numbers_that_a_tendon_or_an_equality_does_not_have(
    listed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        changes_of(lab(tmp_path), p=listed)


def test_unnamed_actuators_are_addressed_by_joint() -> None:
    text = (
        '<mujoco><worldbody><body name="b"><joint name="j"/><geom size=".1"/></body></worldbody>'
        '<actuator><motor joint="j"/></actuator></mujoco>'
    )
    small = Lab(Path(), text)
    for listed, said in (
        (change("actuator_gear", actuator="j"), "write 'joint: NAME'"),
        (change("geom_friction", geom="j"), "write 'body: NAME'"),
        (change("body_gravcomp", body="b"), "MuJoCo skips it"),
    ):
        with pytest.raises(UserError, match=said):
            PhysicsChanges(small.model(), {"p": [Change.model_validate(listed)]}, where=str)


def test_what_needs_the_file_is_refused_without_it_and_with_another_one(plain: Lab) -> None:
    size = {"p": [Change.model_validate(change("geom_size", "scale", geom="foot"))]}
    with pytest.raises(UserError, match=r"geom_size needs the model's file, which nobody knows here \(parameters.p"):
        PhysicsChanges(plain.model(), size, where=str)
    other = plain.folder / "other.xml"
    other.write_text(FRAMED, encoding="utf-8")
    with pytest.raises(UserError, match="gives another model than the one in use"):
        PhysicsChanges(plain.model(), size, where=str, source=MjcfFile(other))


@pytest.mark.parametrize(
    ("listed", "value", "said"),
    [
        (change("body_mass", "add", **LINK), -2.0, "p makes body_mass -1.4 (lab.yaml:7 parameters.p.apply.0)"),
        (change("body_mass", **LINK), float("nan"), "p makes body_mass nan"),
        (change("dof_damping", **HINGE), -1.0, "physics allows 0"),
        (change("gravity", index=2), float("inf"), "give finite numbers"),
        (change("jnt_range", index=0, **HINGE), 2.0, "ends before it begins"),
        (change("wind"), 1.0, "wind has 3 components, the parameter is one number"),
        (change("dof_damping", **HINGE), (1.0, 2.0), "a parameter of size 2"),
        (change("geom_size", geom="foot"), (0.1, 0.2), "the sphere has 1 size, not 2"),
        (change("geom_size", index=2, geom="rod"), 0.1, "the capsule has 2 sizes, not 3"),
        (change("geom_size", "add", 0, geom="foot"), -0.1, "p makes geom_size -0.05"),
        (change("geom_quat", geom="foot"), (0.0, 0.0, 0.0, 0.0), "p is no rotation"),
        (change("geom_quat", geom="foot"), 0.5, "geom_quat is set as a whole"),
        (change("mesh_scale", index=0, mesh="wedge"), 0.0, "MuJoCo refuses the model with p"),
    ],
)
def test_a_value_that_physics_forbids_is_refused(listed: dict[str, Any], value: Any, said: str, plain: Lab) -> None:
    model = plain.model()
    changes = changes_of(plain, model, p=listed)
    with pytest.raises(UserError) as caught:
        changes.apply(copy.deepcopy(model), {"p": value})
    assert said in str(caught.value)


def test_a_quaternion_is_set_or_turned_and_nothing_else() -> None:
    for field, op in (("geom_quat", "scale"), ("body_quat", "add"), ("geom_turn", "set")):
        with pytest.raises(ValueError, match=f"op {op} of {field}: write op: "):
            Change.model_validate(change(field, op, **({"geom": "g"} if field.startswith("geom") else {"body": "b"})))
