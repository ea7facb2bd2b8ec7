"""Keys that a user has given and that act nowhere in the experiment as it is resolved: another key turns them off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from mql.config.schema import Config
from mql.config.yaml_text import SECTIONS, Given


class _Rule(NamedTuple):
    """These keys act nowhere where `off` holds, because of what `why` says."""

    keys: tuple[str, ...]
    off: Callable[[Config], bool]
    why: str


# With adapt.method context no gradient step is taken; these still say which episodes there are.
_OF_EVERY_METHOD = ("method", "adaptation_episodes", "exploration_noise")
_RULES = (
    _Rule(("agent.context_length",), lambda c: c.agent.context_mode == "carry", "agent.context_mode is carry"),
    _Rule(
        ("agent.segment_length", "agent.burn_in", "train.refresh_rows_per_update"),
        lambda c: c.agent.context_mode == "window",
        "agent.context_mode is window",
    ),
    _Rule(
        (
            "agent.encoder",
            "agent.context_length",
            "agent.context_mode",
            "agent.context_dim",
            "agent.segment_length",
            "agent.burn_in",
            "agent.shared_encoder",
            "train.refresh_rows_per_update",
        ),
        lambda c: not c.agent.use_context,
        "agent.use_context is false",
    ),
    _Rule(
        ("agent.target_policy_noise", "agent.target_noise_clip"),
        lambda c: c.agent.algorithm != "td3",
        "agent.algorithm is not td3",
    ),
    _Rule(
        tuple(f"adapt.{name}" for name in SECTIONS["adapt"] if name not in _OF_EVERY_METHOD),
        lambda c: c.adapt.method == "context",
        "adapt.method is context",
    ),
    _Rule(
        ("adapt.step1_batch_size", "adapt.step1_penalty"),
        lambda c: c.adapt.step1_updates == 0,
        "adapt.step1_updates is 0",
    ),
)


def idle_keys(config: Config, given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a line for each key of `given` that acts nowhere: where it stands, and what turns it off.

    Args:
        config: the experiment, resolved.
        given: what the user has said himself, in files and on the command line; defaults may well be idle.
    """
    said: set[str] = set()
    for rule in _RULES:
        for key in rule.keys if rule.off(config) else ():
            if key in given and key not in said:
                said.add(key)
                place = given[key].where
                yield f"{key} does nothing, as {rule.why}" + (f" ({place})" if place else "")
