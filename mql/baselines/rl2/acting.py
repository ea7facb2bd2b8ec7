"""How RL^2 acts: a GRU sees observation, last action, last reward and whether an episode begins; its state acts.

A policy of numpy, as in `mql.agent.acting`, for workers without PyTorch. What it remembers of an episode is one row:
the GRU's state before this step, and what the step will see of the one before. An episode that goes on from another one
of its task begins with that one's row at its end.

Shapes: N episodes in parallel, O observation, A action, Z state of the GRU, M = Z + A + 2 memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mql.agent.acting import ActingContext, gru_step
from mql.types import FloatArray


@dataclass(frozen=True)
class Memory:
    """The parts of a row [M] of memory."""

    state_dim: int
    action_dim: int

    @property
    def context_dim(self) -> int:
        """M: what an `Agent` carries through an episode, and asks for under this name."""
        return self.state_dim + self.action_dim + 2

    def row(self, state: FloatArray, action: FloatArray, reward: FloatArray, *, begins: bool) -> FloatArray:
        """Return rows [N, M] of states [N, Z], last actions [N, A] and rewards [N]; an episode `begins` now, or not."""
        flag = np.full((len(state), 1), float(begins), np.float32)
        return np.concatenate([state, action, reward[:, None], flag], axis=1)

    def nothing(self, n: int) -> FloatArray:
        """Return the rows [N, M] with which trials begin."""
        empty = np.zeros((n, self.context_dim), np.float32)
        empty[:, -1] = 1.0
        return empty


class RecurrentPolicy:
    """Deterministic actions, the means of the Gaussian policy.

    Args:
        gru: its four parameters, transposed.
        actor: weight [Z, A] and bias [A] of the layer whose tanh is the mean.
    """

    def __init__(self, gru: list[FloatArray], actor: tuple[FloatArray, FloatArray]) -> None:
        self._gru, self._actor = gru, actor
        self._memory = Memory(len(actor[0]), len(actor[1]))

    def begin(self, n: int) -> ActingContext:
        """Return the context of `n` episodes that begin a trial each."""
        memory = self._memory.nothing(n)
        return ActingContext(state=memory, elements=np.zeros((0, n, 0), np.float32), policy=self)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        context.ahead = self._advanced(obs, context.state)
        weight, bias = self._actor
        action: FloatArray = context.ahead @ weight
        action += bias
        return np.tanh(action, out=action)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place."""
        if reward is None:
            raise ValueError("the reward is part of what is remembered, but there is none")
        state = self._advanced(obs, context.state) if context.ahead is None else context.ahead
        context.state, context.ahead = self._memory.row(state, action, reward, begins=False), None

    def _advanced(self, obs: FloatArray, memory: FloatArray) -> FloatArray:
        size = self._memory.state_dim
        return gru_step(self._gru, np.concatenate([obs, memory[:, size:]], axis=1), memory[:, :size])
