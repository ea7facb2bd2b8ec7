"""Whole episodes as one safetensors text: the chunks of a run's replay, and its prior data.

Shapes: n episodes of T_i steps, O observation, A action; obs [sum(T_i + 1), O], action [sum(T_i), A], reward
[sum(T_i)], one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import safetensors.numpy

from mql.errors import told
from mql.types import Episode

# What is said of each episode besides its length, and the types that each may have.
_FACTS: dict[str, tuple[type, ...]] = {
    "task": (int,),
    "seed": (int,),
    "policy_version": (int,),
    "terminated": (bool,),
    "truncated": (bool,),
    "success": (bool, type(None)),
    "final_info": (dict,),
}
_NEEDED = {"terminated", "truncated", "task", "seed"}
_MOST = 2**63 - 1


class Undecodable(ValueError):
    """The text does not hold episodes."""


def encode_episodes(episodes: Sequence[Episode]) -> bytes:
    """Put whole episodes into one safetensors text; the same episodes give the same bytes."""
    for episode in episodes:
        for name in ("obs", "action", "reward"):
            if getattr(episode, name).dtype != np.float32:
                raise TypeError(f"episode.{name} is {getattr(episode, name).dtype}, must be float32")
    arrays = {
        "obs": np.concatenate([episode.obs for episode in episodes]),
        "action": np.concatenate([episode.action for episode in episodes]),
        "reward": np.concatenate([episode.reward for episode in episodes]),
    }
    facts = [
        {
            "length": episode.length,
            "task": int(episode.task),
            "seed": int(episode.seed),
            "policy_version": int(episode.policy_version),
            "terminated": bool(episode.terminated),
            "truncated": bool(episode.truncated),
            "success": None if episode.success is None else bool(episode.success),
            "final_info": {name: float(value) for name, value in episode.final_info.items()},
        }
        for episode in episodes
    ]
    # One metadata entry: with several, safetensors does not fix their order, and so not the bytes.
    return safetensors.numpy.save(arrays, metadata={"episodes": json.dumps(facts)})


def decode_episodes(data: bytes) -> Iterator[Episode]:
    """Yield the episodes that `encode_episodes` put into `data`, bit for bit.

    Raises:
        Undecodable: the text holds something else.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])  # safetensors: length, header, arrays
        arrays = safetensors.numpy.load(data)
        facts = json.loads(header["__metadata__"]["episodes"])
    except Exception as error:  # of safetensors or numpy: the header may say anything
        raise Undecodable(told(error)) from error
    obs, action, reward = _checked(arrays)
    lengths = _lengths(facts, steps=len(reward), rows=len(obs))
    row = step = 0
    for length, entry in zip(lengths, facts, strict=True):
        yield Episode(
            obs=obs[row : row + length + 1].copy(),
            action=action[step : step + length].copy(),
            reward=reward[step : step + length].copy(),
            **_facts(entry),
        )
        row, step = row + length + 1, step + length


def _checked(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for name, dimensions in {"obs": 2, "action": 2, "reward": 1}.items():
        array = arrays.get(name)
        if array is None or array.ndim != dimensions or array.dtype != np.float32:
            raise Undecodable(f"{name} is missing, or is not what belongs there")
        if not np.isfinite(array).all():
            raise Undecodable(f"{name} holds numbers that are not finite")
    return arrays["obs"], arrays["action"], arrays["reward"]


def _lengths(facts: Any, *, steps: int, rows: int) -> list[int]:
    if not isinstance(facts, list) or not all(isinstance(entry, dict) for entry in facts):
        raise Undecodable("the episodes are not described")
    lengths = [entry.get("length") for entry in facts]
    if not all(type(length) is int and 0 <= length <= steps for length in lengths):
        raise Undecodable("an episode has no length")
    if sum(lengths) != steps or steps + len(lengths) != rows:
        raise Undecodable("the episodes are longer or shorter than the arrays")
    return lengths


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in entry.items() if name != "length"}
    if not _NEEDED <= facts.keys() <= _FACTS.keys():
        raise Undecodable("an episode is described by other facts")
    for name, value in facts.items():
        if type(value) not in _FACTS[name] or (type(value) is int and not -_MOST <= value <= _MOST):
            raise Undecodable(f"{name} of an episode is not what belongs there")
    if not all(type(value) is float for value in facts.get("final_info", {}).values()):
        raise Undecodable("final_info of an episode is not what belongs there")
    return facts
