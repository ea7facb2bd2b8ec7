"""What a context element consists of: the same in learning and in acting, and nothing of what was left out.

Independent reference: a plain ``torch.nn.GRU`` and linear layers, fed by hand with the named parts of every step.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mql.agent.acting import CarriedContext, CarryingPolicy, NumpyPolicy, Policy, ScaledPolicy, TorchPolicy
from mql.agent.agent import Agent
from mql.agent.elements import ContextElements
from mql.agent.robot_policy import RobotPolicy, load_policy
from mql.config.loading import load_config
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.evaluation.meta_world_agent import ProtocolAgent
from mql.files import CHECKSUMS, sha256
from mql.learning.contexts import Segments, context_plan
from mql.learning.replay import Replay
from mql.types import Batch, Episode, FloatArray

OBS, ACTION, STEPS, WINDOW = 3, 2, 12, 4
CHOICES: list[tuple[str, ...]] = [
    ("obs",),
    ("obs", "action"),
    ("obs", "reward"),
    ("action", "reward"),
    ("reward",),
    ("obs", "action", "reward"),
]
WITHOUT_REWARD = ("obs", "action")


def agent_of(parts: tuple[str, ...] = WITHOUT_REWARD, **settings: Any) -> Agent:
    given = {"hidden_sizes": (8,), "context_dim": 5, "context_length": WINDOW, "segment_length": 4, "burn_in": 3}
    config = AgentConfig.model_validate({**given, "context_elements": parts, **settings})
    agent = Agent(OBS, ACTION, config, seed=0)
    if config.normalize:
        generator = torch.Generator().manual_seed(0)
        rewards = torch.randn(50, generator=generator) * 20.0 - 7.0
        agent.scaling.fit(torch.randn(50, OBS, generator=generator) * 4.0 + 2.0, rewards)
    return agent


def episode_of(seed: int = 0, steps: int = STEPS) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        obs=rng.standard_normal((steps + 1, OBS)).astype(np.float32),
        action=rng.uniform(-1, 1, (steps, ACTION)).astype(np.float32),
        reward=rng.standard_normal(steps).astype(np.float32),
        terminated=False,
        truncated=True,
        task=0,
        seed=seed,
    )


def elements_by_hand(agent: Agent, episode: Episode) -> FloatArray:
    """Return [T, C], in the units that networks read."""
    shift, scale = agent.scaling.shift.numpy(), agent.scaling.scale.numpy()
    obs = (episode.obs[:-1] - shift[:OBS]) * scale[:OBS]
    reward = ((episode.reward - shift[-1]) * scale[-1])[:, None]
    parts = {"obs": obs, "action": episode.action, "reward": reward}
    chosen: FloatArray = np.concatenate([parts[name] for name in agent.config.context_elements], axis=1)
    return chosen


def states_by_hand(agent: Agent, elements: FloatArray) -> torch.Tensor:
    """Return z [T+1, Z] before each step and after the last one."""
    weights = agent.online.actor_encoder.gru.state_dict()
    gru = torch.nn.GRU(elements.shape[1], agent.config.context_dim)
    gru.load_state_dict(weights)
    after = [torch.zeros(agent.config.context_dim)]
    with torch.no_grad():
        for t in range(1, len(elements) + 1):
            seen = elements[max(t - WINDOW, 0) : t] if agent.config.context_mode == "window" else elements[:t]
            _, last = gru(torch.from_numpy(seen))
            after.append(last[0])
    return torch.stack(after)


def actions_by_hand(agent: Agent, episode: Episode) -> FloatArray:
    """Return what the agent does in each step of `episode`, [T, A]."""
    z = states_by_hand(agent, elements_by_hand(agent, episode))[:-1]
    shift, scale = agent.scaling.shift[:OBS], agent.scaling.scale[:OBS]
    x = torch.cat([(torch.from_numpy(episode.obs[:-1]) - shift) * scale, z], dim=1)
    hidden, output = agent.online.actor.tanh_layers()
    with torch.no_grad():
        acted: FloatArray = torch.tanh(output(torch.relu(hidden(x)))).numpy()
    return acted


def acted_in(policy: Policy, episode: Episode, *, with_reward: bool) -> FloatArray:
    context, actions = policy.begin(1), []
    for t in range(episode.length):
        step = slice(t, t + 1)
        actions.append(policy.act(episode.obs[step], context)[0])
        policy.observe(context, episode.obs[step], episode.action[step], episode.reward[step] if with_reward else None)
    return np.stack(actions)


def through_torch(agent: Agent) -> Policy:
    window = WINDOW if agent.config.context_mode == "window" else 0
    actor, encoder = agent.online.actor, agent.online.actor_encoder
    policy = TorchPolicy(actor, encoder, elements=agent.elements, window=window)
    if not agent.scaling.may_act:
        return policy
    return ScaledPolicy(policy, agent.scaling.shift.numpy(), agent.scaling.scale.numpy())


@pytest.mark.parametrize("parts", CHOICES)
def test_they_are_these_parts_of_rows_and_of_steps(parts: tuple[str, ...]) -> None:
    rows = np.arange(4 * 6, dtype=np.float32).reshape(4, 6)
    columns = {"obs": [0, 1, 2], "action": [3, 4], "reward": [5]}
    expected = rows[:, [column for part in parts for column in columns[part]]]
    elements = ContextElements(OBS, ACTION, parts)
    assert elements.dim == expected.shape[1] and elements.has_reward == ("reward" in parts)
    np.testing.assert_array_equal(elements.of_rows(torch.from_numpy(rows)[None])[0].numpy(), expected)
    np.testing.assert_array_equal(elements.of_step(rows[:, :3], rows[:, 3:5], rows[:, 5]), expected)
    if elements.has_reward:
        with pytest.raises(ValueError, match="the reward is part of a context element, but there is none"):
            elements.of_step(rows[:, :3], rows[:, 3:5], None)
    else:
        np.testing.assert_array_equal(elements.of_step(rows[:, :3], rows[:, 3:5], None), expected)


@pytest.mark.parametrize("settings", [{}, {"normalize": True, "reward_scale": 0.3}])
@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("parts", CHOICES)
def test_every_policy_acts_as_layers_fed_by_hand(parts: tuple[str, ...], mode: str, settings: dict[str, Any]) -> None:
    agent, episode = agent_of(parts, context_mode=mode, **settings), episode_of()
    expected = actions_by_hand(agent, episode)
    assert isinstance(agent.policy(), ScaledPolicy if settings else NumpyPolicy)
    for policy in (agent.policy(), through_torch(agent), pickle.loads(pickle.dumps(agent.policy()))):
        np.testing.assert_allclose(acted_in(policy, episode, with_reward=True), expected, rtol=0, atol=1e-6)
        if "reward" not in parts:
            np.testing.assert_allclose(acted_in(policy, episode, with_reward=False), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_a_carried_context_is_the_one_at_the_end_of_the_episode(mode: str, tmp_path: Path) -> None:
    agent, first, second = agent_of(context_mode=mode, normalize=True), episode_of(1), episode_of(2)
    after = agent.after(first)
    assert isinstance(after.policy(), CarryingPolicy) and isinstance(after.carried, CarriedContext)
    z = states_by_hand(agent, elements_by_hand(agent, first))[-1]
    np.testing.assert_allclose(after.carried.state, z, rtol=0, atol=1e-6)
    if mode == "window":
        np.testing.assert_allclose(after.carried.elements, elements_by_hand(agent, first)[-WINDOW:], atol=1e-6)
    after.save(tmp_path / "saved")
    back = Agent.load(tmp_path / "saved")
    own, other = (acted_in(each.policy(), second, with_reward=False) for each in (after, back))
    np.testing.assert_array_equal(own, other)


def steps_of(batch: Batch, parts: tuple[str, ...]) -> None:
    """Check that each history in `batch` holds the named parts of the steps before its transition, and no others."""
    columns = {"obs": lambda e, t: e.obs[t], "action": lambda e, t: e.action[t], "reward": lambda e, t: e.reward[[t]]}
    reads = 1 if batch.context.read is None else batch.context.read.shape[1]
    for b, obs in enumerate(batch.transition.obs):
        if batch.weights[b] == 0:
            continue
        number = next(n for n, e in EPISODES.items() if (e.obs == obs.numpy()).all(axis=1).any())
        episode = EPISODES[number]
        at = int(np.flatnonzero((episode.obs == obs.numpy()).all(axis=1))[0])
        for context, end in ((batch.context, at), (batch.next_context, at + 1)):
            row, column = divmod(b, reads)
            first = 0 if context.start is None else int(context.start[row])
            last = len(context.elements) if context.read is None else int(context.read[row, column])
            seen = context.elements[first:last, row].numpy()
            expected = [
                np.concatenate([columns[part](episode, t) for part in parts]) for t in range(end - len(seen), end)
            ]
            np.testing.assert_array_equal(seen, np.array(expected, np.float32).reshape(seen.shape))


EPISODES = {number: episode_of(number, steps=5 + number) for number in range(6)}


@pytest.mark.parametrize("mode", ["carry", "window"])
@pytest.mark.parametrize("parts", CHOICES)
def test_batches_hold_the_same_parts(parts: tuple[str, ...], mode: str) -> None:
    agent = agent_of(parts, context_mode=mode)
    replay = replay_of(agent, list(EPISODES.values()))
    batch = replay.sample(64, context_plan(agent.config), np.random.default_rng(0))
    assert batch.context.elements.shape[2] == agent.elements.dim
    steps_of(batch, parts)
    losses = agent.learner(lr=1e-3).update(batch, generator=torch.Generator().manual_seed(0))
    assert all(torch.isfinite(loss) for loss in losses.values())


def replay_of(agent: Agent, episodes: list[Episode]) -> Replay:
    replay = Replay(
        n_tasks=1,
        obs_dim=OBS,
        action_dim=ACTION,
        capacity=200,
        episode_length=STEPS,
        context_dim=agent.state_dim,
        scaling=agent.scaling,
    )
    for episode in episodes:
        replay.append(episode)
    if agent.state_dim:
        replay.refresh_states(agent.online.critic_encoder)
    return replay


def learned(agent: Agent, episode: Episode) -> torch.Tensor:
    """Return z [T, Z] of the episode's transitions as learning computes it."""
    replay, plan = replay_of(agent, [episode]), context_plan(agent.config)
    batch = replay.gather(replay.all_rows(), plan if agent.config.context_mode == "window" else Segments(1, 3))
    with torch.no_grad():
        z: torch.Tensor = agent.online.actor_encoder(batch.context)
    return z


@pytest.mark.parametrize(("mode", "encoder"), [("carry", "gru"), ("window", "gru"), ("window", "transformer")])
@pytest.mark.parametrize("parts", [("obs", "action"), ("obs", "reward")])
def test_learning_and_acting_see_the_same_context(parts: tuple[str, ...], mode: str, encoder: str) -> None:
    agent, episode = agent_of(parts, context_mode=mode, encoder=encoder, normalize=True), episode_of()
    context, acted = agent.begin(1), []
    for t in range(episode.length):
        acted.append(context.state[0].copy())
        step = slice(t, t + 1)
        agent.observe(context, episode.obs[step], episode.action[step], episode.reward[step])
    tolerance = 1e-6 if mode == "window" else 2e-3  # stored states are of half precision
    np.testing.assert_allclose(learned(agent, episode).numpy(), np.stack(acted), rtol=0, atol=tolerance)


@pytest.mark.parametrize("mode", ["carry", "window"])
def test_relabelled_rewards_change_contexts_only_where_they_are_seen(mode: str) -> None:
    episode = episode_of()
    other = replace(episode, reward=episode.reward + 1.0)
    blind, seeing = (agent_of(parts, context_mode=mode) for parts in (WITHOUT_REWARD, ("obs", "action", "reward")))
    assert torch.equal(learned(blind, episode), learned(blind, other))
    assert not torch.equal(learned(seeing, episode), learned(seeing, other))


def test_the_losses_still_see_the_reward() -> None:
    agent, episode = agent_of(normalize=True), episode_of()
    replay = replay_of(agent, [episode])
    batch = replay.gather(replay.all_rows(), Segments(1, 3))
    expected = episode.reward * agent.scaling.scale[-1].item()
    np.testing.assert_allclose(batch.transition.reward.numpy(), expected, rtol=1e-6)


def test_a_robot_needs_no_reward() -> None:
    agent, episode = agent_of(normalize=True), episode_of()
    expected = actions_by_hand(agent, episode)
    policies = [RobotPolicy(agent) for _ in range(3)]
    assert not any(policy.needs_reward for policy in policies)
    for t in range(episode.length):
        for policy, reward in zip(policies, (None, float(episode.reward[t - 1]), float("nan")), strict=True):
            if t == 0:
                action = policy.act(episode.obs[0])
            else:
                action = policy.act(episode.obs[t], reward, last_action=episode.action[t - 1])
            np.testing.assert_allclose(action, expected[t], rtol=0, atol=1e-6)


def test_a_robot_with_rewards_in_its_context_needs_them() -> None:
    policy = RobotPolicy(agent_of(("obs", "reward")))
    assert policy.needs_reward
    policy.act(np.zeros(OBS))
    with pytest.raises(UserError, match="last_reward is missing"):
        policy.act(np.zeros(OBS))


def test_a_context_blind_agent_needs_no_reward() -> None:
    agent = agent_of(use_context=False, context_elements=("obs", "action", "reward"))
    assert agent.elements.dim == 0 and not RobotPolicy(agent).needs_reward
    policy = RobotPolicy(agent)
    first, second = (policy.act(np.ones(OBS)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_meta_worlds_protocol_shows_a_reward_that_is_not_looked_at() -> None:
    def acted(parts: tuple[str, ...], rewards: list[float]) -> FloatArray:
        protocol = ProtocolAgent(
            agent_of(parts),
            count=1,
            tasks=list,
            begin=None,
            finish=lambda tasks, agents: None,
            explorer_of=lambda noise: None,
            rng_of=lambda task: np.random.default_rng(0),
        )
        seen = np.zeros((1, OBS + ACTION + 2), np.float32)
        for reward in rewards:
            seen[0, OBS + ACTION] = reward
            action = protocol.eval_action(seen)
        return action

    assert np.array_equal(*(acted(WITHOUT_REWARD, [0.0, reward, 0.0]) for reward in (0.0, 5.0)))
    assert not np.array_equal(*(acted(("obs", "reward"), [0.0, reward, 0.0]) for reward in (0.0, 5.0)))


def test_a_worker_acts_with_them_without_pytorch(tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(pickle.dumps(agent_of(normalize=True).policy()))
    program = (
        "import pickle, sys; import numpy as np\n"
        "policy = pickle.load(open(sys.argv[1], 'rb')); context = policy.begin(2)\n"
        "policy.observe(context, np.ones((2, 3), 'f'), np.ones((2, 2), 'f'), None)\n"
        "assert 'torch' not in sys.modules; print(policy.act(np.ones((2, 3), 'f'), context).shape)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "policy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(2, 2)\n"), done.stderr


@pytest.mark.parametrize("algorithm", ["td3", "sac"])
def test_a_saved_agent_knows_its_elements(algorithm: str, tmp_path: Path) -> None:
    agent = agent_of(algorithm=algorithm)
    agent.save(tmp_path / "saved")
    back = Agent.load(tmp_path / "saved")
    assert back.elements == agent.elements and not load_policy(tmp_path / "saved").needs_reward
    episode = episode_of()
    own, other = (acted_in(each.policy(), episode, with_reward=False) for each in (agent, back))
    np.testing.assert_array_equal(own, other)


def test_an_agent_older_than_the_key_sees_everything(tmp_path: Path) -> None:
    agent_of(("obs", "action", "reward")).save(tmp_path)
    described = json.loads((tmp_path / "agent.json").read_text())
    del described["config"]["context_elements"]
    (tmp_path / "agent.json").write_text(json.dumps(described))
    sums = (tmp_path / CHECKSUMS).read_text().splitlines()
    new = sha256((tmp_path / "agent.json").read_bytes())
    sums = [f"{new}  agent.json" if line.endswith("agent.json") else line for line in sums]
    (tmp_path / CHECKSUMS).write_text("\n".join(sums) + "\n")
    assert Agent.load(tmp_path).elements == ContextElements(OBS, ACTION, ("obs", "action", "reward"))


def test_the_order_in_which_they_are_named_does_not_matter() -> None:
    config = load_config("point-robot", overrides=["agent.context_elements=[action,obs]"])
    assert config.agent.context_elements == ("obs", "action")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("[obs,action,obs]", "agent.context_elements names obs twice (--set agent.context_elements): name it once"),
        ("[action]", "agent.context_elements is [action], and nothing in it tells the task"),
        ("[]", "add obs or reward, or set agent.use_context to false"),
        ("[obs,torque]", "each is 'obs' or 'action' or 'reward'"),
        ("obs", "it must be a list"),
    ],
)
def test_mistakes_are_told_in_one_line(given: str, text: str) -> None:
    with pytest.raises(UserError) as told:
        load_config("point-robot", overrides=[f"agent.context_elements={given}"])
    assert text in str(told.value) and "\n" not in str(told.value)


def test_an_agents_configuration_alone_is_checked_too() -> None:
    with pytest.raises(ValidationError, match="names reward twice"):
        AgentConfig.model_validate({"context_elements": ["reward", "reward"]})
