"""How contexts are laid out over the replay's episodes, and how far ahead the state lies that a target is read at."""

from __future__ import annotations

from dataclasses import dataclass

from mql.config.schema import AgentConfig
from mql.learning.n_step import NStep


@dataclass(frozen=True)
class Windows:
    """Contexts as in the paper: each transition has its own window of the last `length` steps (L = 1).

    With `length` 0, there is no context.
    """

    length: int
    n_step: NStep | None = None


@dataclass(frozen=True)
class Segments:
    """Contexts shared along a stretch: `length` transitions (L) after up to `burn_in` steps of context only."""

    length: int
    burn_in: int
    n_step: NStep | None = None


ContextPlan = Windows | Segments


def context_plan(config: AgentConfig) -> ContextPlan:
    """Say how contexts are gathered for an agent with this configuration.

    A context-blind agent has none to share between neighbours: all its transitions are drawn on their own.
    """
    n_step = NStep(config.n_step, config.discount) if config.n_step > 1 else None
    if not config.use_context:
        return Windows(0, n_step)
    if config.context_mode == "window":
        return Windows(config.context_length, n_step)
    return Segments(length=config.segment_length, burn_in=config.burn_in, n_step=n_step)


def reads(plan: ContextPlan) -> int:
    """Transitions that one context sequence serves (L)."""
    return 1 if isinstance(plan, Windows) else plan.length


def carried_state_dim(config: AgentConfig) -> int:
    """Size of the encoder state that the replay keeps for every row (0: none)."""
    return config.context_dim if config.use_context and config.context_mode == "carry" else 0
