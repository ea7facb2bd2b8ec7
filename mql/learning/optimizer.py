"""Adam with a pull to an anchor or to the targets, and the move of the targets, on vectors of parameters.

The pull to an anchor is a term of the loss, or a ball around the anchor that steps do not leave. That to the targets is
a move of its own beside Adam's step (`mql.learning.proximal`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import torch

from mql.agent.agent import Agent, Part
from mql.agent.parameter_vector import ParameterVector
from mql.learning.proximal import pull_of

_DENORMAL = 5e-324
PIECES, LEAST_PIECE = 32, 4096  # of a vector on a GPU: how many about (36 go into one launch), and how long at least


class Adam:
    """Adam (Kingma and Ba 2015, with PyTorch's defaults) of the parameters that one loss trains.

    Args:
        parameters: moved in place.
        anchor: the vector of other values for them, which a step can pull to.
        eps: added to the square root of the second moment.

    Attributes:
        farthest: the largest distance from the anchor after any step with a radius so far (a scalar).

    Raises:
        RuntimeError: the parameters do not lie in their vector any more.
    """

    def __init__(self, parameters: ParameterVector, *, anchor: torch.Tensor | None = None, eps: float = 1e-8) -> None:
        parameters.check()
        self._parameters, self._eps = parameters, eps
        self._anchor = None if anchor is None else anchor.clone()
        # Both moments, and the number of steps (a tensor, as the fused operator wants it).
        self._first, self._second = torch.zeros_like(parameters.data), torch.zeros_like(parameters.data)
        self._steps = torch.zeros((), device=parameters.data.device)
        # A GPU gives each of 64 K numbers of a tensor to one multiprocessor: in pieces, a vector is stepped by many.
        size = len(parameters.data)
        self._piece = size if parameters.data.device.type == "cpu" else max(size // PIECES, LEAST_PIECE)
        vectors = parameters.data, self._first, self._second
        self._pieces = [list(torch.split(vector, self._piece)) for vector in vectors]
        self.farthest = torch.zeros_like(self._steps)

    def __reduce__(self) -> NoReturn:
        # What is stepped are views, and views do not come back as such: a copy would step what no network reads.
        raise TypeError("an optimiser can't be copied: copy the agent, and give the copy a learner of its own")

    def step(
        self,
        loss: torch.Tensor,
        *,
        lr: float | torch.Tensor,
        proximal_coef: float = 0.0,
        radius: torch.Tensor | None = None,
        max_norm: float | None = None,
        toward: torch.Tensor | None = None,
        pull: float | torch.Tensor = 0.0,
    ) -> None:
        """Move the parameters down the gradient of ``loss + (proximal_coef / 2) ||theta - anchor||^2``.

        No other parameter's gradient is computed. Those that then are farther than `radius` (a scalar) from the anchor
        are drawn straight back to that distance; others keep every bit. A gradient longer than `max_norm` is made that
        long. With `toward` (a vector like theirs), parameters first go the part `pull` of the way there. Adam then
        steps from there by the gradient of where they were, and its moments know nothing of the pull.
        """
        gradient = gradient_of(loss, self._parameters)
        if proximal_coef and self._anchor is not None:
            gradient.add_(self._parameters.data - self._anchor, alpha=proximal_coef)
        if max_norm is not None:
            shorten(gradient, max_norm)
        self.follow(gradient, lr=lr, toward=toward, pull=pull)
        if radius is not None and self._anchor is not None:
            self._draw_back(self._anchor, radius)

    def follow(
        self,
        gradient: torch.Tensor,
        *,
        lr: float | torch.Tensor,
        toward: torch.Tensor | None = None,
        pull: float | torch.Tensor = 0.0,
    ) -> None:
        """Make Adam's step for a gradient that lies as the parameters do, after the pull of `step`."""
        if toward is not None:
            self._parameters.data.lerp_(toward, pull)
        # PyTorch's operator: the class and the function around it cost more than the arithmetic.
        self._steps.add_(1)
        data, first, second = self._pieces
        with _denormals_are_zero():
            torch._fused_adam_(
                data, list(torch.split(gradient, self._piece)), first, second, [], [self._steps] * len(data),
                amsgrad=False, beta1=0.9, beta2=0.999, lr=lr, weight_decay=0.0, eps=self._eps, maximize=False,
            )  # fmt: skip

    def _draw_back(self, anchor: torch.Tensor, radius: torch.Tensor) -> None:
        distance = torch.linalg.vector_norm(self._parameters.data - anchor)
        kept = (radius / distance.clamp_min(torch.finfo(distance.dtype).tiny)).clamp_max(1.0)
        self._parameters.data.lerp_(anchor, 1.0 - kept)  # a weight of 0 changes nothing, one of 1 gives the anchor
        self.farthest = self.farthest.maximum(distance.minimum(radius))

    def clear(self) -> None:
        """Forget both moments and the number of steps, as if the next step were the first."""
        for tensor in (self._first, self._second, self._steps):
            tensor.zero_()

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the state by each parameter's place: ``0.exp_avg``, ``0.exp_avg_sq``, ``0.step``, ``1.exp_avg`` ..."""
        found: dict[str, torch.Tensor] = {}
        moments = zip(self._parameters.views(self._first), self._parameters.views(self._second), strict=True)
        for index, (first, second) in enumerate(moments):
            found |= {f"{index}.exp_avg": first, f"{index}.exp_avg_sq": second, f"{index}.step": self._steps}
        return found


@contextmanager
def _denormals_are_zero() -> Iterator[None]:
    """Take numbers below 1.2e-38 for 0 in here: moments of a unit that rests fall that far, and slow a step by half.

    For this thread; what was set before comes back.
    """
    before = _DENORMAL * 1.0 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class AdamLearner:
    """What learners have that step with Adam: a `protocols.Learner` but for ``networks`` and ``update``.

    Args:
        agent: trained in place.
        lr: Adam's step size for every part; it may be changed between updates (`lr`).
        anchor: the meta-trained agent (theta_meta). With a ``proximal_coef`` lambda above 0, every update has the
            penalty (lambda / 2) ||theta - theta_meta||^2 over the trained online parameters. With `radii`, every step
            ends within a ball around theta_meta.

    Attributes:
        proximal_c: c~ of the proximal step to the targets (`mql.learning.proximal`), which must follow the online
            parameters in every part; 0: none.
    """

    def __init__(self, agent: Agent, *, lr: float, anchor: Agent | None = None) -> None:
        self.agent = agent
        self.updates = 0
        # On a GPU, a number in its memory: recorded updates read it when they are made.
        self._rate: float | torch.Tensor = lr if agent.device.type == "cpu" else torch.tensor(lr, device=agent.device)
        self._lr = lr
        self.proximal_coef = 0.0
        self.proximal_c = 0.0
        self.radii: Mapping[str, torch.Tensor] = {}
        self._adam = {
            name: Adam(part.online, anchor=anchor.parts[name].online.data if anchor else None)
            for name, part in agent.parts.items()
        }

    @property
    def lr(self) -> float:
        """Adam's step size."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = lr
        if isinstance(self._rate, torch.Tensor):
            self._rate.fill_(lr)
        else:
            self._rate = lr

    def step(self, part: str, loss: torch.Tensor) -> None:
        """Move the parameters of one part of the agent down the gradient of `loss` and of the penalty."""
        self._adam[part].step(
            loss,
            lr=self._rate,
            proximal_coef=self.proximal_coef,
            radius=self.radii.get(part),
            toward=self.agent.parts[part].target.data if self.proximal_c else None,
            pull=pull_of(self._rate, self.proximal_c),
        )

    @property
    def farthest(self) -> dict[str, torch.Tensor]:
        """How far each part of `radii` was from theta_meta at most, after a step."""
        return {part: self._adam[part].farthest for part in self.radii}

    def optimizer_tensors(self) -> dict[str, torch.Tensor]:
        """Adam's moments and step counts by name: what a checkpoint stores beside the agent's tensors."""
        return {f"adam.{part}.{name}": t for part, adam in self._adam.items() for name, t in adam.tensors().items()}

    def load_optimizer_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Restore what `optimizer_tensors` gave."""
        for name, place in self.optimizer_tensors().items():
            place.copy_(tensors[name])


def move_target(part: Part, tau: float) -> None:
    """Polyak averaging: move the targets by `tau` of the way to the online parameters."""
    part.target.data.lerp_(part.online.data, tau)


def gradient_of(loss: torch.Tensor, parameters: ParameterVector) -> torch.Tensor:
    """Return the gradient of a loss with regard to `parameters`, end to end as they lie.

    No other parameter's is computed, and one that the loss does not depend on has a gradient of zero.
    """
    return parameters.gathered(torch.autograd.grad(loss, parameters.parameters, materialize_grads=True))


def shorten(gradient: torch.Tensor, max_norm: float) -> None:
    """Make a gradient that is longer than `max_norm` that long, in place."""
    norm = torch.linalg.vector_norm(gradient)
    gradient.mul_((max_norm / norm.clamp_min(torch.finfo(norm.dtype).tiny)).clamp_max(1.0))
