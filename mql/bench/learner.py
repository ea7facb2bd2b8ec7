"""`mql bench learner`: one update of each profile, beside the machine's limit and Stable-Baselines3's TD3.

An update is one as training makes it, with its sampling from the replay; on a GPU as recorded there, and called one by
one beside it. The peer's TD3 has no context: it learns from
single transitions, with networks of the same hidden sizes and from a small replay that stays in the cache.

Shapes: O observation, A action, H context length, Z context variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import gymnasium
import numpy as np
import torch

from mql.agent.agent import Agent
from mql.bench.subjects import (
    CHEETAH_ACTION,
    CHEETAH_CONTEXT_DIM,
    CHEETAH_CONTEXT_LENGTH,
    CHEETAH_OBS,
    agent_config,
    batch_size,
    fill_replay,
)
from mql.bench.timing import SGEMM_GFLOP, Call, Results, alternate, announce, make_sgemm, medians, until_done
from mql.config.schema import AgentConfig, TrainConfig
from mql.errors import UserError, missing_package
from mql.kernels.products import bfloat16_in_hardware
from mql.learning.updates import updates_for
from mql.types import FloatArray


@dataclass(frozen=True)
class Sizes:
    """HalfCheetah's sizes. A turn of a contender is `updates` updates, a multiple of `policy_delay`.

    ``paper_gflop`` is a plain count of the multiplications and additions of one update of the paper profile at these
    sizes: targets 0.192 (two encoders, actor, both critics), critics and their encoder 0.366 (forward once, backward
    twice), and half an actor's update 0.166.
    """

    obs_dim: int = CHEETAH_OBS
    action_dim: int = CHEETAH_ACTION
    context_dim: int = CHEETAH_CONTEXT_DIM
    context_length: int = CHEETAH_CONTEXT_LENGTH
    hidden_sizes: tuple[int, ...] = (300, 300)
    policy_delay: int = 2
    paper_gflop: float = 0.724
    paper_batch: int = batch_size("paper")
    fast_batch: int = batch_size("fast")
    peer_batch: int = 256
    peer_steps: int = 500
    tasks: int = 20
    transitions: int = 100_000
    episode_length: int = 200
    updates: int = 20
    rounds: int = 9
    device: str = "cpu"


FULL = Sizes()
AnySizes = TypeVar("AnySizes", bound=Sizes)
GPU_UPDATES = 320  # an iteration's, as what is done once for it counts, too


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time updates of both profiles, the peer's updates and a large product of matrices in turn.

    Raises:
        UserError: stable-baselines3 is not installed, or PyTorch sees no such device.
    """
    sizes = on_device(sizes)
    announce(f"learner: filling replays with {sizes.transitions:,} transitions")
    contenders: dict[str, Call] = {"sb3_td3": _peer(sizes)}
    for profile, batch in (("paper", sizes.paper_batch), ("fast", sizes.fast_batch)):
        contenders[profile] = updating(sizes, config_of(profile, sizes), batch)
        if sizes.device == "cuda":
            contenders[f"{profile}_unrecorded"] = updating(sizes, config_of(profile, sizes), batch, cuda_graphs=False)
            bfloat16 = config_of(profile, sizes, precision="bfloat16")
            contenders[f"{profile}_bfloat16"] = updating(sizes, bfloat16, batch)
    if sizes.device == "cpu" and bfloat16_in_hardware():
        contenders["fast_bfloat16"] = updating(sizes, config_of("fast", sizes, precision="bfloat16"), sizes.fast_batch)
    announce(f"learner: {sizes.rounds} rounds of {sizes.updates} updates each, on {threads} threads")
    contenders = {name: until_done(call, sizes.device) for name, call in contenders.items()}
    seconds = medians(alternate({**contenders, "sgemm": make_sgemm(sizes.device)}, rounds=sizes.rounds))
    sgemm_gflops = SGEMM_GFLOP / seconds.pop("sgemm")
    return _results(sizes, {name: spent / sizes.updates for name, spent in seconds.items()}, sgemm_gflops)


def on_device(sizes: AnySizes) -> AnySizes:
    """Return sizes for their device: a turn on a GPU is an iteration's updates.

    Raises:
        UserError: PyTorch sees no such device.
    """
    if sizes.device != "cuda":
        return sizes
    if not torch.cuda.is_available():
        mend = "leave --device out, or install PyTorch for this machine's GPU"
        raise UserError("PyTorch sees no CUDA device", where="--device", mend=mend)
    return replace(sizes, updates=GPU_UPDATES)


def _results(sizes: Sizes, seconds: Mapping[str, float], sgemm_gflops: float) -> Results:
    """Turn seconds per update into figures."""
    peer_updates = 1.0 / seconds["sb3_td3"]
    peer_transitions = sizes.peer_batch * peer_updates
    results: Results = {}
    for name in sorted(seconds.keys() - {"sb3_td3"}):
        updates = 1.0 / seconds[name]
        if name.startswith("paper"):
            results[name] = {
                "updates_per_s": updates,
                "roofline_fraction": updates * sizes.paper_gflop / sgemm_gflops,
                "vs_sb3_td3": updates / peer_updates,
            }
        else:
            transitions = sizes.fast_batch * updates
            results[name] = {
                "transitions_per_s": transitions,
                "transitions_vs_sb3_td3": transitions / peer_transitions,
            }
    results["sb3_td3"] = {"updates_per_s": peer_updates, "transitions_per_s": peer_transitions}
    results["sgemm_gflops"] = sgemm_gflops
    return results


def config_of(profile: str, sizes: Sizes, **changes: object) -> AgentConfig:
    """Return the configuration of an agent of a profile, at these sizes."""
    return agent_config(
        profile,
        context_dim=sizes.context_dim,
        context_length=sizes.context_length,
        hidden_sizes=sizes.hidden_sizes,
        policy_delay=sizes.policy_delay,
        **changes,
    )


def updating(sizes: Sizes, config: AgentConfig, batch: int, *, seed: int = 0, cuda_graphs: bool = True) -> Call:
    """Return a call that makes `sizes.updates` updates as an iteration of training does."""
    agent = Agent(sizes.obs_dim, sizes.action_dim, config, seed=seed, device=sizes.device)
    replay = fill_replay(
        obs_dim=sizes.obs_dim,
        action_dim=sizes.action_dim,
        context_dim=agent.state_dim,
        tasks=sizes.tasks,
        transitions=sizes.transitions,
        episode_length=sizes.episode_length,
        device=sizes.device,
    )
    if agent.state_dim:
        replay.refresh_states(agent.online.critic_encoder)
    train = TrainConfig(batch_size=batch, cuda_graphs=cuda_graphs)
    updates = updates_for(agent, agent.learner(lr=config.lr), replay, train, seed=seed)
    return lambda: updates.make(sizes.updates, iteration=0)


def _peer(sizes: Sizes) -> Call:
    """Return a call that makes `sizes.updates` updates of Stable-Baselines3's TD3, by its own loop."""
    try:
        from stable_baselines3 import TD3
    except ModuleNotFoundError as error:
        raise missing_package(error.name or "stable_baselines3", where="mql bench learner") from None
    peer = TD3(
        "MlpPolicy",
        RandomNumbers(sizes.obs_dim, sizes.action_dim),
        buffer_size=sizes.transitions,
        learning_starts=sizes.peer_steps,  # until then it only fills its replay
        batch_size=sizes.peer_batch,
        policy_delay=sizes.policy_delay,
        policy_kwargs={"net_arch": list(sizes.hidden_sizes)},
        device=sizes.device,
    )
    peer.learn(sizes.peer_steps)
    return lambda: peer.train(sizes.updates, sizes.peer_batch)


class RandomNumbers(gymnasium.Env[FloatArray, FloatArray]):
    """An environment that costs next to nothing: random observations [O], reward 0, no end but truncation."""

    def __init__(self, obs_dim: int, action_dim: int) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (obs_dim,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (action_dim,), np.float32)
        self._rng = np.random.default_rng(0)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[FloatArray, dict[str, object]]:
        """Start an episode of 200 steps."""
        self._steps = 0
        return self._obs(), {}

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, object]]:
        """Ignore the action."""
        self._steps += 1
        return self._obs(), 0.0, False, self._steps >= 200, {}

    def _obs(self) -> FloatArray:
        return self._rng.standard_normal(self.observation_space.shape, dtype=np.float32)
