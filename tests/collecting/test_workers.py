"""Worker processes: what they return, and what is left when one dies or hangs; collection and evaluation on them."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import cloudpickle
import numpy as np
import pytest
from lab_environments import FAULTS, Cart, set_gain

from mql.agent.agent import Agent
from mql.collecting import rollout
from mql.collecting.episodes import play
from mql.collecting.exploration import EXPLORERS, explorer_for, random_actions
from mql.collecting.rollout import collect, collect_each
from mql.collecting.workers import WorkerLost, Workers
from mql.config.loading import load_config
from mql.config.schema import AgentConfig, Config
from mql.errors import UserError
from mql.evaluation.held_out import evaluate, summarize_results
from mql.runs.run_dir import RunDir
from mql.tasks import registry
from mql.tasks.distributions import Choice, Uniform
from mql.tasks.family import Split
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.any_environment import from_gymnasium
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily
from mql.training.methods import meta_train
from mql.types import Episode


@pytest.fixture(scope="module")
def pair() -> Iterator[Workers]:
    made = Workers(2)
    yield made
    made.close()


# Sent by value: a function of this file would make a worker import it, and PyTorch with it.
add = lambda first, second, *, third=0: first + second + third  # noqa: E731


def by_value(function: FunctionType) -> FunctionType:
    """Return the function as one of no module, so that it is sent as it is."""
    return FunctionType(function.__code__, {"time": time})


def test_a_call_returns_what_the_function_returns(pair: Workers) -> None:
    call = pair.bound(add, 10, timeout=30.0)
    assert [call(1), call(2, third=100)] == [11, 112]
    assert pair.bound(lambda x: x * 2, timeout=30.0)(4) == 8


def test_what_a_function_raises_comes_back_with_the_workers_traceback(pair: Workers) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pair.bound(lambda x: 1 // x, timeout=30.0)(0)
    assert "in a worker process" in caught.value.__notes__[0] and "1 // x" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os._exit(7), "its process died (exit status 7)"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "its process died (signal SIGSEGV)"),
        (lambda: time.sleep(3600), "it did not end within 1 s, its process was stopped"),
    ],
)
def test_a_process_that_dies_or_hangs_is_replaced(pair: Workers, end: Any, how: str) -> None:
    lost = pair.bound(end, timeout=1.0)()
    assert isinstance(lost, WorkerLost) and str(lost) == how
    assert pair.bound(add, 1, timeout=30.0)(1) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_stops_a_process_group_leaves_workers_at_work(pair: Workers, number: signal.Signals) -> None:
    """The program ends its iteration and saves: one that lost episodes would not be that of an undisturbed run."""
    pid = pair.bound(os.getpid, timeout=30.0)()
    assert pair.bound(lambda: [os.kill(os.getpid(), number), time.sleep(0.01), os.getpid()][-1], timeout=30.0)() == pid


@pytest.fixture
def ctrl_c_raises() -> Iterator[None]:
    """Ctrl-C's signal raises KeyboardInterrupt, whatever the program that runs the tests has made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_soon(seconds: float) -> None:
    """Send this process Ctrl-C's signal a little later."""
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()


def slow(seconds: float, answer: str) -> str:
    time.sleep(seconds)
    return answer


def test_after_an_interrupt_in_mid_call_every_call_gets_its_own_answer(ctrl_c_raises: None) -> None:
    alone = Workers(1)
    call = alone.bound(by_value(slow), timeout=30.0)
    assert call(0.0, "up") == "up"
    interrupt_soon(0.2)
    with pytest.raises(KeyboardInterrupt):
        call(1.0, "interrupted")
    assert [call(0.0, "first"), call(0.0, "second")] == ["first", "second"]
    alone.close()


def test_an_interrupt_while_a_process_starts_leaves_none_behind(ctrl_c_raises: None) -> None:
    alone = Workers(1)
    interrupt_soon(0.05)
    with pytest.raises(KeyboardInterrupt):
        alone.bound(by_value(slow), timeout=30.0)(5.0, "never")
    assert alone.bound(add, 1, timeout=30.0)(1) == 2
    alone.close()


def test_an_answer_with_another_job_s_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Workers(1)
    assert alone.bound(add, 1, timeout=30.0)(1) == 2
    alone._all[0]._channel.send(
        pickle.dumps((99, [], cloudpickle.dumps(((), {}))))
    )  # a job that nobody waits for, as an interrupt might leave it
    with pytest.raises(RuntimeError, match="answered job 99 when asked for job 2"):
        alone.bound(add, 1, timeout=30.0)(2)
    assert alone.bound(add, 1, timeout=30.0)(3) == 4
    alone.close()


@pytest.mark.parametrize("field", ["task", "seed"])
def test_an_episode_of_another_task_or_seed_is_never_returned(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = registry.load("point-robot")
    agent = Agent(family.obs_dim, family.action_dim, AgentConfig(hidden_sizes=(8,)), seed=0)

    def stale(*args: Any, **kwargs: Any) -> list[Any]:
        return [dataclasses.replace(episode, **{field: 11}) for episode in play(*args, **kwargs)]

    monkeypatch.setattr(rollout, "play", stale)
    with pytest.raises(RuntimeError, match="came back, one of task 2 with seed 5 was asked for"):
        collect(agent, family, family.tasks("train")[2:3], [5])


def test_a_worker_uses_one_thread_and_keeps_standard_output_free(
    pair: Workers, capfd: pytest.CaptureFixture[str]
) -> None:
    assert pair.bound(lambda: os.environ["OMP_NUM_THREADS"], timeout=30.0)() == "1"
    Workers(1).bound(lambda: print("noise", flush=True), timeout=30.0)()
    assert capfd.readouterr().out == ""


def test_a_worker_that_plays_episodes_loads_no_torch(pair: Workers) -> None:
    family = carts()
    play_there = pair.bound(play, family, agent_for(family).policy(), timeout=60.0)
    [episode] = play_there(
        family.tasks("train")[:1], [0], random_actions(family).begin(1, np.random.default_rng(0)), policy_version=3
    )
    assert (episode.length, episode.policy_version) == (10, 3)
    assert not pair.bound(lambda: "torch" in sys.modules, timeout=60.0)()


def test_a_value_that_cannot_be_sent_is_one_line(pair: Workers) -> None:
    with pytest.raises(UserError, match="can't be sent to a worker process"):
        pair.bound(add, (line for line in ()), timeout=1.0)


def test_shared_values_stay_and_the_oldest_are_forgotten(pair: Workers) -> None:
    alone = Workers(1)
    for number in range(20):
        assert alone.bound(add, number, timeout=30.0)(1) == number + 1
    assert alone.bound(add, 0, timeout=30.0)(1) == 1
    alone.close()


def carts(*, timeout: float = 60.0, **faults: str) -> GymnasiumFamily:
    """Twelve training tasks, some of which fail."""
    train = tuple(
        {"gain": 0.5 + 0.1 * i, "fault": float(FAULTS.index(faults.get(f"task{i}", "none")))} for i in range(12)
    )
    return from_gymnasium(
        Cart,
        {"gain": Uniform(0.5, 2.0), "fault": Choice(tuple(range(len(FAULTS))))},
        name="carts",
        set_task=set_gain,
        splits={"train": Split(listed=train), "test": Split(listed=tuple({"gain": 1.9, "fault": 0.0} for _ in "a"))},
        episode_length=10,
        success_key="is_success",
        episode_timeout=timeout,
    )


def agent_for(family: GymnasiumFamily, mode: str = "carry", encoder: str = "gru") -> Agent:
    sizes = {"hidden_sizes": (16,), "context_dim": 4}
    config = AgentConfig.model_validate(
        {**sizes, "encoder": encoder, "context_mode": mode, "shared_encoder": mode == "carry"}
    )
    return Agent(family.obs_dim, family.action_dim, config, seed=0)


@pytest.mark.parametrize(
    ("mode", "encoder"),
    [("carry", "gru"), ("window", "gru"), pytest.param("window", "transformer", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", [None, "random", *EXPLORERS])
def test_episodes_do_not_depend_on_the_number_of_workers(mode: str, encoder: str, kind: str | None) -> None:
    family = carts()
    explorer = random_actions(family) if kind == "random" else explorer_for(family, kind, 0.3) if kind else None
    runs = [
        collect(
            agent_for(family, mode, encoder),
            family,
            family.tasks("train")[:5],
            [0, 1, 2, 3, 4],
            rng=np.random.default_rng(1),
            explorer=explorer,
            workers=workers,
        )
        for workers in (1, 2)
    ]
    for one, other in zip(*runs, strict=True):
        assert np.array_equal(one.obs, other.obs) and np.array_equal(one.action, other.action)
        assert (one.task, one.seed, one.length, one.truncated) == (other.task, other.seed, 10, True)


def test_failed_episodes_are_dropped_and_the_others_go_on() -> None:
    family = carts(timeout=3.0, task1="raise", task3="nan", task5="crash", task7="hang")
    train = family.tasks("train")
    outcomes = collect_each(agent_for(family), family, train, list(range(12)), workers=2)
    faults = {index: str(fault) for index, fault in enumerate(outcomes) if isinstance(fault, EpisodeFault)}
    assert {index: text.split(" (task train")[0] for index, text in faults.items()} == {
        1: "family carts: step 3 raised ValueError: the gearbox is jammed",
        3: "family carts: step 3 gave nan at place 0 of the observation",
        5: "family carts: its process died (exit status 7)",
        7: "family carts: it did not end within 3 s, its process was stopped",
    }
    assert "(task train 7: gain 1.2, fault 6)" in faults[7]
    whole = collect(agent_for(carts()), carts(), carts().tasks("train"), list(range(12)), workers=2)
    for index, outcome in enumerate(outcomes):
        if isinstance(outcome, Episode):
            assert np.array_equal(outcome.reward, whole[index].reward)
    with pytest.raises(EpisodeFault, match="gearbox"):
        collect(agent_for(family), family, train[:2], [0, 1], workers=1)


def test_a_task_that_fails_in_an_evaluation_counts_in_no_summary() -> None:
    family = carts(task1="raise")
    agent = agent_for(family)
    results = evaluate(agent, family, family.tasks("train")[:3], evaluation_episodes=2, seed=0)
    rows = [result.to_json() for result in results]
    assert ["fault" in row for row in rows] == [False, True, False]
    assert "gearbox" in rows[1]["fault"] and rows[1]["zero_shot_return"] is None
    mean = (rows[0]["zero_shot_return"] + rows[2]["zero_shot_return"]) / 2
    assert summarize_results(results)["zero_shot"]["mean"] == pytest.approx(mean)
    with pytest.raises(EpisodeFault, match="no task could be evaluated"):
        evaluate(agent, family, family.tasks("train")[1:2], evaluation_episodes=1, seed=0)


@pytest.mark.parametrize("lag", [0, 1])
def test_a_run_goes_on_without_the_episodes_that_fail_and_counts_them(tmp_path: Path, lag: int) -> None:
    family = carts(task1="raise", task4="crash")
    config = run_config(lag)
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        meta_train(config, family, run)
        metrics = run.read_metrics()
    assert metrics[-1]["env_steps"] == 240
    faults = [fault for line in metrics for fault in line.get("faults", ())]
    # Two tasks of twelve fail, so the 240 steps take 24 whole episodes of the other ten.
    assert {fault.split(" (task")[0] for fault in faults} == {
        "family carts: step 3 raised ValueError: the gearbox is jammed",
        "family carts: its process died (exit status 7)",
    }


def test_a_run_of_which_no_episode_can_be_finished_is_saved_and_ends(tmp_path: Path) -> None:
    family = carts(**{f"task{i}": "raise" for i in range(12)})
    config = run_config()
    with RunDir.create(tmp_path / "run", config=config, tasks={}, command=["mql"]) as run:
        with pytest.raises(EpisodeFault, match="gearbox"):
            meta_train(config, family, run)
        assert run.checkpoints() == [0]


def run_config(lag: int = 0) -> Config:
    settings = {
        "train.collection_lag": lag,
        "train.env_steps": 240,
        "train.random_steps": 80,
        "train.episodes_per_iteration": 6,
        "train.batch_size": 16,
        "train.env_steps_per_update": 40,
        "train.evaluate_every": 10_000,
        "agent.hidden_sizes": [16],
        "agent.context_dim": 4,
        "agent.segment_length": 8,
        "adapt.method": "paper",
        "adapt.step1_updates": 1,
        "adapt.step2_updates": 1,
        "adapt.batch_size": 16,
        "evaluate.final_tasks": 1,
        "threads": 2,
    }
    return load_config("carts", overrides=[f"{key}={value}" for key, value in settings.items()])
