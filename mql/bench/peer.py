"""`mql bench peer`: what a recurrent PPO that is not ours learns on a family, in as many environment steps.

Stable-Baselines3's contributed RecurrentPPO (sb3-contrib) meets the family through Gymnasium alone. Its training
episodes are trials of k episodes of a training task (`trials.py`), so that it is an RL^2; observations and rewards are
normalised by its own wrapper. It is measured as the project's methods are, on the same held-out tasks from the same
resets: zero-shot in an episode that it begins knowing nothing, and adapted in one more after the k - 1 episodes that
it has played in the task before, each without exploration.

Shapes: O observation, A action.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from mql.bench.timing import Results, announce
from mql.bench.trials import Trials, seen
from mql.config.loading import load_config
from mql.config.schema import Config
from mql.errors import UserError, missing_package
from mql.evaluation.held_out import TaskResult
from mql.seeding import spawn_seeds
from mql.tasks import registry
from mql.tasks.family import Task, TaskFamily
from mql.training.records import evaluation_seed, record_of
from mql.types import Episode

WHERE = "mql bench peer"


@dataclass(frozen=True)
class Sizes:
    """A family and the peer's own settings; those not said are its defaults.

    Attributes:
        env_steps: to train; None: as many as the family's own experiment. It stops with the rollout that gets there.
        episodes: of a trial, k.
        tasks: held-out ones to evaluate on; None: ``evaluate.final_tasks``.
        rollout_steps: at least that many environment steps, and whole trials, between updates.
        minibatches: of each pass over a rollout.
    """

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
        UserError: sb3-contrib is not installed, or there is no such family.
    """
    recurrent_ppo = _recurrent_ppo()
    config = load_config(sizes.family, seed=sizes.seed, families=registry.names())
    family = registry.load(config.family)
    if sizes.episodes < 1:
        raise UserError(f"a trial of {sizes.episodes} episodes", where=WHERE, mend="give 1 or more")
    env_steps = config.train.env_steps if sizes.env_steps is None else sizes.env_steps
    announce(f"peer: RecurrentPPO, {env_steps:,} steps of {family.name}, on {threads} threads")
    begun = time.perf_counter()
    agent, scaled = _trained(recurrent_ppo, config, family, sizes, env_steps)
    seconds = time.perf_counter() - begun
    split = config.evaluate.split
    tasks = family.tasks(split)[: config.evaluate.final_tasks if sizes.tasks is None else sizes.tasks]
    announce(f"peer: {len(tasks)} held-out tasks")
    results = _evaluated(agent, scaled, config, family, tasks, split=split, before=sizes.episodes - 1)
    record = {**record_of(config, family, results, split=split), "method": "sb3-contrib RecurrentPPO"}
    summary = record["summary"]
    return {
        "family": family.name,
        "env_steps": agent.num_timesteps,
        "train_s": seconds,
        "env_steps_per_s": agent.num_timesteps / seconds,
        "episodes_per_trial": sizes.episodes,
        "held_out_tasks": len(tasks),
        **{f"{when}_return": _figures(summary[when]) for when in ("zero_shot", "adapted") if summary[when]},
        "evaluation": record,
    }


def _recurrent_ppo() -> Any:
    """Return the peer's class, before anything is loaded for it."""
    try:
        from sb3_contrib import RecurrentPPO
    except ModuleNotFoundError:
        raise missing_package("sb3_contrib", where=WHERE) from None
    return RecurrentPPO


def _trained(recurrent_ppo: Any, config: Config, family: TaskFamily, sizes: Sizes, env_steps: int) -> tuple[Any, Any]:
    """Train the peer; return it with the wrapper that holds the mean and spread of what it saw."""
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    def trials() -> Trials:
        return Trials(_environment(family), sizes.episodes)

    discount = config.agent.discount
    scaled = VecNormalize(DummyVecEnv([trials] * sizes.environments), gamma=discount)
    of_trial = sizes.episodes * family.episode_length
    steps = of_trial * -(-sizes.rollout_steps // (of_trial * sizes.environments))
    agent = recurrent_ppo(
        "MlpLstmPolicy",
        scaled,
        n_steps=steps,
        batch_size=max(steps * sizes.environments // sizes.minibatches, 1),
        n_epochs=sizes.passes,
        gamma=discount,
        policy_kwargs={"lstm_hidden_size": sizes.lstm_units, "net_arch": list(sizes.hidden_sizes)},
        seed=sizes.seed,
        device="cpu",
    )
    agent.learn(env_steps)
    scaled.close()
    return agent, scaled


def _environment(family: TaskFamily) -> gymnasium.Env[Any, Any]:
    return gymnasium.make(f"mql/{family.name}-v0")


def _evaluated(
    agent: Any, scaled: Any, config: Config, family: TaskFamily, tasks: Sequence[Task], *, split: str, before: int
) -> list[TaskResult]:
    """Play each task's evaluation episodes, and them again after `before` episodes of the same task."""
    seed, count = evaluation_seed(config, split), config.evaluate.evaluation_episodes
    environment = _environment(family)
    results = []
    for place, task in enumerate(tasks):
        # The resets of `mql.evaluation.held_out.evaluate`, and of the episodes that adaptations play.
        resets = spawn_seeds(count, seed, "evaluation", place)
        earlier = spawn_seeds(before, seed, "adaptation", place)
        zero_shot = [_trial(agent, scaled, environment, task, [reset])[-1] for reset in resets]
        adapted = [_trial(agent, scaled, environment, task, [*earlier, reset])[-1] for reset in resets]
        report = {"episodes_charged": before}
        results.append(TaskResult(task, zero_shot, adapted, report) if before else TaskResult(task, zero_shot))
    environment.close()
    return results


def _trial(
    agent: Any, scaled: Any, environment: gymnasium.Env[Any, Any], task: Task, resets: Sequence[int]
) -> list[Episode]:
    """Play one trial, an episode for each of `resets`, by the agent's mean actions."""
    episodes: list[Episode] = []
    state, begins = None, np.ones(1, dtype=bool)
    action, reward = np.zeros(environment.action_space.shape or (), np.float32), 0.0
    for reset in resets:
        obs, _ = environment.reset(seed=reset, options={"task": f"{task.split}:{task.index}"})
        observations, actions, rewards, succeeded = [obs], [], [], None
        first, terminated, truncated = True, False, False
        while not (terminated or truncated):
            given = scaled.normalize_obs(seen(obs, action, reward, begins=first and bool(episodes))[None])
            taken, state = agent.predict(given, state=state, episode_start=begins, deterministic=True)
            action, begins, first = taken[0], np.zeros(1, dtype=bool), False
            obs, gain, terminated, truncated, info = environment.step(action)
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
