"""What is learned of transitions, as plain functions.

Shapes: B transitions, A actions, K atoms. `reward` [B] is the discounted sum over the steps of a return, `discount`
[B] the factor on what follows: gamma^n, and 0 after a termination.
"""

from __future__ import annotations

import torch

from mql.agent.histogram import shared_out


def td_targets(reward: torch.Tensor, discount: torch.Tensor, next_values: torch.Tensor) -> torch.Tensor:
    """Return the targets [B]: the reward, and the best of the target network's next values [B, A]."""
    return reward + discount * next_values.amax(dim=1)


def squared_errors(values: torch.Tensor, action: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return (Q(s, a) - y)^2 [B] for values [B, A] and actions [B]."""
    return (values.gather(1, action[:, None])[:, 0] - targets).square()


def target_distributions(
    reward: torch.Tensor, discount: torch.Tensor, next_logits: torch.Tensor, atoms: torch.Tensor
) -> torch.Tensor:
    """Return the distributions [B, K] to learn: that of the best next action, shrunk, moved and projected on the atoms.

    Args:
        reward, discount: as above.
        next_logits: [B, A, K], the target network's.
        atoms: [K], in rising order.
    """
    probabilities = torch.softmax(next_logits, dim=-1)
    best = (probabilities @ atoms).argmax(dim=1)
    following = probabilities[torch.arange(len(best), device=best.device), best]
    return shared_out(atoms, reward[:, None] + discount[:, None] * atoms, following)


def cross_entropies(logits: torch.Tensor, action: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropies [B] of target distributions [B, K] and those of logits [B, A, K] at actions [B]."""
    taken = logits[torch.arange(len(action), device=action.device), action]
    return -(targets * torch.log_softmax(taken, dim=-1)).sum(dim=-1)
