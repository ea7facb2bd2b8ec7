"""How contexts are laid out over the replay's episodes."""

from __future__ import annotations

from dataclasses import dataclass

from mql.config.schema import AgentConfig


@dataclass(frozen=True)
class Windows:
    """Contexts as in the paper: each transition has its own window of the last `length` steps (L = 1).

    With `length` 0, there is no context.
    """

    length: int


@dataclass(frozen=True)
class Segments:
    """Contexts shared along a stretch: `length` transitions (L) after up to `burn_in` steps of context only."""

    length: int
    burn_in: int


ContextPlan = Windows | Segments


def context_plan(config: AgentConfig) -> ContextPlan:
    """Say how contexts are gathered for an agent with this configuration.

    A context-blind agent has none to share between neighbours: all its transitions are drawn on their own.
    """
    if not config.use_context:
        return Windows(0)
    if config.context_mode == "window":
        return Windows(config.context_length)
    return Segments(length=config.segment_length, burn_in=config.burn_in)


def reads(plan: ContextPlan) -> int:
    """Transitions that one context sequence serves (L)."""
    return 1 if isinstance(plan, Windows) else plan.length


def carried_state_dim(config: AgentConfig) -> int:
    """Size of the encoder state that the replay keeps for every row (0: none)."""
    return config.context_dim if config.use_context and config.context_mode == "carry" else 0
