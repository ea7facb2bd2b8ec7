"""Draw the two pictures of docs/p3o.md and docs/proximal.md, with the functions that training uses.

    python examples/draw_methods.py p3o -o docs/pictures/p3o.png
    python examples/draw_methods.py proximal -o docs/pictures/proximal.png

Nothing is trained: the first shows what a minibatch of stored actions is worth as the policy moves away from the one
that took them; the second, how far updates lead from the targets until these are copied again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from torch import nn

from mql.agent.parameter_vector import ParameterVector
from mql.learning.optimizer import Adam
from mql.learning.proximal import kappa_of, pull_of
from mql.p3o.losses import trust

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROWS = 1536  # of an off-policy step
KAPPAS = (0.0, 0.5, 1.0, 2.5, 5.0)
UPDATES, LR = 250, 2.5e-4  # between copies, and the step size of `--method dqn`
SLOPES = torch.tensor([3.0, 1.0])  # of the problem in the second picture
GOAL = torch.tensor([1.0, 0.6])  # where its loss is least, far off for so few updates


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", choices=("p3o", "proximal"))
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="tight")
    (p3o if options.picture == "p3o" else proximal)(*axes)
    figure.savefig(options.out, dpi=80)


def p3o(left: Any, right: Any) -> None:
    """Left: cap and lambda by how far the policy has moved. Right: the weights of rows at one place."""
    generator = torch.Generator().manual_seed(0)
    action = torch.randn(ROWS, generator=generator)  # as the policy of then drew them: mean 0, deviation 1
    moved = np.linspace(0.0, 2.0, 41)
    ess = [trust(log_ratio(action, float(mean))).ess for mean in moved]
    left.plot(moved, ess, label="c = ESS: the cap of ratios")
    left.plot(moved, 1.0 - np.array(ess), label="lambda = 1 - ESS: the pull to the policy of then")
    left.plot(moved, np.exp(-(moved**2)), "k:", lw=1, label="ESS of endlessly many rows")
    left.set(xlabel="how far the policy's mean has moved (in its deviations)", ylim=(0, 1.4))
    left.legend(fontsize=8)
    for mean in (0.25, 0.75, 1.25):
        told = trust(log_ratio(action, mean))
        order = action.argsort()
        right.plot(action[order], told.weights[order], label=f"moved by {mean}: c = {told.ess:.2f}")
    right.set(xlabel="stored action (the policy moves to the right)", ylabel="weight min(rho, c)", ylim=(0, 1.4))
    right.legend(fontsize=8)


def log_ratio(action: torch.Tensor, mean: float) -> torch.Tensor:
    """Return log pi - log beta of actions [N], for normal policies of deviation 1 and means `mean` and 0."""
    return action * mean - 0.5 * mean**2


def proximal(left: Any, right: Any) -> None:
    """Left: how far from the targets the updates after a copy lead. Right: where they end, by kappa."""
    ends = {}
    for kappa in KAPPAS:
        c = LR * UPDATES / kappa if kappa else 0.0
        distance = updates_after_copy(c).norm(dim=1)
        ends[kappa_of(LR, c, UPDATES)] = float(distance[-1])
        left.plot(distance, label=f"kappa = {kappa:g}{' (DQN)' if not kappa else ''}")
    left.set(xlabel="updates since the copy", ylabel="distance from the targets", ylim=(0, None))
    left.legend(fontsize=8)
    kappas = np.linspace(0.01, 5.0, 100)
    right.plot(kappas, (1.0 - np.exp(-kappas)) / kappas, "k:", lw=1, label="(1 - exp(-kappa)) / kappa")
    right.plot(list(ends), [end / ends[0.0] for end in ends.values()], "o", label="these updates")
    right.set(xlabel="kappa", ylabel="distance at the next copy, DQN = 1", ylim=(0, 1.05))
    right.legend(fontsize=8)


def updates_after_copy(c: float) -> torch.Tensor:
    """Return where the parameters are after each update from the targets on, [UPDATES + 1, 2]."""
    parameter = nn.Parameter(torch.zeros(2))
    vector = ParameterVector([parameter])
    adam, targets = Adam(vector), torch.zeros(2)
    path = [parameter.detach().clone()]
    for _ in range(UPDATES):
        loss = 0.5 * (SLOPES * (parameter - GOAL).square()).sum()
        adam.step(loss, lr=LR, toward=targets, pull=pull_of(LR, c))
        path.append(parameter.detach().clone())
    return torch.stack(path)


if __name__ == "__main__":
    main()
