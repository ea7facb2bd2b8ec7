"""What P3O can be told; A2C is P3O without off-policy steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KLDirection = Literal["policy_behavior", "behavior_policy"]


@dataclass(frozen=True, kw_only=True)
class P3OSettings:
    """The method's settings, resolved; numbers of data count transitions, of all lanes together.

    Attributes:
        lr: step size of RMSProp at the start; it falls to 0 in a line (`lr_at`).
        rms_decay, rms_eps: of RMSProp.
        max_norm: longer gradients are made that long.
        value_coef: factor of the squared error of values in every loss.
        entropy_coef: factor of the entropy in the on-policy loss; ``auto``: 0 for continuous actions, 0.01 for
            discrete ones.
        discount: of later rewards.
        gae_lambda: lambda of the generalised advantage estimates.
        lanes: environments side by side.
        steps: steps of each lane in an iteration, and of a stored segment.
        replay_ratio: mean number of off-policy steps in an iteration, which is drawn from a Poisson distribution; 0 is
            A2C, which stores nothing.
        segments: stored segments of which an off-policy step learns.
        replay_capacity: transitions that are stored.
        off_policy_after: transitions that must be stored before the first off-policy step.
        ratio_cap: upper bound of the probability ratio; ``auto``: the effective sample size.
        kl: ``policy_behavior``: KL(pi || beta) holds the policy back; ``behavior_policy``: KL(beta || pi).
        hidden_sizes: of the tanh layers of the actor, and of the critic.
        normalize: whether networks read observations that are shifted and scaled by what was seen so far.
    """

    lr: float = 7e-4
    rms_decay: float = 0.99
    rms_eps: float = 1e-5
    max_norm: float = 0.5
    value_coef: float = 0.5
    entropy_coef: float | Literal["auto"] = "auto"
    discount: float = 0.99
    gae_lambda: float = 0.95
    lanes: int = 16
    steps: int = 16
    replay_ratio: float = 2.0
    segments: int = 96
    replay_capacity: int = 50_000
    off_policy_after: int = 5_000
    ratio_cap: float | Literal["auto"] = "auto"
    kl: KLDirection = "policy_behavior"
    hidden_sizes: tuple[int, ...] = (64, 64)
    normalize: bool = True

    def lr_at(self, progress: float) -> float:
        """Return the step size after a share of the run's environment steps, in [0, 1]."""
        return self.lr * max(0.0, 1.0 - progress)
