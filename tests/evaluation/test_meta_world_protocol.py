"""Meta-World's own evaluation protocol with our agents, and why its figure needs an exact count beside it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import gymnasium
import metaworld
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from metaworld.evaluation import Timestep

from mql.adaptation.adapters import Adaptation, prepare
from mql.adaptation.meta_training import MetaTraining
from mql.adaptation.playing import NewTask, Process, Request
from mql.adaptation.result import AdaptationResult
from mql.agent.acting import ActingContext, Policy
from mql.agent.agent import Agent
from mql.collecting.episodes import play
from mql.collecting.exploration import EXPLORERS, explorer_for
from mql.config.schema import AdaptConfig, AgentConfig
from mql.errors import UserError
from mql.evaluation import meta_world_protocol
from mql.evaluation.meta_world_agent import ProtocolAgent
from mql.evaluation.meta_world_protocol import GOALS, SUB_ENVIRONMENTS, official_evaluation
from mql.learning.replay import Replay
from mql.tasks import registry
from mql.tasks.disturbances.family import disturbed
from mql.tasks.disturbances.settings import Sensing
from mql.tasks.families.meta_world.family import MetaWorldFamily
from mql.tasks.families.meta_world.goals import SEED
from mql.tasks.families.meta_world.probe import GOAL, expert
from mql.tasks.families.meta_world.vector import current_tasks, make_vector
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import Episode, FloatArray

STEPS = 12  # of a shortened episode
FEW = 4  # goals


def family(name: str = "ml1-reach", steps: int = STEPS) -> MetaWorldFamily:
    loaded = registry.load(name)
    assert isinstance(loaded, MetaWorldFamily)
    return replace(loaded, episode_length=steps)


def collect_here(
    agent: Any, family: TaskFamily, tasks: Sequence[Task], seeds: Sequence[int], **_: Any
) -> list[Episode]:
    """Collect in this process: no worker has to start."""
    episodes = play(family, agent.policy(), tasks, seeds, None, policy_version=0)
    assert not any(isinstance(episode, EpisodeFault) for episode in episodes)
    return cast("list[Episode]", episodes)


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta_world_protocol, "collect", collect_here)


def tiny_agent() -> Agent:
    return Agent(39, 4, AgentConfig(hidden_sizes=(16,), context_dim=5, segment_length=4, burn_in=4), seed=0)


def without_clock(report: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in report.items() if key not in ("wall_clock_s", "exact_count_s")}


def vectors(envs: SyncVectorEnv) -> list[list[list[float]]]:
    return [[pickle.loads(task.data)["rand_vec"].tolist() for task in tasks] for tasks in envs.get_attr("tasks")]


def test_an_untrained_agent_goes_through_the_protocol() -> None:
    """Two sub-environments with two goals each: every goal is adapted to once, from the package's own steps."""
    reach, agent = family(), tiny_agent()
    config = AdaptConfig(method="paper", step1_updates=1, step2_updates=1, batch_size=16, exploration_noise=0.1)
    replay = Replay(
        n_tasks=FEW, obs_dim=39, action_dim=4, capacity=100, episode_length=STEPS, context_dim=agent.state_dim
    )
    for episode in collect_here(agent, reach, reach.tasks("train")[:4], [0, 1, 2, 3]):
        replay.append(episode)
    given: list[Sequence[Episode]] = []

    class Recording(Adaptation):
        def begin(self, new: NewTask) -> Process:
            process = super().begin(new)
            try:
                request = next(process)
                while True:
                    episodes = yield request
                    given.append(episodes)
                    request = process.send(episodes)
            except StopIteration as end:
                return end.value

    told: list[int] = []

    def report_of(**options: Any) -> Any:
        return official_evaluation(
            agent,
            Recording(*vars(prepare(MetaTraining(agent, replay), config)).values()),
            reach,
            tasks=reach.tasks("test")[:FEW],
            seed=5,
            adaptation_episodes=2,
            evaluation_episodes=3,
            sub_environments=2,
            **options,
        )

    report = report_of(on_goals=told.append)
    again = report_of(threads=2, workers=2)
    assert without_clock(again) == without_clock(report)
    assert report["exact"]["mean_return"] != 0.0
    assert sorted(episodes[0].task for episodes in given[FEW:]) == [0, 1, 2, 3]
    del given[FEW:]
    json.dumps(report)
    assert told == [2, 4]
    assert (report["goals"], report["sub_environments"], report["exact"]["episodes"]) == (4, 2, 12)
    assert report["adaptation_env_steps"] == 4 * 2 * STEPS
    assert report["official"]["success_rate"] == report["exact"]["success_rate"] == 0.0
    assert set(report["exact"]["per_environment"]) == set(report["official"]["per_environment"]) == {"reach"}
    assert 0.0 < report["exact_count_s"] < report["wall_clock_s"]

    assert sorted(episodes[0].task for episodes in given) == [0, 1, 2, 3]
    for episodes in given:
        assert len(episodes) == 2
        for episode in episodes:
            assert episode.length == STEPS - 1
            env = reach.make(reach.tasks("test")[episode.task])
            assert np.array_equal(episode.obs[0], env.reset(seed=0)[0])
            for t, action in enumerate(episode.action):
                obs, reward, *_ = env.step(action)
                assert np.array_equal(episode.obs[t + 1], obs)
                assert episode.reward[t] == np.float32(reward)
            env.close()


def test_without_adaptation_the_agent_acts_as_everywhere_else() -> None:
    """Its context takes up rewards, which the package shows it in the observation only."""
    reach, agent = family(), tiny_agent()
    task = reach.tasks("test")[0]
    report = official_evaluation(agent, None, reach, tasks=[task], seed=0, adaptation_episodes=1, evaluation_episodes=1)
    episode = collect_here(agent, reach, [task], [3])[0]
    assert report["official"]["mean_return"] == pytest.approx(episode.episode_return, rel=1e-5)
    assert report["exact"]["mean_return"] == pytest.approx(episode.episode_return, rel=1e-7)
    assert not report["adapted"]


def test_a_context_that_goes_on_over_the_protocol_s_episodes_acts_in_both_counts() -> None:
    reach, agent = family(), tiny_agent()
    task, config = reach.tasks("test")[0], AdaptConfig(method="context", carry_episodes=True)
    replay = Replay(n_tasks=1, obs_dim=39, action_dim=4, capacity=20, episode_length=STEPS, context_dim=agent.state_dim)
    report = official_evaluation(
        agent,
        prepare(MetaTraining(agent, replay), config),
        reach,
        tasks=[task],
        seed=0,
        adaptation_episodes=2,
        evaluation_episodes=2,
    )
    own = agent
    for _ in range(2):
        [episode] = collect_here(own, reach, [task], [3])
        seen = {name: getattr(episode, name)[:-1] for name in ("obs", "action", "reward")}
        own = own.after(replace(episode, **seen))  # the protocol shows nobody what comes after the last action
    expected = collect_here(own, reach, [task], [3])[0].episode_return
    assert abs(expected - collect_here(agent, reach, [task], [3])[0].episode_return) > 1e-4 * abs(expected)
    assert report["official"]["mean_return"] == pytest.approx(expected, rel=1e-5)
    assert report["exact"]["mean_return"] == pytest.approx(expected, rel=1e-5)


@dataclass
class ToOnePlace:
    """An agent that always reaches for one place, whatever the goal is."""

    place: np.ndarray
    obs_dim: int = 39
    action_dim: int = 4
    config: AgentConfig = field(default_factory=AgentConfig)

    def begin(self, n: int, element_dim: int = 44) -> ActingContext:
        return ActingContext(
            np.zeros((n, 0), np.float32), np.zeros((0, n, element_dim), np.float32), cast(Policy, self)
        )

    def policy(self) -> ToOnePlace:
        return self

    def act(self, obs: FloatArray, context: object) -> FloatArray:
        seen = obs.astype(np.float64)
        seen[:, GOAL] = self.place
        actions = np.stack([expert("reach").get_action(row) for row in seen])
        return np.clip(actions, -1.0, 1.0).astype(np.float32)

    def observe(self, context: object, obs: FloatArray, action: FloatArray, reward: FloatArray) -> None:
        pass


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")
def test_one_goal_of_four_is_a_quarter_although_the_package_counts_all() -> None:
    """The sub-environment that is solved ends its episodes first, so it alone fills the package's count."""
    reach = family(steps=100)
    places = [(0.1, 0.8, 0.05), (-0.1, 0.9, 0.3), (-0.1, 0.8, 0.3), (-0.1, 0.9, 0.05)]
    tasks = [reach.task({"rand_vec": (0.0, 0.6, 0.02, *place)}) for place in places]
    report = official_evaluation(
        cast(Agent, ToOnePlace(np.array(places[0]))),
        None,
        reach,
        tasks=tasks,
        seed=0,
        adaptation_episodes=1,
        evaluation_episodes=3,
        sub_environments=4,
    )
    assert report["sub_environments"] == 4
    assert report["official"]["success_rate"] == 1.0
    assert report["exact"]["success_rate"] == 0.25


def test_sub_environments_are_the_package_s_test_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    original = metaworld.make_ml_envs_test(
        "reach-v3", seed=SEED, meta_batch_size=2, recurrent_info_in_obs=True, normalize_reward_in_recurrent_info=False
    )
    reach = family(steps=500)
    groups = meta_world_protocol._groups(reach, reach.tasks("test")[:FEW], 2)
    ours = make_vector(reach, groups, seed=SEED)
    assert vectors(ours) == vectors(original)
    assert ours.metadata["autoreset_mode"] == original.metadata["autoreset_mode"]
    for _ in range(FEW // 2):
        for envs in (ours, original):
            envs.call("sample_tasks")
        assert ours.get_attr("current_task_idx") == original.get_attr("current_task_idx")
        assert vectors(ours) == vectors(original)
        seen = [envs.reset()[0] for envs in (ours, original)]
        assert np.array_equal(*seen)
        actions = np.full((2, 4), 0.3, np.float32)
        steps = [envs.step(actions)[:4] for envs in (ours, original)]
        assert all(np.array_equal(a, b) for a, b in zip(*steps, strict=True))
    ours.close()
    original.close()


def test_every_goal_gets_its_turn_once() -> None:
    reach = family()
    tasks = reach.tasks("test")[:FEW]
    groups = meta_world_protocol._groups(reach, tasks, 2)
    envs = make_vector(reach, groups, seed=3)
    seen = []
    for _ in range(FEW // 2):
        envs.call("sample_tasks")
        seen += current_tasks(envs, reach, groups)
    envs.close()
    assert sorted(task.index for task in seen) == [0, 1, 2, 3]


def test_our_training_tasks_are_not_the_test_tasks_that_the_package_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Meta-World/ML1-train` serves the test tasks (3.1.1); ours are those of `make_ml_envs_train`."""
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    train = metaworld.make_ml_envs_train("reach-v3", seed=SEED, meta_batch_size=1)
    registered = gymnasium.make_vec("Meta-World/ML1-train", env_name="reach-v3", seed=SEED, meta_batch_size=1)
    ours = [list(cast("tuple[float, ...]", task.parameters["rand_vec"])) for task in family().tasks("train")[:FEW]]
    tests = [list(cast("tuple[float, ...]", task.parameters["rand_vec"])) for task in family().tasks("test")[:FEW]]
    assert vectors(cast(SyncVectorEnv, train)) == [ours]
    assert vectors(cast(SyncVectorEnv, registered)) == [tests]
    train.close()
    registered.close()


def test_goals_are_shared_out_as_the_package_does() -> None:
    ml10 = registry.load("ml10")
    assert isinstance(ml10, MetaWorldFamily)
    groups = meta_world_protocol._groups(ml10, ml10.tasks("test")[: 5 * GOALS], SUB_ENVIRONMENTS)
    assert [len(group) for group in groups] == [10] * 20
    assert [task.index for task in groups[1]] == [5 * goal for goal in range(1, GOALS, 4)]
    assert len({ml10.environment_name(task) for task in groups[4]}) == 1
    reach = family()
    assert [len(group) for group in meta_world_protocol._groups(reach, reach.tasks("test"), 20)] == [5] * 10


def test_a_family_without_held_out_environments_is_refused() -> None:
    ml10 = registry.load("ml10")
    assert isinstance(ml10, MetaWorldFamily)
    with pytest.raises(UserError, match="use ml1-\\*, ml10 or ml45"):
        official_evaluation(tiny_agent(), None, registry.load("mt10"), tasks=[], seed=0)
    with pytest.raises(UserError, match="as many of each environment"):
        official_evaluation(tiny_agent(), None, ml10, tasks=ml10.tasks("test")[:6], seed=0)
    with pytest.raises(UserError, match="give at least one"):
        official_evaluation(tiny_agent(), None, ml10, tasks=[], seed=0)


def collecting(agent: Agent) -> Process:
    """An adaptation that only collects, with exploration."""
    yield Request(agent, range(9), 0.1)
    return AdaptationResult(agent, {})


@pytest.mark.parametrize("kind", EXPLORERS)
def test_a_goal_is_explored_on_a_stream_of_its_own(kind: str) -> None:
    """Whole episodes of noise, begun with each episode, whatever happens in the others."""
    reach, agent = family(), tiny_agent()
    explorer = explorer_for(reach, kind, 0.1)

    def agents(count: int) -> ProtocolAgent:
        own = ProtocolAgent(
            agent,
            count=count,
            tasks=lambda: reach.tasks("test")[:count],
            begin=lambda goal: collecting(agent),
            finish=lambda tasks, agents: None,
            explorer_of=lambda noise: explorer if noise else None,
            rng_of=lambda goal: np.random.default_rng(goal.index),
        )
        own.init()
        return own

    def steps(own: ProtocolAgent, count: int, ends: Mapping[int, int]) -> np.ndarray:
        seen, actions = np.zeros((count, 45)), []
        for t in range(STEPS):
            actions.append(own.adapt_action(seen)[0])
            ended = np.array([ends.get(place) == t for place in range(count)])
            reward, none = np.zeros(count, np.float32), np.zeros(count, bool)
            own.step(Timestep(seen, actions[-1], reward, ended, none, {}))
            own.reset(ended)
        return np.stack(actions)

    alone, beside = steps(agents(1), 1, {}), steps(agents(2), 2, {1: 2})
    assert np.array_equal(alone[:, 0], beside[:, 0])
    stream = np.random.default_rng(1)
    assert explorer is not None
    first, second = explorer.begin(1, stream), explorer.begin(1, stream)
    still, obs = agents(2).eval_action(np.zeros((2, 45)))[1:], np.zeros((1, 39), np.float32)
    assert np.allclose(beside[0, 1:], first.act(still, obs, 0), atol=1e-6)
    assert np.allclose(beside[3, 1:], second.act(still, obs, 0), atol=1e-6)  # the third step ended the first episode


def test_a_family_that_a_run_makes_harder_is_none_of_the_protocols() -> None:
    with pytest.raises(UserError, match=r"the package's own environments, without env\.\*"):
        meta_world_protocol.protocol_tasks(disturbed(family(), Sensing(noise=0.1)), "test")
