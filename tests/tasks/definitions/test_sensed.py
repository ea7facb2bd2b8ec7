"""What sensors read, how bodies are turned, and what touches what: after a step, at the new state, as plain MuJoCo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
import pytest

from mql.tasks.definitions.quantities import LiveQuantities, Quantity, quantities_of, read_rows, sources_beyond_state
from mql.tasks.family import Array
from mql.tasks.stepping.advance import forces_finder, stepper
from mql.tasks.stepping.derived import Deriver, empty
from mql.tasks.stepping.physics_state import Layout, PhysicsState

pytestmark = pytest.mark.newest

# An arm whose foot presses on the floor, at a limit of a joint and one of a tendon, and a crate that lies there.
MODEL = """<mujoco>
  <option timestep="0.004" magnetic="0.2 0.1 -0.4"><flag energy="enable"/></option>
  <worldbody>
    <geom name="floor" type="plane" size="3 3 0.1"/>
    <camera name="eye" pos="0 -3 1" xyaxes="1 0 0 0 0.3 1" resolution="64 48"/>
    <site name="ray" pos="0.5 0.5 2" zaxis="0 0 -1"/>
    <body name="goal" mocap="true" pos="0.3 0.1 0.7"><geom name="mark" size="0.02" contype="0" conaffinity="0"/></body>
    <body name="crate" pos="0.5 0.5 0.099"><freejoint name="crate"/>
      <geom name="crate" type="box" size="0.1 0.1 0.1" mass="2"/>
      <site name="crate" pos="0 0.02 0.05" euler="20 0 30" size="0.2"/>
    </body>
    <body name="arm" pos="0 0 0.5" euler="0 10 20">
      <joint name="lift" type="slide" axis="0 0 1" damping="2" range="-0.5 0.1" limited="true"/>
      <geom name="rod" type="capsule" size="0.02" fromto="0 0 0 0 0 -0.3" mass="1" contype="0" conaffinity="0"/>
      <body name="fore_arm" pos="0 0 -0.3">
        <joint name="spin" type="ball" damping="0.2"/>
        <geom name="foot" size="0.05" pos="0 0 -0.1" mass="0.5"/>
        <site name="sole" pos="0 0 -0.1" size="0.06"/>
        <body name="hand" pos="0.1 0 0"><joint name="turn" axis="0 1 0" range="-1 0.2" limited="true"/>
          <geom name="fist" size="0.03" pos="0.1 0 0" mass="0.2"/><site name="tip" pos="0.1 0 0" euler="0 0 90"/>
        </body>
      </body>
    </body>
  </worldbody>
  <tendon>
    <fixed name="cord" limited="true" range="-1 0.05"><joint joint="lift" coef="1"/>
      <joint joint="turn" coef="0.5"/></fixed>
  </tendon>
  <actuator>
    <position name="lifter" joint="lift" kp="200" kv="5" timeconst="0.05" ctrlrange="-1 1"/>
    <motor name="turner" joint="turn" ctrlrange="-1 1" gear="2"/><motor name="puller" tendon="cord" ctrlrange="-1 1"/>
  </actuator>
  <sensor>
    <touch name="touch" site="sole"/><touch name="under" site="crate"/><accelerometer name="acc" site="tip"/>
    <velocimeter name="vel" site="tip"/><gyro name="gyro" site="tip"/><force name="force" site="tip"/>
    <torque name="torque" site="tip"/><magnetometer name="north" site="tip"/><rangefinder name="range" site="ray"/>
    <camprojection name="seen" site="tip" camera="eye"/>
    <jointpos name="q" joint="lift"/><jointvel name="v" joint="turn"/>
    <tendonpos name="cord" tendon="cord"/><tendonvel name="cord_speed" tendon="cord"/>
    <actuatorpos name="ap" actuator="turner"/><actuatorvel name="av" actuator="turner"/>
    <actuatorfrc name="af" actuator="lifter"/><jointactuatorfrc name="jf" joint="turn"/>
    <ballquat name="bq" joint="spin"/><ballangvel name="bv" joint="spin"/>
    <jointlimitpos name="lp" joint="turn"/><jointlimitvel name="lv" joint="turn"/>
    <jointlimitfrc name="lf" joint="turn"/>
    <tendonlimitpos name="tp" tendon="cord"/><tendonlimitvel name="tv" tendon="cord"/>
    <tendonlimitfrc name="tf" tendon="cord"/>
    <framepos name="fp" objtype="site" objname="tip" reftype="body" refname="crate"/>
    <framequat name="fq" objtype="body" objname="hand"/><framexaxis name="fx" objtype="site" objname="tip"/>
    <frameyaxis name="fy" objtype="site" objname="tip"/><framezaxis name="fz" objtype="site" objname="tip"/>
    <framelinvel name="flv" objtype="site" objname="tip"/><frameangvel name="fav" objtype="site" objname="tip"/>
    <framelinacc name="fla" objtype="site" objname="tip"/><frameangacc name="faa" objtype="site" objname="tip"/>
    <subtreecom name="com" body="arm"/><subtreelinvel name="clv" body="arm"/><subtreeangmom name="cam" body="arm"/>
    <distance name="dist" geom1="fist" geom2="crate" cutoff="5"/>
    <normal name="norm" geom1="fist" geom2="crate" cutoff="5"/>
    <fromto name="ends" geom1="fist" geom2="crate" cutoff="5"/>
    <e_potential name="ep"/><e_kinetic name="ek"/><clock name="clock"/>
  </sensor>
</mujoco>"""  # fmt: skip
PAIRS = ("touching_foot_floor", "force_foot_floor", "touching_crate_floor", "force_crate_floor", "touching_fist_crate")


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(MODEL)


def everything(model: mujoco.MjModel) -> dict[str, Quantity]:
    known = quantities_of(model)
    clear = {name: each for name, each in known.items() if each.rival is None}
    return clear | {name: known[name] for name in PAIRS}


def random_state(model: mujoco.MjModel, rng: np.random.Generator, rows: int) -> PhysicsState:
    """The foot is some mm in the floor, and the joints are beyond their limits or near them."""
    qpos = np.tile(model.qpos0, (rows, 1)) + rng.uniform(-0.003, 0.003, (rows, model.nq))
    qpos[:, 7] = rng.uniform(-0.1, 0.12, rows)
    qpos[:, -1] = rng.uniform(0.1, 0.3, rows)
    for start in (3, 8):
        qpos[:, start : start + 4] /= np.linalg.norm(qpos[:, start : start + 4], axis=1, keepdims=True)
    return PhysicsState(
        qpos,
        rng.normal(0.0, 0.3, (rows, model.nv)),
        act=rng.uniform(-0.5, 0.5, (rows, model.na)),
        ctrl=rng.uniform(-1.0, 1.0, (rows, model.nu)),
        mocap_pos=rng.uniform(-1.0, 1.0, (rows, 1, 3)),
        time=rng.uniform(0.0, 5.0, rows),
    )


def plain(model: mujoco.MjModel, state: PhysicsState, row: int) -> mujoco.MjData:
    """What MuJoCo itself makes of one of the states."""
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = state.qpos[row], state.qvel[row]
    for name, given in (("act", state.act), ("ctrl", state.ctrl), ("mocap_pos", state.mocap_pos)):
        assert given is not None
        getattr(data, name)[:] = given[row]
    assert state.time is not None
    data.time = state.time[row]
    mujoco.mj_forward(model, data)
    return data


def derived(model: mujoco.MjModel, used: Mapping[str, Quantity], state: PhysicsState) -> dict[str, Array]:
    rows = len(state.qpos)
    wanted = sources_beyond_state(used.values())
    out = empty(wanted, model, rows)
    Deriver(wanted, [model] * rows).derive(*Layout(model).start([model] * rows, state), out)
    return read_rows(used, {"qpos": state.qpos, "qvel": state.qvel, **out})


def test_every_sensor_alone_reads_what_mujoco_says(model: mujoco.MjModel) -> None:
    """Each on its own, so that none gets by with what another one needs."""
    known, state = quantities_of(model), random_state(model, np.random.default_rng(0), 30)
    right = [plain(model, state, row) for row in range(30)]
    still = []
    for number in range(model.nsensor):
        name = f"sensor_{model.sensor(number).name}"
        found = derived(model, {name: known[name]}, state)[name]
        expected = np.array([data.sensor(number).data for data in right])
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-9, atol=1e-9, err_msg=name)
        if np.ptp(expected, axis=0).max() < 1e-6:
            still.append(name)
    assert not still  # none of them reads the same in all states, such as 0


def test_orientations_and_velocities_are_those_by_hand(model: mujoco.MjModel) -> None:
    state = random_state(model, np.random.default_rng(1), 3)
    names = ("quat_tip", "zaxis_tip", "gravity_tip", "velocity_tip", "angular_tip", "quat_hand", "gravity_body_crate")
    known = quantities_of(model)
    found = derived(model, {name: known[name] for name in names}, state)
    for row in range(3):
        data = plain(model, state, row)
        turn = data.site("tip").xmat.reshape(3, 3)
        w, x, y, z = found["quat_tip"][row]
        assert w * w + x * x + y * y + z * z == pytest.approx(1.0)
        by_hand = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
        np.testing.assert_allclose(by_hand, turn, atol=1e-12)
        np.testing.assert_allclose(found["zaxis_tip"][row], turn[:, 2], atol=1e-12)
        np.testing.assert_allclose(found["gravity_tip"][row], turn.T @ [0.0, 0.0, -1.0], atol=1e-12)
        np.testing.assert_allclose(found["velocity_tip"][row], data.sensor("flv").data, atol=1e-12)
        np.testing.assert_allclose(found["angular_tip"][row], data.sensor("fav").data, atol=1e-12)
        np.testing.assert_allclose(found["quat_hand"][row], data.sensor("fq").data, atol=1e-12)
        crate = data.body("crate").xmat.reshape(3, 3)
        np.testing.assert_allclose(found["gravity_body_crate"][row], -crate[2], atol=1e-12)


def test_gravity_is_that_of_the_tasks_own_model(model: mujoco.MjModel) -> None:
    known, state = quantities_of(model), random_state(model, np.random.default_rng(1), 2)
    used = {"gravity_tip": known["gravity_tip"]}
    tilted, weightless = mujoco.MjModel.from_xml_string(MODEL), mujoco.MjModel.from_xml_string(MODEL)
    tilted.opt.gravity[:], weightless.opt.gravity[:] = (3.0, 0.0, -4.0), 0.0
    wanted = sources_beyond_state(used.values())
    out = empty(wanted, model, 2)
    models = [tilted, weightless]
    Deriver(wanted, models).derive(*Layout(model).start(models, state), out)
    turn = plain(model, state, 0).site("tip").xmat.reshape(3, 3)
    np.testing.assert_allclose(out["gravity_tip"][0], turn.T @ [0.6, 0.0, -0.8], atol=1e-12)
    assert not out["gravity_tip"][1].any()


def test_contacts_are_those_by_hand(model: mujoco.MjModel) -> None:
    """The foot is a sphere of 5 cm: it touches where its centre is lower. Forces are the rows of the solver."""
    used, state = everything(model), random_state(model, np.random.default_rng(2), 12)
    found = derived(model, used, state)
    touches = []
    for row in range(12):
        data = plain(model, state, row)
        touches.append(data.geom("foot").xpos[2] < 0.05)
        assert found["touching_foot_floor"][row] == touches[-1]
        for name, body in (("foot", model.geom("foot").id), ("crate", model.geom("crate").id)):
            total = 0.0
            for contact in range(data.ncon):
                if set(data.contact[contact].geom) == {0, body}:
                    force = np.zeros(6)
                    mujoco.mj_contactForce(model, data, contact, force)
                    total += force[0]
            assert found[f"force_{name}_floor"][row] == pytest.approx(total, rel=1e-9, abs=1e-9)
        assert found["touching_fist_crate"][row] == 0.0
        assert found["force_foot_floor"][row] == pytest.approx(found["sensor_touch"][row], rel=1e-9)
        assert bool(found["force_foot_floor"][row]) <= touches[-1]
    assert 0 < sum(touches) < 12


def test_whether_something_touches_is_known_without_forces(model: mujoco.MjModel) -> None:
    known, state = quantities_of(model), random_state(model, np.random.default_rng(2), 12)
    alone = derived(model, {"touching_foot_floor": known["touching_foot_floor"]}, state)["touching_foot_floor"]
    np.testing.assert_array_equal(alone, derived(model, everything(model), state)["touching_foot_floor"])


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast", "RK4"])
def test_one_simulation_says_the_same_as_many(integrator: str) -> None:
    """After some steps, and without leaving a trace in the simulation that goes on."""
    model = mujoco.MjModel.from_xml_string(MODEL.replace("<option ", f'<option integrator="{integrator}" '))
    used = everything(model)
    data, untouched = plain(model, random_state(model, np.random.default_rng(3), 1), 0), mujoco.MjData(model)
    for name in ("qpos", "qvel", "act", "ctrl", "mocap_pos"):
        getattr(untouched, name)[:] = getattr(data, name)
    untouched.time = data.time
    mujoco.mj_forward(model, untouched)
    live, find = LiveQuantities(used, data), forces_finder(model, data)
    live.start()
    began = data.time
    advance, plainly = stepper(model, data, 3), stepper(model, untouched, 3)
    for step in range(4):
        advance()
        find()
        plainly()
        assert np.array_equal(data.qpos, untouched.qpos) and np.array_equal(data.qvel, untouched.qvel)
        one = live.read()
        assert one.pop("time") == pytest.approx(0.012 * (step + 1))
        state = PhysicsState(
            data.qpos[None].copy(),
            data.qvel[None].copy(),
            act=data.act[None].copy(),
            ctrl=data.ctrl[None].copy(),
            mocap_pos=data.mocap_pos[None].copy(),
            time=np.array([data.time]),
        )
        many: dict[str, Any] = derived(model, {name: each for name, each in used.items() if name != "time"}, state)
        assert many.keys() == one.keys()
        for name, value in one.items():
            np.testing.assert_allclose(many[name][0], value, rtol=1e-9, atol=1e-9, err_msg=name)
    assert began != 0.0


def test_a_task_that_diverged_reads_nan_and_the_others_go_on(model: mujoco.MjModel) -> None:
    used, state = everything(model), random_state(model, np.random.default_rng(4), 3)
    right = derived(model, used, state)
    states, inputs = Layout(model).start([model] * 3, state)
    states[1] = np.nan
    wanted = sources_beyond_state(used.values())
    out = empty(wanted, model, 3)
    Deriver(wanted, [model] * 3).derive(states, inputs, out)
    for name, each in used.items():
        if each.source not in ("qpos", "qvel", "time"):
            values = out[each.source][:, each.index]
            assert np.isnan(values[1]).all(), name
            assert np.array_equal(values[[0, 2]], right[name][[0, 2]]), name
