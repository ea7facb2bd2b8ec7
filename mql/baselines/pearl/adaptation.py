"""What PEARL does in a new task: it believes something, acts as if it were so for an episode, and believes more.

z is drawn for every episode that is charged: for the first one from the prior, for each later one from the belief that
all before it give. The adapted agent acts by the belief's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from mql.adaptation.adapters import Adaptation
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.baselines.pearl.agent import PearlAgent
from mql.seeding import torch_generator


@dataclass(frozen=True)
class BeliefAdaptation(Adaptation):
    """Adaptation of a `PearlAgent`; no parameter moves."""

    def _process(self, new: NewTask) -> Process:
        """Ask for one episode after the other, without exploration noise: what is drawn is z."""
        agent = self.trained.agent
        assert isinstance(agent, PearlAgent)
        noise = torch_generator(new.seed, "pearl z")
        seen = list(new.given)
        for start in range(new.episodes):
            z = agent.drawn(agent.belief(seen), noise)
            seen += yield Request(agent.knowing(z), (start,))
        belief = agent.belief(seen)
        report = {"belief_std": float(belief.variance.sqrt().mean())}
        return AdaptationResult(agent.knowing(belief.mean[0].cpu().numpy()), report)
