"""What a context element consists of: the one place that says it, for encoders, replays and whoever acts.

Of every step the context may get the observation, the action and the reward. ``agent.context_elements`` says which: a
robot that can't measure its reward has an agent that never asks for it.

Shapes: N tasks side by side, O observation, A action, C context element.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mql.types import CONTEXT_PARTS, ContextPart, FloatArray

if TYPE_CHECKING:  # worker processes act without PyTorch and without configurations
    import torch

    from mql.config.schema import AgentConfig


@dataclass(frozen=True)
class ContextElements:
    """The elements of contexts, as parts of rows (o, a, r).

    Attributes:
        obs_dim, action_dim: O and A of a row, which has O + A + 1 numbers.
        parts: what an element has of ``obs``, ``action`` and ``reward``, in this order; nothing: there is no context.
    """

    obs_dim: int
    action_dim: int
    parts: tuple[ContextPart, ...] = CONTEXT_PARTS

    @classmethod
    def of(cls, obs_dim: int, action_dim: int, config: AgentConfig) -> ContextElements:
        """Return the elements of an agent with this configuration; those of a context-blind one are empty."""
        return cls(obs_dim, action_dim, config.context_elements if config.use_context else ())

    @property
    def dim(self) -> int:
        """Numbers in an element, C."""
        return sum(span.stop - span.start for span in self._spans)

    @property
    def has_reward(self) -> bool:
        """Whether the reward of every step is needed to act."""
        return "reward" in self.parts

    def of_rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the elements [..., C] of rows [..., O + A + 1]: a view of them where the parts lie side by side."""
        if self.parts == CONTEXT_PARTS:
            return rows
        if len(self._spans) == 1:
            return rows[..., self._spans[0]]
        import torch

        return torch.cat([rows[..., span] for span in self._spans], dim=-1)

    def of_step(self, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> FloatArray:
        """Return the elements [N, C] of a step (o [N, O], a [N, A], r [N]), in memory of their own.

        Raises:
            ValueError: `reward` is None, but an element has it.
        """
        if not self.parts:
            return np.zeros((len(obs), 0), dtype=np.float32)
        if reward is None and self.has_reward:
            raise ValueError("the reward is part of a context element, but there is none")
        row = {"obs": obs, "action": action, "reward": reward if reward is None else reward[:, None]}
        element: FloatArray = np.concatenate([row[part] for part in self.parts], axis=1)
        return element

    @cached_property
    def _spans(self) -> list[slice]:
        """Where the parts lie in a row; neighbours are one span, and without parts there is an empty one."""
        ends = np.cumsum([self.obs_dim, self.action_dim, 1]).tolist()
        spans: list[slice] = []
        for part, start, stop in zip(CONTEXT_PARTS, [0, *ends], ends, strict=False):
            if part not in self.parts:
                continue
            if spans and spans[-1].stop == start:
                spans[-1] = slice(spans[-1].start, stop)
            else:
                spans.append(slice(start, stop))
        return spans or [slice(0, 0)]
