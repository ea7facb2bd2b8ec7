"""What an adaptation gives, whichever method it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mql.agent.agent import Agent
from mql.types import JSON

Report = Mapping[str, JSON]  # figures by name, as plain data; None: there is none this time


@dataclass(frozen=True)
class AdaptationResult:
    """The adapted agent (the meta-trained one is untouched) and how it went.

    Where adaptation failed, the agent is the meta-trained one, and ``failed`` in the report says why.

    ``report`` holds ``episodes_charged``, ``new_transitions``, ``distance_moved`` and ``adapt_seconds``, and what else
    the method has to say: these figures go into the rows of ``mql evaluate --json`` and ``mql adapt --json`` under
    their names. But for ``adapt_seconds`` they follow from what was given: an evaluation made again gives the same.
    """

    agent: Agent
    report: Report


def distance_moved(agent: Agent, meta: Agent) -> float:
    """Return how far the trained parameters are from theta_meta, as a part of its own length."""
    parts = [(part.online.data, meta.parts[name].online.data) for name, part in agent.parts.items()]
    moved = sum(float((own - before).double().square().sum()) for own, before in parts)
    length = sum(float(before.double().square().sum()) for _, before in parts)
    return float((moved / length) ** 0.5) if length else 0.0


def not_finite(agent: Agent) -> str | None:
    """Return the name of a tensor that holds numbers which are not finite; None: there is none."""
    return next((name for name, tensor in agent.named_tensors() if not bool(torch.isfinite(tensor).all())), None)
