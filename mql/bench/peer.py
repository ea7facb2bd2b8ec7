"""`mql bench peer`: what an agent of another library learns, in as many environment steps.

Peers are Stable-Baselines3's PPO and A2C, and its contributed RecurrentPPO (sb3-contrib). They meet a family, or an
environment that Gymnasium knows by name, through Gymnasium alone; observations and rewards are normalised by the
library's own wrapper. They are measured as the project's methods are, on the same held-out tasks from the same resets.

Training episodes of RecurrentPPO are trials of k episodes of a training task (`trials.py`), so that it is an RL^2. It
is measured zero-shot in an episode that it begins knowing nothing, and adapted in one more after the k - 1 episodes
that it has played in the task before, each without exploration. PPO and A2C remember nothing, and do not adapt.

Shapes: O observation, A action.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from mql.api.families import find_family
from mql.bench.timing import Results, announce
from mql.bench.trials import Trials, seen
from mql.config.loading import load_experiment
from mql.config.schema import Config
from mql.errors import UserError, missing_package, nearest
from mql.evaluation.held_out import TaskResult
from mql.seeding import spawn_seeds
from mql.tasks import registry
from mql.tasks.as_gymnasium.environment import FamilyEnvironment
from mql.tasks.family import Task, TaskFamily
from mql.tasks.gymnasium_ids import GAMES
from mql.training.records import evaluation_seed, record_of
from mql.types import Episode, FloatArray

WHERE = "mql bench peer"
RECURRENT, PPO, A2C = PEERS = ("recurrent-ppo", "ppo", "a2c")

Environment = gymnasium.Env[Any, Any]


@dataclass(frozen=True)
class Sizes:
    """A peer, its family and its settings; those not said are its library's defaults.

    Attributes:
        algorithm: one of `PEERS`.
        family: for PPO and A2C also the name of an environment of Gymnasium's.
        env_steps: to train; None: as many as the family's own experiment. It stops with the rollout that gets there.
        episodes: of a trial, k (RecurrentPPO).
        tasks: held-out ones to evaluate on; None: ``evaluate.final_tasks``.
        environments: in parallel; A2C has as many as the project's own (``p3o.lanes``).
        rollout_steps: that many environment steps between updates (PPO's default); of RecurrentPPO at least so many,
            and whole trials. A2C's are its library's.
        minibatches, passes: of each rollout, and over it (RecurrentPPO).
        lstm_units, hidden_sizes: of RecurrentPPO's networks.
    """

    algorithm: str = RECURRENT
    family: str = "point-robot"
    env_steps: int | None = None
    episodes: int = 2
    seed: int = 0
    tasks: int | None = None
    environments: int = 8
    rollout_steps: int = 2048
    minibatches: int = 8
    passes: int = 10
    lstm_units: int = 64
    hidden_sizes: tuple[int, ...] = (64, 64)


FULL = Sizes()


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Train the peer and evaluate it; ``evaluation`` is the record that `mql evaluate --json` prints.

    Raises:
        UserError: there is no such peer or family, peers do not play it, or a package is not installed.
    """
    peer = _class(sizes.algorithm)
    recurrent = sizes.algorithm == RECURRENT
    # Of this project's methods that learn in a single environment, p3o is the one that they stand beside.
    method, environments = (None, ()) if recurrent else ("p3o", registry.environments())
    config, definition, _ = load_experiment(
        sizes.family, seed=sizes.seed, method=method, families=registry.names(), environments=environments
    )
    if config.family in GAMES:  # before a package is asked for that would be of no use
        raise UserError(f"peers do not play {config.family}", where=WHERE, mend="name an environment of Gymnasium's")
    family = find_family(config.family if definition is None else str(definition), trust=False)
    if sizes.episodes < 1:
        raise UserError(f"a trial of {sizes.episodes} episodes", where=WHERE, mend="give 1 or more")
    episodes = sizes.episodes if recurrent else 1
    env_steps = config.train.env_steps if sizes.env_steps is None else sizes.env_steps
    announce(f"peer: {peer.__name__}, {env_steps:,} steps of {family.name}, on {threads} threads")
    begun = time.perf_counter()
    agent, scaled = _trained(peer, config, family, sizes, env_steps)
    seconds = time.perf_counter() - begun
    split = config.evaluate.split
    tasks = family.tasks(split)[: config.evaluate.final_tasks if sizes.tasks is None else sizes.tasks]
    announce(f"peer: {len(tasks)} held-out tasks")
    player = _Player(agent, scaled, _environment(family), recurrent=recurrent)
    results = _evaluated(player, config, tasks, split=split, before=episodes - 1)
    library = "sb3-contrib" if recurrent else "Stable-Baselines3"
    record = {**record_of(config, family, results, split=split), "method": f"{library} {peer.__name__}"}
    summary = record["summary"]
    return {
        "family": family.name,
        "env_steps": agent.num_timesteps,
        "train_s": seconds,
        "env_steps_per_s": agent.num_timesteps / seconds,
        "episodes_per_trial": episodes,
        "held_out_tasks": len(tasks),
        **{f"{when}_return": _figures(summary[when]) for when in ("zero_shot", "adapted") if summary[when]},
        "evaluation": record,
    }


def _class(algorithm: str) -> Any:
    """Return the peer's class, before anything is loaded for it."""
    if algorithm not in PEERS:
        raise UserError(f"there is no peer {algorithm!r}", where=WHERE, mend=nearest(algorithm, PEERS))
    package = "sb3_contrib" if algorithm == RECURRENT else "stable_baselines3"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        raise missing_package(package, where=WHERE) from None
    return getattr(module, {RECURRENT: "RecurrentPPO", PPO: "PPO", A2C: "A2C"}[algorithm])


def _trained(peer: Any, config: Config, family: TaskFamily, sizes: Sizes, env_steps: int) -> tuple[Any, Any]:
    """Train the peer; return it with the wrapper that holds the mean and spread of what it saw."""
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    recurrent = sizes.algorithm == RECURRENT

    def environment() -> Environment:
        return Trials(_environment(family), sizes.episodes) if recurrent else _environment(family)

    discount = config.agent.discount if recurrent else config.p3o.discount
    environments = config.p3o.lanes if sizes.algorithm == A2C else sizes.environments
    scaled = VecNormalize(DummyVecEnv([environment] * environments), gamma=discount)
    settings: dict[str, Any] = {}
    if recurrent:
        of_trial = sizes.episodes * family.episode_length
        steps = of_trial * -(-sizes.rollout_steps // (of_trial * environments))
        settings = {
            "n_steps": steps,
            "batch_size": max(steps * environments // sizes.minibatches, 1),
            "n_epochs": sizes.passes,
            "policy_kwargs": {"lstm_hidden_size": sizes.lstm_units, "net_arch": list(sizes.hidden_sizes)},
        }
    elif sizes.algorithm == PPO:
        settings = {"n_steps": max(sizes.rollout_steps // environments, 1)}
    policy = "MlpLstmPolicy" if recurrent else "MlpPolicy"
    agent = peer(policy, scaled, gamma=discount, seed=sizes.seed, device="cpu", **settings)
    agent.learn(env_steps)
    scaled.close()
    return agent, scaled


def _environment(family: TaskFamily) -> Environment:
    """Make what Gymnasium knows by the family's name; of a definition, which has none there, the family's own."""
    if family.name in registry.environments():
        return gymnasium.make(family.name)
    if family.name in registry.names() and registry.load(family.name) is family:
        return gymnasium.make(f"mql/{family.name}-v0")
    return FamilyEnvironment(family, None)


@dataclass(frozen=True)
class _Player:
    """A trained peer, what scales its observations, and where it plays.

    Attributes:
        recurrent: whether it is one that learned from `Trials`.
    """

    agent: Any
    scaled: Any
    environment: Environment
    recurrent: bool

    def reset(self, task: Task, seed: int) -> FloatArray:
        """Begin an episode of the task; an environment of Gymnasium's is its only one."""
        options = {"task": f"{task.split}:{task.index}"} if hasattr(self.environment.unwrapped, "task") else None
        obs: FloatArray = self.environment.reset(seed=seed, options=options)[0]
        return obs

    def given(self, obs: FloatArray, action: FloatArray, reward: float, *, begins: bool) -> FloatArray:
        """Return what it is given at a step, [1, .]."""
        read = seen(obs, action, reward, begins=begins) if self.recurrent else np.asarray(obs)
        given: FloatArray = self.scaled.normalize_obs(read[None])
        return given


def _evaluated(player: _Player, config: Config, tasks: Sequence[Task], *, split: str, before: int) -> list[TaskResult]:
    """Play each task's evaluation episodes, and them again after `before` episodes of the same task."""
    seed, count = evaluation_seed(config, split), config.evaluate.evaluation_episodes
    results = []
    for place, task in enumerate(tasks):
        # The resets of `mql.evaluation.held_out.evaluate`, and of the episodes that adaptations play.
        resets = spawn_seeds(count, seed, "evaluation", place)
        earlier = spawn_seeds(before, seed, "adaptation", place)
        zero_shot = [_trial(player, task, [reset])[-1] for reset in resets]
        if before:
            adapted = [_trial(player, task, [*earlier, reset])[-1] for reset in resets]
            results.append(TaskResult(task, zero_shot, adapted, {"episodes_charged": before}))
        else:
            results.append(TaskResult(task, zero_shot))
    player.environment.close()
    return results


def _trial(player: _Player, task: Task, resets: Sequence[int]) -> list[Episode]:
    """Play one trial, an episode for each of `resets`, by the agent's mean actions."""
    episodes: list[Episode] = []
    state, begins = None, np.ones(1, dtype=bool)
    action, reward = np.zeros(player.environment.action_space.shape or (), np.float32), 0.0
    for reset in resets:
        obs = player.reset(task, reset)
        observations, actions, rewards, succeeded = [obs], [], [], None
        first, terminated, truncated = True, False, False
        while not (terminated or truncated):
            given = player.given(obs, action, reward, begins=first and bool(episodes))
            taken, state = player.agent.predict(given, state=state, episode_start=begins, deterministic=True)
            action, begins, first = taken[0], np.zeros(1, dtype=bool), False
            obs, gain, terminated, truncated, info = player.environment.step(action)
            reward = float(gain)
            observations.append(obs)
            actions.append(action)
            rewards.append(reward)
            if "success" in info:
                succeeded = bool(succeeded) or bool(info["success"])
        episodes.append(
            Episode(
                obs=np.stack(observations),
                action=np.stack(actions),
                reward=np.array(rewards, dtype=np.float32),
                terminated=terminated,
                truncated=truncated,
                task=task.index,
                seed=reset,
                success=succeeded,
                final_info={n: float(v) for n, v in info.items() if n != "success" and isinstance(v, int | float)},
            )
        )
    return episodes


def _figures(summary: Results) -> Results:
    """Return figures that a table has a line for; too few tasks have no interval."""
    interval = dict(zip(("low_95", "high_95"), summary["ci95"] or (), strict=False))
    return {"mean": summary["mean"], "iqm": summary["iqm"], **interval}
