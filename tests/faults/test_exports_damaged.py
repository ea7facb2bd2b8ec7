"""Exported policies and saved agents that were changed by accident or on purpose: noticed, never loaded in silence."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_text import check_refusal

from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.deploy.controller import Controller, ControllerError
from mql.errors import UserError

TINY = AgentConfig(hidden_sizes=(8, 8), context_dim=4, segment_length=4, burn_in=2)


def changed(data: bytes, rng: random.Random) -> bytes:
    """Flip bits, cut, overwrite or delete some bytes."""
    new, kind = bytearray(data), rng.randrange(5)
    if kind < 2:
        for _ in range(rng.choice([1, 1, 8])):
            new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del new[rng.randrange(len(new)) :]
    elif kind == 3:
        at = rng.randrange(len(new))
        new[at : at + 16] = rng.randbytes(16)
    else:
        at = rng.randrange(len(new))
        del new[at : at + rng.randrange(1, 9)]
    return bytes(new)


def sealed(folder: Path) -> None:
    """Write the list of checksums anew, as somebody would who means harm."""
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS" and path.is_file())
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def exported(folder: Path) -> Path:
    """Write a folder as `mql export` does, with a model made by hand: no training is needed for one."""
    onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
    pytest.importorskip("onnxruntime", reason="the extra export is not installed")
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    weights = helper.make_tensor("weights", real, [2, 1], [0.1, 0.0])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["obs", "weights"], ["action"])],
        "hand",
        [helper.make_tensor_value_info("obs", real, [1, 2])],
        [helper.make_tensor_value_info("action", real, [1, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    folder.mkdir()
    (folder / "policy.onnx").write_bytes(model)
    card = {
        "format": "mql.controller",
        "format_version": 1,
        "control_timestep": 0.1,
        "inputs": [{"name": "obs", "shape": [1, 2]}],
        "outputs": [{"name": "action", "shape": [1, 1]}],
        "limits": {"low": [-1.0], "high": [1.0]},
        "files": {"policy.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "bytes": len(model)}},
    }
    (folder / "card.json").write_text(json.dumps(card, indent=1))
    sealed(folder)
    return folder


def saved(folder: Path) -> Path:
    Agent(3, 2, TINY, seed=0).save(folder)
    return folder


def load_export(folder: Path) -> object:
    return Controller(folder).act([1.0, 0.0])


def load_agent(folder: Path) -> object:
    return Agent.load(folder)


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object], tuple[str, ...]]] = {
    "export": (exported, load_export, ("policy.onnx", "card.json")),
    "agent": (saved, load_agent, ("agent.json", "agent.safetensors")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_random_change_is_loaded(tmp_path: Path, kind: str) -> None:
    """100 of each kind, in every file that is read: each is noticed by its checksum."""
    write, load, names = KINDS[kind]
    folder, rng = write(tmp_path / kind), random.Random(1)
    load(folder)
    for number in range(100):
        path = folder / names[number % len(names)]
        whole = path.read_bytes()
        path.write_bytes(new := changed(whole, rng))
        if new != whole:
            with pytest.raises((UserError, ControllerError)) as caught:
                load(folder)
            assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        path.write_bytes(whole)
    load(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_with_new_checksums_is_one_line_or_an_agent(tmp_path: Path, kind: str) -> None:
    """Checksums are no signature: who writes the list can change all. Then nothing may crash, or be run."""
    write, load, names = KINDS[kind]
    folder, rng = write(tmp_path / kind), random.Random(2)
    refused = 0
    for number in range(100):
        path = folder / names[number % len(names)]
        whole = path.read_bytes()
        path.write_bytes(changed(whole, rng))
        sealed(folder)
        try:
            load(folder)
        except (UserError, ControllerError) as error:
            refused += 1
            assert "\n" not in str(error)
        path.write_bytes(whole)
    assert refused > 50


DESCRIPTIONS: dict[str, Callable[[dict[str, object]], object]] = {
    "a list": lambda card: [card],
    "nothing": lambda card: {},
    "no sizes": lambda card: {**card, "obs_dim": None},
    "a truth value": lambda card: {**card, "obs_dim": True},
    "a huge observation": lambda card: {**card, "obs_dim": 10**9},
    "a huge number": lambda card: {**card, "obs_dim": 10**300},
    "a fraction": lambda card: {**card, "action_dim": 2.5},
    "a large observation": lambda card: {**card, "obs_dim": 10**6},
    "no configuration": lambda card: {**card, "config": 3},
    "huge layers": lambda card: {**card, "config": {**card["config"], "hidden_sizes": [10**5, 10**5]}},  # type: ignore[dict-item]
    "a huge context": lambda card: {**card, "config": {**card["config"], "context_dim": 10**5}},  # type: ignore[dict-item]
    "other layers": lambda card: {**card, "config": {**card["config"], "hidden_sizes": [8, 9]}},  # type: ignore[dict-item]
    "an unknown key": lambda card: {**card, "config": {**card["config"], "code": "import os"}},  # type: ignore[dict-item]
    "a version of its own": lambda card: {**card, "format_version": [1]},
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_an_agent_that_describes_itself_wrongly(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path / "agent")
    described = json.loads((folder / "agent.json").read_text())
    (folder / "agent.json").write_text(json.dumps(DESCRIPTIONS[name](described)))
    sealed(folder)
    with pytest.raises(UserError) as caught:
        Agent.load(folder)
    check_refusal(caught.value, str(folder))


@pytest.mark.parametrize("text", ["", "null", "[" * 100_000, "{" * 100_000, "NaN", "9" * 10_000, "\x00"])
def test_an_agent_whose_description_is_no_json(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path / "agent")
    (folder / "agent.json").write_text(text)
    sealed(folder)
    with pytest.raises(UserError) as caught:
        Agent.load(folder)
    check_refusal(caught.value, str(folder))


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors", "SHA256SUMS"])
def test_a_link_or_a_device_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path / "agent")
    (tmp_path / "other").write_bytes((folder / name).read_bytes())
    for target in (str(tmp_path / "other"), "/dev/zero"):
        (folder / name).unlink()
        (folder / name).symlink_to(target)
        with pytest.raises(UserError, match=r"no file of the folder's own|no saved agent"):
            Agent.load(folder)
    if hasattr(os, "mkfifo"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(UserError, match=r"no file of the folder's own|no saved agent"):
            Agent.load(folder)


def test_tensors_that_are_no_numbers_of_a_policy_are_refused(tmp_path: Path) -> None:
    import safetensors.numpy

    folder = saved(tmp_path / "agent")
    tensors = safetensors.numpy.load_file(folder / "agent.safetensors")
    for wrong in ({}, {name: values[..., :1] for name, values in tensors.items()}):
        safetensors.numpy.save_file({**wrong, "more": np.zeros(9999, np.float32)}, folder / "agent.safetensors")
        sealed(folder)
        with pytest.raises(UserError) as caught:
            Agent.load(folder)
        check_refusal(caught.value, str(folder))


def test_a_model_that_names_another_file_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra export is not installed")
    folder = exported(tmp_path / "export")
    for place in ("../secret.bin", "/etc/passwd", "weights.bin"):
        model = onnx.load(folder / "policy.onnx", load_external_data=False)
        tensor = model.graph.initializer[0]
        tensor.ClearField("float_data")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", place
        data = model.SerializeToString()
        (folder / "policy.onnx").write_bytes(data)
        card = json.loads((folder / "card.json").read_text())
        card["files"]["policy.onnx"]["sha256"] = hashlib.sha256(data).hexdigest()
        (folder / "card.json").write_text(json.dumps(card))
        sealed(folder)
        with pytest.raises(ControllerError, match="another file"):
            Controller(folder)
