"""The agent: everything learned, and how it acts on many tasks at once while its context grows.

Shapes: N tasks in parallel, O observation, A action.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mql.agent import saving
from mql.agent.acting import ActingContext, CarriedContext, CarryingPolicy, Policy, make_policy
from mql.agent.elements import ContextElements
from mql.agent.parameter_vector import ParameterVector
from mql.agent.protocols import Algorithm, Learner, find
from mql.agent.restoring import copy_named
from mql.agent.scaling import Scaling
from mql.config.schema import ALGORITHMS, AgentConfig
from mql.errors import UserError
from mql.files import write_folder
from mql.seeding import first_weights_of
from mql.types import Episode, FloatArray


@dataclass(frozen=True)
class Part:
    """Parameters that one loss trains, and their targets: the same ones of the target networks."""

    online: ParameterVector
    target: ParameterVector


class Agent:
    """Online and target networks, and the deterministic policy they define.

    ``parts`` holds the parameters by the loss that trains them, each part's end to end in one vector. They lie there
    from the start, so that learners come and go, and policies stay current.

    ``elements`` says what its context has of every step: observation, action, reward, or some of them.

    ``carried`` is the context that its episodes begin with (`after`); None: an empty one. Learning knows nothing of it.
    """

    def __init__(self, obs_dim: int, action_dim: int, config: AgentConfig, *, seed: int, device: str = "cpu") -> None:
        self.obs_dim, self.action_dim, self.config = obs_dim, action_dim, config
        self.elements = ContextElements.of(obs_dim, action_dim, config)
        self.device = torch.device(device)
        if self.device.type == "cuda":  # PyTorch rounds a GRU's products to ten bits there, but not its other ones
            torch.backends.cudnn.allow_tf32 = False
        with first_weights_of(seed):
            self.online: Any = self._algorithm.networks(obs_dim, action_dim, config).to(self.device)
        self.target: Any = copy.deepcopy(self.online).requires_grad_(False)
        self.scaling = Scaling(
            self.elements, reward_scale=config.reward_scale, normalize=config.normalize, device=device
        )
        self.parts = self._laid_out()
        self.carried: CarriedContext | None = None

    @property
    def state_dim(self) -> int:
        """Size of the state that the policy carries through an episode (0: it looks at a window, or is blind)."""
        return int(self.online.actor_encoder.context_dim) if self.config.context_mode == "carry" else 0

    def copy(self) -> Agent:
        """Return an agent with equal, independent parameters."""
        return copy.deepcopy(self)

    def after(self, episode: Episode) -> Agent:
        """Return a copy whose episodes begin with the context that this agent has at the end of `episode`.

        It is for more episodes of the same task, which then is known from their first step on.
        """
        context = self.begin(1)
        for t in range(episode.length):
            step = slice(t, t + 1)
            self.observe(context, episode.obs[step], episode.action[step], episode.reward[step])
        agent = self.copy()
        agent.carried = CarriedContext.of(context)
        return agent

    def __deepcopy__(self, memo: dict[int, Any]) -> Agent:
        twin = copy.copy(self)
        twin.scaling = copy.deepcopy(self.scaling, memo)
        twin.online, twin.target = copy.deepcopy(self.online, memo), copy.deepcopy(self.target, memo)
        for parameter in twin.online.parameters():
            parameter.grad = None
        twin.parts = twin._laid_out()
        return twin

    def learner(self, *, lr: float, anchor: Agent | None = None) -> Learner:
        """Return a learner that trains this agent in place by the algorithm of its configuration.

        Args:
            lr: Adam's step size; it may be changed between updates (`lr`).
            anchor: an agent of the same form. With a ``proximal_coef`` lambda above 0, every update has the penalty
                (lambda / 2) ||theta - theta_anchor||^2 over the trained online parameters.
        """
        return self._algorithm(self, lr=lr, anchor=anchor)

    def named_tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every learned tensor and buffer once, by name, and the carried context: what a checkpoint stores."""
        for owner, networks in (("online", self.online), ("target", self.target)):
            names: nn.Module = networks
            saved = names.state_dict(keep_vars=True).keys()  # without buffers that are not to be saved
            for name, tensor in (*names.named_parameters(), *names.named_buffers()):
                if name in saved:
                    yield f"{owner}.{name}", tensor.detach()
        for name, tensor in self.scaling.named_tensors():
            yield f"scaling.{name}", tensor
        if self.carried is not None:
            yield "carried.state", torch.from_numpy(self.carried.state)
            yield "carried.elements", torch.from_numpy(self.carried.elements)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the agent into a new folder, which appears when it is complete; `load` reads it (format: `saving`).

        Raises:
            UserError: something stands there, or it can't be written.
        """
        write_folder(Path(folder), saving.files_of(self))

    @classmethod
    def load(cls, folder: str | os.PathLike[str], *, device: str = "cpu") -> Agent:
        """Read the agent that `save` wrote.

        Raises:
            UserError: the folder holds none, or a damaged one, or one of another format version.
        """
        obs_dim, action_dim, config = saving.read_description(Path(folder))
        tensors = saving.read_tensors(Path(folder))
        saving.check_size(tensors, obs_dim, action_dim, config, str(folder))
        agent = cls(obs_dim, action_dim, config, seed=0, device=device)
        try:
            agent.load_tensors(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            mend = "use the version of mql that wrote it"
            raise UserError(f"the tensors do not fit the agent: {error}", where=str(folder), mend=mend) from None
        return agent

    def load_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Copy what `named_tensors` gave into this agent; tensors of other names are left alone.

        It then carries the context that is among them, or none.

        Raises:
            KeyError: a tensor is missing.
            ValueError: a tensor has another shape than the agent's.
        """
        self.carried = self._carried_in(tensors)
        copy_named(self.named_tensors(), tensors)

    def _carried_in(self, tensors: Mapping[str, torch.Tensor]) -> CarriedContext | None:
        if "carried.state" not in tensors:
            return None
        state, elements = (tensors[f"carried.{name}"].cpu().numpy().copy() for name in ("state", "elements"))
        fits = state.shape == (self.online.actor_encoder.context_dim,) and len(elements) <= self._window
        if not fits or elements.shape[1:] != (self.elements.dim,):
            raise ValueError(f"the carried context has shapes {state.shape} and {elements.shape}")
        return CarriedContext(state, elements)

    def policy(self) -> Policy:
        """Return the deterministic policy; on the CPU it shares this agent's parameters."""
        actor, encoder = self.online.actor, self.online.actor_encoder
        policy = make_policy(actor, encoder, elements=self.elements, window=self._window, scaling=self.scaling)
        return policy if self.carried is None else CarryingPolicy(policy, self.carried)

    def begin(self, n: int) -> ActingContext:
        """Return the context of `n` episodes that start now: an empty one, or the one carried."""
        return self.policy().begin(n)

    def act(self, obs: FloatArray, context: ActingContext) -> FloatArray:
        """Return deterministic actions [N, A] for observations [N, O]."""
        return context.policy.act(obs, context)

    def observe(self, context: ActingContext, obs: FloatArray, action: FloatArray, reward: FloatArray | None) -> None:
        """Add one step of each episode, (o [N, O], a [N, A], r [N]), to `context` in place.

        `reward` may be None where ``elements`` have none.
        """
        context.policy.observe(context, obs, action, reward)

    @property
    def _window(self) -> int:
        """The last steps that the encoder looks at; 0: it carries its state, or there is none."""
        return self.config.context_length if self.config.context_mode == "window" else 0

    @property
    def _algorithm(self) -> Algorithm:
        algorithm: Algorithm = find(ALGORITHMS[self.config.algorithm])
        return algorithm

    def _laid_out(self) -> dict[str, Part]:
        _check_parts(self.online)
        target = self.target.parts()
        return {
            name: Part(ParameterVector(parameters), ParameterVector(target[name]))
            for name, parameters in self.online.parts().items()
        }


def _check_parts(networks: Any) -> None:
    """Refuse networks with a parameter in no part (nothing would train it) or in several (it lies in one vector only).

    Raises:
        ValueError: there is one.
    """
    parts = networks.parts()
    for name, parameter in networks.named_parameters():
        owners = [part for part, members in parts.items() for member in members if member is parameter]
        if len(owners) != 1:
            stands = f"in {' and '.join(owners)}" if owners else "in none"
            kind = type(networks).__name__
            raise ValueError(f"{kind}.parts() must have each parameter once, but {name} stands {stands}")
