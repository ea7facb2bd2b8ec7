"""P3O's update: one A2C step on fresh segments, then a random number of off-policy steps on stored ones.

Shapes: B segments, T steps, O observation, P numbers of an action distribution (`segments.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mql.config.p3o import P3OConfig
from mql.learning.mean_losses import MeanLosses
from mql.learning.rmsprop import RMSProp
from mql.p3o.agent import P3OAgent
from mql.p3o.losses import policy_loss, segment_advantages, trust, value_loss
from mql.p3o.replay import SegmentReplay
from mql.p3o.segments import Segments
from mql.seeding import generator


@dataclass(frozen=True)
class Estimates:
    """What the current networks make of segments: the policy's numbers [B, T, P] and values [B, T], with gradients.

    ``advantage`` and ``returns`` [B, T] have none.
    """

    numbers: torch.Tensor
    value: torch.Tensor
    advantage: torch.Tensor
    returns: torch.Tensor


class P3O:
    """Trains a `P3OAgent` in place; with a replay ratio of 0, it is A2C.

    Attributes:
        replay: the stored segments; None for A2C.
        updates: steps made so far, on and off policy.
        off_policy_updates: those of them that were off policy.
    """

    def __init__(self, agent: P3OAgent, settings: P3OConfig, *, seed: int) -> None:
        self.agent, self.settings, self._seed = agent, settings, seed
        coef = settings.entropy_coef
        self.entropy_coef = agent.distribution.entropy_coef if coef == "auto" else coef
        self.optimizer = RMSProp(agent.parameters, decay=settings.rms_decay, eps=settings.rms_eps)
        self.replay: SegmentReplay | None = None
        if settings.replay_ratio:
            self.replay = SegmentReplay(
                settings.replay_capacity, steps=settings.steps, obs_dim=agent.obs_dim, distribution=agent.distribution
            )
        self.updates = self.off_policy_updates = 0

    def learn(self, fresh: Segments, *, iteration: int, progress: float) -> dict[str, float]:
        """Learn from the segments of one iteration, and from stored ones, these among them; return figures.

        ``policy_loss``, ``value_loss`` and ``entropy`` are those of the on-policy step. Of the off-policy steps, if
        there are any: means of ``off_policy_loss``, ``off_policy_value_loss``, ``ess``, ``lambda`` and ``kl``, and the
        largest ratio of all, ``ratio_max``. ``off_policy_steps`` is their number. A figure that is not finite means
        that learning has diverged.

        Observations are normalised as they were for acting; the fresh ones count afterwards.

        Args:
            fresh: [B, T], played by the agent as it is now.
            iteration: names the random numbers.
            progress: the share of the run's environment steps that were made before this iteration; the step size
                falls with it.
        """
        lr = lr_at(self.settings, progress)
        fresh_here = fresh.to(self.agent.device)
        figures = self._floats(self.on_policy_step(fresh_here, lr=lr))
        steps = 0
        if self.replay is not None:
            self.replay.add(fresh)
            # Drawn in every iteration, and from a stream of its own: nothing else depends on what it gives.
            rng = generator(self._seed, "p3o", iteration)
            wanted = int(rng.poisson(self.settings.replay_ratio))
            steps = wanted if self.replay.transitions >= self.settings.off_policy_after else 0
            means, largest = MeanLosses(), 0.0
            for _ in range(steps):
                stored = self.replay.draw(self.settings.segments, rng).to(self.agent.device)
                found = self.off_policy_step(stored, lr=lr)
                largest = max(float(found.pop("ratio_max")), largest)  # (in this order, NaN stays)
                means.add(found)
            if steps:
                figures |= means.means() | {"ratio_max": largest}
        if self.agent.normalize:
            self.agent.take_up(fresh_here.obs[:, :-1])
        return figures | {"off_policy_steps": float(steps)}

    def on_policy_step(self, fresh: Segments, *, lr: float) -> dict[str, torch.Tensor]:
        """Make one step of A2C: -mean[A log pi] - entropy_coef mean H(pi) + value_coef mean (R - V)^2."""
        found, distribution = self.estimates(fresh), self.agent.distribution
        of_policy = policy_loss(distribution.log_prob(found.numbers, fresh.action), found.advantage)
        of_value = value_loss(found.value, found.returns)
        entropy = distribution.entropy(found.numbers).mean()
        loss = of_policy + self.settings.value_coef * of_value
        if self.entropy_coef:
            loss = loss - self.entropy_coef * entropy
        self._step(loss, lr)
        return {"policy_loss": of_policy.detach(), "value_loss": of_value.detach(), "entropy": entropy.detach()}

    def off_policy_step(self, stored: Segments, *, lr: float) -> dict[str, torch.Tensor]:
        """Make one step off policy: -mean[min(rho, c) A log pi] + lambda mean KL + value_coef mean (R - V)^2."""
        found, distribution = self.estimates(stored), self.agent.distribution
        log_prob = distribution.log_prob(found.numbers, stored.action)
        trusted = trust(
            log_prob.detach() - distribution.log_prob(stored.numbers, stored.action), self.settings.ratio_cap
        )
        of_policy = policy_loss(log_prob, found.advantage, trusted.weights)
        of_value = value_loss(found.value, found.returns)
        both = found.numbers, stored.numbers
        kl = distribution.kl(*(both if self.settings.kl == "policy_behavior" else both[::-1])).mean()
        self._step(of_policy + trusted.kl_coef * kl + self.settings.value_coef * of_value, lr)
        self.off_policy_updates += 1
        return {
            "off_policy_loss": of_policy.detach(),
            "off_policy_value_loss": of_value.detach(),
            "ess": torch.tensor(trusted.ess),
            "lambda": torch.tensor(trusted.kl_coef),
            "kl": kl.detach(),
            "ratio_max": torch.tensor(trusted.ratio_max, dtype=torch.float64),
        }

    def estimates(self, segments: Segments) -> Estimates:
        """Return what the networks make of segments, values and advantages by the current critic."""
        agent, settings = self.agent, self.settings
        n, steps = segments.reward.shape
        obs = agent.normalized(segments.obs)
        before = obs[:, :-1].reshape(n * steps, -1)
        value = agent.networks.value(before).view(n, steps)
        with torch.no_grad():
            after = torch.cat([obs[:, -1], agent.normalized(segments.final)])
            value_after, value_of_final = agent.networks.value(after).tensor_split([n])
            advantage = segment_advantages(
                segments,
                value,
                value_after,
                value_of_final,
                discount=settings.discount,
                decay=settings.gae_lambda,
            )
            returns = advantage + value
        return Estimates(agent.networks.numbers(before).view(n, steps, -1), value, advantage, returns)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the state by name: agent, optimiser and stored segments."""
        return {
            **self.agent.tensors(),
            **{f"rmsprop.{name}": tensor for name, tensor in self.optimizer.tensors().items()},
            **{f"replay.{name}": t for name, t in (self.replay.tensors() if self.replay else {}).items()},
        }

    def counters(self) -> dict[str, int]:
        """All else of the state."""
        return {"updates": self.updates, "off_policy_updates": self.off_policy_updates}

    def restore(self, tensors: Mapping[str, torch.Tensor], counters: Mapping[str, int]) -> None:
        """Restore what `tensors` and `counters` gave; what follows is as if learning had not been stopped.

        Raises:
            KeyError: a tensor or counter is missing.
            ValueError: a tensor has another shape.
        """
        self.agent.restore(tensors)
        self.optimizer.restore(_of("rmsprop.", tensors))
        if self.replay is not None:
            self.replay.restore(_of("replay.", tensors))
        self.updates, self.off_policy_updates = counters["updates"], counters["off_policy_updates"]

    def _step(self, loss: torch.Tensor, lr: float) -> None:
        self.optimizer.step(loss, lr=lr, max_norm=self.settings.max_norm)
        self.updates += 1

    @staticmethod
    def _floats(figures: Mapping[str, torch.Tensor]) -> dict[str, float]:
        return {name: float(value) for name, value in figures.items()}


def lr_at(settings: P3OConfig, progress: float) -> float:
    """Return the step size after a share of the run's environment steps, in [0, 1]."""
    return settings.lr * max(0.0, 1.0 - progress)


def _of(owner: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `owner`, without it."""
    return {name.removeprefix(owner): tensor for name, tensor in tensors.items() if name.startswith(owner)}
