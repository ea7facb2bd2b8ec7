"""The proximal step to the targets (Asadi et al. 2022, arXiv 2112.05848): how strong it is, and how much is felt.

Each iteration minimises the loss plus (1 / (2 c)) ||w - theta||^2, where theta are the target network's parameters. A
step takes the gradient at w, then moves w by lr / c of the way to theta, then has Adam step by that gradient
(`mql.learning.optimizer.Adam`). So the pull is outside the optimiser, like the decay of AdamW.

With K steps between copies of w to theta, ``kappa`` = lr K / c says how much of c is felt, whatever the size of the
problem: both published settings (DQN Pro and Rainbow Pro, on Atari) have 2.5.
"""

from __future__ import annotations

import torch


def pull_of(lr: float | torch.Tensor, proximal_c: float) -> float | torch.Tensor:
    """Return the part of the way to the targets that a step is pulled, lr / c; 0 where there is no pull."""
    return lr / proximal_c if proximal_c else 0.0


def kappa_of(lr: float, proximal_c: float, steps: int) -> float:
    """Return kappa = lr K / c for K = `steps` between copies."""
    return float(pull_of(lr, proximal_c)) * steps
