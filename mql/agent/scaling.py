"""Brings observations and rewards into a range that networks learn from well.

Everything that a network reads passes through one `Scaling`: the batches and states that a replay makes, and what a
policy sees while it acts. What is stored (replay, episodes, logs) keeps its units.

A row (o, a, r) becomes ``(row - shift) * scale``, and a context's element is what `ContextElements` takes of it. The
reward that a loss sees is only multiplied, never shifted: a constant added to every reward would change what an early
end of an episode is worth.

Shapes: O observation, A action, D = O + A + 1 row, C element of a context.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mql.agent.elements import ContextElements
from mql.types import Transition

# A quantity that varies by less than this part of its largest magnitude, or of 1, counts as constant: dividing by such
# a spread would blow rounding noise up to unit variance. (Without the latter, a body at rest would be measured by its
# noise of 1e-17 m/s, and once it is pushed networks would read 1e16.)
CONSTANT_SPREAD = 1e-6


class Scaling:
    """``shift`` and ``scale`` [D], shared by all that reads or writes them; without `fit` only `reward_scale` acts.

    Args:
        elements: what contexts have of a row.
        reward_scale: a factor on rewards, in the context and in the losses.
        normalize: `fit` may standardise observations and rewards.
    """

    def __init__(self, elements: ContextElements, *, reward_scale: float, normalize: bool, device: str) -> None:
        self.obs_dim, self.normalize = elements.obs_dim, normalize
        self._elements, self._reward_scale = elements, reward_scale
        self.shift = torch.zeros(elements.obs_dim + elements.action_dim + 1, device=device)
        self.scale = torch.ones_like(self.shift)
        self.scale[-1] = reward_scale
        self.fitted = torch.zeros((), dtype=torch.bool)  # in the machine's memory: it is asked for at every batch

    @property
    def may_act(self) -> bool:
        """Whether anything is changed, now or after `fit`."""
        return self._reward_scale != 1.0 or self.normalize

    @property
    def acts(self) -> bool:
        """Whether anything is changed now."""
        return self._reward_scale != 1.0 or bool(self.fitted)

    def fit(self, obs: torch.Tensor, reward: torch.Tensor) -> None:
        """Standardise by the mean and spread of observations [n, O] and rewards [n]; once, for good.

        A reward then varies by `reward_scale`. Constant quantities are shifted to 0 and otherwise left alone
        (`CONSTANT_SPREAD`).

        Raises:
            RuntimeError: it was fitted before, or is not to be.
        """
        if not self.normalize or self.fitted:
            raise RuntimeError("observations and rewards are standardised once, and only where agent.normalize says so")
        for place, values in ((slice(0, self.obs_dim), obs), (slice(-1, None), reward[:, None])):
            exact = values.double()
            mean, spread = exact.mean(dim=0), exact.std(dim=0, correction=0)
            constant = spread <= CONSTANT_SPREAD * exact.abs().amax(dim=0).clamp(min=1.0)
            self.shift[place] = mean
            self.scale[place] = 1.0 / torch.where(constant, 1.0, spread)
        self.scale[-1] *= self._reward_scale
        self.fitted.fill_(True)

    def obs(self, obs: torch.Tensor) -> torch.Tensor:
        """Scale observations [..., O]."""
        if not self.fitted:
            return obs
        return (obs - self.shift[: self.obs_dim]) * self.scale[: self.obs_dim]

    def elements(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the scaled elements [..., C] of contexts that rows [..., D] are in."""
        of = self._elements.of_rows
        return (of(rows) - of(self.shift)) * of(self.scale) if self.acts else of(rows)

    def transition(self, transition: Transition) -> Transition:
        """Scale what a loss sees: observations, and rewards by their factor alone."""
        if not self.acts:
            return transition
        return Transition(
            obs=self.obs(transition.obs),
            action=transition.action,
            reward=transition.reward * self.scale[-1],
            next_obs=self.obs(transition.next_obs),
            terminated=transition.terminated,
            discount=transition.discount,
        )

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """What a checkpoint stores; nothing where nothing can be fitted."""
        if self.normalize:
            yield from (("shift", self.shift), ("scale", self.scale), ("fitted", self.fitted))
