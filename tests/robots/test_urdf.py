"""A URDF as a robot: beside the same robot written as MJCF by hand."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from mujoco import MjModel

from mql.errors import UserError
from mql.robots import registry
from mql.tasks.scenes.compose import compose

pytestmark = pytest.mark.newest

BOX = "v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"
INERTIAL = '<inertial><mass value="{}"/><inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>'
URDF = f"""<robot name="two">
  <link name="base">{INERTIAL.format(1)}
    <visual><geometry><mesh filename="package://two_description/meshes/visual/base.dae"/></geometry></visual>
    <collision><geometry><box size="0.1 0.1 0.1"/></geometry></collision>
  </link>
  <link name="arm">{INERTIAL.format(0.5)}
    <visual><geometry>
      <mesh filename="package://two_description/meshes/visual/arm.obj" scale="0.01 0.01 0.01"/></geometry></visual>
    <collision><geometry><mesh filename="package://two_description/meshes/arm.obj" scale="0.02 0.02 0.02"/></geometry>
    </collision>
  </link>
  <link name="tool0"/>
  <link name="finger">{INERTIAL.format(0.1)}</link>
  <joint name="turn" type="revolute"><parent link="base"/><child link="arm"/><origin xyz="0 0 0.2"/><axis xyz="0 1 0"/>
    <limit lower="0.3" upper="1" effort="5" velocity="3"/><dynamics damping="0.1" friction="0.2"/></joint>
  <joint name="fixed" type="fixed"><parent link="arm"/><child link="tool0"/><origin xyz="0.3 0 0"/></joint>
  <joint name="grip" type="prismatic"><parent link="tool0"/><child link="finger"/><axis xyz="0 0 1"/>
    <limit lower="-1" upper="1" effort="5" velocity="3"/><mimic joint="turn" multiplier="0.5" offset="0.1"/></joint>
  <transmission name="t"><type>SimpleTransmission</type></transmission><gazebo reference="arm"><mu1>0.2</mu1></gazebo>
</robot>"""
SPEC = """schema: mql.robot/1
name: two
licence: MIT
source: our workshop
mjcf: two_description/urdf/two.urdf
physics_timestep_s: 0.004
end_effector: {site: tool0}
base: {body: base, kind: fixed}
joints:
  turn: {kind: hinge, position_range: [0.3, 1.0], effort_limit: 5.0, armature: 0.02}
actuators:
  turn: {joint: turn, kind: position, gain: 40.0, damping: 3.0, force_range: [-5.0, 5.0]}
control:
  joints: {kind: joint_position, scale: 1.0, rate_hz: 25}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    package = tmp_path / "two_description"
    for name, text in (("urdf/two.urdf", URDF), ("meshes/arm.obj", BOX), ("meshes/visual/arm.obj", BOX)):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    path = tmp_path / "two.yaml"
    path.write_text(SPEC)
    return path


def rewritten(path: Path, *changes: tuple[str, str]) -> MjModel:
    text = path.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path.write_text(text)
    return registry.load(str(path)).compile()


def test_links_joints_and_masses_are_those_of_the_urdf(spec: Path) -> None:
    model = registry.load(str(spec)).compile()
    assert [model.body(index).name for index in range(model.nbody)] == ["world", "base", "arm", "tool0", "finger"]
    assert list(model.body_mass) == [0, 1, 0.5, 0, 0.1]
    assert model.joint("turn").range == pytest.approx([0.3, 1.0]) and model.dof_damping[0] == 0.1
    assert model.jnt_actfrcrange[0] == pytest.approx([-5, 5]) and model.dof_frictionloss[0] == 0.2
    # Of what is to be seen, the mesh that MuJoCo can't read is left out; the other is no second arm.dae of one name.
    kinds = [int(kind) for kind in model.geom_type]
    assert kinds.count(int(mujoco.mjtGeom.mjGEOM_MESH)) == 2 and kinds.count(int(mujoco.mjtGeom.mjGEOM_BOX)) == 1
    sizes = sorted(float(np.abs(model.mesh_vert[model.mesh_vertadr[n] :][:4]).max()) for n in range(model.nmesh))
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.05)


def test_the_spec_adds_actuators_as_one_would_write_them(spec: Path) -> None:
    model = registry.load(str(spec)).compile()
    by_hand = MjModel.from_xml_string(
        '<mujoco><worldbody><body><joint name="turn"/><geom size="1"/></body></worldbody><actuator>'
        '<position name="turn" joint="turn" kp="40" kv="3" ctrlrange="0.3 1" forcerange="-5 5"/></actuator></mujoco>'
    )
    for name in ("gainprm", "biasprm", "gaintype", "biastype", "ctrlrange", "forcerange", "ctrllimited", "gear"):
        own, other = getattr(model, f"actuator_{name}"), getattr(by_hand, f"actuator_{name}")
        assert np.allclose(own, other, atol=1e-7), name
    assert model.opt.timestep == 0.004 and model.dof_armature[0] == 0.02
    assert model.site("tool0").bodyid[0] == model.body("tool0").id


@pytest.mark.parametrize(
    ("kind", "ranges", "gain", "bias"),
    [
        ("{joint: turn, kind: motor}", (-5.0, 5.0), 1.0, (0.0, 0.0)),
        ("{joint: turn, kind: motor, gear: 10.0}", (-0.5, 0.5), 1.0, (0.0, 0.0)),
        ("{joint: turn, kind: velocity, gain: 2.0, control_range: [-3.0, 3.0]}", (-3.0, 3.0), 2.0, (0.0, -2.0)),
    ],
)
def test_other_kinds_of_actuators(
    spec: Path, kind: str, ranges: tuple[float, float], gain: float, bias: tuple[float, float]
) -> None:
    before = "{joint: turn, kind: position, gain: 40.0, damping: 3.0, force_range: [-5.0, 5.0]}"
    model = rewritten(spec, (before, kind))
    assert tuple(model.actuator_ctrlrange[0]) == ranges and model.actuator_gainprm[0, 0] == gain
    assert tuple(model.actuator_biasprm[0, 1:3]) == bias


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("gain: 40.0, ", ""), "turn has no gain"),
        (("kind: position, ", ""), "turn has no kind that can be built"),
        (("turn: {joint: turn", "turn: {joint: trun"), "trun"),
        (("kind: fixed", "kind: planar"), "a URDF is fixed or free"),
        (("base: {body: base, kind: fixed}", "base: {body: arm, kind: free}"), "'arm' is not the URDF's first link"),
        (("base: {", "exclude: [[arm, bose]]\nbase: {"), "no body 'bose'"),
    ],
)
def test_what_can_not_be_added(spec: Path, change: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        rewritten(spec, change)
    assert "two.yaml" in str(caught.value)


def test_a_free_base(spec: Path) -> None:
    model = rewritten(spec, ("kind: fixed", "kind: free"))
    assert model.joint("root").type[0] == mujoco.mjtJoint.mjJNT_FREE and model.nq == 9
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 50)
    assert data.body("base").xpos[2] == pytest.approx(-0.5 * 9.81 * 0.2**2, rel=0.05)  # it falls


def test_a_joint_that_mimics_another_follows_it(spec: Path) -> None:
    model = registry.load(str(spec)).compile()
    data = mujoco.MjData(model)
    data.ctrl[0] = 0.8
    mujoco.mj_step(model, data, 1500)
    assert data.joint("grip").qpos[0] == pytest.approx(0.1 + 0.5 * data.joint("turn").qpos[0], abs=0.01)


@pytest.mark.parametrize("exclude", ["all", "[[arm, base]]"])
def test_excluded_pairs_do_not_touch(spec: Path, exclude: str) -> None:
    model = rewritten(spec, ("base: {", f"exclude: {exclude}\nbase: {{"))
    pairs = {tuple(sorted((int(both) >> 16, int(both) & 0xFFFF))) for both in model.exclude_signature}
    arm = tuple(sorted((model.body("arm").id, model.body("base").id)))
    assert arm in pairs and len(pairs) == (6 if exclude == "all" else 1)


def test_in_a_scene_it_is_what_it_is_alone(spec: Path) -> None:
    whole, alone = compose(spec, "table"), registry.load(str(spec)).compile()
    assert whole.actuator("turn").gainprm[0] == 40.0 and whole.joint("turn").range == pytest.approx([0.3, 1.0])
    for body in ("base", "arm", "finger"):
        assert whole.body(body).mass == pytest.approx(alone.body(body).mass)
    assert whole.neq == alone.neq == 1 and whole.site("tool0").id >= 0


def test_a_bare_urdf_starts_within_its_limits(spec: Path) -> None:
    from mql.robots.inspection import Inspection

    bare = registry.load(str(spec.parent / "two_description" / "urdf" / "two.urdf"))
    assert Inspection(lambda: bare).home().qpos[0] == 0.3 and bare.compile().nu == 0


def test_what_is_missing_or_no_urdf_yet(spec: Path) -> None:
    urdf = spec.parent / "two_description" / "urdf" / "two.urdf"
    (spec.parent / "two_description" / "meshes" / "arm.obj").unlink()
    with pytest.raises(UserError, match=r"is missing \(.*two.urdf:9 mesh\)"):
        registry.load(str(urdf)).compile()
    urdf.write_text(URDF.replace("meshes/arm.obj", "meshes/arm.dae"))
    (spec.parent / "two_description" / "meshes" / "arm.dae").write_text("<COLLADA/>")
    with pytest.raises(UserError, match="none that MuJoCo reads"):
        registry.load(str(urdf)).compile()
    urdf.write_text('<robot name="r" xmlns:xacro="x"><xacro:include filename="a"/></robot>')
    with pytest.raises(UserError, match=r"xacro two\.urdf > robot"):
        registry.load(str(urdf)).compile()
    with pytest.raises(UserError, match=r"xacro arm\.urdf\.xacro > robot"):
        registry.load("arm.urdf.xacro")


def test_an_inertia_that_no_body_has_says_what_helps(spec: Path) -> None:
    urdf = spec.parent / "two_description" / "urdf" / "two.urdf"
    urdf.write_text(URDF.replace('ixx="0.01" iyy="0.01" izz="0.01"', 'ixx="0.01" iyy="0.01" izz="0.05"'))
    with pytest.raises(UserError, match="balanceinertia=") as caught:
        registry.load(str(urdf)).compile()
    helps = '<mujoco><compiler balanceinertia="true"/></mujoco></robot>'
    assert helps.removesuffix("</robot>") in str(caught.value)
    urdf.write_text(urdf.read_text().replace("</robot>", helps))
    assert registry.load(str(urdf)).compile().nbody == 5
    # Of no mass, it is left out.
    urdf.write_text(URDF.replace('"1"', '"0.000001"', 1).replace('ixy="0"', 'ixy="0.1"', 1))
    assert registry.load(str(urdf)).compile().nbody == 5


MOTORS = """<mujoco>
  <worldbody><body name="trunk" pos="0 0 0.4"><freejoint/><geom size="0.1" mass="1"/>
    <body name="leg"><joint name="hip" axis="0 1 0" range="-60 60"/>
      <geom type="capsule" fromto="0 0 0 0 0 -0.2" size="0.02" mass="0.2"/>
    </body></body></worldbody>
  <actuator><motor name="torque" joint="hip" ctrlrange="-30 30"/></actuator>
  <keyframe><key name="home" qpos="0 0 0.27 1 0 0 0 0.9" ctrl="5"/></keyframe>
</mujoco>"""


def test_actuators_of_an_mjcf_are_replaced_when_asked(tmp_path: Path) -> None:
    (tmp_path / "dog.xml").write_text(MOTORS)
    path = tmp_path / "dog.yaml"
    path.write_text(
        "schema: mql.robot/1\nname: dog\nlicence: MIT\nsource: own\nmjcf: dog.xml\nreplace_actuators: true\n"
        "actuators: {servo: {joint: hip, kind: position, gain: 60.0}}\n"
    )
    model = registry.load(str(path)).compile()
    assert model.nu == 1 and model.actuator("servo").gainprm[0] == 60.0
    assert model.actuator("servo").ctrlrange == pytest.approx([-np.pi / 3, np.pi / 3])
    assert model.key("home").qpos == pytest.approx([0, 0, 0.27, 1, 0, 0, 0, 0.9]) and model.key("home").ctrl[0] == 0.0
    # In a scene, too; and a free joint without a name starts where the keyframe has it.
    whole = compose(path, "table")
    base = whole.site("robot_base").pos
    assert (
        whole.key("home").qpos[:3] == pytest.approx([base[0], base[1], base[2] + 0.27])
        and whole.key("home").qpos[7] == 0.9
    )
