"""Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438).

Shapes: T steps, N sequences of them in parallel.
"""

from __future__ import annotations

import torch


def advantages(
    reward: torch.Tensor,
    value: torch.Tensor,
    following: torch.Tensor,
    goes_on: torch.Tensor,
    *,
    discount: float,
    decay: float,
) -> torch.Tensor:
    """Return the advantages [T, N] of steps with rewards [T, N] in states of these values [T, N].

    Args:
        following: values [T, N] of the states that steps led to; 0 where an episode was over.
        goes_on: true [T, N] where the next step's advantage counts for this one. The last step's is not looked at.
        decay: GAE's lambda.
    """
    errors = (reward + discount * following - value).unbind()
    kept = (discount * decay * goes_on.to(value.dtype)).unbind()
    found = [errors[-1]]
    for t in range(len(errors) - 2, -1, -1):
        found.append(errors[t] + kept[t] * found[-1])
    return torch.stack(found[::-1])
