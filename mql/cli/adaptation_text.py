"""What an adaptation did, in a sentence or two for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mql.plain_text import counted

Report = Mapping[str, Any]
ADVISABLE = 20  # recorded episodes: what learning from them alone takes where dynamics differ (docs/adaptation.md)


def in_words(report: Report) -> str:
    """Say in words what the report of an adaptation holds: what was played, tried out, kept and rolled back."""
    if report.get("failed"):
        return f"{report['method']}: adaptation failed, the agent is unchanged: {report['failed']}"
    if "data" in report:
        return _learned_from_data(report)
    method, played = report["method"], counted(report["episodes_charged"], "episode")
    if method == "context" and report.get("carry_episodes") and report["episodes_charged"]:
        return f"context: every episode starts from the context after {played} of the new task; nothing was learned"
    if method == "context":
        return "context: nothing was played or learned; the agent infers its task from the running episode"
    if method == "continue":
        updates, moved = report["more_updates"], report["distance_moved"]
        return f"continue: {updates} more updates on stored data, none on the new task; parameters moved by {moved:.1%}"
    if method == "paper":
        step2 = (
            "no stored transition resembled it, so none was used"
            if report["step2_skipped"]
            else "they were learned from, too"
        )
        worth = f"their effective sample size is {report['normalized_ess']:.0%}"
        ess = f"stored transitions weighted by similarity to it, {worth}"
        moved = f"parameters moved by {report['distance_moved']:.1%}"
        if report.get("distance_free") is not None:
            moved += f", by {report['distance_free']:.1%} without the pull"
        return f"paper: {played} of the new task; {ess}; {step2}; {moved}"
    begin = f"{method}{_how(report)}: {played} of the new task, including trials"
    rounds = report.get("rounds") or []
    if method == "search":
        tried = report["tried"]
        if not tried:
            return f"{begin}; too few to try another context (allow 2 or more)"
        outcome = _went(rounds[-1]) if rounds and report["accepted"] else "none was better by more than chance"
        return f"{begin}; {tried} other contexts were tried: {outcome}"
    if not rounds:
        few = report["episodes_charged"] < 2 and not report.get("reward_r2")
        why = (
            "too few to learn and try out the result (allow 2 or more)"
            if few
            else "there was nothing to learn from them"
        )
        return f"{begin}; {why}, so the agent is unchanged"
    told = "; ".join(f"round {place}: {_went(one)}" for place, one in enumerate(rounds, start=1))
    end = f"parameters moved by {report['distance_moved']:.1%}" if report["accepted"] else "the agent is unchanged"
    return f"{begin}; {told}; {end}"


def _learned_from_data(report: Report) -> str:
    """Describe an adaptation to episodes that were recorded elsewhere: what is learned from them is untested."""
    data, method = report["data"], report["method"]
    begin = f"{method}{_how(report)}: {counted(data['episodes'], 'episode')} recorded elsewhere, {data['steps']} steps"
    if method == "context":
        return f"{begin}; every episode starts from the context after them, and nothing was learned"
    if method != "paper" and not report["accepted"]:
        return f"{begin}; there was nothing to learn from them, so the agent is unchanged"
    few = f"; {ADVISABLE} or more are advisable" if data["episodes"] < ADVISABLE else ""
    moved = f"parameters moved by {report['distance_moved']:.1%}"
    return f"{begin}; {moved}; kept untested, so it may be worse than before{few}"


def _how(report: Report) -> str:
    parts = []
    if by := report.get("by"):  # empty: the budget was too small for any of them
        parts.append(f"by {by if isinstance(by, str) else ', then '.join(by)}")
    if report.get("reward") == "known":
        parts.append("reward known")
    elif report.get("reward") == "learned":
        parts.append(_learned(report))
    elif report.get("found_task"):
        found = ", ".join(f"{name} {_value(value)}" for name, value in report["found_task"].items())
        parts.append(f"its rewards fit a task with {found}")
    elif report.get("reward_r2") is not None:
        parts.append(f"its rewards don't identify the task, R2 {report['reward_r2']:.2f}")
    return f" ({'; '.join(parts)})" if parts else ""


def _learned(report: Report) -> str:
    """Say what became of a learned model of the reward; too few transitions, or rewards all alike, have none."""
    r2, old = report["reward_r2"], report.get("old_episodes")
    if r2 is None:
        return "no reward model can be learned from them"
    text = f"a learned model explains its rewards with R2 {r2:.2f}"
    return f"{text}, too little" if old is None else f"{text} and covers {counted(old, 'episode')} of the store"


def _went(one: Report) -> str:
    if one.get("not_finite"):
        return f"not kept, as {one['not_finite']} is not finite (a lower adapt.round_lr may help)"
    if one["after"] is None:
        return "kept untested"
    change = f"return from {one['before']:.4g} to {one['after']:.4g}"
    return f"{change}, kept" if one["accepted"] else f"{change}, rolled back"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "(" + ", ".join(_value(part) for part in value) + ")"
    return f"{value:.3g}" if isinstance(value, int | float) else str(value)
