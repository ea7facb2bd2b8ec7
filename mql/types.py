"""The named containers that are passed from folder to folder.

Shapes: B transitions in a batch, S context sequences, T context elements in a sequence, L states read per sequence
(B = S * L), O observation, A action, C context element (`mql.agent.elements`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # worker processes use `Episode` and load no PyTorch
    import torch

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
JSON = Any  # whatever json.dumps takes
REWARD_TERM = "reward_"  # what the names of reward terms begin with in a step's info
COLLECTED_TERM = "collected_reward_"  # and those of their sums over an episode in metrics.jsonl

# What a context element may have of a step, in the order in which it has it.
ContextPart = Literal["obs", "action", "reward"]
CONTEXT_PARTS: tuple[ContextPart, ...] = ("obs", "action", "reward")


@dataclass(frozen=True)
class OnCluster:
    """Worker processes on the nodes of a Ray cluster.

    Args:
        count: jobs at work at the same time.
        address: ``host:port`` of the cluster, or ``auto`` for the one that this machine is part of; None: one that is
            started here, and ends with this program.
    """

    count: int
    address: str | None = None


Workforce = int | OnCluster  # who plays episodes: so many worker processes of this machine, or those of a cluster


def count_of(workforce: Workforce) -> int:
    """Return how many jobs are at work at the same time."""
    return workforce.count if isinstance(workforce, OnCluster) else workforce


class NotFinite(FloatingPointError):
    """Numbers that were learned are not finite any more: the text says which."""


@dataclass(frozen=True)
class Episode:
    """One whole episode of one task, as collected.

    ``obs`` is [T+1, O] (the last row is the observation after the last action), ``action`` [T, A], ``reward`` [T].
    ``task`` is the index in the split it was drawn from; ``policy_version`` counts the updates behind the policy.
    ``final_info`` is what the family reported at the last step. ``reward_terms`` are the sums over the episode of the
    reward terms that it reported as ``reward_NAME``, by NAME; a stored episode has none.
    """

    obs: FloatArray
    action: FloatArray
    reward: FloatArray
    terminated: bool
    truncated: bool
    task: int
    seed: int
    policy_version: int = 0
    success: bool | None = None
    final_info: Mapping[str, float] = field(default_factory=dict)
    reward_terms: Mapping[str, float] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Number of control steps."""
        return len(self.reward)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return float(self.reward.sum(dtype=np.float64))


@dataclass(frozen=True)
class Transition:
    """Transitions in a batch: obs and next_obs [B, O], action [B, A], reward and terminated [B] (float32).

    With ``discount`` [B], ``next_obs`` lies one or several steps ahead (k): ``reward`` is the discounted sum of the
    rewards of these steps, and ``discount`` the factor gamma^k on what follows. None: one step, the learner's gamma.
    """

    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    next_obs: torch.Tensor
    terminated: torch.Tensor
    discount: torch.Tensor | None = None


@dataclass(frozen=True)
class Context:
    """Context sequences and the places where their encoding is read.

    ``elements`` [T, S, C] holds (o_i, a_i, r_i) of consecutive steps, or parts of these. State k of a sequence is the
    encoder's state after its first k elements; state 0 is ``initial`` [S, Z] (None: zero, as at an episode's start).
    Elements before ``start`` [S] (None: 0) are padding of histories shorter than T and leave the state as it is.
    ``read`` [S, L] says which states are the context variables z of the batch's S * L transitions (None: the last one,
    L = 1).
    """

    elements: torch.Tensor
    read: torch.Tensor | None = None
    start: torch.Tensor | None = None
    initial: torch.Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """What one update learns from: B transitions with their contexts, and a weight [B] for each (mean 1)."""

    transition: Transition
    context: Context
    next_context: Context
    weights: torch.Tensor
