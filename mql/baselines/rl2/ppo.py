"""PPO (Schulman et al. 2017, arXiv 1707.06347) on whole trials, with gradients through the memory.

A trial is one episode of a larger task: advantages reach across the episodes of a trial, so that what is found out in
the first one helps in the later ones, and nothing follows its last step. Sequences of `sequence_length` steps are
learned from; the states before them are computed afresh with the networks of each epoch.

Shapes: L steps of a trial, N trials, S steps of a sequence, B sequences, A action, Z state.
"""

from __future__ import annotations

import torch

from mql.baselines.rl2.networks import RecurrentNetworks
from mql.baselines.rl2.sequences import Sequences, Trials, in_sequences
from mql.config.rl2 import RL2Config
from mql.learning.advantages import advantages
from mql.learning.gaussian import gaussian_entropy, log_probability
from mql.learning.mean_losses import MeanLosses
from mql.learning.moments import Moments
from mql.learning.optimizer import AdamLearner

VALUE_COEF = 0.5
MAX_NORM = 0.5  # of a step's gradient


class PPO(AdamLearner):
    """Trains an `RL2Agent` in place.

    Attributes:
        returns: moments of discounted returns, in whose spread values are learned.
    """

    networks = RecurrentNetworks

    def __init__(self, agent: object, *, lr: float, anchor: None = None) -> None:
        super().__init__(agent, lr=lr, anchor=anchor)  # type: ignore[arg-type]
        self.returns = Moments(1, device=self.agent.device)

    def learn(self, trials: Trials, config: RL2Config, *, generator: torch.Generator) -> dict[str, float]:
        """Make ``epochs`` passes over the trials, or fewer (``kl_limit``); return mean losses."""
        networks = self.agent.online
        with torch.no_grad():
            before = networks(trials.inputs)
            std = networks.log_std.exp()
            taken = before.mean + std * trials.noise
            log_prob = log_probability(taken, before.mean, networks.log_std)
            to_go = discounted(trials.reward, trials.valid, config.discount)
            self.returns.add(to_go[trials.valid][:, None])
            scale = self.returns.scale().float()
            advantage = trial_advantages(
                trials.reward * scale, before.value, trials.valid, discount=config.discount, decay=config.gae_lambda
            )
            target = advantage + before.value
            found = advantage[trials.valid]
            advantage = (advantage - found.mean()) / (found.std() + 1e-8)
        every = Sequences(trials.inputs, taken, log_prob, advantage, target, trials.valid)
        mean_losses = MeanLosses()
        states = before.states
        for epoch in range(config.epochs):
            if epoch:
                with torch.no_grad():
                    states = networks(trials.inputs).states
            cut, initial = in_sequences(every, states, config.sequence_length)
            order = torch.randperm(len(initial), generator=generator, device=generator.device).to(initial.device)
            batches = order.tensor_split(min(config.minibatches, len(order)))
            moved = 0.0
            for some in batches:
                losses = self._update(cut.of(some), initial[some], config)
                mean_losses.add(losses)
                moved += float(losses["kl"]) / len(batches)
            if moved > config.kl_limit:
                break
        return mean_losses.means()

    def _update(self, batch: Sequences, initial: torch.Tensor, config: RL2Config) -> dict[str, torch.Tensor]:
        networks = self.agent.online
        outputs = networks(batch.inputs, initial)
        log_prob = log_probability(batch.taken, outputs.mean, networks.log_std)
        policy_loss, clipped = clipped_loss(log_prob, batch.log_prob, batch.advantage, batch.valid, clip=config.clip)
        value_loss = 0.5 * _mean((outputs.value - batch.value).square(), batch.valid)
        entropy = gaussian_entropy(networks.log_std)
        loss = policy_loss + VALUE_COEF * value_loss - config.entropy_coef * entropy
        self._adam["policy"].step(loss, lr=self.lr, max_norm=MAX_NORM)
        self.updates += 1
        with torch.no_grad():
            moved = log_prob - batch.log_prob
            kl = _mean(moved.exp() - 1.0 - moved, batch.valid)
        return {
            "policy_loss": policy_loss.detach(),
            "value_loss": value_loss.detach(),
            "entropy": entropy.detach(),
            "kl": kl,
            "clipped": clipped,
        }


def clipped_loss(
    log_prob: torch.Tensor, before: torch.Tensor, advantage: torch.Tensor, valid: torch.Tensor, *, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return PPO's clipped loss (eq. 7) over the valid steps, and the part of them that the clipping holds back."""
    ratio = (log_prob - before).exp()
    least = torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
    return -_mean(least, valid), _mean(((ratio - 1.0).abs() > clip).float().detach(), valid)


def trial_advantages(
    reward: torch.Tensor, value: torch.Tensor, valid: torch.Tensor, *, discount: float, decay: float
) -> torch.Tensor:
    """Generalised advantage estimates of trials, [L, N]; 0 in padding.

    ``valid`` steps come first. Whether an episode ended in between makes no difference; after a trial, nothing follows.
    """
    last = torch.zeros_like(value[:1])
    following = torch.cat([torch.where(valid[1:], value[1:], 0.0), last])
    goes_on = torch.cat([valid[1:], last.bool()])
    return torch.where(valid, advantages(reward, value, following, goes_on, discount=discount, decay=decay), 0.0)


def discounted(reward: torch.Tensor, valid: torch.Tensor, discount: float) -> torch.Tensor:
    """Discounted returns from each step of trials on, [L, N]."""
    return trial_advantages(reward, torch.zeros_like(reward), valid, discount=discount, decay=1.0)


def _mean(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return (values * valid).sum() / valid.sum()
