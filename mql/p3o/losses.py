"""P3O's equations, as functions of tensors.

Off policy, rho = pi(a|s) / beta(a|s) says how much more probable an action is now than when it was taken, and the
effective sample size ESS of the ratios how many of the rows count. With the cap c = ESS and lambda = 1 - ESS,

    L_off = -mean[min(rho, c) A log pi] + lambda mean KL + value_coef mean (R - V)^2

Ratios, ESS, advantages A and returns R carry no gradient. ESS says how concentrated the ratios are, not how far the
policies are apart: equal ratios have an ESS of 1 whatever they are.

Shapes: B segments, T steps, F final observations (`segments.py`); ... any rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mql.adaptation.effective_sample import normalized_ess
from mql.learning.advantages import advantages
from mql.p3o.segments import Segments

LARGEST_LOG = 700.0  # a figure must be a finite number; e^700 is one


@dataclass(frozen=True)
class Trust:
    """How far the rows of one off-policy step are followed.

    Attributes:
        ess: normalised effective sample size of the ratios. NaN where a ratio is, and then so is the loss: learning has
            diverged.
        weights: min(rho, cap) [...].
        kl_coef: lambda, 1 - ESS.
        ratio_max: the largest ratio.
    """

    ess: float
    weights: torch.Tensor
    kl_coef: float
    ratio_max: float


def trust(log_ratio: torch.Tensor, ratio_cap: float | Literal["auto"] = "auto") -> Trust:
    """Return the trust in rows with log ratios log pi - log beta [...], without gradients; ``auto``: the cap is ESS."""
    log_ratio = log_ratio.detach()
    ess = ratio_ess(log_ratio)
    cap = ess if ratio_cap == "auto" else ratio_cap
    largest = float(log_ratio.max())
    ratio_max = float(np.exp(np.minimum(largest, LARGEST_LOG)))
    return Trust(ess, log_ratio.exp().clamp(max=cap), 1.0 - ess, ratio_max)


def ratio_ess(log_ratio: torch.Tensor) -> float:
    """Return the normalised effective sample size of ratios, from their logarithms [...], in double precision.

    They are shifted by the largest one, since the size of ratios does not matter. Where all ratios are 0 in the
    precision that they come in, nothing can be learned from the rows, and ESS is 0. NaN where a logarithm is NaN or
    positive infinity.
    """
    logs = log_ratio.detach().reshape(-1).cpu().double().numpy()
    largest = logs.max()
    if np.isnan(largest) or largest == np.inf:
        return float("nan")
    if float(log_ratio.max().exp()) == 0.0:
        return 0.0
    return normalized_ess(np.exp(logs - largest))


def policy_loss(log_prob: torch.Tensor, advantage: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Return -mean[w A log pi] over rows [...]; without weights, the on-policy loss."""
    gain = advantage if weights is None else weights * advantage
    return -(gain * log_prob).mean()


def value_loss(value: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
    """Return mean (R - V)^2 over rows [...]."""
    return (returns - value).square().mean()


def segment_advantages(
    segments: Segments,
    value: torch.Tensor,
    value_after: torch.Tensor,
    value_of_final: torch.Tensor,
    *,
    discount: float,
    decay: float,
) -> torch.Tensor:
    """Return generalised advantage estimates [B, T] along segments; an episode that ends passes nothing back.

    Nothing follows where it terminated. Where a time limit ended it, the value of its last observation does, as after
    a segment's last step.

    Args:
        value: [B, T] of the observations before each step, without a gradient.
        value_after: [B] of the observation after the last step.
        value_of_final: [F] of ``segments.final``.
    """
    following = torch.cat([value[:, 1:], value_after[:, None]], dim=1)
    if len(value_of_final):
        inside = following[:, :-1].masked_scatter(segments.truncated[:, :-1], value_of_final)
        following = torch.cat([inside, value_after[:, None]], dim=1)
    following = torch.where(segments.terminated, 0.0, following)
    goes_on = ~(segments.terminated | segments.truncated)
    return advantages(segments.reward.T, value.T, following.T, goes_on.T, discount=discount, decay=decay).T
