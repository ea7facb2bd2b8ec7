"""An agent's policy as an ONNX graph of one control step.

The graph is traced from the agent's own modules by PyTorch's exporter, so that every encoder and algorithm comes out
alike, those of a lab, too; what the exporter can't follow is refused by name. (Only the compiled kernels are replaced
by the plain operators that they stand for.) All shapes are fixed. What a policy remembers from step to step is one row
of numbers, ``state``, which goes in and comes out: the last observation, and the context.

Shapes: O observation, A action, C context element, Z context variable, H context length, S state.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mql.agent.agent import Agent
from mql.errors import UserError, missing_package, told
from mql.kernels.loading import plain_operators
from mql.types import Context

OPSET = 18  # of onnxruntime 1.14 and later; nothing here needs a newer one


@dataclass(frozen=True)
class Port:
    """An input or output of the graph: float32 of shape [1, `size`], and what it means."""

    name: str
    size: int
    text: str


@dataclass(frozen=True)
class Graph:
    """The bytes of an ONNX file, what goes in and comes out, and of what ``state`` consists, name -> size."""

    model: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    state: dict[str, int]

    @property
    def opset(self) -> int:
        """Version of the ONNX operators."""
        return OPSET


class Step(nn.Module):
    """One control step: takes up the step before it into the context, and acts. See `ports` for what goes in."""

    initial: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.actor, self.encoder = agent.online.actor, agent.online.actor_encoder
        self.obs_dim, self.action_dim, self.parts = agent.obs_dim, agent.action_dim, agent.elements.parts
        self.scales = agent.scaling.acts
        self.window = agent.config.context_length if agent.config.context_mode == "window" else 0
        context = agent.begin(1)
        begin = np.zeros((1, agent.obs_dim if "obs" in self.parts else 0), np.float32)
        if self.window and self.parts:
            pieces = [begin, context.elements.reshape(1, -1), np.array([[context.length]], np.float32)]
            names = {"last_obs": begin.shape[1], "elements": context.elements.size, "length": 1}
        else:
            pieces = [begin, context.state]
            names = {"last_obs": begin.shape[1], "context": context.state.shape[1]}
        self.state = {name: size for name, size in names.items() if size} if self.parts else {}
        for name, tensor in (
            ("initial", torch.from_numpy(np.concatenate(pieces, axis=1))),
            ("shift", agent.scaling.shift.detach().cpu().clone()),
            ("scale", agent.scaling.scale.detach().cpu().clone()),
        ):
            self.register_buffer(name, tensor, persistent=False)

    def ports(self) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        """Return the inputs and outputs, in their order."""
        inputs = [Port("obs", self.obs_dim, "the observation now")]
        outputs = [Port("action", self.action_dim, "the action, in [-1, 1]")]
        if self.parts:
            if "action" in self.parts:
                inputs.append(Port("last_action", self.action_dim, "the action that was taken in the step before"))
            if "reward" in self.parts:
                inputs.append(Port("last_reward", 1, "the reward of that action"))
            size = self.initial.shape[1]
            inputs += [
                Port("first", 1, "1 in the first step of an episode, else 0; with 1 all of the past is forgotten"),
                Port("known", 1, "1 where the step before is known, else 0: the context then stays as it is"),
                Port("state", size, "next_state of the step before; anything where first is 1"),
            ]
            outputs.append(Port("next_state", size, "what is given as state in the next step"))
        return tuple(inputs), tuple(outputs)

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the outputs [1, .] from the inputs [1, .]."""
        values = dict(zip((port.name for port in self.ports()[0]), given, strict=True))
        obs = values["obs"]
        if self.scales:
            obs = (obs - self.shift[: self.obs_dim]) * self.scale[: self.obs_dim]
        if not self.parts:
            return (self.actor.act(obs, obs[:, :0]),)
        first = values["first"] > 0.5
        taken = (values["known"] > 0.5) & ~first
        state = torch.where(first, self.initial, values["state"])
        seen = self.obs_dim if "obs" in self.parts else 0
        last = {"obs": state[:, :seen], "action": values.get("last_action"), "reward": values.get("last_reward")}
        if self.scales and last["reward"] is not None:
            last["reward"] = (last["reward"] - self.shift[-1]) * self.scale[-1]
        element = torch.cat([last[part] for part in self.parts], dim=1)  # type: ignore[misc]
        z, after = (
            self._windowed(state[:, seen:], element, taken)
            if self.window
            else self._carried(state[:, seen:], element, taken)
        )
        return self.actor.act(obs, z), torch.cat([obs[:, :seen], after], dim=1)

    def _carried(
        self, z: torch.Tensor, element: torch.Tensor, taken: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.where(taken, self.encoder.step(element, z), z)
        return z, z

    def _windowed(
        self, context: torch.Tensor, element: torch.Tensor, taken: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        elements, length = context[:, :-1], context[:, -1:]
        elements = torch.where(taken, torch.cat([elements[:, element.shape[1] :], element], dim=1), elements)
        length = torch.where(taken, torch.clamp(length + 1.0, max=float(self.window)), length)
        start = (self.window - length[:, 0]).to(torch.int64)
        z = self.encoder(Context(elements.view(self.window, 1, -1), start=start))
        return z, torch.cat([elements, length], dim=1)


def to_graph(agent: Agent) -> Graph:
    """Return the graph of an agent's deterministic policy.

    Raises:
        UserError: a package is missing, or the agent has a part that can't be exported.
    """
    for package in ("onnx", "onnxscript"):
        _check_there(package)
    step = Step(agent.copy()).cpu().eval()
    inputs, outputs = step.ports()
    try:
        with plain_operators(), torch.no_grad(), _quiet():
            program = torch.onnx.export(
                step,
                tuple(torch.zeros(1, port.size) for port in inputs),
                input_names=[port.name for port in inputs],
                output_names=[port.name for port in outputs],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:
        names = f"{type(step.encoder).__name__} and {type(step.actor).__name__}"
        what = f"the agent's {names} can't be exported to ONNX ({told(error, whole=False)})"
        raise UserError(what, where="agent.encoder", mend="write their forward in plain PyTorch operators") from error
    return Graph(_checked_bytes(program, inputs, outputs), inputs, outputs, step.state)


def _check_there(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise missing_package(package)


def _checked_bytes(program: object, inputs: Sequence[Port], outputs: Sequence[Port]) -> bytes:
    """Return the ONNX file as bytes: complete in itself, and in order as ONNX's own checker sees it."""
    import onnx

    model = program.model_proto  # type: ignore[attr-defined]
    for node in model.graph.node:  # where a node comes from in the source is nobody's business on a robot
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about itself to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
