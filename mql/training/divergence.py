"""Whether a learner has diverged: by the numbers that it learned, whatever its method.

Losses alone don't tell: a network whose units are all saturated has a low one. So two things are looked at before a
checkpoint is written: whether every number is finite, and how large the weights have become. Weights begin at about
0.1 to 0.5 and stay there (in this project's trainings the median of no part came to 0.5); steps that are too large
carry them away, by about the learning rate each. It is the median that is looked at, since a few large weights are what
large returns need.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mql.errors import UserError

LEARNED = ("online.", "networks.")  # what the names of learned parameters begin with, in all methods of this project
FOLLOWING = ("target.", "scaling.", "seen.", "returns.", "adam.", "rmsprop.")  # and of what is computed beside them
MOST = 5.0  # median size of a part's weights

Sizes = Mapping[str, float]  # by part, such as ``online.critic``


class Diverged(UserError):
    """Numbers that are learned are no longer finite, or have grown out of all proportion.

    Args:
        what: the quantity, and what became of it.
        env_steps: when this was found.
        good: env steps of the last checkpoint, from before; None: there is none.
        before: of the same quantity at that checkpoint; None: nobody looked.
    """

    def __init__(self, what: str, *, env_steps: int, good: int | None, before: float | None = None) -> None:
        self.env_steps, self.good = env_steps, good
        since = "" if before is None or good is None else f" ({before:.3g} after {good})"
        super().__init__(
            f"training diverged: {what} after {env_steps} environment steps{since}",
            mend=f"{self._kept}; start a new run with smaller steps, and look at the size of rewards and observations",
        )

    def of_run(self, where: str, key: str, rate: float) -> UserError:
        """Return the error of a run at `where`, whose learning rate is `rate`, under `key`."""
        mend = f"{self._kept}; start a new run with a lower {key} than {rate:g}, or look at the size of its rewards"
        return UserError(self.what, where=where, mend=mend)

    @property
    def _kept(self) -> str:
        return "no checkpoint is from before" if self.good is None else f"the last good checkpoint is {self.good}"


def sizes_of(tensors: Mapping[str, torch.Tensor]) -> Sizes:
    """Return the median size of each part's weights (vectors, such as biases, are left out)."""
    parts: dict[str, list[torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(LEARNED) and tensor.ndim > 1 and tensor.is_floating_point() and tensor.numel():
            parts.setdefault(".".join(name.split(".")[:2]), []).append(tensor.detach().abs().flatten())
    return {name: float(torch.cat(own).median()) for name, own in parts.items()}


def not_finite_in(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Return the name of a learned tensor (or of an optimiser's, or statistic) that is not finite; None: all are."""
    for name, tensor in tensors.items():
        if (
            name.startswith((*LEARNED, *FOLLOWING))
            and tensor.is_floating_point()
            and not bool(torch.isfinite(tensor).all())
        ):
            return name
    return None


def check(tensors: Mapping[str, torch.Tensor], *, env_steps: int, good: int | None, before: Sizes) -> Sizes:
    """Return the sizes of a state that may be saved.

    Args:
        env_steps: of the state.
        good: env steps of the last checkpoint.
        before: sizes in it, as far as known.

    Raises:
        Diverged: it may not.
    """
    name = not_finite_in(tensors)
    if name is not None:
        raise Diverged(f"{name} is not finite", env_steps=env_steps, good=good)
    sizes = sizes_of(tensors)
    for part, size in sizes.items():
        if size > MOST:
            what = f"the weights of {part} have grown to {size:.3g} (their median; {MOST:g} is far too much)"
            raise Diverged(what, env_steps=env_steps, good=good, before=before.get(part))
    return sizes
