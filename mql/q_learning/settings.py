"""What DQN and Rainbow are made of, as numbers. "Rainbow" is C51, 3-step returns and prioritised replay, no more.

Steps are environment steps, over all lanes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mql.learning.proximal import resolved_c


@dataclass(frozen=True, kw_only=True)
class QSettings:
    """DQN, as it stands; `RAINBOW` is the other one.

    Attributes:
        head: what a network says of an action: its value, or a distribution of returns over ``atoms`` (C51).
        hidden_sizes: units per layer for vectors.
        filters, conv_units: for planes: 3x3 filters, then units of one layer.
        n_step: rewards of a return before the targets are asked what follows.
        discount: of later rewards.
        lr, adam_eps: of Adam.
        batch_size: transitions of an update.
        update_every: steps for each update.
        target_every: steps between copies of the parameters to the targets, a multiple of ``update_every``.
        random_steps: steps before the first update.
        replay_capacity: steps kept.
        epsilon_start, epsilon_end, epsilon_steps: share of random actions, which falls in a line over these steps.
        prioritised: transitions are drawn by their last loss to the power of ``priority_alpha``, not uniformly.
        beta_start, beta_end, beta_steps: exponent of the importance weights that make up for it.
        atoms, value_min, value_max: of C51: returns from the lowest to the highest, equally far apart.
        proximal_c: c of the pull to the targets (`mql.learning.proximal`): a number, auto, or 0 for none.
        reset_optimizer: Adam's moments are forgotten at each copy (Asadi et al. 2023, arXiv 2306.17833).
    """

    head: Literal["value", "c51"] = "value"
    hidden_sizes: tuple[int, ...] = (128, 128)
    filters: int = 16
    conv_units: int = 128
    n_step: int = 1
    discount: float = 0.99
    lr: float = 2.5e-4
    adam_eps: float = 3.125e-4
    batch_size: int = 32
    update_every: int = 4
    target_every: int = 1000
    random_steps: int = 5000
    replay_capacity: int = 100_000
    epsilon_start: float = 1.0
    epsilon_end: float = 0.1
    epsilon_steps: int = 100_000
    prioritised: bool = False
    priority_alpha: float = 0.5
    beta_start: float = 0.4
    beta_end: float = 1.0
    beta_steps: int = 1_000_000
    atoms: int = 51
    value_min: float = -10.0
    value_max: float = 10.0
    proximal_c: float | Literal["auto"] = 0.0
    reset_optimizer: bool = False

    @property
    def updates_per_copy(self) -> int:
        """K: gradient steps between copies of the parameters to the targets."""
        return self.target_every // self.update_every

    @property
    def c(self) -> float:
        """``proximal_c`` as a number, 0 where there is no pull.

        Raises:
            UserError: it is below the learning rate.
        """
        c = resolved_c(self.proximal_c, lr=self.lr, steps=self.updates_per_copy)
        return 0.0 if math.isinf(c) else c

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there are to have been after `env_steps`."""
        return max(env_steps - self.random_steps, 0) // self.update_every

    def epsilon(self, env_steps: int) -> float:
        """Return the share of random actions after `env_steps`."""
        return _on_the_line(self.epsilon_start, self.epsilon_end, env_steps / self.epsilon_steps)

    def beta(self, env_steps: int) -> float:
        """Return the exponent of the importance weights after `env_steps`."""
        return _on_the_line(self.beta_start, self.beta_end, env_steps / self.beta_steps)


DQN = QSettings()
RAINBOW = QSettings(head="c51", n_step=3, prioritised=True)


def _on_the_line(start: float, end: float, part: float) -> float:
    return end if part >= 1.0 else start + (end - start) * part
