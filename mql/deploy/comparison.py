"""Is an exported graph the policy that it was made of? Both act at once, from the same inputs, for 200 steps.

The steps are those of episodes of a training task, so that the numbers are as large as the agent is used to; without a
family they are random. Every few steps the robot does something else than the agent asks for.

Both compute in float32. An agent with large weights may make more of its rounding than `BOUND`; then neither is nearer
to the truth, which is what the same modules compute in float64. So a graph is right that is within the bound, or about
as near to the agent as that is to the truth.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.deploy.graph import Graph, Step
from mql.errors import UserError, missing_package
from mql.kernels.loading import plain_operators
from mql.seeding import generator
from mql.tasks.family import Array, TaskFamily
from mql.types import FloatArray

STEPS = 200
SECOND = 120  # without a family: the step at which a second episode begins
BOUND = 1e-5  # of the difference between actions, which are in [-1, 1]
AS_NEAR = 3.0  # times as far from the agent as that is from the truth is no worse than it
COARSE = 1e-2  # beyond this, rounding explains nothing
TAKEN = 7  # in every so many steps another action is taken


@dataclass(frozen=True)
class Situation:
    """What a policy is given in a step. ``taken`` [A]: the action before was this one; None: it was its own."""

    first: bool
    obs: FloatArray
    last_reward: float | None
    taken: FloatArray | None


@dataclass(frozen=True)
class Comparison:
    """Largest differences between actions: of the graph's and the agent's, and of the agent's and the exact ones."""

    difference: float
    rounding: float


def situations(agent: Agent, family: TaskFamily | None = None, *, seed: int = 0) -> Iterator[Situation]:
    """Yield `STEPS` steps, in which the agent acts but for every `TAKEN`-th."""
    rng = generator(seed, "export")
    if family is None:
        yield from _random(agent, rng)
        return
    policy, task = RobotPolicy(agent), family.tasks("train")[0]
    batch, steps = family.make_batch([task]), 0
    try:
        while steps < STEPS:
            policy.reset()
            obs, reward, taken = batch.reset([seed + steps])[0], None, None
            for step in range(family.episode_length):
                yield Situation(step == 0, obs, reward, taken)
                steps += 1
                action = policy.act(obs, reward, last_action=taken)
                taken = _other(agent, rng) if steps % TAKEN == 0 else None
                moved = batch.step((action if taken is None else taken)[None])
                obs, reward = moved.obs[0].copy(), float(moved.reward[0])
                finite = np.isfinite(obs).all() and np.isfinite(reward)
                if moved.terminated[0] or moved.truncated[0] or steps == STEPS or not finite:
                    break
    finally:
        batch.close()


def compare(agent: Agent, graph: Graph, family: TaskFamily | None = None) -> Comparison:
    """Let agent, graph and the modules in float64 act on the same inputs.

    Raises:
        UserError: onnxruntime is missing.
        EpisodeFault: an episode of the family could not be played.
    """
    policy, graph_acts, exact_acts = RobotPolicy(agent), _graph(graph), _exact(agent)
    own, exact = policy.act, np.zeros(agent.action_dim)
    action, difference, rounding = np.zeros(agent.action_dim, np.float32), 0.0, 0.0
    for now in situations(agent, family):
        if now.first:
            policy.reset()
        given: dict[str, Any] = {
            "obs": now.obs,
            "last_action": action if now.taken is None else now.taken,
            "last_reward": now.last_reward or 0.0,
            "first": now.first,
            "known": not now.first,
        }
        action = own(now.obs, now.last_reward, last_action=now.taken)
        exact = exact_acts(given)
        difference = _larger(difference, graph_acts(given) - action)
        rounding = _larger(rounding, action - exact)
    return Comparison(difference, rounding)


def checked(agent: Agent, graph: Graph, family: TaskFamily | None = None) -> Comparison:
    """Return what `compare` finds.

    Raises:
        UserError: the graph's actions are not those of the agent; or onnxruntime is missing.
        EpisodeFault: an episode of the family could not be played.
    """
    found = compare(agent, graph, family)
    if not found.difference <= max(BOUND, min(AS_NEAR * found.rounding, COARSE)):
        what = (
            f"the exported policy's actions differ from the agent's by up to {found.difference:.2g}, more than "
            f"rounding explains ({found.rounding:.2g})"
        )
        mend = "try other versions of PyTorch, onnxscript and onnxruntime, and see docs/export.md for what is known"
        raise UserError(what, mend=mend)
    return found


def _random(agent: Agent, rng: np.random.Generator) -> Iterator[Situation]:
    shift, spread = agent.scaling.shift.cpu().numpy(), 1.0 / agent.scaling.scale.cpu().numpy()
    for step in range(STEPS):
        drawn = (shift + spread * rng.standard_normal(len(shift))).astype(np.float32)
        first, taken = step in (0, SECOND), _other(agent, rng)
        reward = None if first else float(drawn[-1])
        yield Situation(first, drawn[: agent.obs_dim], reward, taken if step % TAKEN == 0 and not first else None)


def _other(agent: Agent, rng: np.random.Generator) -> FloatArray:
    return rng.uniform(-1.0, 1.0, agent.action_dim).astype(np.float32)


def _graph(graph: Graph) -> Callable[[dict[str, Any]], FloatArray]:
    """Return what gives the graph's action [A] for the inputs of a step."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing_package("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    feeds = {port.name: np.zeros((1, port.size), np.float32) for port in graph.inputs}

    def act(given: dict[str, Any]) -> FloatArray:
        for name in feeds.keys() & given.keys():
            feeds[name][0] = given[name]
        outputs = session.run(None, feeds)
        if "state" in feeds:
            feeds["state"] = outputs[1]
        action: FloatArray = outputs[0][0]
        return action

    return act


def _exact(agent: Agent) -> Callable[[dict[str, Any]], Array]:
    """Return what gives the action [A] of the agent's modules in float64."""
    step = Step(agent.copy()).cpu().double().eval()
    inputs, _ = step.ports()
    feeds = {port.name: torch.zeros(1, port.size, dtype=torch.float64) for port in inputs}

    def act(given: dict[str, Any]) -> Array:
        for name in feeds.keys() & given.keys():
            feeds[name] = torch.as_tensor(np.array(given[name], np.float64).reshape(1, -1))
        with plain_operators(), torch.no_grad():
            outputs = step(*feeds.values())
        if "state" in feeds:
            feeds["state"] = outputs[1]
        action: Array = outputs[0][0].numpy()
        return action

    return act


def _larger(before: float, apart: Array | FloatArray) -> float:
    """Return the largest of `before` and the components of `apart`; nan stays."""
    now = float(np.abs(apart).max())
    return before if now <= before else now
