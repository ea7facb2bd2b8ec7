"""The stored data of the training tasks as adaptation uses it: scored rows, draws by weight, whole episodes.

Shapes: M scored rows of the meta-training replay, O observation, A action, F features (Z, or O + Z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.agent.agent import Agent
from mql.config.schema import AdaptConfig
from mql.learning.contexts import ContextPlan, context_plan, reads
from mql.learning.replay import Replay
from mql.types import JSON, Batch, Episode, FloatArray, IntArray

ROWS_AT_ONCE = 4096  # windows encoded together when the replay is scored


@dataclass(frozen=True)
class ScoredData:
    """Stored rows with what the propensity sees of them, computed once for any number of new tasks.

    ``rows`` [M] are table rows of ``replay`` (with the states of the agent), ``features`` [M, F]. It is good until the
    replay gets another episode. ``calibration`` are the weights' figures for training tasks (`weighing.calibration`).
    """

    replay: Replay
    rows: IntArray
    features: FloatArray
    calibration: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def tasks(self) -> IntArray:
        """The training task of each row, [M]."""
        tasks: IntArray = self.rows // self.replay.rows
        return tasks

    @property
    def episodes(self) -> IntArray:
        """A number for the episode of each row, [M]: the table row that it begins in."""
        return episodes_of(self.replay, self.rows)

    @property
    def tasks_covered(self) -> int:
        """Training tasks that have scored rows."""
        return len(np.unique(self.tasks))

    def shares(self, weights: npt.NDArray[Any]) -> list[float]:
        """Return each task's share of `weights` [M], training tasks first, then prior ones; all zero where these are.

        See `named_shares` for what reports say.
        """
        sums = np.bincount(self.tasks, np.asarray(weights, np.float64), minlength=self.replay.n_tasks)
        total = float(sums.sum())
        return [float(share) for share in (sums / total if total else sums)]


def named_shares(replay: Replay, shares: Sequence[float]) -> dict[str, JSON]:
    """Return what a report says of each task's share: of the training tasks in their order, of prior ones by name."""
    own, prior = list(shares[: replay.n_trained]), shares[replay.n_trained :]
    named = dict(zip(replay.prior, prior, strict=True))
    return {"task_weights": own, **({"prior_weights": named} if named else {})}


def score(agent: Agent, replay: Replay, config: AdaptConfig) -> ScoredData:
    """Score the replay: features of its newest data, at most ``config.scored_transitions`` of all tasks together.

    With a carried context, the states come from `agent`; those that `replay` keeps stay as they are.
    """
    replay, rows = newest_rows(agent, replay, config)
    return ScoredData(replay=replay, rows=rows, features=features_of(agent, replay, rows, config))


def newest_rows(agent: Agent, replay: Replay, config: AdaptConfig) -> tuple[Replay, IntArray]:
    """Return at most ``config.scored_transitions`` newest table rows of all tasks together, and the replay they are of.

    With a carried context that is one with the states of `agent`, else `replay` itself.
    """
    rows = replay.all_rows(at_most=config.scored_transitions)
    if agent.state_dim:
        replay = replay.with_states_of(agent.online.actor_encoder, rows)
    return replay, rows


@torch.no_grad()
def features_of(agent: Agent, replay: Replay, rows: IntArray, config: AdaptConfig) -> FloatArray:
    """What the propensity sees of table rows: [len(rows), F], from the frozen encoder of the actor.

    A context-blind agent has no context; then observations are all there is. ``dynamics`` are (o, a, o' - o).
    """
    index = torch.from_numpy(rows).to(agent.device)
    obs = agent.scaling.obs(replay.table[index, : agent.obs_dim])
    if config.features == "dynamics":
        task, row = np.divmod(rows, replay.rows)
        after = torch.from_numpy(task * replay.rows + (row + 1) % replay.rows).to(agent.device)
        change = agent.scaling.obs(replay.table[after, : agent.obs_dim]) - obs
        features = torch.cat([obs, replay.table[index, agent.obs_dim : -1], change], dim=-1)
    else:
        features = contexts_of(agent, replay, rows)
        if config.features == "obs_context" or not features.shape[1]:
            features = torch.cat([obs, features], dim=-1)
    result: FloatArray = features.cpu().numpy()
    return result


@torch.no_grad()
def contexts_of(agent: Agent, replay: Replay, rows: IntArray) -> torch.Tensor:
    """Return z [len(rows), Z] at table rows: where the policy carries its state, the states that `replay` has."""
    if agent.state_dim:
        return replay.states[torch.from_numpy(rows).to(agent.device)].float()
    encoder, plan = agent.online.actor_encoder, context_plan(agent.config)
    parts = [rows[first : first + ROWS_AT_ONCE] for first in range(0, len(rows), ROWS_AT_ONCE)]
    return torch.cat([encoder(replay.gather(part, plan).context) for part in parts])


def episodes_of(replay: Replay, rows: IntArray) -> IntArray:
    """Return a number for the episode of each table row: the row that it begins in."""
    task, row = np.divmod(rows, replay.rows)
    starts: IntArray = task * replay.rows + (row - replay.step[task, row]) % replay.rows
    return starts


class WeightedRows:
    """Scored rows to learn from: drawn by their weight, or drawn uniformly with their losses weighted."""

    def __init__(self, data: ScoredData, weights: FloatArray, *, by_weight: bool) -> None:
        self._data, self._by_weight = data, by_weight
        self._cumulative = np.cumsum(weights, dtype=np.float64)
        self._of_table_row = np.zeros(len(data.replay.table), dtype=np.float32)
        self._of_table_row[data.rows] = weights
        self._scored = np.zeros(len(data.replay.table), dtype=np.bool_)
        self._scored[data.rows] = True

    def sample(self, batch_size: int, plan: ContextPlan, rng: np.random.Generator) -> Batch:
        """Draw a batch of about `batch_size` transitions (a multiple of what one context serves)."""
        rows, n = self._data.rows, max(batch_size // reads(plan), 1)
        if not self._by_weight:
            drawn = rng.integers(len(rows), size=n)
            density, importance = self._scored, self._of_table_row
            return self._data.replay.gather(rows[drawn], plan, rng=rng, density=density, importance=importance)
        drawn = np.searchsorted(self._cumulative, rng.random(n) * self._cumulative[-1], side="right")
        drawn = np.minimum(drawn, len(rows) - 1)
        return self._data.replay.gather(rows[drawn], plan, rng=rng, density=self._of_table_row)


def newest_episodes(replay: Replay, at_most: int) -> list[Episode]:
    """Return up to `at_most` stored episodes of training tasks, newest first within a task, tasks in turn.

    Each names its task.
    """
    starts = _own_starts(replay)[:at_most]
    return [_episode(replay, *divmod(int(start), replay.rows)) for start in starts]


def newest_of_each_task(replay: Replay, count: int) -> list[Episode]:
    """Return up to `count` stored episodes of each training task, its newest ones."""
    starts = _own_starts(replay)
    tasks = starts // replay.rows
    order = np.argsort(tasks, kind="stable")
    rank = np.empty(len(starts), np.int64)  # of each episode among those of its task
    rank[order] = np.arange(len(starts)) - np.searchsorted(tasks[order], tasks[order])
    return [_episode(replay, *divmod(int(start), replay.rows)) for start in starts[rank < count]]


def _own_starts(replay: Replay) -> IntArray:
    """Return the rows in which episodes of training tasks begin: what task a prior one is of, nobody knows."""
    starts = replay.episode_starts(replay.all_rows())
    own: IntArray = starts[starts // replay.rows < replay.n_trained]
    return own


def episode_at(replay: Replay, row: int) -> Episode:
    """Return the episode that a table row lies in."""
    [start] = episodes_of(replay, np.array([row]))
    return _episode(replay, *divmod(int(start), replay.rows))


def _episode(replay: Replay, task: int, first: int) -> Episode:
    length = int(replay.remaining[task, first])
    places = (first + np.arange(length + 1)) % replay.rows
    block = replay.table[torch.from_numpy(task * replay.rows + places).to(replay.device)].cpu().numpy()
    terminated = bool(replay.terminated[task, places[-2]])
    return Episode(
        obs=block[:, : replay.obs_dim].copy(),
        action=block[:-1, replay.obs_dim : -1].copy(),
        reward=block[:-1, -1].copy(),
        terminated=terminated,
        truncated=not terminated,
        task=task,
        seed=0,
    )
