"""The parts of `mql bench` at tiny sizes: the names of their figures, and figures that agree with one another.

No figure is compared with a number here: how fast this machine is right now is no fact about the program.
"""

from __future__ import annotations

import math
import os
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from mql.agent.agent import Agent
from mql.bench import acting, adaptation, controller, growth, gru, learner, population, replay, simulation, timing
from mql.bench.subjects import act_in_loop, agent_config, fill_replay
from mql.cli import app
from mql.cli import bench as cli_bench
from mql.collecting.rollout import collect
from mql.tasks.families.locomotion.cheetah_vel import cheetah_vel
from mql.tasks.stepping.rollout import compiled_model

SMALL_AGENT = ("agent.hidden_sizes=[8]", "agent.context_dim=3", "agent.segment_length=8", "agent.burn_in=2")
SMALL_ADAPTATION = (
    *SMALL_AGENT,
    "agent.context_length=3",
    "adapt.step1_updates=1",
    "adapt.step2_updates=1",
    "adapt.batch_size=16",
    "adapt.scored_transitions=1000",
    "train.batch_size=16",
)
LEARNER = learner.Sizes(
    obs_dim=3,
    action_dim=2,
    context_dim=4,
    context_length=3,
    hidden_sizes=(8,),
    paper_batch=8,
    fast_batch=16,
    peer_batch=8,
    peer_steps=20,
    tasks=2,
    transitions=200,
    episode_length=20,
    updates=2,
    rounds=1,
)
REPLAY = replay.Sizes(
    obs_dim=5,
    action_dim=2,
    context_dim=4,
    context_length=3,
    hidden_sizes=(8,),
    batch=8,
    tasks=2,
    transitions=400,
    episode_length=20,
    calls_per_round=4,
    rounds=1,
)
SIMULATION = simulation.Sizes(parallel=2, environments=1, peer_steps=3, overrides=SMALL_AGENT, rounds=1)
ACTING = acting.Sizes(context_length=3, hidden_sizes=(8,), warm_up=1, steps=5, rounds=2)
CONTROLLER = controller.Sizes(steps=50, waited=2, rounds=2, seconds=0.001, hidden_sizes=(8,))
ADAPTATION = adaptation.Sizes(transitions=20_000, tasks=2, overrides=SMALL_ADAPTATION, rounds=1)
GROWTH = growth.Sizes(
    context_lengths=(2, 3, 4),
    buffers=(100, 200, 400),
    parallel=(2, 32, 33),
    hidden_sizes=(8,),
    paper_batch=8,
    fast_batch=16,
    tasks=2,
    episode_length=20,
    overrides=SMALL_AGENT,
    steps=2,
    calls_per_round=2,
    rounds=1,
)


def figures(results: Any) -> list[float]:
    """Every number in `results`; all must be finite."""
    values = [value for _, value in cli_bench.flatten(results)]
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    return values


def test_replays_are_full() -> None:
    made = fill_replay(obs_dim=3, action_dim=2, context_dim=4, tasks=3, transitions=300, episode_length=20)
    assert made.transitions == 300
    assert len(torch.unique(made.table[:, 0])) > 300  # observations differ
    tiny = fill_replay(obs_dim=3, action_dim=2, context_dim=0, tasks=3, transitions=1, episode_length=20)
    assert tiny.transitions == 60  # a whole episode each


def test_the_loop_acts_as_collection_does() -> None:
    family = cheetah_vel()
    agent = Agent(family.obs_dim, family.action_dim, agent_config("fast", hidden_sizes=(8,), context_dim=3), seed=1)
    tasks, seeds, actions = family.tasks("train")[:2], [5, 6], []
    batch = family.make_batch(tasks)

    def step(action: Any) -> Any:
        actions.append(action)
        taken = batch.step(action)
        return taken.obs, taken.reward

    act_in_loop(agent, lambda: batch.reset(seeds), step, steps=family.episode_length)
    for place, episode in enumerate(collect(agent, family, tasks, seeds)):
        np.testing.assert_array_equal(np.stack(actions)[:, place], episode.action)


def check_learner(results: Any) -> None:
    peer = results["sb3_td3"]
    assert set(peer) == {"updates_per_s", "transitions_per_s"}
    assert peer["transitions_per_s"] == pytest.approx(LEARNER.peer_batch * peer["updates_per_s"])
    paper = results["paper"]
    assert set(paper) == {"updates_per_s", "roofline_fraction", "vs_sb3_td3"}
    assert paper["vs_sb3_td3"] == pytest.approx(paper["updates_per_s"] / peer["updates_per_s"])
    gflops = paper["updates_per_s"] * 0.724
    assert paper["roofline_fraction"] == pytest.approx(gflops / results["sgemm_gflops"])
    for name in set(results) - {"paper", "sb3_td3", "sgemm_gflops"}:
        assert set(results[name]) == {"transitions_per_s", "transitions_vs_sb3_td3"}
        ratio = results[name]["transitions_per_s"] / peer["transitions_per_s"]
        assert results[name]["transitions_vs_sb3_td3"] == pytest.approx(ratio)
    assert min(figures(results)) > 0.0


@pytest.mark.parametrize(
    ("hardware", "names"), [(False, {"fast"}), (True, {"fast", "fast_bfloat16"})], ids=["float32 only", "bfloat16"]
)
def test_learner(names: set[str], monkeypatch: pytest.MonkeyPatch, *, hardware: bool) -> None:
    monkeypatch.setattr(learner, "bfloat16_in_hardware", lambda: hardware)
    results = learner.measure(1, LEARNER)
    assert set(results) == {"paper", "sb3_td3", "sgemm_gflops", *names}
    check_learner(results)


def test_gru() -> None:
    results = gru.measure(1, gru.Sizes(shapes=((4, 3, 2, 5),), rounds=1))
    assert set(results["c4_z3_s2_t5"]) == {"both_ways_ms", "vs_nn_gru"} and min(figures(results)) > 0.0


def test_the_learners_sizes_are_those_of_the_profiles() -> None:
    assert (learner.FULL.paper_batch, learner.FULL.fast_batch) == (256, 512)
    for sizes, turn in ((learner.FULL, learner.FULL.updates), (replay.FULL, replay.FULL.calls_per_round)):
        assert turn % sizes.policy_delay == 0 and sizes.rounds >= 5  # every turn has its share of actor updates


def test_the_count_of_an_update() -> None:
    """0.724 GFLOP is twice the multiplications in the weight matrices, backward counting twice as much as forward."""
    s = learner.FULL
    state, obs_state = s.context_dim, s.obs_dim + s.context_dim
    first, second = s.hidden_sizes
    encoder = s.context_length * 3 * state * (s.obs_dim + s.action_dim + 1 + state)
    actor = obs_state * first + first * second + second * s.action_dim
    critic = (obs_state + s.action_dim) * first + first * second + second
    targets = 2 * encoder + actor + 2 * critic
    of_critics = 3 * (encoder + 2 * critic)
    of_actor = 3 * (encoder + actor) + encoder + 2 * critic  # through one critic, to its inputs only
    count = 2 * s.paper_batch * (targets + of_critics + of_actor / s.policy_delay)
    assert round(count / 1e9, 3) == s.paper_gflop


def test_replay() -> None:
    results = replay.measure(1, REPLAY)
    keys = {"bytes_vs_flat", "gather_fraction_of_update", "gather_s", "update_s", "bytes", "flat_bytes", "transitions"}
    keys |= {"on_disk_vs_memory", "gather_on_disk_s"}
    assert set(results) == keys
    assert results["transitions"] == REPLAY.transitions
    assert results["flat_bytes"] == REPLAY.transitions * (5 + 2 + 1 + 1) * 4
    assert results["bytes_vs_flat"] == pytest.approx(results["bytes"] / results["flat_bytes"])
    assert results["gather_fraction_of_update"] == pytest.approx(results["gather_s"] / results["update_s"])
    assert min(figures(results)) > 0.0


def test_simulation() -> None:
    results = simulation.measure(1, SIMULATION)
    ours = results["env_steps_per_s"]
    ratios = {
        "vs_rollout": ours / results["rollout_env_steps_per_s"],
        "vs_sync_vector_env": ours / results["sync_vector_env_steps_per_s"],
        "vs_async_vector_env": ours / results["async_vector_env_steps_per_s"],
        "model_per_lane_vs_shared": results["model_per_lane_env_steps_per_s"] / ours,
    }
    assert {name: results[name] for name in ratios} == pytest.approx(ratios)
    assert len(results) == 9
    assert min(figures(results)) > 0.0


def test_tasks_get_models_of_their_own() -> None:
    family = cheetah_vel()
    shared = compiled_model(str(family.robot.path))
    before = shared.body_mass.copy()
    first, second = [simulation._vary(family, 2).model(task) for task in family.tasks("train")[:2]]
    for model in (first, second):
        np.testing.assert_allclose(model.body_inertia[1:] / model.body_mass[1:, None], _inertia_per_mass(shared))
        assert model.body_subtreemass[1] == pytest.approx(model.body_mass.sum())  # what is derived was derived anew
    assert not np.isclose(first.body_mass[1:], second.body_mass[1:]).any()
    assert not np.isclose(first.geom_friction, second.geom_friction).any()
    np.testing.assert_array_equal(shared.body_mass, before)


def _inertia_per_mass(model: mujoco.MjModel) -> Any:
    return model.body_inertia[1:] / model.body_mass[1:, None]


def test_the_cores_of_this_process_stay_as_they_were() -> None:
    before = timing.usable_cores()
    with simulation._cores(1):
        assert timing.usable_cores() == (1 if hasattr(os, "sched_setaffinity") else before)
    assert timing.usable_cores() == before


def test_acting() -> None:
    results = acting.measure(1, ACTING)
    assert set(results) == {"p50_us", "p99_us", "paper", "paper_vs_fast"}
    assert set(results["paper"]) == {"p50_us", "p99_us"}
    assert results["paper_vs_fast"] == pytest.approx(results["paper"]["p50_us"] / results["p50_us"])
    for part in (results, results["paper"]):
        assert 0.0 < part["p50_us"] <= part["p99_us"]
    assert min(figures(results)) > 0.0


@pytest.mark.needs_extra
def test_controller() -> None:
    results = controller.measure(1, CONTROLLER)
    assert set(results) == {"back_to_back", "at_control_rate", "memory_mb"}
    for part in ("back_to_back", "at_control_rate"):
        assert 0.0 < results[part]["p50_us"] <= results[part]["p99_us"]
    assert 20.0 < results["memory_mb"] < 100.0  # numpy and onnxruntime, and no PyTorch


def test_adaptation() -> None:
    results = adaptation.measure(1, ADAPTATION)
    assert set(results) == {"paper", "fast", "paper_vs_fast_one_task", "score_s_per_million"}
    for profile in ("paper", "fast"):
        part = results[profile]
        assert set(part) == {"one_task_s", "thirty_tasks_s", "thirty_vs_one", "min_weight"}
        assert part["thirty_vs_one"] == pytest.approx(part["thirty_tasks_s"] / part["one_task_s"])
        assert part["one_task_s"] > 0.0 and part["min_weight"] >= 0.0
    ratio = results["paper"]["one_task_s"] / results["fast"]["one_task_s"]
    assert results["paper_vs_fast_one_task"] == pytest.approx(ratio)
    assert results["score_s_per_million"] > 0.0 and figures(results)


def test_adaptation_cuts_no_weights_where_all_would_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptation, "_skips_step2", lambda subject, threads: True)
    assert adaptation.measure(1, ADAPTATION)["fast"]["min_weight"] == 0.0


def test_growth() -> None:
    results = growth.measure(1, GROWTH)
    groups = {
        "update_ms_by_context_length": GROWTH.context_lengths,
        "update_ms_by_buffer": GROWTH.buffers,
        "env_steps_per_s_by_lanes": GROWTH.parallel,
    }
    verdicts = {"context_length_exponent", "slowest_vs_fastest_from_32_lanes", "largest_vs_smallest_buffer"}
    assert set(results) == {*groups, *verdicts}
    for name, members in groups.items():
        assert list(results[name]) == [str(member) for member in members]
        assert min(results[name].values()) > 0.0
    by_context, by_buffer, by_lanes = (results[name] for name in groups)
    assert results["context_length_exponent"] == pytest.approx(math.log(by_context["4"] / by_context["2"], 2.0))
    assert results["largest_vs_smallest_buffer"] == pytest.approx(by_buffer["400"] / by_buffer["100"])
    fast, slow = max(by_lanes["32"], by_lanes["33"]), min(by_lanes["32"], by_lanes["33"])
    assert results["slowest_vs_fastest_from_32_lanes"] == pytest.approx(fast / slow)
    assert figures(results)


def test_the_groups_of_growth_are_those_of_the_contract() -> None:
    assert growth.FULL.context_lengths == (10, 20, 40, 80)
    assert growth.FULL.buffers == (10_000, 100_000, 1_000_000)
    assert growth.FULL.parallel == (8, 16, 32, 64, 128, 256, 512)


def test_the_learners_device_is_asked_for_and_must_be_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert app.run(["bench", "learner", "--device", "cuda"]) == 2
    assert "PyTorch sees no CUDA device (--device)" in capsys.readouterr().err
    assert app.run(["bench", "gru", "--device", "cpu"]) == 2
    assert "--device is an option of learner and population (mql bench gru)" in capsys.readouterr().err


@pytest.mark.slow
def test_population() -> None:
    sizes = population.Sizes(hidden_sizes=(8,), fast_batch=16, tasks=2, transitions=400, updates=2, rounds=1)
    results = population.measure(1, sizes)
    assert results["agents"] == 2
    ratio = results["one_process"]["updates_per_s"] / results["process_each"]["updates_per_s"]
    assert results["one_process_vs_process_each"] == pytest.approx(ratio)
