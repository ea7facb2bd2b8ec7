"""Trials: k episodes of one task each, over which the memory is kept, and the sequences that are learned from.

Shapes: N trials in parallel, T steps of an episode, L steps of a trial, I input, A action, M memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mql.baselines.rl2.agent import RL2Agent
from mql.baselines.rl2.sequences import Trials
from mql.collecting.exploration import AddedNoise, Shape, white_noise
from mql.collecting.rollout import collect_each
from mql.seeding import generator, spawn_seeds
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import Episode, FloatArray, Workforce


@dataclass(frozen=True)
class Turn:
    """One episode of a trial, its inputs [T, I], and the noise [T, A] that was drawn for its actions."""

    episode: Episode
    inputs: FloatArray
    noise: FloatArray


@dataclass(frozen=True)
class Collected:
    """Whole trials, each by its turns; all episodes that were played, those of other trials too; and faults."""

    trials: list[list[Turn]]
    played: list[Episode]
    faults: list[EpisodeFault]

    def episodes(self, turn: int) -> list[Episode]:
        """Return the episodes of one turn (-1: the last one) of all trials."""
        return [trial[turn].episode for trial in self.trials]


def collect_trials(
    agent: RL2Agent,
    family: TaskFamily,
    tasks: Sequence[Task],
    *,
    episodes: int,
    seed: int,
    iteration: int,
    policy_version: int,
    workers: Workforce,
) -> Collected:
    """Play a trial of each of `tasks`, all in parallel: the first episode of each, then the second, and so on.

    Actions are drawn from the Gaussian policy. A trial with an episode that could not be finished is left out as a
    whole: what came before it led to nothing that is known.

    Args:
        episodes: of a trial.
        seed, iteration: name the random numbers.
        policy_version, workers: as of `collect_each`.

    Raises:
        EpisodeFault: not one trial could be finished.
    """
    std: FloatArray = agent.online.log_std.detach().exp().cpu().numpy()
    running, memory = list(range(len(tasks))), agent.memory.nothing(len(tasks))
    trials: list[list[Turn]] = [[] for _ in tasks]
    played: list[Episode] = []
    faults: list[EpisodeFault] = []
    for turn in range(episodes):
        shape = (family.episode_length, len(running), family.action_dim)
        noise = white_noise(shape, generator(seed, "actions", iteration, turn))
        resets = spawn_seeds(len(tasks), seed, "reset", iteration, turn)
        outcomes = collect_each(
            agent,
            family,
            [tasks[lane] for lane in running],
            [resets[lane] for lane in running],
            explorer=_added(std * noise),
            rng=generator(seed, "actions", iteration, turn),
            policy_version=policy_version,
            workers=workers,
            z=memory,
        )
        done: list[Turn] = []
        finished: list[int] = []  # places among those that ran
        for place, outcome in enumerate(outcomes):
            if isinstance(outcome, EpisodeFault):
                faults.append(outcome)
                continue
            inputs = inputs_of(agent, outcome, memory[place])
            done.append(Turn(outcome, inputs, noise[: outcome.length, place]))
            finished.append(place)
        if not done:
            raise faults[0]
        played += [each.episode for each in done]
        running = [running[place] for place in finished]
        for lane, each in zip(running, done, strict=True):
            trials[lane].append(each)
        memory = memory_after(agent, done, memory[finished])
    return Collected([trials[lane] for lane in running], played, faults)


def inputs_of(agent: RL2Agent, episode: Episode, memory: FloatArray) -> FloatArray:
    """Return the inputs [T, I] of an episode that begins with a row [M] of memory."""
    size, scaling = agent.memory.state_dim, agent.scaling
    shift, scale = scaling.shift.cpu().numpy(), scaling.scale.cpu().numpy()
    inputs = np.zeros((episode.length, agent.obs_dim + agent.action_dim + 2), np.float32)
    inputs[:, : agent.obs_dim] = (episode.obs[:-1] - shift[: agent.obs_dim]) * scale[: agent.obs_dim]
    inputs[0, agent.obs_dim :] = memory[size:]
    inputs[1:, agent.obs_dim : -2] = episode.action[:-1]
    inputs[1:, -2] = (episode.reward[:-1] - shift[-1]) * scale[-1]
    return inputs


@torch.no_grad()
def memory_after(agent: RL2Agent, turns: Sequence[Turn], memory: FloatArray) -> FloatArray:
    """Return the memory [N, M] at the ends of episodes that began with `memory` [N, M]; the next ones begin with it."""
    states = agent.online(
        _side_by_side(agent, [turn.inputs for turn in turns]),
        torch.from_numpy(memory[:, : agent.memory.state_dim].copy()).to(agent.device),
    ).states
    last = torch.tensor([turn.episode.length for turn in turns], device=agent.device)
    state: FloatArray = states[last, torch.arange(len(turns), device=agent.device)].cpu().numpy()
    action = np.stack([turn.episode.action[-1] for turn in turns])
    shift, scale = agent.scaling.shift[-1].cpu().numpy(), agent.scaling.scale[-1].cpu().numpy()
    reward = np.array([turn.episode.reward[-1] for turn in turns], np.float32)
    return agent.memory.row(state, action, (reward - shift) * scale, begins=True)


def sequences_of(agent: RL2Agent, trials: Sequence[Sequence[Turn]]) -> Trials:
    """Put the episodes of each trial one after the other, and the trials side by side."""
    reward = [np.concatenate([turn.episode.reward for turn in trial])[:, None] for trial in trials]
    valid = [np.ones(each.shape, np.bool_) for each in reward]
    return Trials(
        inputs=_side_by_side(agent, [np.concatenate([turn.inputs for turn in trial]) for trial in trials]),
        noise=_side_by_side(agent, [np.concatenate([turn.noise for turn in trial]) for trial in trials]),
        reward=_side_by_side(agent, reward).squeeze(-1),
        valid=_side_by_side(agent, valid).squeeze(-1),
    )


def _side_by_side(agent: RL2Agent, parts: Sequence[npt.NDArray[Any]]) -> torch.Tensor:
    """Return arrays [L_i, C] as one tensor [max L_i, N, C], with zeros behind the shorter ones."""
    stacked = np.zeros((max(map(len, parts)), len(parts), parts[0].shape[1]), parts[0].dtype)
    for place, part in enumerate(parts):
        stacked[: len(part), place] = part
    return torch.from_numpy(stacked).to(agent.device)


def _added(noise: FloatArray) -> AddedNoise:
    """Return the explorer that adds noise [T, N, A] that is drawn already."""

    def drawn(shape: Shape, rng: np.random.Generator) -> FloatArray:
        del shape, rng
        return noise

    return AddedNoise(drawn, 1.0, len(noise), noise.shape[2])
