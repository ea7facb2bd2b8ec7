"""Numbers that are fine alone, but no plan: said before the run begins, with the key and its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile_text import check_refusal

from mql.api import plan
from mql.api.plan import check_plan
from mql.api.possible import check_suits
from mql.config.loading import load_experiment
from mql.config.methods import METHODS
from mql.config.yaml_text import FIELDS
from mql.errors import UserError
from mql.runs.available_memory import AvailableMemory
from mql.runs.run_dir import RunDir
from mql.tasks import registry

# Values of which 12 ended in a traceback and 7 went on for ever, with their like in other methods.
SENSELESS = [
    *("agent.hidden_sizes=[1000000000000]", "agent.hidden_sizes=[60000, 60000]", "agent.hidden_sizes=[100001]"),
    *("agent.context_dim=60000", "agent.context_dim=1e12", "agent.segment_length=1e12", "agent.burn_in=1e12"),
    *("train.batch_size=8e7", "train.batch_size=9e6", "adapt.batch_size=8e7", "adapt.step1_batch_size=1e12"),
    *("adapt.round_batch_size=8e7", "train.episodes_per_iteration=1e7", "train.episodes_per_iteration=1e12"),
    *("train.env_steps_per_update=1e-6", "train.env_steps_per_update=1e308", "train.env_steps=1e12"),
    *("adapt.step1_updates=1e12", "adapt.step2_updates=1e12", "adapt.round_updates=1e12"),
    *("adapt.adaptation_episodes=1e12", "evaluate.evaluation_episodes=1e12", "agent.policy_delay=1e12"),
    *("agent.target_noise_clip=1e308", "agent.target_policy_noise=1e308", "agent.exploration_noise=1e308"),
    *("agent.exploration_spread=1e308", "agent.lr=10", "agent.lr=1e-300", "agent.reward_scale=1e308"),
    *("agent.value_min=-1e308", "agent.proximal_c=1e308", "adapt.max_log_weight=1e308", "adapt.lr=1e308"),
    *("adapt.inverse_regularization=1e308", "adapt.gate_margin=1e308", "adapt.round_lr=1e308"),
    *("env.sensing.history=1e12", "env.sensing.noise=1e308", "env.actuation.delay_s=1e308", "env.actuation.gain=1e308"),
    *("pearl.latent_dim=1e12", "pearl.tasks_per_update=1e12", "pearl.trial_episodes=1e12", "pearl.kl_weight=1e308"),
    *(
        "rl2.state_dim=60000",
        "rl2.state_dim=1e12",
        "rl2.epochs=1e12",
        "rl2.minibatches=1e12",
        "rl2.sequence_length=1e12",
    ),
    *(
        "rl2.trial_episodes=1e12",
        "rl2.lr=10",
        "rl2.clip=1e308",
        "p3o.lanes=1e12",
        "p3o.steps=1e12",
        "p3o.segments=1e12",
    ),
    *("p3o.hidden_sizes=[60000, 60000]", "p3o.replay_ratio=1e308", "p3o.lr=10", "p3o.max_norm=1e308"),
    *("p3o.replay_capacity=1e12", "p3o.off_policy_after=1e12", "p3o.rms_eps=1e308", "p3o.ratio_cap=1e308"),
    *("p3o.value_coef=1e308", "p3o.entropy_coef=1e308", "p3o.rms_decay=2", "p3o.gae_lambda=2", "p3o.discount=2"),
    *("q_learning.hidden_sizes=[1000000000000]", "q_learning.hidden_sizes=[60000, 60000]", "q_learning.filters=1e12"),
    *("q_learning.conv_units=1e12", "q_learning.n_step=1e12", "q_learning.lr=10", "q_learning.adam_eps=1e308"),
    *("q_learning.batch_size=8e7", "q_learning.batch_size=9e6", "q_learning.update_every=1e12"),
    *("q_learning.target_every=1e308", "q_learning.random_steps=1e12", "q_learning.random_steps=1e6"),
    *("q_learning.replay_capacity=1e12", "q_learning.replay_capacity=1", "q_learning.priority_alpha=1e308"),
    *("q_learning.atoms=1e12", "q_learning.value_min=-1e308", "q_learning.value_max=1e308"),
    *("q_learning.discount=2", "q_learning.epsilon_start=2", "q_learning.beta_start=2", "q_learning.beta_steps=1e13"),
]


def method_of(key: str) -> str:
    section = key.split(".")[0]
    return {"pearl": "pearl", "rl2": "rl2", "p3o": "p3o", "q_learning": "rainbow"}.get(section, "mql")


def planned(setting: str) -> None:
    key = setting.partition("=")[0]
    method = method_of(key)
    name = "CartPole-v1" if method == "rainbow" else "point-robot"
    experiment = load_experiment(name, overrides=[setting], method=method)
    family = registry.load(name)
    check_suits(experiment.config, family)
    check_plan(experiment.config, family, experiment.given)


@pytest.mark.parametrize("setting", SENSELESS)
def test_what_no_run_can_be(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setattr(plan, "available_memory", lambda device: AvailableMemory(32e9, "on this machine"))
    with pytest.raises(UserError) as caught:
        planned(setting)
    check_refusal(caught.value, f"--set {setting.partition('=')[0]}")


def test_the_place_in_a_file_is_named_and_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mql

    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("family: point-robot\nagent:\n  hidden_sizes: [90_000, 90_000]\n")
    with pytest.raises(UserError, match=r"the networks need .* GB \(mine.yaml:3 agent.hidden_sizes\)"):
        mql.train("mine.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_as_it_is_fits_into_a_small_machine(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(plan, "available_memory", lambda device: AvailableMemory(1e9, "on this machine"))
    name = "point-robot" if METHODS[method].numbers else "CartPole-v1"
    experiment = load_experiment(name, method=method)
    check_plan(experiment.config, registry.load(name), experiment.given)


def test_networks_are_as_large_as_they_are_said_to_be() -> None:
    """Half of the estimate or more is the agent's own parameters, their targets, gradients and moments."""
    from mql.agent.agent import Agent

    config = load_experiment("point-robot", overrides=["agent.hidden_sizes=[512, 512]"]).config
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, config.agent, seed=0)
    own = sum(sum(each.numel() for each in part.online.parameters) for part in agent.parts.values()) * 4 * 5
    needs = {need.key: need.nbytes for need in plan._needs(config, family)}
    said = needs["agent.hidden_sizes"] + needs["agent.context_dim"]
    assert own < said < 3 * own


@pytest.mark.faults
@pytest.mark.parametrize(
    "value", ["1e12", "1e308", "60000", "80000000", "1e7", "1e-6", "1e-300", "-1", "0", "[60000, 60000]"]
)
def test_every_number_with_every_size(value: str) -> None:
    """Each is refused in one line that names its key, or taken."""
    for key in FIELDS:
        try:
            planned(f"{key}={value}")
        except UserError as error:
            check_refusal(error, key)


@pytest.mark.parametrize("random_steps", [0, 7])
def test_the_first_update_has_a_return_to_learn_from(tmp_path: Path, random_steps: int) -> None:
    """One step earlier, nothing could be drawn; and a replay that is one row smaller holds no such return."""
    import mql

    least = [f"q_learning.n_step={random_steps + 3}", f"q_learning.random_steps={random_steps}"]
    small = ["train.env_steps=40", "evaluate.final_tasks=1", "q_learning.hidden_sizes=[4]", "threads=1"]
    every = ["q_learning.update_every=4", f"q_learning.replay_capacity={random_steps + 5}"]
    path, settings = tmp_path / "run", [*small, *least, *every]
    mql.train("CartPole-v1", method="rainbow", run_dir=path, settings=settings, progress=False)
    assert RunDir.open_readonly(path).read_metrics()[-1]["updates"] == (40 - random_steps) // 4
    for one_off in ("q_learning.update_every=3", f"q_learning.replay_capacity={random_steps + 4}"):
        with pytest.raises(UserError) as caught:
            load_experiment("CartPole-v1", method="rainbow", overrides=[*small, *least, *every, one_off])
        check_refusal(caught.value, "--set q_learning.")
