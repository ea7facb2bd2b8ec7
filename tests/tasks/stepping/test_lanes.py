"""Simulations advanced by one call, against MuJoCo's own functions called one by one."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from mql.tasks.stepping import lanes as lanes_module
from mql.tasks.stepping.lanes import Lanes

# A ball that a weld draws behind a mocap body, above a floor and beside a post that it hits.
MODEL = """
<mujoco><option timestep="0.004"/>
<worldbody><geom type="plane" size="1 1 0.1"/><geom type="box" size="0.1 0.1 0.2" pos="0.3 0 0"/>
<body name="guide" mocap="true" pos="0 0 0.1"/>
<body name="ball" pos="0 0 0.1"><freejoint/><geom size="0.08"/></body>
<body name="door" pos="0 0.5 0.2"><joint name="hinge" axis="0 0 1"/>
<geom type="box" size="0.1 0.02 0.1" pos="0.1 0 0"/></body>
</worldbody>
<actuator><motor joint="hinge"/></actuator>
<equality><weld body1="guide" body2="ball" solref="0.02 1"/></equality></mujoco>
"""
LANES, STEPS, FRAMES = 3, 40, 4


def told_and_seen(data: mujoco.MjData) -> tuple[list[np.ndarray], list[np.ndarray]]:
    ball = data.body("ball")
    return [data.mocap_pos[0], data.body("guide").xpos, data.ctrl], [data.qpos, data.qvel, ball.xpos, ball.xmat]


def by_hand(model: mujoco.MjModel, data: mujoco.MjData, place: np.ndarray, control: float) -> np.ndarray:
    data.mocap_pos[0], data.ctrl[0] = place, control
    for _ in range(FRAMES):
        mujoco.mj_step(model, data)
    mujoco.mj_forward(model, data)
    return np.concatenate([view.ravel() for view in told_and_seen(data)[1]])


@pytest.mark.parametrize("compiled", [True, False])
def test_lanes_are_uninterrupted_simulations(monkeypatch: pytest.MonkeyPatch, *, compiled: bool) -> None:
    """Bit for bit, with contacts; a lane that is skipped stays as it is."""
    if not compiled:
        monkeypatch.setattr(lanes_module, "_functions", lambda: None)
    elif lanes_module._functions() is None:
        pytest.skip("no C compiler")
    model = mujoco.MjModel.from_xml_string(MODEL)
    data, plain = ([mujoco.MjData(model) for _ in range(LANES)] for _ in range(2))
    views = [told_and_seen(each) for each in data]
    lanes = Lanes([model] * LANES, data, FRAMES, [told for told, _ in views], [seen for _, seen in views])
    for lane in range(LANES):
        kept = data[lane].qacc_warmstart.copy()
        lanes.look(lane, None)
        data[lane].qacc_warmstart[:] = kept
    rng, skip = np.random.default_rng(0), np.array([False, False, True])
    seen, touched = np.zeros((LANES, lanes.seen_size)), 0
    place = np.tile([0.0, 0.0, 0.1], (LANES, 1))
    for _ in range(STEPS):
        place += rng.uniform(-0.02, 0.05, (LANES, 3)) * [1.0, 0.2, 0.0]
        control = rng.uniform(-1.0, 1.0, (LANES, 1))
        lanes.advance(np.concatenate([place, place, control], axis=1), seen, skip)
        for lane in np.flatnonzero(~skip):
            expected = by_hand(model, plain[lane], place[lane], control[lane, 0])
            assert np.array_equal(seen[lane], expected)
        touched += plain[0].ncon > 0
    assert touched > 5
    assert not seen[2].any() and data[2].time == 0.0
