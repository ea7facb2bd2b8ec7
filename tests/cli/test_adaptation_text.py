"""What an adaptation says of itself in words."""

from __future__ import annotations

from typing import Any

import pytest

from mql.cli.adaptation_text import in_words

KEPT = {"before": -120.0, "after": -80.0, "accepted": True}
BACK = {"before": -80.0, "after": -95.0, "accepted": False}
COMMON = {"episodes_charged": 5, "distance_moved": 0.021, "accepted": True}


@pytest.mark.parametrize(
    ("report", "parts"),
    [
        ({"method": "context", "episodes_charged": 0}, ["nothing was played"]),
        ({**COMMON, "method": "auto", "episodes_charged": 0, "by": []}, ["auto: 0 episodes", "allow 2 or more"]),
        (
            {**COMMON, "method": "continue", "episodes_charged": 0, "more_updates": 300},
            ["300 more updates on stored data, none on the new task"],
        ),
        ({"method": "context", "episodes_charged": 0, "carry_episodes": True}, ["nothing was played"]),
        (
            {"method": "context", "episodes_charged": 2, "carry_episodes": True},
            ["starts from the context after 2 episodes"],
        ),
        (
            {**COMMON, "method": "finetune", "rounds": [KEPT, BACK]},
            [
                "5 episodes",
                "round 1: return from -120 to -80, kept",
                "round 2: return from -80 to -95, rolled back",
                "by 2.1%",
            ],
        ),
        ({**COMMON, "method": "finetune", "accepted": False, "rounds": [BACK]}, ["the agent is unchanged"]),
        ({**COMMON, "method": "finetune", "episodes_charged": 1, "accepted": False, "rounds": []}, ["allow 2 or more"]),
        ({**COMMON, "method": "auto", "by": [], "accepted": False, "rounds": []}, ["auto: 5 episodes"]),
        (
            {
                **COMMON,
                "method": "auto",
                "by": ["fixed context", "relabel"],
                "found_task": {"velocity": 2.8},
                "rounds": [KEPT],
            },
            ["auto (by fixed context, then relabel; its rewards fit a task with velocity 2.8)"],
        ),
        (
            {**COMMON, "method": "auto", "by": ["finetune"], "reward_r2": 0.412, "rounds": [KEPT]},
            ["its rewards don't identify the task, R2 0.41"],
        ),
        (
            {**COMMON, "method": "auto", "by": ["finetune"], "reward": "learned", "reward_r2": 0.71, "rounds": [KEPT]},
            ["by finetune; a learned model explains its rewards with R2 0.71, too little"],
        ),
        (
            {
                **COMMON,
                "method": "relabel",
                "reward": "learned",
                "reward_r2": 0.97,
                "old_episodes": 41,
                "rounds": [KEPT],
            },
            ["a learned model explains its rewards with R2 0.97 and covers 41 episodes of the store"],
        ),
        (
            {**COMMON, "method": "relabel", "reward": "learned", "reward_r2": None, "accepted": False, "rounds": []},
            ["no reward model can be learned", "the agent is unchanged"],
        ),
        (
            {**COMMON, "method": "relabel", "reward": "known", "rounds": [{**KEPT, "after": None}]},
            ["reward known", "round 1: kept untested"],
        ),
        (
            {**COMMON, "method": "search", "tried": 13, "rounds": [KEPT]},
            ["13 other contexts were tried", "return from -120 to -80, kept"],
        ),
        ({**COMMON, "method": "search", "tried": 13, "accepted": False, "rounds": [BACK]}, ["none was better"]),
        ({**COMMON, "method": "search", "tried": 0, "accepted": False, "rounds": []}, ["allow 2 or more"]),
        (
            {**COMMON, "method": "paper", "normalized_ess": 0.12, "step2_skipped": False},
            ["effective sample size is 12%; they were learned from, too"],
        ),
        ({**COMMON, "method": "paper", "normalized_ess": 0.0, "step2_skipped": True}, ["so none was used"]),
        (
            {**COMMON, "method": "finetune", "rounds": [{**KEPT, "after": None}], "data": {"episodes": 5, "steps": 90}},
            [
                "5 episodes recorded elsewhere, 90 steps",
                "kept untested, so it may be worse",
                "20 or more are advisable",
            ],
        ),
        (
            {**COMMON, "method": "auto", "accepted": False, "rounds": [], "data": {"episodes": 30, "steps": 90}},
            ["there was nothing to learn from them, so the agent is unchanged"],
        ),
        (
            {**COMMON, "method": "context", "carry_episodes": True, "data": {"episodes": 1, "steps": 90}},
            ["1 episode recorded elsewhere", "nothing was learned"],
        ),
        (
            {**COMMON, "method": "paper", "normalized_ess": 0.1, "step2_skipped": False, "distance_free": 0.042},
            ["moved by 2.1%, by 4.2% without the pull"],
        ),
    ],
)
def test_a_sentence_says_what_happened(report: dict[str, Any], parts: list[str]) -> None:
    text = in_words(report)
    assert text.startswith(report["method"]) and "\n" not in text
    for part in parts:
        assert part in text
