"""How contexts are laid out over the replay's episodes."""

from __future__ import annotations

from dataclasses import dataclass

from mql.config.schema import AgentConfig


@dataclass(frozen=True)
class Windows:
    """Contexts as in the paper: each transition has its own window of the last `length` steps (L = 1)."""

    length: int


@dataclass(frozen=True)
class Segments:
    """Contexts shared along a stretch: `length` transitions (L) after up to `burn_in` steps of context only."""

    length: int
    burn_in: int


ContextPlan = Windows | Segments


def context_plan(config: AgentConfig) -> ContextPlan:
    """Say how contexts are gathered for an agent with this configuration."""
    if config.context_mode == "window":
        return Windows(config.context_length)
    return Segments(length=config.segment_length, burn_in=config.burn_in)


def reads(plan: ContextPlan) -> int:
    """Transitions that one context sequence serves (L)."""
    return 1 if isinstance(plan, Windows) else plan.length
