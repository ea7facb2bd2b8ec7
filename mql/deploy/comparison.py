"""Is an exported graph the policy that it was made of? Both act side by side, from the same inputs, for 200 steps.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.deploy.graph import Graph
from mql.errors import UserError, missing_package
from mql.seeding import generator
from mql.types import FloatArray

STEPS = 200
EPISODES = (0, 120)  # steps at which an episode begins
BOUND = 1e-5  # of the difference between actions, which are in [-1, 1]
TAKEN = 7  # in every so many steps the action that was taken is another one


@dataclass(frozen=True)
class Stimulus:
    """What a policy is given in a step. ``taken`` [A]: the action before was this one; None: it was its own."""

    first: bool
    obs: FloatArray
    last_reward: float | None
    taken: FloatArray | None


def stimuli(agent: Agent, *, seed: int = 0) -> Iterator[Stimulus]:
    """Yield `STEPS` steps of random observations and rewards, as large as the agent is used to."""
    rng, scaling = generator(seed, "export"), agent.scaling
    shift, spread = scaling.shift.cpu().numpy(), 1.0 / scaling.scale.cpu().numpy()
    for step in range(STEPS):
        drawn = (shift + spread * rng.standard_normal(len(shift))).astype(np.float32)
        first = step in EPISODES
        taken = rng.uniform(-1.0, 1.0, agent.action_dim).astype(np.float32)
        yield Stimulus(
            first=first,
            obs=drawn[: agent.obs_dim],
            last_reward=None if first else float(drawn[-1]),
            taken=taken if step % TAKEN == 0 and not first else None,
        )


def largest_difference(agent: Agent, graph: Graph) -> float:
    """Return by how much, at most, an action of the graph differs from the agent's own.

    Raises:
        UserError: onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing_package("onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    policy, feeds = RobotPolicy(agent), {port.name: np.zeros((1, port.size), np.float32) for port in graph.inputs}
    farthest, action = 0.0, np.zeros(agent.action_dim, np.float32)
    for step in stimuli(agent):
        if step.first:
            policy.reset()
        expected = policy.act(step.obs, step.last_reward, last_action=step.taken)
        given: dict[str, float | FloatArray] = {
            "obs": step.obs,
            "last_action": action if step.taken is None else step.taken,
            "last_reward": step.last_reward or 0.0,
            "first": step.first,
            "known": not step.first,
        }
        for name in feeds.keys() & given.keys():
            feeds[name][0] = given[name]
        outputs = session.run(None, feeds)
        if "state" in feeds:
            feeds["state"] = outputs[1]
        apart, action = float(np.abs(outputs[0][0] - expected).max()), expected
        farthest = apart if not apart <= farthest else farthest  # nan stays
    return farthest


def check_equal(agent: Agent, graph: Graph) -> float:
    """Return `largest_difference`.

    Raises:
        UserError: it is more than `BOUND`, or not finite.
    """
    found = largest_difference(agent, graph)
    if not found <= BOUND:
        what = f"the exported policy's actions differ from the agent's by up to {found:.2g}, more than {BOUND:g}"
        raise UserError(what, mend="look for numbers of 1e5 and more among the agent's parameters and its scaling")
    return found
