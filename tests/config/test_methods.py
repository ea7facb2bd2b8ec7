"""What a method says of the other keys: a layer below the user's own values, which may not contradict it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mql.config.idle_keys import idle_keys
from mql.config.loading import flat, load_config, load_experiment, override, read_resolved, to_yaml
from mql.config.methods import METHODS
from mql.errors import UserError


@pytest.mark.parametrize("profile", ["fast", "paper"])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_fixes_its_keys_over_profile_and_family_and_leaves_all_others(method: str, profile: str) -> None:
    plain = flat(load_config("cheetah-vel", overrides={"profile": profile}))
    chosen = load_config("cheetah-vel", overrides={"profile": profile}, method=method)
    changed = {key: value for key, value in flat(chosen).items() if value != plain[key]}
    choice = METHODS[method]
    assert changed.keys() <= {"method", *choice.fixed, *choice.sets}
    assert all(flat(chosen)[key] == value for key, value in choice.fixed.items())
    assert override(chosen, {"evaluate.tasks": 3}).model_copy(update={"evaluate": chosen.evaluate}) == chosen


def test_what_each_of_them_is() -> None:
    def of(method: str) -> tuple[Any, ...]:
        config = load_config("point-robot", method=method)
        return config.agent.use_context, config.agent.algorithm, config.adapt.method, METHODS[method].adapts

    assert of("mql") == (True, "td3", "auto", True)
    assert of("td3") == of("oracle") == (False, "td3", "context", False)
    assert of("td3-context") == (True, "td3", "context", False)
    assert [method for method in METHODS if METHODS[method].sees_task] == ["oracle"]
    assert load_config("point-robot", method="oracle", overrides=["agent.algorithm=sac"]).agent.algorithm == "sac"


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("td3", ["agent.use_context=true"], "agent.use_context is true, but method td3 has false there"),
        ("td3", ["agent.algorithm=sac"], "agent.algorithm is sac, but method td3 has td3 there"),
        ("td3-context", ["agent.use_context=false"], "agent.use_context is false, but method td3-context has true"),
        ("oracle", ["adapt.method=finetune"], "adapt.method is finetune, but method oracle has context there"),
        ("rl2", ["train.prior_data=log.h5"], "train.prior_data is .*, but method rl2 has"),
        ("rl2", ["adapt.adaptation_episodes=3"], "adaptation_episodes is 3, but a trial has 2 before its last one"),
        ("td4", [], r"method is 'td4' \(--method\): it must be 'mql' or 'td3'"),
    ],
)
def test_a_contradiction_is_refused_in_one_line(method: str, settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_config("point-robot", overrides=settings, method=method)
    assert "\n" not in str(caught.value)


def test_the_method_may_stand_in_a_file_where_no_profile_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("family: point-robot\nmethod: td3\nagent: {lr: 1.0e-3}\n")
    config = load_config(str(path))
    assert config.method == "td3" and not config.agent.use_context and config.agent.lr == 1e-3
    assert load_config(str(path), method="oracle").method == "oracle"
    path.write_text("family: point-robot\nmethod: td3\nagent:\n  use_context: true\n")
    with pytest.raises(UserError, match=r"mine.yaml:4 agent.use_context\): leave agent.use_context out"):
        load_config(str(path))
    path.write_text("family: point-robot\nprofiles: {paper: {method: td3}}\n")
    with pytest.raises(UserError, match="'method' cannot depend on the profile"):
        load_config(str(path))


def test_another_method_for_a_resolved_configuration_brings_its_keys_along() -> None:
    config = override(load_config("point-robot"), {"method": "td3"})
    assert config == load_config("point-robot", method="td3")


def test_the_budget_of_rl2_is_what_a_trial_has_before_its_last_episode() -> None:
    assert load_config("point-robot", method="rl2").adapt.adaptation_episodes == 2
    longer = load_config("point-robot", overrides=["rl2.trial_episodes=6"], method="rl2")
    assert longer.adapt.adaptation_episodes == 5
    fewer = load_config("point-robot", overrides=["adapt.adaptation_episodes=1"], method="rl2")
    assert fewer.adapt.adaptation_episodes == 1
    assert override(longer, {"adapt.adaptation_episodes": 3}).adapt.adaptation_episodes == 3


@pytest.mark.parametrize(
    ("method", "setting", "why"),
    [
        ("mql", "rl2.lr=1e-3", "method is not rl2"),
        ("rl2", "agent.lr=1e-3", "method is rl2"),
        ("rl2", "train.batch_size=64", "method is rl2"),
        ("td3", "adapt.adaptation_episodes=2", "the method td3 does not adapt"),
        ("oracle", "evaluate.adapt_while_training=true", "the method oracle does not adapt"),
    ],
)
def test_keys_that_a_method_does_not_look_at_are_said(method: str, setting: str, why: str) -> None:
    config, _, given = load_experiment("point-robot", overrides=[setting], method=method)
    [line] = idle_keys(config, given)
    assert line.startswith(setting.partition("=")[0]) and why in line


def test_runs_from_before_keep_the_evaluation_seed_that_they_had(tmp_path: Path) -> None:
    config = load_config("point-robot", seed=3)
    assert config.evaluate.seed == 0
    text = "\n".join(line for line in to_yaml(config).splitlines() if line != "  seed: 0")
    (tmp_path / "config.yaml").write_text(text)
    assert read_resolved(tmp_path / "config.yaml").evaluate.seed is None
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert read_resolved(tmp_path / "config.yaml") == config
