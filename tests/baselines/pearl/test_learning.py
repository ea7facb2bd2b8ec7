"""PEARL in the loop: whole runs, stopped and continued ones, faulty episodes, evaluations, and a problem it learns."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mql.adaptation.playing import NewTask, simulated
from mql.baselines.pearl import learning as module
from mql.baselines.pearl.agent import PearlAgent
from mql.baselines.pearl.drawing import Drawing
from mql.baselines.pearl.learning import Pearl
from mql.config.idle_keys import idle_keys
from mql.config.loading import load_config, load_experiment
from mql.config.schema import Config, PearlConfig
from mql.errors import UserError
from mql.evaluation.held_out import evaluate
from mql.learning.prior import PriorTask
from mql.learning.replay import Replay
from mql.runs.run_dir import RunDir, without_machine_keys
from mql.seeding import spawn_seeds, torch_generator
from mql.tasks import registry
from mql.tasks.fault import EpisodeFault, episode_fault
from mql.training.loop import Interrupted
from mql.training.methods import load_learning, meta_train
from mql.training.records import evaluation_seed
from mql.types import Episode

# 120 steps an iteration: three trials of two episodes; the replay holds two episodes per task.
TINY: dict[str, object] = {
    "method": "pearl",
    "train.env_steps": 1560,
    "train.random_steps": 200,
    "train.episodes_per_iteration": 5,
    "train.batch_size": 32,
    "train.env_steps_per_update": 30,
    "train.replay_capacity": 1600,
    "train.evaluate_every": 400,
    "train.checkpoint_every": 480,
    "train.keep_checkpoints": 2,
    "agent.hidden_sizes": [16],
    "pearl.tasks_per_update": 4,
    "pearl.latent_dim": 3,
    "adapt.adaptation_episodes": 2,
    "evaluate.tasks": 2,
    "evaluate.final_tasks": 3,
}


def config_of(**changes: object) -> Config:
    return load_config("point-robot", overrides={**TINY, **{key.replace("__", "."): v for key, v in changes.items()}})


def learning_of(**changes: object) -> Pearl:
    return Pearl(config_of(**changes), registry.load("point-robot"))


class Stop:
    """A watcher that asks to stop after some env steps."""

    def __init__(self, env_steps: int) -> None:
        self.env_steps = env_steps

    def on_iteration(self, record: Mapping[str, Any]) -> None:
        if record["env_steps"] == self.env_steps:
            signal.raise_signal(signal.SIGINT)

    def on_start(self, learning: object) -> None: ...
    def on_task(self, done: int, tasks: int) -> None: ...
    def on_evaluation(self, record: Mapping[str, Any]) -> None: ...


def start(path: Path, config: Config, *watchers: Stop) -> dict[str, Any]:
    with RunDir.create(path, config=config, tasks={}, command=["mql"]) as run:
        return meta_train(config, registry.load(config.family), run, watchers=watchers)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    start(path, config_of())
    return path


def test_the_records_of_a_run(whole: Path) -> None:
    run = RunDir.open_readonly(whole)
    metrics, evaluations = run.read_metrics(), run.read_evaluations()
    assert [line["env_steps"] for line in metrics] == list(range(120, 1680, 120))
    assert metrics[-1]["updates"] == int((1560 - 200) / 30)
    assert {"critic_loss", "kl", "belief_std", "actor_loss", "temperature", "collected_return"} <= set(metrics[-1])
    last = evaluations[-1]
    assert last["method"] == "pearl" and len(last["tasks"]) == 3 and run.finished
    for row in last["tasks"]:
        assert row["episodes_charged"] == 2 and row["distance_moved"] == 0.0 and 0.0 < row["belief_std"] < 1.0
        assert np.isfinite([row["zero_shot_return"], row["adapted_return"], row["random_return"]]).all()
    assert last["summary"]["gain"] is not None


@pytest.mark.parametrize("when", [600, 960])  # between checkpoints, and at one
def test_a_run_that_was_stopped_goes_on_bit_for_bit(whole: Path, tmp_path: Path, when: int) -> None:
    path = tmp_path / "run"
    with pytest.raises(Interrupted):
        start(path, config_of(), Stop(when))
    with RunDir.open_for_resume(path) as run:
        meta_train(run.config, registry.load("point-robot"), run, resume=True)
    ours, theirs = (RunDir.open_readonly(each) for each in (whole, path))
    for lines in ("read_metrics", "read_evaluations"):
        one, other = ([without_machine_keys(line) for line in getattr(run, lines)()] for run in (ours, theirs))
        assert one == other
    tensors, others = ours.load_checkpoint().tensors, theirs.load_checkpoint().tensors
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_it_is_evaluated_from_a_checkpoint_as_at_its_end(whole: Path) -> None:
    run, family = RunDir.open_readonly(whole), registry.load("point-robot")
    learning = load_learning(run, family, run.config)
    results = learning.measure(family.tasks("test")[:3], config=run.config, split="test", adapt=True)
    rows = [result.to_json() for result in results]
    for name in ("zero_shot_return", "adapted_return"):
        assert [row[name] for row in rows] == [row[name] for row in run.summary["tasks"]]


def acts_by(learning: Pearl, z: Any, episode: Episode) -> bool:
    """Whether the agent with `z` does at every step what was done."""
    policy = learning.agent.knowing(z).policy()
    return np.allclose(policy.act(episode.obs[:-1], policy.begin(episode.length)), episode.action, atol=1e-5)


def test_zero_shot_is_by_the_prior_s_mean_and_adapted_by_the_belief_s(whole: Path) -> None:
    run, family = RunDir.open_readonly(whole), registry.load("point-robot")
    learning = load_learning(run, family, run.config)
    assert isinstance(learning, Pearl)
    seed, task = evaluation_seed(run.config, "test"), family.tasks("test")[0]
    adaptation = learning.adaptation(run.config.adapt)
    [result] = evaluate(
        learning.agent, family, [task], evaluation_episodes=1, seed=seed, adaptation=adaptation, keep_agents=True
    )
    assert result.adapted is not None and result.agent is not None and result.agent.carried is not None
    [start] = spawn_seeds(1, seed, "evaluation", 0)
    assert result.zero_shot[0].seed == result.adapted[0].seed == start  # as for any other method
    assert acts_by(learning, np.zeros(3), result.zero_shot[0])
    assert acts_by(learning, result.agent.carried.state, result.adapted[0])


def test_z_is_drawn_for_each_episode_of_an_adaptation_and_its_result_knows_the_mean() -> None:
    learning, family = learning_of(train__random_steps=0), registry.load("point-robot")
    process = learning.adaptation(learning.config.adapt).begin(NewTask(episodes=2, seed=5))
    noise, seen = torch_generator(5, "pearl z"), list[Episode]()
    play = simulated(family, family.tasks("test")[0], seed=0)
    request = next(process)
    for start in range(2):
        assert request.starts == (start,) and request.noise == 0.0
        assert isinstance(request.agent, PearlAgent) and request.agent.carried is not None
        assert np.array_equal(request.agent.carried.state, learning.agent.drawn(learning.agent.belief(seen), noise))
        played = list(play(request))
        seen += played
        try:
            request = process.send(played)
        except StopIteration as end:
            result = end.value
    assert np.allclose(result.agent.carried.state, learning.agent.belief(seen).mean[0])
    assert result.report["episodes_charged"] == 2 and learning.agent.carried is None


def test_z_is_held_through_an_episode_and_drawn_anew_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    learning = learning_of(train__random_steps=0, agent__exploration_noise=0.0)
    given: list[Any] = []
    collect = module.collect_each

    def watched(*arguments: Any, **options: Any) -> Any:
        given.append(options["z"])
        return collect(*arguments, **options)

    monkeypatch.setattr(module, "collect_each", watched)
    iteration = learning.iterate()
    assert [z.shape for z in given] == [(3, 3)] * 2 and len(np.unique(np.concatenate(given), axis=0)) == 6
    tasks = [episode.task for episode in iteration.episodes]
    assert tasks[:3] == tasks[3:]  # the second episode of a trial is one of the same task
    # The agent has been updated since; one as it was acts as the episodes say, at every step.
    unchanged = learning_of(train__random_steps=0)
    assert all(acts_by(unchanged, z, e) for e, z in zip(iteration.episodes, np.concatenate(given), strict=True))


def test_the_prior_comes_first_and_what_was_seen_narrows_it() -> None:
    learning = learning_of(train__random_steps=0)
    drawn = learning.agent.drawn(learning.agent.belief([]), torch_generator(0, "z"))
    assert np.allclose(drawn, torch.randn(1, 3, generator=torch_generator(0, "z"))[0])
    episodes = learning.iterate().episodes
    assert (learning.agent.belief(episodes[:1]).variance < 1.0).all()


def test_families_in_worker_processes_get_a_z_for_every_episode() -> None:
    """As side by side: the family is told to be stepped elsewhere, and acts alike."""
    config, family = config_of(train__random_steps=0), registry.load("point-robot")
    elsewhere = replace(family, native=False)
    pair = [Pearl(config, each).iterate().episodes for each in (family, elsewhere)]
    for one, other in zip(*pair, strict=True):
        assert np.allclose(one.action, other.action, atol=1e-5)


def fail(monkeypatch: pytest.MonkeyPatch, places: set[int]) -> None:
    collect = module.collect_each

    def faulty(agent: Any, family: Any, tasks: Any, *rest: Any, **options: Any) -> list[Episode | EpisodeFault]:
        played = collect(agent, family, tasks, *rest, **options)
        return [episode_fault(tasks[n], "broke") if n in places else each for n, each in enumerate(played)]

    monkeypatch.setattr(module, "collect_each", faulty)


def test_a_faulty_episode_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, {1})
    learning = learning_of()
    iteration = learning.iterate()
    assert len(iteration.episodes) == 4 and learning.env_steps == 80
    assert len(iteration.metrics["faults"]) == 2 and "broke" in iteration.metrics["faults"][0]


def test_an_iteration_without_any_episode_raises_the_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, {0, 1, 2})
    with pytest.raises(EpisodeFault, match="broke"):
        learning_of().iterate()


def replay_of(lengths: list[int], tasks: int = 2) -> Replay:
    replay = Replay(n_tasks=tasks, obs_dim=1, action_dim=1, capacity=200, episode_length=20)
    for number, length in enumerate(lengths):
        for task in range(tasks):
            values = np.full((length + 1, 1), 100 * task + number, np.float32)
            rewards = np.arange(length, dtype=np.float32)
            replay.append(Episode(values, values[1:], rewards, False, True, task=task, seed=0))
    return replay


def test_contexts_are_of_the_newest_episodes_and_transitions_of_all() -> None:
    config = PearlConfig(tasks_per_update=8, recent_episodes=2, context_transitions=1000)
    drawing = Drawing(replay_of([5, 5, 7, 3]), config)
    batch = drawing.batch(800, np.random.default_rng(0))
    obs = batch.transition.obs.view(8, 100)
    assert ((obs // 100) == (obs[:, :1] // 100)).all()  # each task's share is of one task
    assert set((obs % 100).unique().tolist()) == {0.0, 1.0, 2.0, 3.0}
    elements = batch.context.elements
    assert elements.shape == (10, 8, 4) and (batch.context.start == 0).all()
    assert set((elements[..., 0] % 100).unique().tolist()) == {2.0, 3.0}  # all ten transitions, none twice
    for task in range(8):
        assert len(torch.unique(elements[:, task, [0, 2]], dim=0)) == 10
        assert elements[0, task, 0] // 100 == obs[task, 0] // 100


def test_fewer_context_transitions_are_drawn_without_repetition() -> None:
    config = PearlConfig(tasks_per_update=4, recent_episodes=1, context_transitions=4)
    elements = Drawing(replay_of([5, 6]), config).batch(8, np.random.default_rng(0)).context.elements
    assert elements.shape == (4, 4, 4)
    assert all(len(elements[:, task, 2].unique()) == 4 for task in range(4))


def test_prior_data_are_tasks_of_their_own() -> None:
    family = registry.load("point-robot")
    logged = learning_of().iterate().episodes[:2]
    learning = Pearl(config_of(train__replay_capacity=4000), family, (PriorTask("prior:0", logged, {}),))
    assert learning.first_live_episode == 0 and learning.replay.transitions == 40
    learning.iterate()
    assert learning.first_live_episode == 0 and learning.replay.transitions == 160


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("agent.algorithm", "td3", "method pearl has sac there"),
        ("agent.use_context", True, "method pearl has false there"),
        ("adapt.method", "finetune", "method pearl has context there"),
        ("train.batch_size", 30, "not a multiple of pearl.tasks_per_update = 4"),
    ],
)
def test_what_does_not_fit_the_method_is_refused(key: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("point-robot", overrides={**TINY, key: value})


def test_keys_that_do_nothing_are_named() -> None:
    for method, settings in (
        ("pearl", {"agent.context_dim": 8, "agent.burn_in": 2, "agent.target_policy_noise": 0.1, "adapt.lr": 0.1}),
        ("mql", {"pearl.latent_dim": 3}),
    ):
        experiment = load_experiment("point-robot", overrides={"method": method, **settings})
        assert len(list(idle_keys(experiment.config, experiment.given))) == len(settings)
    acting = {key: value for key, value in TINY.items() if key != "train.env_steps"}
    experiment = load_experiment("point-robot", overrides=acting)
    assert list(idle_keys(experiment.config, experiment.given)) == []


@pytest.mark.slow
def test_it_learns_to_find_a_hidden_goal() -> None:
    """By the experiment of point-robot; what does not know the goal can only go to the middle."""
    config = load_config("point-robot", overrides={"method": "pearl", "train.env_steps": 16_000})
    family = registry.load("point-robot")
    learning = Pearl(config, family)
    while learning.env_steps < config.train.env_steps:
        learning.iterate()
    results = learning.measure(family.tasks("test")[:20], config=config, split="test", adapt=True)
    before = np.mean([result.zero_shot[0].episode_return for result in results])
    after = np.mean([result.adapted[0].episode_return for result in results if result.adapted])
    assert after > -12.5 and after > before + 1.5  # random actions: about -21
