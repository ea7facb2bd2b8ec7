"""Each check of a robot catches a robot that is wrong in just that way, and lets a sound one pass."""

from __future__ import annotations

from pathlib import Path

import mujoco
import pytest
from lab_robots import MJCF, SPEC, load_robot, not_passed, verdicts, write_robot

from mql.robots import registry
from mql.robots.checks.numbers import inertia_faults
from mql.robots.checks.run import CHECKS, Inspection, run_check
from mql.robots.checks.verdict import judged
from mql.robots.mjcf.compiled import number_faults
from mql.robots.mjcf.floor import compile_on_floor, has_floor, lowest_point

pytestmark = pytest.mark.newest


def message(path: Path, check: str) -> str:
    """What a check says; one line."""
    text = verdicts(path)[check].message
    assert "\n" not in text
    return text


def test_a_sound_robot_passes_every_check(tmp_path: Path) -> None:
    found = verdicts(write_robot(tmp_path))
    assert {name: verdict.result for name, verdict in found.items()} == dict.fromkeys(set(CHECKS) - {"render"}, "pass")


def test_schema_ends_the_checks(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("kind: fixed", "kind: glued"))
    assert list(verdicts(path)) == ["schema"] and not_passed(path) == {"schema": "fail"}


def test_a_file_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "hull.stl").write_bytes(b"solid")
    (folder := tmp_path / "robot").mkdir()
    mesh = '<asset><mesh name="hull" file="../hull.stl"/></asset>\n  <worldbody>'
    path = write_robot(folder, mjcf=("<worldbody>", mesh))
    assert not_passed(path) == {"files": "fail"}
    assert "lift.xml:4" in message(path, "files") and "outside" in message(path, "files")


def test_a_million_bodies_are_refused_before_compiling(tmp_path: Path) -> None:
    many = '<replicate count="1000000" offset="1 0 0"><body><geom size="0.1"/></body></replicate>\n  </worldbody>'
    path = write_robot(tmp_path, mjcf=("</worldbody>", many))
    assert not_passed(path) == {"files": "fail"}


@pytest.mark.parametrize("mass", ["nan", "-1"])
def test_a_model_that_cannot_be_compiled(tmp_path: Path, mass: str) -> None:
    path = write_robot(tmp_path, mjcf=('mass="0.5"', f'mass="{mass}"'))
    assert not_passed(path) == {"compiles": "fail"} and "lift.xml" in message(path, "compiles")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("rod: 0.2}", "rod: 0.3}", "masses.rod is 0.3, the model has 0.2"),
        ("rod: 0.2}", "rodd: 0.2}", "no body 'rodd': did you mean 'rod'"),
        ("physics_timestep_s: 0.005", "physics_timestep_s: 0.002", "the model has 0.005"),
        (
            "[-1.5, 1.5], vel",
            "[-1.5, 1.6], vel",
            "joints.swing.position_range is [-1.5, 1.6], the model has [-1.5, 1.5]",
        ),
        ("[-1.5, 1.5], vel", "[-86, 86], vel", "is [-86, 86], the model has [-1.5, 1.5]: state it in rad, [-1.5, 1.5]"),
        (
            "position_range: [-1.5, 1.5], vel",
            "unlimited: true, vel",
            "joints.swing.unlimited: the model has [-1.5, 1.5]",
        ),
        ("swing: {kind: hinge", "swing: {kind: slide", "joints.swing.kind is 'slide', the model has 'hinge'"),
        ("effort_limit: 20", "effort_limit: 25", "joints.swing.effort_limit is 25, the model has 20"),
        ("swing, kind: position", "swing, kind: motor", "actuators.swing.kind is 'motor', the model has 'position'"),
        ("gain: 100", "gain: 120", "actuators.swing.gain is 120, the model has 100"),
        ("gear: 1, force_range: [-20, 20]", "gear: 2, force_range: [-20, 20]", "actuators.swing.gear is 2"),
        ("force_range: [-20, 20]", "force_range: [-21, 20]", "the model has [-20, 20]"),
        ("{joint: swing", "{joint: reach", "actuators.swing.joint is 'reach', the model has 'swing'"),
        ("{site: tip}", "{site: tap}", "no site 'tap': did you mean 'tip'"),
        ("{body: stand, kind: fixed}", "{body: stend, kind: fixed}", "no body 'stend': did you mean 'stand'"),
        ("{body: stand, kind: fixed}", "{body: stand, kind: free}", "the model has no joint there, free has free"),
        ("{body: stand, kind: fixed}", "{body: link, kind: fixed}", "the model has hinge there"),
        ("{body: link, dis", "{body: lonk, dis", "no body 'lonk'"),
        ("rate_hz: 20", "rate_hz: 30", "with a whole number of them, such as 28.571"),
        ("rate_hz: 20", "rate_hz: 400", "one action in 0.5 physics steps"),
        ("version: 2", "sensors: {imu: {kind: mjcf}}", "no sensor 'imu': it has none"),
        ("version: 2", "sensors: {swig: {kind: joint_position}}", "no joint 'swig': did you mean 'swing'"),
        ("version: 2", "sensors: {fast: {kind: joint_velocity, of: swig}}", "no joint 'swig'"),
        ("version: 2", "attach: {tool: {site: tup}}", "attach.tool.site: the model has no site 'tup'"),
        ("version: 2", "randomise: {dof_damping: {low: 1, high: 2, of: [swig]}}", "no joint 'swig'"),
        (
            "rate_hz: 20}",
            "rate_hz: 20}\n  pull: {kind: ee_delta, scale: 1, rate_hz: 20, by: mocap, mocap_body: rod}",
            "mocap",
        ),
    ],
)
def test_facts_that_are_not_those_of_the_model(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = write_robot(tmp_path, spec=(old, new))
    assert {check for check, result in not_passed(path).items() if result == "fail"} == {"facts"}
    assert text in message(path, "facts") and "lift.yaml:" in message(path, "facts")


def test_what_is_not_stated_is_said(tmp_path: Path) -> None:
    write_robot(tmp_path)
    path = tmp_path / "bare.yaml"
    path.write_text("schema: mql.robot/1\nname: lift\nlicence: MIT\nsource: ours\nmjcf: lift.xml\n", encoding="utf-8")
    assert not_passed(path) == {"facts": "warn"}
    assert "nothing is stated about 2 joints: swing, reach" in message(path, "facts")


def test_home_beyond_a_limit(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("swing: 0.2,", "swing: 1.6,"))
    assert not_passed(path) == {"home": "fail"}
    assert "lift.yaml:11 home.swing is 1.6, outside of [-1.5, 1.5]" in message(path, "home")


def test_home_in_degrees(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("swing: 0.2,", "swing: 45,"))
    said = message(path, "home")
    assert (
        "lift.yaml:11 home.swing is 45, outside of [-1.5, 1.5]: it looks like degrees: write it in rad, 0.7854" in said
    )
    assert not_passed(path) == {"home": "fail"}  # that it bursts, say, is not told besides


def test_home_in_degrees_of_a_joint_that_turns_for_ever(tmp_path: Path) -> None:
    mjcf = ('name="swing" axis="0 1 0" range="-1.5 1.5"', 'name="swing" axis="0 1 0"')
    path = write_robot(tmp_path, spec=("swing: 0.2,", "swing: 12.7,"), mjcf=mjcf)
    assert "lift.yaml:11 home.swing is 12.7: it looks like degrees: write it in rad, 0.2217" in message(path, "home")


def test_home_within_itself(tmp_path: Path) -> None:
    path = write_robot(tmp_path, mjcf=('<body name="link" pos="0 0 0.2">', '<body name="link" pos="0 0 0.127">'))
    assert not_passed(path) == {"home": "fail"}
    assert "stand and link lie" in message(path, "home") or "link and stand lie" in message(path, "home")


def freed(folder: Path, contact: str = "") -> Path:
    """The robot on a free joint."""
    path = write_robot(folder, spec=("kind: fixed", "kind: free"))
    path.write_text(path.read_text().replace("joints:\n", "joints:\n  root: {kind: free}\n", 1))
    text = MJCF.replace('<body name="stand">', '<body name="stand"><freejoint name="root"/>')
    (folder / "lift.xml").write_text(text.replace("<geom ", f"<geom {contact} "), encoding="utf-8")
    return path


def test_a_free_robot_is_dropped_on_a_floor(tmp_path: Path) -> None:
    assert not_passed(freed(tmp_path)) == {}


def test_a_robot_without_contact_falls_through(tmp_path: Path) -> None:
    path = freed(tmp_path, 'contype="0" conaffinity="0"')
    assert not_passed(path) == {"drop": "fail"}
    assert "fell through the floor" in message(path, "drop")


def test_a_robot_on_an_unlimited_upright_slide_is_dropped_too(tmp_path: Path) -> None:
    """Half of a planar runner: without a floor it would fall 4.9 m in the second."""
    joint = '<body name="stand"><joint name="lift" type="slide" axis="0 0 1"/>'
    path = write_robot(tmp_path, mjcf=('<body name="stand">', joint))
    text = SPEC.replace("kind: fixed}", "kind: fixed, joints: [lift]}")
    path.write_text(text.replace("joints:\n", "joints:\n  lift: {kind: slide, unlimited: true}\n", 1), encoding="utf-8")
    assert not_passed(path) == {} and "at rest" in message(path, "drop")


def test_without_a_stated_home_the_key_of_that_name_counts(tmp_path: Path) -> None:
    key = '<keyframe><key name="home" qpos="0.3 0.02"/></keyframe>\n</mujoco>'
    spec = load_robot(tmp_path, spec=("home: {swing: 0.2, reach: 0.05}\n", ""), mjcf=("</mujoco>", key))
    assert list(Inspection(lambda: spec).home().qpos) == [0.3, 0.02]
    stated = load_robot(tmp_path, mjcf=("</mujoco>", key))
    assert list(Inspection(lambda: stated).home().qpos) == [0.2, 0.05]


def test_the_floor_is_one_centimetre_below_the_lowest_point(tmp_path: Path) -> None:
    spec = registry.load(str(freed(tmp_path)))
    start = Inspection(lambda: spec).home()
    assert lowest_point(start) == pytest.approx(0.0, abs=1e-9)  # the stand's underside
    sealed = spec.read_model()
    model = compile_on_floor(spec.mjspec(sealed), sealed, start)
    assert has_floor(model) and not has_floor(spec.compile())
    plane = int(mujoco.mjtGeom.mjGEOM_PLANE)
    assert [float(model.geom_pos[i, 2]) for i in range(model.ngeom) if model.geom_type[i] == plane] == [
        pytest.approx(-0.01)
    ]


def test_a_weak_actuator_does_not_hold_home(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("gain: 100", "gain: 1"), mjcf=('kp="100" kv="5"', 'kp="1" kv="0.1"'))
    assert not_passed(path) == {"drop": "warn"}
    assert "held at home, swing moved" in message(path, "drop")


def test_a_model_that_explodes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positive feedback: a motor whose force grows with the position. Nothing is written where the user stands."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    extra = '<general joint="swing" biastype="affine" biasprm="0 9000 0"/>\n  </actuator>'
    found = verdicts(write_robot(tmp_path, mjcf=("</actuator>", extra)))
    assert found["drop"].result == "fail" and "make the timestep shorter" in found["drop"].message
    assert list(place.iterdir()) == [] and "WARNING" not in capfd.readouterr().err


def test_an_actuator_that_moves_nothing(tmp_path: Path) -> None:
    idle = '<motor name="idle" joint="reach" gear="0" ctrlrange="-1 1"/>\n  </actuator>'
    stated = "actuators:\n  idle: {joint: reach, kind: motor, control_range: [-1, 1], gear: 0}"
    path = write_robot(tmp_path, spec=("actuators:", stated), mjcf=("</actuator>", idle))
    assert not_passed(path) == {"actuators": "fail"}
    assert "idle moves nothing between -1 and 1" in message(path, "actuators")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("velocity_limit: 4.0", "velocity_limit: 50.0", "20 N m gives at most 20 rad/s"),
        ("velocity_limit: 4.0", "velocity_limit: 0", "is 0 rad/s: the joint can't move"),
        ("velocity_limit: 0.5", "velocity_limit: 25", "30 N gives at most 6 m/s"),
    ],
)
def test_limits_that_cannot_be_met(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = write_robot(tmp_path, spec=(old, new))
    assert not_passed(path) == {"limits": "warn"}
    assert text in message(path, "limits")


def unbounded(folder: Path, effort: str) -> Path:
    """The robot whose first actuator has no limit of force in the model, and the given one in its spec."""
    path = write_robot(folder, mjcf=(' forcerange="-20 20"', ""))
    text = SPEC.replace(", force_range: [-20, 20]", "").replace("effort_limit: 20", f"effort_limit: {effort}")
    path.write_text(text, encoding="utf-8")
    return path


def test_an_effort_limit_of_nothing(tmp_path: Path) -> None:
    path = unbounded(tmp_path, "0")
    assert not_passed(path) == {"limits": "warn"} and "is 0 N m" in message(path, "limits")


def test_an_effort_limit_below_what_home_takes(tmp_path: Path) -> None:
    """0.5 kg at 0.125 m and 0.2 kg at 0.35 m, 0.2 rad below the horizontal, take 9.81 cos(0.2) 0.1325 = 1.27 N m."""
    path = unbounded(tmp_path, "1.2")
    assert "holding home takes 1.27 N m" in message(path, "limits")
    assert not_passed(unbounded(tmp_path, "6")) == {}


def test_targets_far_beyond_a_joint(tmp_path: Path) -> None:
    path = write_robot(
        tmp_path,
        spec=("control_range: [0, 0.1]", "control_range: [0, 0.2]"),
        mjcf=('ctrlrange="0 0.1"', 'ctrlrange="0 0.2"'),
    )
    assert not_passed(path) == {"limits": "warn"}
    assert "actuator reach takes targets from 0 to 0.2, its joint reaches [0, 0.1]" in message(path, "limits")


def test_a_feather_that_moves(tmp_path: Path) -> None:
    path = write_robot(tmp_path, spec=("rod: 0.2}", "rod: 1.0e-9}"), mjcf=('mass="0.2"', 'mass="1e-9"'))
    assert not_passed(path) == {"inertia": "fail"}
    assert "rod moves and weighs 1e-09 kg" in message(path, "inertia")


def test_a_mass_in_grams_is_remarked(tmp_path: Path) -> None:
    path = write_robot(tmp_path, mjcf=('mass="0.5"', 'mass="900"'))
    assert not_passed(path)["inertia"] == "warn" and "weighs 900 kg: MuJoCo's unit is kg" in message(path, "inertia")


def test_inertias_that_no_body_has(tmp_path: Path) -> None:
    model = load_robot(tmp_path).compile()
    rod = int(model.body("rod").id)
    assert inertia_faults(model, [rod]) == []
    model.body_inertia[rod] = 1.0, 1.0, 2.0  # a flat disc: the limit
    assert inertia_faults(model, [rod]) == []
    model.body_inertia[rod] = 1.0, 1.0, 2.1
    assert "principal inertias (1, 1, 2.1) kg m2 of rod" in inertia_faults(model, [rod])[0]
    model.body_inertia[rod] = 1.0, 1.0, float("nan")
    assert "not a number" in inertia_faults(model, [rod])[0]
    model.body_mass[rod] = -1.0
    model.body_inertia[rod] = 1.0, 1.0, 1.0
    assert "negative" in inertia_faults(model, [rod])[0]


def test_numbers_of_a_compiled_model(tmp_path: Path) -> None:
    model = load_robot(tmp_path).compile()
    assert list(number_faults(model)) == []
    model.body_mass[2] = float("nan")
    model.actuator_gainprm[0, 0] = float("inf")
    model.opt.timestep = 0.0
    assert list(number_faults(model)) == [
        "body_mass of body 'link' is nan",
        "actuator_gainprm of actuator 'swing' is inf",
        "the physics timestep is 0 s",
    ]


def test_without_opengl_the_picture_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_robot(tmp_path)

    def no_library(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no OpenGL")

    monkeypatch.setattr(mujoco, "Renderer", no_library)
    here = run_check(Inspection(lambda: registry.load(str(path)), opengl=False), "render")
    assert (here.result, here.message) == ("warn", "no OpenGL library opens a picture here")
    there = run_check(Inspection(lambda: registry.load(str(path)), opengl=True), "render")
    assert there.result == "fail" and "MUJOCO_GL" in there.message


def test_many_faults_are_counted() -> None:
    assert judged(faults=list("abcde"), remarks=["r"], fine="f").message == "a; b; c; and 2 more"
    assert judged(faults=[], remarks=["r"], fine="f").result == "warn"
    assert judged(faults=[], remarks=[], fine="f").message == "f"
