"""Keys that a user gives and that do nothing are said; defaults that do nothing are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mql.adaptation.adapters import ADAPTERS
from mql.config.idle_keys import _LOOKED_AT, idle_keys
from mql.config.loading import load_experiment
from mql.config.schema import AdaptConfig


def said(target: str, *settings: str) -> list[str]:
    config, _, given = load_experiment(target, overrides=settings)
    return list(idle_keys(config, given))


def test_what_acts_and_what_nobody_gave_is_not_said() -> None:
    assert said("point-robot") == []
    assert said("point-robot", "agent.algorithm=sac") == []
    assert said("point-robot", "agent.critic=c51", "agent.value_bins=51", "agent.value_min=-9") == []
    assert said("point-robot", "agent.burn_in=8", "adapt.round_updates=50") == []
    assert said("point-robot", "adapt.method=paper", "adapt.step2_updates=50") == []
    assert said("point-robot", "adapt.method=context", "adapt.carry_episodes=true", "adapt.adaptation_episodes=2") == []
    assert said("point-robot", "adapt.method=paper", "adapt.pull=step", "adapt.pull_radius=0.2") == []
    assert said("point-robot", "adapt.method=finetune", "adapt.old_fraction=0.5", "adapt.old=propensity") == []


@pytest.mark.parametrize(
    ("settings", "key", "why"),
    [
        (["agent.context_length=30"], "agent.context_length", "agent.context_mode is carry"),
        (["agent.context_mode=window", "agent.burn_in=8"], "agent.burn_in", "agent.context_mode is window"),
        (["agent.use_context=false", "agent.context_dim=8"], "agent.context_dim", "agent.use_context is false"),
        (["agent.algorithm=sac", "agent.target_noise_clip=0.2"], "agent.target_noise_clip", "is not td3"),
        (["agent.algorithm=sac", "agent.proximal_c=0.2"], "agent.proximal_c", "is not td3"),
        (["agent.value_max=50"], "agent.value_max", "agent.critic is squared"),
        (["adapt.method=context", "adapt.step2_updates=50"], "adapt.step2_updates", "adapt.method is context"),
        (["adapt.method=search", "adapt.carry_episodes=true"], "adapt.carry_episodes", "adapt.method is search"),
        (["adapt.method=context", "adapt.adaptation_episodes=2"], "adapt.adaptation_episodes", "adapt.carry_episodes"),
        (["adapt.step2_updates=50"], "adapt.step2_updates", "adapt.method is auto"),
        (["adapt.method=search", "adapt.round_lr=1e-4"], "adapt.round_lr", "adapt.method is search"),
        (["adapt.old=propensity"], "adapt.old", "adapt.old_fraction is 0"),
        (
            ["adapt.method=finetune", "adapt.scored_transitions=9"],
            "adapt.scored_transitions",
            "adapt.old_fraction is 0",
        ),
        (["adapt.gate=false", "adapt.gate_margin=2"], "adapt.gate_margin", "adapt.gate is false"),
        (
            ["adapt.method=paper", "adapt.step1_updates=0", "adapt.step1_penalty=false"],
            "adapt.step1_penalty",
            "step1_updates is 0",
        ),
        (
            ["adapt.method=paper", "adapt.pull=step", "adapt.proximal_coef=0.1"],
            "adapt.proximal_coef",
            "adapt.pull is step",
        ),
        (["adapt.method=paper", "adapt.pull_radius=0.1"], "adapt.pull_radius", "adapt.pull is loss"),
        (["adapt.method=finetune", "adapt.pull=step"], "adapt.pull", "adapt.method is finetune"),
    ],
)
def test_a_key_that_another_turns_off_is_said_with_its_place(settings: list[str], key: str, why: str) -> None:
    (line,) = said("point-robot", *settings)
    assert line.startswith(f"{key} does nothing") and why in line and line.endswith(f"(--set {key})")


def test_the_line_of_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("family: point-robot\nadapt:\n  method: context\n  lr: 1.0e-3\n")
    (line,) = said(str(path))
    assert f"{path}:4" in line


def test_every_key_of_adapt_is_looked_at_by_a_method() -> None:
    looked_at = {name for names in _LOOKED_AT.values() for name in names}
    assert looked_at | {"method"} == set(AdaptConfig.model_fields) and set(_LOOKED_AT) == set(ADAPTERS)
