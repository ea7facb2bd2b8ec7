"""An hour of a controller's clock in which its robot sends anything: it refuses, holds, counts, and stays in limits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")

from onnx import TensorProto, helper  # noqa: E402

from mql.deploy.controller import Controller  # noqa: E402

pytestmark = pytest.mark.needs_extra
STEP, HOUR = 0.1, 3600.0  # s
RATE = 2.0  # per second
LOW, HIGH = np.array([-0.5, -1.0], np.float32), np.array([1.0, 0.25], np.float32)
OBS = 3


class Raises:
    """A reading that can't be read."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("the sensor is unplugged")


class Breaks:
    """One whose driver raises something else."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise OSError("the sensor is unplugged")


# What comes in the place of an observation, and how the controller calls it.
OBSERVATIONS: dict[str, tuple[Any, str]] = {
    "NaN": ([np.nan, 0.0, 0.0], "obs_not_finite"),
    "infinity": ([0.0, -np.inf, 0.0], "obs_not_finite"),
    "more than float32 holds": ([0.0, 1e300, 0.0], "obs_not_finite"),
    "one number too few": ([0.0, 0.0], "obs_shape"),
    "one number too many": (np.zeros(OBS + 1), "obs_shape"),
    "a million numbers": (np.zeros(1_000_000), "obs_shape"),
    "a column": (np.zeros((OBS, 1)), "obs_shape"),
    "a batch": (np.zeros((1, OBS)), "obs_shape"),
    "nothing": ([], "obs_shape"),
    "None": (None, "obs_shape"),
    "None in a row": ([None, 0.0, 0.0], "obs_not_finite"),
    "a text": ("high", "obs_shape"),
    "texts": (["a", "b", "c"], "obs_shape"),
    "a ragged row": ([[1.0], [1.0, 2.0], 3.0], "obs_shape"),
    "a dict": ({"place": 1.0}, "obs_shape"),
    "a complex row": (np.full(OBS, 1j), "obs_shape"),
    "dates": (np.array(["2020-01-01"] * OBS, "datetime64[D]"), "obs_shape"),
    "a number of 400 digits": ([10**400, 0, 0], "obs_shape"),
    "what can't be read": (Raises(), "obs_shape"),
    "what breaks": (Breaks(), "obs_shape"),
}
REWARDS: dict[str, tuple[Any, str]] = {
    "no reward": (None, "last_reward_missing"),
    "a reward of NaN": (float("nan"), "last_reward_not_finite"),
    "a reward as a text": ("1", "last_reward_shape"),
    "two rewards": ([1.0, 2.0], "last_reward_shape"),
    "a reward that breaks": (Breaks(), "last_reward_shape"),
}
LAST_ACTIONS: dict[str, tuple[Any, str]] = {
    "an action outside": ([9.0, 0.0], "last_action_outside"),
    "an action of NaN": ([np.nan, 0.0], "last_action_not_finite"),
    "an action too short": ([0.0], "last_action_shape"),
}


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def write_policy(folder: Path) -> None:
    """Actions are 5 obs[:2] + the state, which takes up rewards: mostly outside the limits."""
    sizes = {"obs": OBS, "last_action": 2, "last_reward": 1, "first": 1, "known": 1, "state": 1}
    nodes = [
        helper.make_node("Sub", ["one", "first"], ["going"]),
        helper.make_node("Mul", ["state", "going"], ["before"]),
        helper.make_node("Mul", ["last_reward", "known"], ["taken"]),
        helper.make_node("Add", ["before", "taken"], ["next_state"]),
        helper.make_node("MatMul", ["obs", "weights"], ["seen"]),
        helper.make_node("Mul", ["last_action", "nothing"], ["ignored"]),
        helper.make_node("Sum", ["seen", "next_state", "ignored"], ["action"]),
    ]
    weights = np.zeros((OBS, 2), np.float32)
    weights[0, 0] = weights[1, 1] = 5.0
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [1, 1], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [OBS, 2], weights.ravel().tolist()),
    ]
    ports = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])
        for name, size in {**sizes, "action": 2, "next_state": 1}.items()
    }
    outputs = ("action", "next_state")
    graph = helper.make_graph(nodes, "hour", [ports[n] for n in sizes], [ports[n] for n in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    (folder / "policy.onnx").write_bytes(model)
    card = {
        "format": "mql.controller",
        "format_version": 1,
        "control_timestep": STEP,
        "inputs": [{"name": name, "shape": [1, size]} for name, size in sizes.items()],
        "outputs": [{"name": "action", "shape": [1, 2]}, {"name": "next_state", "shape": [1, 1]}],
        "limits": {"low": LOW.tolist(), "high": HIGH.tolist()},
        "files": {"policy.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}},
    }
    (folder / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("on_fault", "seconds"),
    [
        ("hold", 0.05 * HOUR),
        pytest.param("hold", HOUR, marks=pytest.mark.faults),
        pytest.param("stop", HOUR, marks=pytest.mark.faults),
    ],
)
def test_an_hour_of_anything(tmp_path: Path, on_fault: str, seconds: float) -> None:
    write_policy(tmp_path)
    clock, rng = Clock(), np.random.default_rng(0)
    controller = Controller(tmp_path, on_fault=on_fault, rate_limit=RATE, clock=clock)
    expected: dict[str, int] = {}
    before: Any = None
    calls = 0
    while clock.now < seconds:
        if rng.random() < 0.001:
            controller.reset()
            before = None
        obs: Any = rng.standard_normal(OBS) * rng.choice([0.1, 1.0, 1e3])
        reward: Any = float(rng.standard_normal())
        last: Any = None
        fault, kind = None, rng.random()
        follows = before is not None and controller.last_fault is None  # an episode goes on: its reward is looked at
        if kind < 0.2:
            obs, fault = OBSERVATIONS[str(rng.choice(list(OBSERVATIONS)))]
        elif kind < 0.3 and follows:
            reward, fault = REWARDS[str(rng.choice(list(REWARDS)))]
        elif kind < 0.4 and before is not None:
            last, fault = LAST_ACTIONS[str(rng.choice(list(LAST_ACTIONS)))]
        elif kind < 0.5 and before is not None:
            clock.now += rng.uniform(0.6, 5.0) * STEP  # late: 1.5 steps after the last call, with the one below
            fault = "late"
        if kind > 0.99 and before is not None:
            fault = "stale"
            action = controller.fault("stale", "the camera's picture is a second old")
        else:
            calls += 1
            action = controller.act(obs, reward, last_action=last)
        assert action.shape == (2,) and action.dtype == np.float32 and np.isfinite(action).all()
        assert (action >= LOW).all() and (action <= HIGH).all()
        if before is not None:
            assert (np.abs(action - before) <= RATE * STEP + 1e-5).all()
        if fault is not None:
            expected[fault] = expected.get(fault, 0) + 1
            assert controller.last_fault is not None and controller.last_fault.startswith(fault)
            if on_fault == "hold" and before is not None:
                np.testing.assert_array_equal(action, before)
        else:
            assert controller.last_fault is None
        before = action
        clock.now += STEP
    assert calls > 0.7 * seconds / STEP and controller.faults == expected and controller.statistics()["calls"] == calls
    assert set(expected) >= {"obs_shape", "obs_not_finite", "late", "stale", "last_reward_missing"}
