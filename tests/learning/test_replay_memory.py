"""How much memory a replay takes: as it was said before, and only as it fills."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from mql.agent.agent import Agent
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.learning.contexts import carried_state_dim
from mql.learning.replay import Replay
from mql.learning.replay_size import ReplaySize
from mql.learning.trainer import Trainer, replay_size
from mql.tasks import registry

SMALL = {"n_tasks": 3, "obs_dim": 5, "action_dim": 2}


@pytest.mark.parametrize(
    ("capacity", "episode_length", "context_dim"),
    [(100, 7, 4), (100, 7, 0), (10, 50, 8), (1, 1, 1)],  # the third: less than an episode for each task
)
def test_the_size_that_is_said_is_the_size_that_is_taken(capacity: int, episode_length: int, context_dim: int) -> None:
    size = ReplaySize(**SMALL, capacity=capacity, episode_length=episode_length, context_dim=context_dim)
    buffer = Replay(**asdict(size))
    assert buffer.nbytes == size.nbytes
    assert buffer.table.nbytes + buffer.states.nbytes == size.device_bytes
    assert buffer.table.shape == (3 * size.rows, 8) and buffer.states.shape == (3 * size.rows, context_dim)


def test_many_tasks_with_long_episodes_count_in_full() -> None:
    """1000 tasks x 1000 steps are a million rows, also with a tenth of that as the capacity."""
    size = ReplaySize(n_tasks=1000, obs_dim=39, action_dim=4, capacity=100_000, episode_length=1000, context_dim=30)
    assert size.nbytes == 1000 * 1001 * (44 * 4 + 30 * 2 + 4 + 4 + 1)


@pytest.mark.parametrize("settings", [(), ("agent.use_context=false",), ("agent.context_mode=window",)])
def test_a_run_allocates_the_size_that_is_checked_before(settings: tuple[str, ...]) -> None:
    config = load_config("point-robot", overrides=["train.replay_capacity=3000", *settings])
    trainer = Trainer(config, registry.load("point-robot"))
    assert trainer.replay.nbytes == replay_size(config, trainer.family).nbytes
    assert trainer.agent.state_dim == carried_state_dim(config.agent)


@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("use_context", [True, False])
def test_states_are_kept_for_an_agent_that_carries_them(mode: str, use_context: bool) -> None:
    config = AgentConfig(context_mode=mode, use_context=use_context, hidden_sizes=(8,))  # type: ignore[arg-type]
    assert Agent(3, 2, config, seed=0).state_dim == carried_state_dim(config)


MEMORY_OF_A_REPLAY = """
import os
import numpy as np
from mql.learning.replay import Replay
from mql.threads import keep_freed_memory
from mql.types import Episode

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

keep_freed_memory()  # as in training
before = resident()
sizes = dict(n_tasks=10, obs_dim=100, action_dim=11, capacity=1_000_000, episode_length=100, context_dim=64)
buffer = Replay(**sizes)
assert buffer.nbytes > 580e6
empty = resident() - before
obs = np.ones((101, 100), dtype=np.float32)
action, reward = np.ones((100, 11), dtype=np.float32), np.ones(100, dtype=np.float32)
for number in range(10):
    buffer.append(Episode(obs, action, reward, terminated=False, truncated=True, task=number, seed=0))
print(empty, resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_memory_is_taken_up_as_episodes_come_in() -> None:
    """In a process of its own: what other tests have left to the allocator would be used first."""
    done = subprocess.run([sys.executable, "-c", MEMORY_OF_A_REPLAY], capture_output=True, text=True, check=True)
    empty, with_episodes = map(int, done.stdout.split())
    assert empty < 30e6
    assert with_episodes < 150e6  # a huge page or two of each task's ring, in each array
