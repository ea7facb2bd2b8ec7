"""Episodes in one Gymnasium environment of the caller's own, such as a robot behind one.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.collecting.exploration import Exploration
from mql.errors import UserError
from mql.plain_text import counted
from mql.types import REWARD_TERM, Episode, FloatArray, NotFinite


def collect_from(
    agent: Agent,
    environment: gymnasium.Env[Any, Any],
    seeds: Sequence[int],
    *,
    most_steps: int,
    explorations: Sequence[Exploration] | None = None,
) -> list[Episode]:
    """Play one episode for each of `seeds`, which are those of the resets.

    Args:
        environment: with observations [O] and actions [A] in [-1, 1]; it stays open. Its ``info["success"]`` counts
            where it has one.
        most_steps: an episode that has not ended by then is cut off.
        explorations: one for each episode; None: the agent's own actions are taken.

    Raises:
        UserError: the environment has other spaces than the agent, or its numbers are not finite.
        NotFinite: the agent's actions are not finite.
    """
    _check_spaces(agent, environment)
    policy = RobotPolicy(agent)
    return [
        _episode(policy, environment, seed, most_steps, explorations[number] if explorations else None)
        for number, seed in enumerate(seeds)
    ]


def _episode(
    policy: RobotPolicy,
    environment: gymnasium.Env[Any, Any],
    seed: int,
    most_steps: int,
    exploration: Exploration | None,
) -> Episode:
    policy.reset()
    first, _ = environment.reset(seed=seed)
    obs = [np.array(first, dtype=np.float32)]
    actions: list[FloatArray] = []
    rewards: list[float] = []
    succeeded: bool | None = None
    terms: dict[str, float] = {}
    terminated = truncated = False
    while not (terminated or truncated):
        action = policy.act(obs[-1], rewards[-1], last_action=actions[-1]) if actions else policy.act(obs[-1])
        if exploration is not None:
            action = exploration.act(action[None], obs[-1][None], len(actions))[0]
        if not np.isfinite(action).all():
            raise NotFinite("the policy's actions are not finite")
        seen, reward, terminated, truncated, info = environment.step(action)
        obs.append(np.array(seen, dtype=np.float32))
        actions.append(action)
        rewards.append(float(reward))
        for name, value in info.items():
            if name.startswith(REWARD_TERM) and _is_number(value):
                term = name.removeprefix(REWARD_TERM)
                terms[term] = terms.get(term, 0.0) + float(value)
        if "success" in info:
            succeeded = bool(succeeded) or bool(info["success"])
        truncated = truncated or len(actions) == most_steps
        if not (np.isfinite(obs[-1]).all() and np.isfinite(rewards[-1])):
            what = f"step {len(actions)} of the environment gave numbers that are not finite"
            raise UserError(what, where=str(environment), mend="look at its observation and its reward")
    return Episode(
        obs=np.stack(obs),
        action=np.stack(actions),
        reward=np.array(rewards, dtype=np.float32),
        terminated=bool(terminated),
        truncated=bool(truncated),
        task=0,
        seed=seed,
        success=succeeded,
        final_info={name: float(value) for name, value in info.items() if name != "success" and _is_number(value)},
        reward_terms=terms,
    )


def _check_spaces(agent: Agent, environment: gymnasium.Env[Any, Any]) -> None:
    observations, actions = environment.observation_space, environment.action_space
    if not isinstance(observations, gymnasium.spaces.Box) or observations.shape != (agent.obs_dim,):
        mend = f"wrap the environment: the agent sees {counted(agent.obs_dim, 'number')} in one row"
        raise UserError(f"the environment's observations are {observations}", where=str(environment), mend=mend)
    box = isinstance(actions, gymnasium.spaces.Box) and actions.shape == (agent.action_dim,)
    if not box or not (np.all(actions.low == -1.0) and np.all(actions.high == 1.0)):  # type: ignore[attr-defined]
        mend = f"wrap the environment: the agent acts with {counted(agent.action_dim, 'number')} in [-1, 1]"
        raise UserError(f"the environment's actions are {actions}", where=str(environment), mend=mend)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
