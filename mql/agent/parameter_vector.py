"""Parameters laid end to end in one vector, of which they are views.

A step of Adam, a pull to other parameters and a move of the targets are then a few operators, not a few for each of a
dozen tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn


class ParameterVector:
    """Moves `parameters` into one vector, ``data``; what is written there is what the networks compute with.

    Args:
        parameters: of one type and device, none of them twice; their order is the vector's.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.data = self.gathered([parameter.detach() for parameter in parameters])
        for parameter, place in zip(self.parameters, self.views(self.data), strict=True):
            parameter.data = place

    def __reduce__(self) -> tuple[Callable[..., ParameterVector], tuple[list[nn.Parameter]]]:
        # Views do not come back from a pickle as views: the parameters that come back are laid end to end again.
        return ParameterVector, (self.parameters,)

    def check(self) -> None:
        """Refuse to learn where nobody would see it.

        Raises:
            RuntimeError: a parameter was moved out of the vector (``module.double()`` or ``module.to(device)`` do it).
        """
        for parameter, place in zip(self.parameters, self.views(self.data), strict=True):
            if parameter.data_ptr() != place.data_ptr() or parameter.dtype != place.dtype:
                raise RuntimeError("an agent's parameters were moved or converted; give `Agent` its device instead")

    def views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """Return the parts of `vector` that stand for the parameters, in their shapes."""
        parts = vector.split_with_sizes([parameter.numel() for parameter in self.parameters])
        return [part.view(parameter.shape) for part, parameter in zip(parts, self.parameters, strict=True)]

    def gathered(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return one tensor for each parameter, such as gradients, as a new vector."""
        return torch.cat([tensor.reshape(-1) for tensor in tensors])
