"""Keys that a user has given and that act nowhere in the experiment as it is resolved: another key turns them off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.config.yaml_text import SECTIONS, Given


class _Rule(NamedTuple):
    """These keys act nowhere where `off` holds, because of what `why` says."""

    keys: tuple[str, ...]
    off: Callable[[Config], bool]
    why: str


# Which keys of `adapt` a method looks at, beside `method` itself.
_PLAYED = ("adaptation_episodes", "exploration_noise")
_WEIGHED = (
    "max_log_weight",
    "min_weight",
    "inverse_regularization",
    "features",
    "weigh_by",
    "relative_weights",
    "prior",
)
_CLASSIFIED = (*_WEIGHED, "scored_transitions")
_GATED = ("gate", "gate_margin", "rollback", "accept_unseen")
_ROUNDS = (*_PLAYED, "round_updates", "round_batch_size", "round_lr", *_GATED)
_OLD = ("old_fraction", "old", *_CLASSIFIED)
_LOOKED_AT: Mapping[str, tuple[str, ...]] = {
    "context": ("carry_episodes", "adaptation_episodes"),
    "search": ("adaptation_episodes", "gate_margin", "scored_transitions", "reward"),
    "finetune": (*_ROUNDS, *_OLD),
    "continue": ("adaptation_episodes", "round_updates", "round_batch_size", "round_lr", "scored_transitions"),
    "relabel": (*_ROUNDS, "reward"),
    "simulate": (*_ROUNDS, *_CLASSIFIED),
    "auto": (*_ROUNDS, *_OLD, "reward"),
    "paper": (
        *_PLAYED,
        *_CLASSIFIED,
        "step1_updates",
        "step1_batch_size",
        "step2_updates",
        "batch_size",
        "lr",
        "proximal_coef",
        "step1_penalty",
        "pull",
        "pull_radius",
        "weighting",
        "weights",
    ),
}


def _adapts_by(method: str, config: Config) -> bool:
    return config.adapt.method == method


def _uses_no_old_data(config: Config) -> bool:
    return config.adapt.method in ("finetune", "auto") and not config.adapt.old_fraction


def _carries_nothing(config: Config) -> bool:
    return config.adapt.method == "context" and not config.adapt.carry_episodes


def _has_method(name: str, config: Config) -> bool:
    return config.method == name


# What acts nowhere in methods whose networks and updates have keys of their own.
_NOT_ON_POLICY = (
    *(f"agent.{name}" for name in SECTIONS["agent"]),
    *(
        f"train.{name}"
        for name in (
            "random_steps",
            "random_actions",
            "random_share",
            "episodes_per_iteration",
            "batch_size",
            "env_steps_per_update",
            "anneal_steps",
            "replay_capacity",
            "replay_on_disk",
            "refresh_rows_per_update",
            "episode_priority",
            "episode_priority_factor",
            "task_sampling",
            "relabel_share",
            "relabel_to",
            "prior_columns",
            "cuda_graphs",
            "collection_lag",
        )
    ),
)

# What acts nowhere in a method that does not adapt, beside the keys of `adapt` that `adapt.method` is about.
_NO_ADAPTATION = (*(f"adapt.{name}" for name in SECTIONS["adapt"]), "evaluate.adapt_while_training")

_OF_CONTEXTS = (
    "agent.encoder",
    "agent.context_length",
    "agent.context_elements",
    "agent.context_mode",
    "agent.context_dim",
    "agent.segment_length",
    "agent.burn_in",
    "agent.shared_encoder",
    "train.refresh_rows_per_update",
)

_RULES = (
    _Rule(_OF_CONTEXTS, partial(_has_method, "pearl"), "method pearl has a belief in the place of a context"),
    _Rule(
        tuple(f"pearl.{name}" for name in SECTIONS["pearl"]),
        lambda c: c.method != "pearl",
        "method is not pearl",
    ),
    *(
        _Rule(_NO_ADAPTATION, partial(_has_method, name), f"the method {name} does not adapt")
        for name, choice in METHODS.items()
        if not choice.adapts
    ),
    _Rule(_NOT_ON_POLICY, partial(_has_method, "rl2"), "method is rl2"),
    _Rule(tuple(f"rl2.{name}" for name in SECTIONS["rl2"]), lambda c: c.method != "rl2", "method is not rl2"),
    _Rule(_NOT_ON_POLICY, partial(_has_method, "p3o"), "method is p3o"),
    _Rule(tuple(f"p3o.{name}" for name in SECTIONS["p3o"]), lambda c: c.method != "p3o", "method is not p3o"),
    *(
        _Rule(
            tuple(key for key in _NOT_ON_POLICY if key not in ("agent.proximal_c", "train.anneal_steps")),
            partial(_has_method, name),
            f"method is {name}",
        )
        for name in ("dqn", "rainbow")
    ),
    _Rule(
        tuple(f"q_learning.{name}" for name in SECTIONS["q_learning"]),
        lambda c: c.method not in ("dqn", "rainbow"),
        "method is neither dqn nor rainbow",
    ),
    _Rule(
        tuple(
            f"q_learning.{name}"
            for name in ("priority_alpha", "beta_start", "beta_steps", "atoms", "value_min", "value_max")
        ),
        partial(_has_method, "dqn"),
        "method is dqn",
    ),
    _Rule(
        ("p3o.segments", "p3o.replay_capacity", "p3o.off_policy_after", "p3o.ratio_cap", "p3o.kl"),
        lambda c: c.p3o.replay_ratio == 0,
        "p3o.replay_ratio is 0",
    ),
    _Rule(("agent.context_length",), lambda c: c.agent.context_mode == "carry", "agent.context_mode is carry"),
    _Rule(
        ("agent.segment_length", "agent.burn_in", "train.refresh_rows_per_update"),
        lambda c: c.agent.context_mode == "window",
        "agent.context_mode is window",
    ),
    _Rule(
        _OF_CONTEXTS,
        lambda c: not c.agent.use_context,
        "agent.use_context is false",
    ),
    _Rule(("agent.exploration_spread",), lambda c: c.agent.exploration_noise == 0, "agent.exploration_noise is 0"),
    _Rule(
        ("train.episode_priority_factor",),
        lambda c: c.train.episode_priority == "uniform",
        "train.episode_priority is uniform",
    ),
    _Rule(("train.cuda_graphs",), lambda c: c.device != "cuda", "device is not cuda"),
    _Rule(
        ("train.cuda_graphs", "train.collection_lag", "train.random_share"),
        partial(_has_method, "pearl"),
        "method is pearl",
    ),
    _Rule(
        ("train.cuda_graphs",),
        lambda c: c.train.episode_priority != "uniform",
        "train.episode_priority is not uniform",
    ),
    _Rule(("train.relabel_to",), lambda c: c.train.relabel_share == 0, "train.relabel_share is 0"),
    _Rule(
        ("train.random_actions",),
        lambda c: c.train.random_steps == 0 and c.train.random_share == 0,
        "train.random_steps and train.random_share are 0",
    ),
    _Rule(
        ("agent.target_policy_noise", "agent.target_noise_clip", "agent.proximal_c"),
        lambda c: c.agent.algorithm != "td3",
        "agent.algorithm is not td3",
    ),
    _Rule(
        ("agent.value_min", "agent.value_max", "agent.value_bins", "agent.value_spacing"),
        lambda c: c.agent.critic == "squared",
        "agent.critic is squared",
    ),
    *(
        _Rule(
            tuple(f"adapt.{name}" for name in SECTIONS["adapt"] if name != "method" and name not in looked_at),
            partial(_adapts_by, method),
            f"adapt.method is {method}",
        )
        for method, looked_at in _LOOKED_AT.items()
    ),
    _Rule(("adapt.old", *(f"adapt.{n}" for n in _WEIGHED)), _uses_no_old_data, "adapt.old_fraction is 0"),
    _Rule(
        ("adapt.scored_transitions",),  # `auto` looks at the training tasks' contexts in any case
        lambda c: c.adapt.method == "finetune" and not c.adapt.old_fraction,
        "adapt.old_fraction is 0",
    ),
    _Rule(
        ("adapt.gate_margin", "adapt.rollback", "adapt.accept_unseen"),
        lambda c: not c.adapt.gate,
        "adapt.gate is false",
    ),
    _Rule(
        ("adapt.step1_batch_size", "adapt.step1_penalty"),
        lambda c: c.adapt.step1_updates == 0,
        "adapt.step1_updates is 0",
    ),
    _Rule(("adapt.adaptation_episodes",), _carries_nothing, "adapt.method is context, without adapt.carry_episodes"),
    _Rule(("adapt.proximal_coef", "adapt.step1_penalty"), lambda c: c.adapt.pull == "step", "adapt.pull is step"),
    _Rule(
        tuple(f"wandb.{name}" for name in SECTIONS["wandb"]),
        lambda c: c.tracking != "wandb",
        "tracking is not wandb",
    ),
    _Rule(("adapt.pull_radius",), lambda c: c.adapt.pull == "loss", "adapt.pull is loss"),
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
