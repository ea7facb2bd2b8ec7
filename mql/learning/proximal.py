"""The proximal step to the targets (Asadi et al. 2022, arXiv 2112.05848): how strong it is, and how much is felt.

Each iteration minimises the loss plus (1 / (2 c)) ||w - theta||^2, where theta are the target network's parameters. A
step takes the gradient at w, then moves w by lr / c of the way to theta, then has Adam step by that gradient
(`mql.learning.optimizer.Adam`). So the pull is outside the optimiser, like the decay of AdamW.

With K steps between copies of w to theta, ``kappa`` = lr K / c says how much of c is felt, whatever the size of the
problem: both published settings (DQN Pro and Rainbow Pro, on Atari) have 2.5.
"""

from __future__ import annotations

import math
from typing import Literal

from mql.config.schema import PUBLISHED_KAPPA
from mql.errors import UserError


def resolved_c(proximal_c: float | Literal["auto"], *, lr: float, steps: int, where: str = "agent.proximal_c") -> float:
    """Return c as a number: ``auto`` gives the published kappa for K = `steps`; 0 and infinity mean no pull.

    Raises:
        UserError: c is below `lr`, so that a step would go beyond the targets, or no number of at least 0.
    """
    c = lr * steps / PUBLISHED_KAPPA if proximal_c == "auto" else float(proximal_c)
    if math.isnan(c) or c < 0.0:
        raise UserError(f"a proximal c of {c:g} means nothing", where=where, mend="use auto, 0 or a positive number")
    if 0.0 < c < lr:
        what = f"a proximal c of {c:g} is below the learning rate {lr:g}, so steps would go beyond the targets"
        mend = "copy targets less often" if proximal_c == "auto" else "raise it, use auto, or use 0 for no pull"
        raise UserError(what, where=where, mend=mend)
    return c


def pull_of(lr: float, proximal_c: float) -> float:
    """Return the part of the way to the targets that a step is pulled, lr / c; 0 where there is no pull."""
    return lr / proximal_c if proximal_c else 0.0


def kappa_of(lr: float, proximal_c: float, steps: int) -> float:
    """Return kappa = lr K / c for K = `steps` between copies."""
    return pull_of(lr, proximal_c) * steps
