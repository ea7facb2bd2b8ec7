"""`mql bench q-learning`: updates of DQN and Rainbow at MinAtar's sizes, acting and replay included; one thread.

The environment costs next to nothing: planes of random zeros and ones take the place of a game.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.config.loading import load_config
from mql.q_learning.learning import QLearning
from mql.tasks.family import Split
from mql.tasks.wrapped.any_environment import from_gymnasium

METHODS = ("dqn", "rainbow")
ONE_TASK = {"train": Split(listed=({},)), "test": Split(listed=({},))}


@dataclass(frozen=True)
class Sizes:
    """MinAtar's planes [height, width, C] and choices. A turn is `iterations` of 1,000 env steps and 250 updates."""

    planes: tuple[int, int, int] = (10, 10, 4)
    choices: int = 6
    settings: tuple[str, ...] = ()
    iterations: int = 1
    rounds: int = 7


FULL = Sizes()


class RandomPlanes(gymnasium.Env[Any, Any]):
    """Planes of which one cell in twenty is set, a reward every seventh step, episodes of 100 steps."""

    def __init__(self, planes: tuple[int, int, int], choices: int) -> None:
        self.observation_space = gymnasium.spaces.MultiBinary(planes)
        self.action_space = gymnasium.spaces.Discrete(choices)
        self._frames = np.random.default_rng(0).random((64, *planes)) < 0.05
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin anywhere."""
        super().reset(seed=seed)
        self._step = 0
        return self._frames[int(self.np_random.integers(64))], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Go on to another frame, which the action chooses."""
        self._step += 1
        frame = self._frames[self._step * (int(action) + 1) % 64]
        return frame, float(self._step % 7 == 0), self._step >= 100, False, {}


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time iterations of both methods in turn, in which nine actions of ten are the network's."""
    learnings = {method: _learning(method, threads, sizes) for method in METHODS}
    parts: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}

    def iterate(method: str) -> None:
        for _ in range(sizes.iterations):
            iteration = learnings[method].iterate()
            parts[method].append((iteration.collect_seconds, iteration.update_seconds))

    contenders: dict[str, Call] = {method: partial(iterate, method) for method in METHODS}
    announce(f"q-learning: {sizes.rounds} rounds of {sizes.iterations} iterations each, on {threads} threads")
    before = {method: (learning.env_steps, learning.updates) for method, learning in learnings.items()}
    seconds = medians(alternate(contenders, rounds=sizes.rounds))
    results: Results = {}
    for method, learning in learnings.items():
        turns = len(parts[method]) / sizes.iterations
        steps, updates = (
            (now - then) / turns
            for now, then in zip((learning.env_steps, learning.updates), before[method], strict=True)
        )
        acting, updating = (float(total) / turns for total in np.sum(parts[method], axis=0))
        results[method] = {
            "updates_per_s": updates / seconds[method],
            "env_steps_per_s": steps / seconds[method],
            "update_ms": 1e3 * updating / updates,
            "act_and_store_us": 1e6 * acting / steps,
        }
    return results


def _learning(method: str, threads: int, sizes: Sizes) -> QLearning:
    """Return a method in training, past its random steps."""
    family = from_gymnasium(
        partial(RandomPlanes, sizes.planes, sizes.choices),
        {},
        name="random-planes",
        splits=ONE_TASK,
        shared_splits=True,
        choices=True,
        episode_length=100,
        control_timestep=1.0,
    )
    fixed = [
        "q_learning.epsilon_start=0.1",
        "q_learning.random_steps=1000",
        f"threads={threads}",
        "train.env_steps=1000000000",
    ]
    # (Any environment of choices stands for the configuration: nothing is read of its name.)
    learning = QLearning(load_config("Acrobot-v1", overrides=[*fixed, *sizes.settings], method=method), family)
    announce(f"q-learning: random steps of {method} first")
    learning.iterate()
    return learning
