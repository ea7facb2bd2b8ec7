"""A policy for one robot: an observation in, an action out. It remembers the running episode by itself.

Shapes: O observation, A action, Z context variable.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from mql.agent.agent import Agent
from mql.errors import UserError
from mql.plain_text import counted
from mql.types import FloatArray


class RobotPolicy:
    """The deterministic policy of an agent, with the context of one running episode::

        policy.reset()
        action, reward = policy.act(obs), ...
        action = policy.act(obs, reward)     # the reward of the last action, and so on

    It acts as the agent does when episodes are collected. On the CPU it acts on what the agent learns later, too.
    """

    def __init__(self, agent: Agent) -> None:
        self.obs_dim, self.action_dim = agent.obs_dim, agent.action_dim
        self._policy, self._elements = agent.policy(), agent.elements
        self.reset()

    @property
    def needs_reward(self) -> bool:
        """Whether `act` needs the reward of the action before (configuration key ``agent.context_elements``)."""
        return self._elements.has_reward

    @property
    def context(self) -> FloatArray:
        """The context variable z [Z] that the last action was chosen with (after `reset`: the first one), a copy.

        It is what the agent has made of the running episode so far. It is zeros at the start, unless the encoder's
        empty context is something else or the agent carries one, and all along where the agent has no context.
        """
        state: FloatArray = self._context.state[0].copy()
        return state

    def reset(self) -> None:
        """Forget the running episode: the next `act` is the first of a new one.

        An agent that carries a context begins each with that (`Agent.after`).
        """
        self._context = self._policy.begin(1)
        self._obs: FloatArray | None = None  # of the step before [1, O]
        self._action: FloatArray | None = None  # of the step before [1, A]

    def act(
        self, obs: npt.ArrayLike, last_reward: float | None = None, *, last_action: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Return the action [A] in [-1, 1] for an observation [O].

        Args:
            obs: what is seen now.
            last_reward: what the action before was rewarded with; None in the first step of an episode. Where
                `needs_reward` is false it may always be None, and is not looked at.
            last_action: the action [A] that was taken, where it was another one than `act` returned.

        Raises:
            UserError: a wrong number of values, one that is not finite, or no reward for the action before.
        """
        seen = _row("obs", obs, self.obs_dim)
        if self._obs is None or self._action is None:
            if last_reward is not None or last_action is not None:
                raise UserError("an episode begins with a last_reward or a last_action", mend="leave both out there")
        elif last_reward is None and self.needs_reward:
            raise UserError("last_reward is missing", mend="give the reward of the last action, or call reset() first")
        else:
            action = self._action if last_action is None else _row("last_action", last_action, self.action_dim)
            reward = None
            if last_reward is not None and self.needs_reward:
                reward = _row("last_reward", [last_reward], 1)[0]
            self._policy.observe(self._context, self._obs, action, reward)
        self._obs, self._action = seen, self._policy.act(seen, self._context)
        chosen: FloatArray = self._action[0].copy()
        return chosen


def load_policy(folder: str | os.PathLike[str]) -> RobotPolicy:
    """Return the policy of a saved agent, such as an adapted one; neither its run nor a simulator is needed.

    Raises:
        UserError: the folder holds no agent, or a damaged one.
    """
    return RobotPolicy(Agent.load(folder))


def _row(name: str, values: npt.ArrayLike, size: int) -> FloatArray:
    """Return the caller's numbers as [1, size], in memory of their own."""
    try:
        row = np.array(values, dtype=np.float32)
    except (TypeError, ValueError):
        raise UserError(
            f"{name} is no row of numbers", mend=f"give {counted(size, 'number')}, shape ({size},)"
        ) from None
    if row.shape != (size,):
        raise UserError(
            f"{name} has shape {row.shape}", mend=f"give {counted(size, 'number')} in one row, shape ({size},)"
        )
    if not np.isfinite(row).all():
        raise UserError(f"{name} holds numbers that are not finite", mend="stop the robot, and look at its sensors")
    return row[None]
