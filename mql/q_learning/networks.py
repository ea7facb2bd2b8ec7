"""Networks that value each of a few actions: by one number, or by a distribution of returns (C51).

Shapes: B observations of shape O, either (numbers,) or (C, height, width); A actions, K atoms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import nn

from mql.errors import UserError
from mql.q_learning.settings import QSettings
from mql.seeding import first_weights_of

KERNEL = 3  # of the filters, in cells


class QNetwork(nn.Module):
    """Values of all actions.

    Vectors go through layers of ``hidden_sizes``; planes through filters of 3x3 and one layer, as for MinAtar (Young
    and Tian 2019, arXiv 1903.03176). All are followed by a ReLU.

    What ``torso`` says is computed in columns, one for each observation: a layer is then the product of its weights, as
    they lie, with activations [units, B], and filters are one product with all patches of all observations. For a few
    dozen observations that is two to three times as fast as rows and PyTorch's convolution.

    Args:
        obs_shape: O.
        actions: A.
        settings: sizes, and the head.

    Raises:
        UserError: O is neither of numbers nor of planes.
    """

    atoms: torch.Tensor
    patches: torch.Tensor

    def __init__(self, obs_shape: Sequence[int], actions: int, settings: QSettings) -> None:
        super().__init__()
        self.obs_shape, self.actions = tuple(obs_shape), actions
        self.torso = nn.Sequential(*_torso(self.obs_shape, settings))
        units = [layer.out_features for layer in self.torso if isinstance(layer, nn.Linear)][-1]
        count = settings.atoms if settings.head == "c51" else 1
        self.output = nn.Linear(units, actions * count)
        atoms = torch.linspace(settings.value_min, settings.value_max, settings.atoms, dtype=torch.float64).float()
        self.register_buffer("atoms", atoms if settings.head == "c51" else torch.zeros(0), persistent=False)
        self.register_buffer("patches", patches_of(self.obs_shape), persistent=False)

    @property
    def distributional(self) -> bool:
        """Whether it says distributions."""
        return len(self.atoms) > 0

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the values [B, A] of observations [B, *O] of any type; bytes count as the numbers that they are."""
        if self.distributional:
            means: torch.Tensor = torch.softmax(self.logits(obs), dim=-1) @ self.atoms
            return means
        return self._said(obs).t()

    def logits(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the logits [B, A, K] of the distributions over ``atoms`` [K]."""
        return self._said(obs).t().reshape(-1, self.actions, len(self.atoms))

    def layers(self) -> list[nn.Conv2d | nn.Linear]:
        """Return all that has parameters, in order; a ReLU follows each but the last."""
        return [layer for layer in (*self.torso, self.output) if isinstance(layer, nn.Conv2d | nn.Linear)]

    @staticmethod
    def bias_of(layer: nn.Conv2d | nn.Linear) -> torch.Tensor:
        """Return a layer's bias as a column, [units, 1]."""
        assert layer.bias is not None
        return layer.bias[:, None]

    def _said(self, obs: torch.Tensor) -> torch.Tensor:
        """Return what the output layer says, [A or A K, B]."""
        x = obs.flatten(1).t().to(self.output.weight.dtype).contiguous()
        *hidden, output = self.layers()
        for layer in hidden:
            if isinstance(layer, nn.Conv2d):
                shape = layer.out_channels, -1, x.shape[1]
                x = x.index_select(0, self.patches).view(layer.weight[0].numel(), -1)
                x = torch.addmm(self.bias_of(layer), layer.weight.flatten(1), x).view(shape).flatten(0, 1)
            else:
                x = torch.addmm(self.bias_of(layer), layer.weight, x)
            x = torch.relu(x)
        return torch.addmm(self.bias_of(output), output.weight, x)


def make_network(obs_shape: Sequence[int], actions: int, settings: QSettings, *, seed: int) -> QNetwork:
    """Return a network whose first parameters depend on `seed` alone."""
    with first_weights_of(seed):
        return QNetwork(obs_shape, actions, settings)


def patches_of(obs_shape: tuple[int, ...]) -> torch.Tensor:
    """Return where the numbers of all patches under a filter lie in a flat observation, [C KERNEL KERNEL cells].

    Places in a patch come first, as they lie in a filter's weights, then the cells; empty for vectors.
    """
    if len(obs_shape) != 3:
        return torch.zeros(0, dtype=torch.int64)
    planes, height, width = obs_shape
    plane = torch.arange(planes)[:, None, None, None, None] * (height * width)
    row = torch.arange(KERNEL)[:, None, None, None] + torch.arange(height - KERNEL + 1)[:, None]
    column = torch.arange(KERNEL)[:, None, None] + torch.arange(width - KERNEL + 1)
    return (plane + row * width + column).flatten()


def _torso(obs_shape: tuple[int, ...], settings: QSettings) -> Iterator[nn.Module]:
    if len(obs_shape) == 1:
        for before, after in pairwise((obs_shape[0], *settings.hidden_sizes)):
            yield nn.Linear(before, after)
            yield nn.ReLU()
    elif len(obs_shape) == 3 and min(obs_shape[1:]) >= KERNEL:
        planes, *sides = obs_shape
        yield nn.Conv2d(planes, settings.filters, KERNEL)
        yield nn.ReLU()
        yield nn.Flatten()
        yield nn.Linear(settings.filters * math.prod(side - KERNEL + 1 for side in sides), settings.conv_units)
        yield nn.ReLU()
    else:
        what = f"observations of shape {obs_shape} are neither vectors nor planes of {KERNEL}x{KERNEL} cells or more"
        raise UserError(what, mend="choose an environment that has (numbers,) or (planes, height, width)")
