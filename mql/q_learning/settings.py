"""What DQN and Rainbow are made of, as numbers. "Rainbow" is C51, 3-step returns and prioritised replay, no more.

Steps are environment steps, over all lanes.
"""

from __future__ import annotations

from typing import Literal

from mql.config.q_learning import QLearningConfig

BETA_END = 1.0  # exponent of the importance weights that makes up for priorities in full


class QSettings(QLearningConfig):
    """The section ``q_learning``, and what the method says; `DQN` and `RAINBOW` are the two as they stand.

    Attributes:
        head: what a network says of an action: its value, or a distribution of returns over ``atoms`` (C51).
        prioritised: transitions are drawn by their last loss to the power of ``priority_alpha``, not uniformly.
        c: of the pull to the targets (`mql.learning.proximal`), 0 for none.
    """

    head: Literal["value", "c51"] = "value"
    prioritised: bool = False
    c: float = 0.0

    def updates_after(self, env_steps: int) -> int:
        """Return how many updates there are to have been after `env_steps`."""
        return max(env_steps - self.random_steps, 0) // self.update_every

    def epsilon(self, env_steps: int) -> float:
        """Return the share of random actions after `env_steps`."""
        return _on_the_line(self.epsilon_start, self.epsilon_end, env_steps / self.epsilon_steps)

    def beta(self, env_steps: int) -> float:
        """Return the exponent of the importance weights after `env_steps`."""
        return _on_the_line(self.beta_start, BETA_END, env_steps / self.beta_steps)


DQN = QSettings()
RAINBOW = QSettings(head="c51", n_step=3, prioritised=True)


def _on_the_line(start: float, end: float, part: float) -> float:
    return end if part >= 1.0 else start + (end - start) * part
