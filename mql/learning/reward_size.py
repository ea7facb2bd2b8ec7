"""Are a family's rewards of a size that critics learn from? Their networks start near 0, and move by small steps."""

from __future__ import annotations

import math

import torch

# Root mean square of the rewards that a loss sees. Those of random actions in the suite's families lie between 0.001
# (kitchen) and 4.6 (humanoid-dir); with 80, TD3 did worse than random actions on a cart that it solves with 0.8.
LARGEST, SMALLEST = 30.0, 1e-4


def reward_remark(rewards: torch.Tensor, factor: float) -> str | None:
    """Say in one line that rewards [n], multiplied by `factor`, are too large or too small, or return None.

    All zero is not small: a sparse reward may not have been met yet.
    """
    size = math.sqrt(float(rewards.double().square().mean())) * factor
    if size == 0.0 or SMALLEST <= size <= LARGEST:
        return None
    scale = 10.0 ** -round(math.log10(size / factor))
    return (
        f"rewards are {'large' if size > 1 else 'small'} for the critic, {size:.2g} in size (root mean square): "
        f"set agent.reward_scale={scale:g}, or agent.normalize=true"
    )
