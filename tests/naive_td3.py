"""An independent TD3 with a context, in PyTorch's plainest operators, to compare with."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F

from mql.agent.agent import Agent
from mql.agent.networks import Networks
from mql.types import Batch, Context


class Naive:
    """TD3 as on the paper's page: ordinary modules, `torch.optim.Adam`, the penalty as a term of the loss."""

    def __init__(self, agent: Agent, *, lr: float, anchor: Agent | None = None, proximal_coef: float = 0.0) -> None:
        self.config, self.coef, self.updates = agent.config, proximal_coef, 0
        self.online, self.target = copy.deepcopy(agent.online), copy.deepcopy(agent.target)
        self.actor, self.critic = self.online.parts().values()
        self.anchor = (
            {}
            if anchor is None
            else {p: q.detach() for p, q in zip(self.online.parameters(), anchor.online.parameters(), strict=True)}
        )
        self.adam = [torch.optim.Adam(parameters, lr=lr) for parameters in (self.actor, self.critic)]

    def q(self, nets: Networks, k: int, obs: torch.Tensor, action: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = torch.cat([obs, action, z], dim=1)
        *between, (weight, bias) = zip(nets.critic.weights, nets.critic.biases, strict=True)
        for w, b in between:
            x = x @ w[k] + b[k]
            x = torch.relu(F.layer_norm(x, x.shape[1:]) if self.config.layer_norm else x)
        return (x @ weight[k] + bias[k])[:, 0]

    def act(self, nets: Networks, obs: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        x = torch.cat([obs, z], dim=1)
        for layer in nets.actor.hidden:
            x = torch.relu(layer(x))
        return torch.tanh(nets.actor.output(x))

    def encode(self, encoder: torch.nn.Module, context: Context) -> torch.Tensor:
        assert context.read is not None
        states = torch.cat([torch.zeros(1, *context.elements.shape[1:2], 4), encoder.gru(context.elements)[0]])
        return torch.stack([states[int(k), s] for s, ks in enumerate(context.read) for k in ks])

    def step(self, adam: torch.optim.Adam, loss: torch.Tensor, parameters: list[torch.nn.Parameter]) -> None:
        for p in parameters if self.anchor else ():
            loss = loss + self.coef / 2 * (p - self.anchor[p]).square().sum()
        for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = gradient
        adam.step()

    def update(self, batch: Batch, generator: torch.Generator) -> None:
        t, c = batch.transition, self.config
        with torch.no_grad():
            z = self.encode(self.target.critic_encoder, batch.next_context)
            action = self.act(self.target, t.next_obs, self.encode(self.target.actor_encoder, batch.next_context))
            noise = c.target_policy_noise * torch.randn(action.shape, generator=generator)
            action = (action + noise.clamp(-c.target_noise_clip, c.target_noise_clip)).clamp(-1, 1)
            value = torch.minimum(*(self.q(self.target, k, t.next_obs, action, z) for k in range(2)))
            goal = t.reward + c.discount * (1 - t.terminated) * value
        z = self.encode(self.online.critic_encoder, batch.context)
        errors = [self.q(self.online, k, t.obs, t.action, z) - goal for k in range(2)]
        self.step(self.adam[1], sum((batch.weights * e**2).mean() for e in errors), self.critic)  # type: ignore[arg-type]
        self.updates += 1
        if self.updates % c.policy_delay:
            return
        z_actor = z.detach()
        if not c.shared_encoder:
            z_actor = self.encode(self.online.actor_encoder, batch.context)
            z = self.encode(self.online.critic_encoder, batch.context)
        action = self.act(self.online, t.obs, z_actor)
        self.step(self.adam[0], -(batch.weights * self.q(self.online, 0, t.obs, action, z.detach())).mean(), self.actor)
        with torch.no_grad():
            for p, q in zip(self.target.parameters(), self.online.parameters(), strict=True):
                p.copy_((1 - c.tau) * p + c.tau * q)
