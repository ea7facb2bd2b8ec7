"""How the updates of an iteration are made: batch after batch or, on a GPU, as recorded graphs of many updates.

An update of these small networks is some hundred operators of a few microseconds each. Called one by one from Python
they take several times as long as the GPU needs for them; so their launches are recorded once (a CUDA graph), with the
drawing of their batches, and repeated.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import torch

from mql.agent.agent import Agent
from mql.agent.protocols import Learner
from mql.config.schema import TrainConfig
from mql.errors import UserError
from mql.learning.contexts import ContextPlan, context_plan
from mql.learning.device_batches import DeviceBatches
from mql.learning.mean_losses import MeanLosses
from mql.learning.replay import Replay
from mql.seeding import generator, torch_generator

WARM_UP = 2  # times that a number of updates is made unrecorded first: kernels are compiled and chosen there
PERIODS = 8  # of `policy_delay` updates each, in a long graph
_RECORDING = threading.Lock()  # recording begins by waiting for the whole GPU, which fails while another thread records


def updates_for(agent: Agent, learner: Learner, replay: Replay, train: TrainConfig, *, seed: int) -> Updates:
    """Return what makes the updates of a run; on a GPU they are drawn there, but for a replay with priorities."""
    plan = context_plan(agent.config)
    if replay.device.type == "cpu" or train.episode_priority != "uniform":
        return HostUpdates(learner, replay, train.batch_size, plan, seed=seed)
    batches = DeviceBatches(replay, agent.scaling, train.batch_size, plan)
    return DeviceUpdates(learner, batches, period=agent.config.policy_delay, seed=seed, recorded=train.cuda_graphs)


class Updates(Protocol):
    """Makes the updates of iterations."""

    def make(self, count: int, *, iteration: int) -> dict[str, float]:
        """Make `count` updates with the random numbers of an iteration, and return their mean losses."""
        ...


class HostUpdates:
    """Updates one by one, from batches that the replay draws."""

    def __init__(self, learner: Learner, replay: Replay, batch_size: int, plan: ContextPlan, *, seed: int) -> None:
        self._learner, self._replay, self._batch_size, self._plan, self._seed = learner, replay, batch_size, plan, seed

    def make(self, count: int, *, iteration: int) -> dict[str, float]:
        """Make `count` updates with the random numbers of an iteration, and return their mean losses."""
        rng = generator(self._seed, "replay", iteration)
        noise = torch_generator(self._seed, "updates", iteration, device=str(self._replay.device))
        losses = MeanLosses()
        for _ in range(count):
            batch = self._replay.sample(self._batch_size, self._plan, rng)
            losses.add(self._learner.update(batch, generator=noise))
        return losses.means()


class DeviceUpdates:
    """Updates from batches that are drawn on the GPU, as CUDA graphs.

    Args:
        learner: its ``lr`` may be changed between calls of `make`; what else its updates read of Python's objects is
            recorded as it is.
        period: updates after which the kind of the next one is as before (``agent.policy_delay``).
        recorded: False: the same operators, called one by one. What is learned is the same.
    """

    def __init__(
        self, learner: Learner, batches: DeviceBatches, *, period: int, seed: int, recorded: bool = True
    ) -> None:
        self._learner, self._batches, self._period = learner, batches, period
        self._seed, self._recorded = seed, recorded
        self._generator = torch.Generator(device=batches.device)
        self._graphs: dict[int, _Graph] = {}
        self._calls: Counter[int] = Counter()

    def make(self, count: int, *, iteration: int) -> dict[str, float]:
        """Make `count` updates with the random numbers of an iteration, and return their mean losses.

        Raises:
            UserError: an update does what can't be recorded.
        """
        if count > 0:
            self._batches.refresh()
        self._generator.manual_seed(torch_generator(self._seed, "updates", iteration).initial_seed())
        losses = MeanLosses()
        while count > 0:
            size = self._next(count)
            if self._recorded and size >= self._period and self._calls[size] >= WARM_UP:
                if size not in self._graphs:
                    self._graphs[size] = _Graph(self._call, size, self._learner, self._generator)
                losses.merge(self._graphs[size].replay(self._learner))
            else:
                self._call(size, losses)
                self._calls[size] += 1
            count -= size
        return losses.means()

    def _next(self, count: int) -> int:
        """How many updates to make next, of `count`: it depends on nothing else but the updates made so far."""
        into = self._learner.updates % self._period
        if into or count < self._period:
            return 1
        return self._period * PERIODS if count >= self._period * PERIODS else self._period

    def _call(self, count: int, losses: MeanLosses) -> None:
        drawn = self._batches.draw(count, self._generator)
        for which in range(count):
            losses.add(self._learner.update(self._batches.batch(drawn, which), generator=self._generator))


class _Graph:
    """`size` updates, recorded now and made by `replay`."""

    def __init__(
        self, call: Callable[[int, MeanLosses], None], size: int, learner: Learner, generator: torch.Generator
    ) -> None:
        self._size, self._losses, self._graph = size, MeanLosses(), torch.cuda.CUDAGraph()
        self._graph.register_generator_state(generator)
        updates = learner.updates
        try:
            # (Other threads, which play episodes, may use the GPU in the meantime.)
            with _RECORDING, torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                call(size, self._losses)
        except RuntimeError as error:
            mend = (
                "set train.cuda_graphs to false, or leave out what waits for the GPU (a number read, a shape of data)"
            )
            said = str(error).strip().splitlines()[0]
            raise UserError(f"an update can't be recorded: {said}", where="train.cuda_graphs", mend=mend) from error
        finally:
            learner.updates = updates  # recording made none

    def replay(self, learner: Learner) -> MeanLosses:
        """Make the updates, and return their losses, good until the next replay."""
        self._graph.replay()
        learner.updates += self._size
        return self._losses
