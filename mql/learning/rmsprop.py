"""RMSProp on the vector that a network's parameters lie in."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mql.agent.parameter_vector import ParameterVector
from mql.agent.restoring import copy_named
from mql.learning.optimizer import gradient_of, shorten


class RMSProp:
    """RMSProp (Tieleman and Hinton 2012), as PyTorch's: epsilon stands outside the root, nothing is centred.

    Args:
        parameters: moved in place.
        decay: how much of the mean square of gradients a step keeps.

    Raises:
        RuntimeError: the parameters do not lie in their vector any more.
    """

    def __init__(self, parameters: ParameterVector, *, decay: float = 0.99, eps: float = 1e-5) -> None:
        parameters.check()
        self._parameters, self._decay, self._eps = parameters, decay, eps
        self._square = torch.zeros_like(parameters.data)

    def step(self, loss: torch.Tensor, *, lr: float, max_norm: float) -> None:
        """Move the parameters down the gradient of `loss`, which is made `max_norm` long where it is longer."""
        gradient = gradient_of(loss, self._parameters)
        shorten(gradient, max_norm)
        self._square.mul_(self._decay).addcmul_(gradient, gradient, value=1.0 - self._decay)
        self._parameters.data.addcdiv_(gradient, self._square.sqrt().add_(self._eps), value=-lr)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the state by each parameter's place: ``0.square_avg``, ``1.square_avg`` ..."""
        return {f"{index}.square_avg": part for index, part in enumerate(self._parameters.views(self._square))}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `tensors` gave.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape.
        """
        copy_named(self.tensors().items(), tensors)
