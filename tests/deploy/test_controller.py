"""The controller on a robot's computer: what it returns, refuses, limits and counts, on a model written by hand."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
pytest.importorskip("onnxruntime", reason="the extra export is not installed")

from onnx import TensorProto, helper  # noqa: E402

from mql.deploy.controller import Controller, ControllerError  # noqa: E402

pytestmark = pytest.mark.needs_extra
STEP = 0.1  # s


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def hand_made(*, acts_by_state: bool = True) -> Any:
    """A model of two observations and one action: 0.1 obs[0] + the sum of all rewards taken up so far.

    With `acts_by_state` false, the sum is the state, and no part of the action.
    """
    names = {"obs": 2, "last_action": 1, "last_reward": 1, "first": 1, "known": 1, "state": 1}
    nodes = [
        helper.make_node("Sub", ["one", "first"], ["going"]),
        helper.make_node("Mul", ["state", "going"], ["before"]),
        helper.make_node("Mul", ["last_reward", "known"], ["taken"]),
        helper.make_node("Add", ["before", "taken"], ["next_state"]),
        helper.make_node("MatMul", ["obs", "weights"], ["seen"]),
        helper.make_node("Mul", ["last_action", "nothing"], ["ignored"]),
        helper.make_node("Sum", ["seen", *(["next_state"] if acts_by_state else []), "ignored"], ["action"]),
    ]
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [1, 1], [1.0]),
        helper.make_tensor("nothing", TensorProto.FLOAT, [1, 1], [0.0]),
        helper.make_tensor("weights", TensorProto.FLOAT, [2, 1], [0.1, 0.0]),
    ]

    def value(name: str, size: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size])

    inputs = [value(name, size) for name, size in names.items()]
    outputs = [value("action", 1), value("next_state", 1)]
    graph = helper.make_graph(nodes, "hand", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def card_for(model: bytes, **changes: Any) -> dict[str, Any]:
    sizes = {"obs": 2, "last_action": 1, "last_reward": 1, "first": 1, "known": 1, "state": 1}
    return {
        "format": "mql.controller",
        "format_version": 1,
        "control_timestep": STEP,
        "inputs": [{"name": name, "shape": [1, size]} for name, size in sizes.items()],
        "outputs": [{"name": name, "shape": [1, 1]} for name in ("action", "next_state")],
        "limits": {"low": [-1.0], "high": [1.0]},
        "files": {"policy.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}},
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = hand_made().SerializeToString()
    (tmp_path / "policy.onnx").write_bytes(model)
    (tmp_path / "card.json").write_text(json.dumps(card_for(model)))
    return tmp_path


@pytest.fixture
def clock() -> Clock:
    return Clock()


def acted(controller: Controller, clock: Clock, *steps: tuple[Any, ...], **more: Any) -> list[float]:
    """The actions of steps (obs[0], reward), one control step apart."""
    found = []
    for obs, *reward in steps:
        found.append(round(float(controller.act([obs, 0.0], *reward, **more)[0]), 6))
        clock.now += STEP
    return found


def test_actions_are_those_of_the_model_and_the_state_goes_round(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock)
    assert acted(controller, clock, (1,), (1, 0.2), (2, 0.3)) == [0.1, 0.3, 0.7]
    controller.reset()
    assert acted(controller, clock, (1,), (0, 0.1)) == [0.1, 0.1]  # nothing is left of the episode before
    assert controller.faults == {} and controller.last_fault is None and controller.needs_reward


def test_actions_stay_within_limits_and_a_rate(folder: Path, clock: Clock) -> None:
    assert acted(Controller(folder, clock=clock), clock, (50,), (-50, 0.0)) == [1.0, -1.0]
    assert acted(Controller(folder, clock=clock, limits=(-0.3, 0.2)), clock, (5,), (-5, 0.0)) == [0.2, -0.3]
    # 2 a second are 0.2 a step; the first action is free
    assert acted(Controller(folder, clock=clock, rate_limit=2.0), clock, (5,), (-5, 0.0), (-5, 0.0)) == [0.5, 0.3, 0.1]


FAULTS: dict[str, tuple[Callable[[], Any], float | None, str]] = {
    "nan": (lambda: [math.nan, 0.0], 0.0, "obs_not_finite"),
    "infinite": (lambda: [math.inf, 0.0], 0.0, "obs_not_finite"),
    "too large for float32": (lambda: [1e300, 0.0], 0.0, "obs_not_finite"),
    "too few": (lambda: [0.0], 0.0, "obs_shape"),
    "a matrix": (lambda: [[0.0, 0.0]], 0.0, "obs_shape"),
    "texts": (lambda: ["a", "b"], 0.0, "obs_shape"),
    "ragged": (lambda: [[0.0], 0.0], 0.0, "obs_shape"),
    "nothing": (lambda: None, 0.0, "obs_shape"),
    "no reward": (lambda: [0.0, 0.0], None, "last_reward_missing"),
    "reward nan": (lambda: [0.0, 0.0], math.nan, "last_reward_not_finite"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_counted_and_leaves_no_trace(name: str, folder: Path, clock: Clock) -> None:
    """With [1, 0] before it, hold is 0.1 + 0.2; what came of the faulty step is never taken up."""
    obs, reward, kind = FAULTS[name]
    expected = {"hold": 0.3, "stop": 0.0, "own": -0.4}
    for on_fault, action in expected.items():
        controller = Controller(folder, clock=clock, on_fault=[-0.4] if on_fault == "own" else on_fault)
        acted(controller, clock, (1,), (1, 0.2))
        assert round(float(controller.act(obs(), reward)[0]), 6) == pytest.approx(action)
        assert controller.faults == {kind: 1} and str(controller.last_fault).startswith(f"{kind}: ")
        clock.now += STEP
        assert acted(controller, clock, (1, 0.5), (1, 0.4)) == [0.3, 0.7]  # 0.5 is the reward of the fault's action
        assert controller.last_fault is None and controller.statistics()["faults"] == {kind: 1}


def test_a_state_that_is_not_finite_is_not_taken_up_though_the_action_is_sound(folder: Path, clock: Clock) -> None:
    model = hand_made(acts_by_state=False).SerializeToString()
    (folder / "policy.onnx").write_bytes(model)
    (folder / "card.json").write_text(json.dumps(card_for(model)))
    controller = Controller(folder, clock=clock)
    assert acted(controller, clock, (1,), (2, 3e38), (3, 3e38)) == [0.1, 0.2, 0.2]  # the last one is held
    assert controller.faults == {"output_not_finite": 1}
    assert acted(controller, clock, (4,)) == [0.4] and controller.last_fault is None


def test_an_action_that_no_policy_takes_is_no_last_action(folder: Path, clock: Clock) -> None:
    """Commands in Nm, say, where actions are in [-1, 1]: they would enter the context as they are."""
    controller = Controller(folder, clock=clock)
    acted(controller, clock, (1,))
    assert acted(controller, clock, (1, 0.2), last_action=[9.0]) == [0.1]  # held
    assert controller.faults == {"last_action_outside": 1} and "9, outside [-1, 1]" in str(controller.last_fault)
    acted(controller, clock, (1, 0.2), last_action=[1.0005])
    assert controller.faults == {"last_action_outside": 1}


@pytest.mark.parametrize("reward", [math.nan, None])
def test_a_reward_that_could_not_be_computed_after_a_fault_is_no_second_one(
    reward: float | None, folder: Path, clock: Clock
) -> None:
    """A reward is a function of the observation before, which the fault has spoilt; the context leaves it out."""
    controller = Controller(folder, clock=clock)
    assert acted(controller, clock, (1,), (math.nan, 0.2), (1, reward), (1, 0.4)) == [0.1, 0.1, 0.1, 0.5]
    assert controller.faults == {"obs_not_finite": 1}


def test_a_fault_before_the_first_action_stops_and_the_episode_begins_after_it(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock, on_fault="hold")
    assert acted(controller, clock, (math.nan,), (1, 0.5), (1, 0.2)) == [0.0, 0.1, 0.3]


def test_late_calls_are_faults(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock, on_fault="stop")
    acted(controller, clock, (1,))
    clock.now += 0.49 * STEP
    assert acted(controller, clock, (1, 0.0)) == [0.1]  # 1.49 steps after the last one
    clock.now += 0.51 * STEP
    assert acted(controller, clock, (1, 0.0), (1, 0.0)) == [0.0, 0.1]
    assert controller.faults == {"late": 1}
    controller.reset()
    clock.now += 100.0
    assert acted(controller, clock, (1,)) == [0.1]  # an episode may begin whenever it likes
    never = Controller(folder, clock=clock, deadline=math.inf)
    acted(never, clock, (1,))
    clock.now += 100.0
    assert acted(never, clock, (1, 0.0)) == [0.1]


def test_a_rate_holds_for_the_action_of_a_fault(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock, on_fault="stop", rate_limit=2.0)
    assert acted(controller, clock, (5,), (math.nan, 0.0), (math.nan, 0.0), (math.nan, 0.0)) == [0.5, 0.3, 0.1, 0.0]


def test_faults_that_the_caller_finds_are_counted_alike(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock, on_fault="stop")
    acted(controller, clock, (1,))
    assert controller.fault("camera", "no picture") == 0.0
    clock.now += STEP
    assert acted(controller, clock, (1, 0.5), (1, 0.2)) == [0.1, 0.3]
    assert controller.faults == {"camera": 1}


def test_the_driver_of_a_shadow_says_what_was_done(folder: Path, clock: Clock) -> None:
    controller = Controller(folder, clock=clock, mode="shadow", rate_limit=2.0)
    assert acted(controller, clock, (1,)) == [0.1]
    assert acted(controller, clock, (5, 0.0), last_action=[-0.4]) == [-0.2]  # the rate counts from what was done
    assert acted(controller, clock, (5, 0.0)) == [-0.2]
    assert controller.faults == {"last_action_missing": 1}
    difference = controller.statistics()["difference"]
    assert difference["steps"] == 1 and difference["max"] == pytest.approx(0.5)


def test_statistics_are_of_its_own_calls(folder: Path) -> None:
    ticks = iter(np.cumsum([0.0, 0.001, 0.0, 0.003, 0.0, 0.002]).tolist())
    controller = Controller(folder, clock=lambda: next(ticks), deadline=math.inf)
    for reward in (None, 0.0, 0.0):
        controller.act([0.0, 0.0], reward)
    found = controller.statistics()
    assert found["calls"] == 3 and found["mean_us"] == pytest.approx(2000.0)
    assert found["p50_us"] == pytest.approx(2000.0) and found["max_us"] == pytest.approx(3000.0)
    assert found["p99_us"] == pytest.approx(2980.0)


ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "mode": ({"mode": "watch"}, "mode 'watch'"),
    "on_fault": ({"on_fault": "crash"}, "on_fault is 'crash'"),
    "on_fault, wrong size": ({"on_fault": [0.0, 0.0]}, "on_fault"),
    "rate 0": ({"rate_limit": 0.0}, "rate_limit"),
    "rate nan": ({"rate_limit": math.nan}, "rate_limit"),
    "limits": ({"limits": (0.5, -0.5)}, "lowest action is above"),
    "limits, one": ({"limits": (1.0,)}, "no lowest and highest action"),
    "limits, a number": ({"limits": 1.0}, "no lowest and highest action"),
    "rate beyond float32": ({"rate_limit": 1e39}, "rate_limit"),
    "deadline, a text": ({"deadline": "soon"}, "it is 'soon'"),
    "deadline": ({"deadline": -1.0}, "deadline"),
    "deadline nan": ({"deadline": math.nan}, "deadline"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_make_no_sense_are_refused(name: str, folder: Path) -> None:
    given, text = ARGUMENTS[name]
    with pytest.raises(ControllerError) as caught:
        Controller(folder, **given)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def changed(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        (folder / "card.json").write_text(json.dumps(card | changes))

    return change


def written(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "card.json").write_text(text) and None


def replaced(model: bytes) -> Callable[[Path], None]:
    """Another model, with a card that agrees to it."""

    def replace(folder: Path) -> None:
        (folder / "policy.onnx").write_bytes(model)
        (folder / "card.json").write_text(json.dumps(card_for(model)))

    return replace


def reading_elsewhere() -> bytes:
    model = hand_made()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return bytes(model.SerializeToString())


def port(name: str, size: Any) -> dict[str, Any]:
    return {"name": name, "shape": [1, size]}


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no card": (lambda folder: (folder / "card.json").unlink(), "can't be read"),
    "no model": (lambda folder: (folder / "policy.onnx").unlink(), "can't be read"),
    "not JSON": (written("{"), "strict JSON"),
    "NaN": (written('{"format": NaN}'), "strict JSON"),
    "a key twice": (written('{"format": 1, "format": 2}'), "strict JSON"),
    "bytes": (lambda folder: (folder / "card.json").write_bytes(b"\xff\xfe"), "strict JSON"),
    "deeply nested": (written("[" * 200_000), "strict JSON"),
    "a huge card": (written(" " * 5_000_000), "more than"),
    "a list": (written("[]"), "mql.controller"),
    "another format": (changed(format="other"), "mql.controller"),
    "another version": (changed(format_version=2), "version 1"),
    "no timestep": (changed(control_timestep="fast"), "control_timestep"),
    "true for a timestep": (changed(control_timestep=True), "control_timestep"),
    "no files": (changed(files=[]), "checksum"),
    "inputs of another kind": (changed(inputs=7), "inputs"),
    "an unknown input": (changed(inputs=[port("obs", 2), port("camera", 2)]), "inputs"),
    "an input twice": (changed(inputs=[port("obs", 2), port("obs", 2)]), "shapes"),
    "a huge input": (changed(inputs=[port("obs", 10**12)]), "shapes"),
    "a size that is none": (changed(inputs=[port("obs", True)]), "shapes"),
    "half of a state": (changed(inputs=[port("obs", 2), port("state", 1)]), "don't fit"),
    "other sizes than the model's": (
        changed(inputs=[port(n, 3 if n == "obs" else 1) for n in
                        ("obs", "last_action", "last_reward", "first", "known", "state")]),
        "not those of the card",
    ),
    "no limits": (changed(limits=None), "limits"),
    "limits of texts": (changed(limits={"low": ["a"], "high": [1.0]}), "limits"),
    "a changed model": (
        lambda folder: (folder / "policy.onnx").write_bytes((folder / "policy.onnx").read_bytes() + b" "),
        "checksum",
    ),
    "no ONNX": (replaced(b"not a model"), "can't be loaded"),
    "data in another file": (replaced(reading_elsewhere()), "another file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_folders_that_are_damaged_or_hostile_are_refused_in_one_line(name: str, folder: Path) -> None:
    change, text = HOSTILE[name]
    change(folder)
    with pytest.raises(ControllerError) as caught:
        Controller(folder)
    assert text in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "mujoco", "gymnasium", "pydantic", "scipy", "onnx", "typer", "yaml"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""
RUN = """
controller = Controller(sys.argv[1])
first, second = controller.act([1.0, 0.0]), controller.act([1.0, 0.0], 0.5)
assert abs(float(first[0]) - 0.1) < 1e-6 and abs(float(second[0]) - 0.6) < 1e-6
print("acted")
"""


def test_it_needs_numpy_and_onnxruntime_alone(folder: Path) -> None:
    code = BLOCKED + "import mql\nfrom mql.deploy import Controller\n" + RUN
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["acted"], done.stderr


def test_a_copy_of_its_file_needs_nothing_of_mql(folder: Path, tmp_path: Path) -> None:
    source = sys.modules[Controller.__module__].__file__
    assert source is not None
    shutil.copy(source, folder / "controller.py")
    code = BLOCKED + "sys.modules['mql'] = None\nfrom controller import Controller\n" + RUN
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.stdout.split() == ["acted"], done.stderr


@pytest.mark.slow
def test_it_runs_in_an_environment_with_numpy_and_onnxruntime(folder: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    made = subprocess.run(
        [python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("packages can't be installed here")
    source = sys.modules[Controller.__module__].__file__
    assert source is not None
    shutil.copy(source, folder / "controller.py")
    code = "import sys\nfrom controller import Controller\n" + RUN
    done = subprocess.run([python, "-c", code, str(folder)], capture_output=True, text=True, check=False, cwd=folder)
    assert done.stdout.split() == ["acted"], done.stderr
