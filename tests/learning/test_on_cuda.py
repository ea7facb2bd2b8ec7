"""Updates on a GPU: against the CPU's, and recorded ones against the same operators called one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mql.agent.agent import Agent
from mql.config.schema import AgentConfig, TrainConfig
from mql.errors import UserError
from mql.learning.contexts import context_plan
from mql.learning.replay import Replay
from mql.learning.updates import DeviceUpdates, updates_for
from mql.seeding import generator
from tests.learning.test_device_batches import filled, parameters

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

# Windows and separate encoders as in the paper; segments, layer normalisation and one encoder as by default.
AGENTS: dict[str, dict[str, Any]] = {
    "paper": {
        "context_mode": "window", "context_length": 8, "shared_encoder": False, "layer_norm": False,
        "hidden_sizes": (64, 64), "context_dim": 15, "policy_delay": 2,
    },
    "fast": {"hidden_sizes": (64, 64), "context_dim": 30},
    "wide": {"hidden_sizes": (64,), "context_dim": 80},
    "n-step": {"hidden_sizes": (64,), "context_dim": 8, "n_step": 3},
    "sac": {"hidden_sizes": (64,), "context_dim": 8, "algorithm": "sac"},
    "hl_gauss": {"hidden_sizes": (64,), "context_dim": 8, "critic": "hl_gauss"},
    "c51": {"hidden_sizes": (64,), "context_dim": 8, "critic": "c51"},
    "transformer": {
        "hidden_sizes": (64,), "context_dim": 8, "encoder": "transformer", "context_mode": "window",
        "context_length": 6,
    },
    "blind": {"hidden_sizes": (64,), "use_context": False},
}  # fmt: skip


def on_gpu(config: AgentConfig) -> tuple[Agent, Replay]:
    """What `filled` makes, on the GPU."""
    agent, replay = filled(config)
    twin = Agent(agent.obs_dim, agent.action_dim, config, seed=0, device="cuda")
    twin.load_tensors({name: tensor.cuda() for name, tensor in agent.named_tensors()})
    copied = Replay(
        n_tasks=replay.n_tasks, obs_dim=replay.obs_dim, action_dim=replay.action_dim, capacity=200, episode_length=10,
        context_dim=agent.state_dim, scaling=twin.scaling, device="cuda",
    )  # fmt: skip
    copied.table.copy_(replay.table)
    copied.states.copy_(replay.states)
    for name in ("step", "remaining", "terminated", "_tail", "_size", "_stored", "_lengths", "_at"):
        setattr(copied, name, getattr(replay, name))
    return twin, copied


@pytest.mark.parametrize("name", AGENTS)
def test_a_hundred_updates_are_the_cpus(name: str) -> None:
    """From the same batches, drawn by the host; without the noise on target actions, which has streams of its own."""
    if name == "sac":
        pytest.skip("its actions are drawn, from streams of each device's own")
    config = AgentConfig(**{**AGENTS[name], "target_policy_noise": 0.0})
    learned, said = [], []
    for agent, replay in (filled(config), on_gpu(config)):
        learner, plan, rng = agent.learner(lr=3e-4), context_plan(config), generator(0, "rows")
        noise = torch.Generator(device=agent.device)
        losses = [learner.update(replay.sample(64, plan, rng), generator=noise)["critic_loss"] for _ in range(100)]
        learned.append(parameters(agent).cpu())
        said.append(torch.stack(losses).cpu())
    assert torch.allclose(said[1], said[0], rtol=1e-4)
    assert (learned[1] - learned[0]).abs().max() < 1e-4


@pytest.mark.parametrize("name", AGENTS)
def test_recorded_updates_are_those_called_one_by_one(name: str) -> None:
    """Bit for bit, with a learning rate that changes, and odd numbers of updates."""
    config = AgentConfig(**AGENTS[name])
    learned, losses = [], []
    for recorded in (True, False):
        agent, replay = on_gpu(config)
        learner = agent.learner(lr=3e-4)
        updates = updates_for(agent, learner, replay, TrainConfig(batch_size=64, cuda_graphs=recorded), seed=0)
        assert isinstance(updates, DeviceUpdates)
        for iteration, count in enumerate((75, 75, 0, 41)):
            learner.lr = 1e-3 / (1 + iteration)
            found = updates.make(count, iteration=iteration)
            losses.append(found)
        assert learner.updates == 191
        assert bool(updates._graphs) == recorded
        learned.append(parameters(agent).cpu())
    # (Shares of a histogram are added up in no fixed order there, called one by one as well.)
    assert torch.equal(learned[0], learned[1]) or (name == "c51" and torch.allclose(learned[0], learned[1], atol=1e-3))
    for ours, theirs in zip(losses[:4], losses[4:], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_what_waits_for_the_gpu_is_refused_by_name() -> None:
    agent, replay = on_gpu(AgentConfig(hidden_sizes=(8,)))
    learner = agent.learner(lr=0.0)
    updates = updates_for(agent, learner, replay, TrainConfig(batch_size=64), seed=0)
    assert isinstance(updates, DeviceUpdates)
    update: Any = learner.update
    learner.update = lambda *a, **k: {name: value * float(value) for name, value in update(*a, **k).items()}  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"train\.cuda_graphs"):
        updates.make(200, iteration=0)
