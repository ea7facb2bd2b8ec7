"""`mql bench`: the timer's turns, the machine, and the command with its JSON, table, units and mistakes.

The measuring itself is in test_parts.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from mql.bench import timing
from mql.cli import app as cli
from mql.cli import bench as cli_bench

RESULTS = {"env_steps_per_s": 20_000.5, "bytes": 1234, "paper": {"one_task_s": 0.25, "vs_sb3_td3": 1.5}}


class Workshop:
    """A clock that only moves when somebody works, and a record of who worked."""

    def __init__(self) -> None:
        self.now, self.log = 100.0, ""

    def clock(self) -> float:
        return self.now

    def worker(self, name: str, seconds: Callable[[int], float]) -> Callable[[], None]:
        """A contender whose n-th call (from 0) takes `seconds(n)`."""

        def work() -> None:
            self.now += seconds(self.log.count(name))
            self.log += name

        return work


def test_contenders_take_turns_after_a_call_that_does_not_count() -> None:
    shop = Workshop()
    contenders = {"a": shop.worker("a", lambda n: 1.0 + n), "b": shop.worker("b", lambda n: 50.0)}
    seconds = timing.alternate(contenders, rounds=3, calls_per_round=2, clock=shop.clock)
    assert shop.log == "ab" + 3 * "aabb"
    assert seconds == {"a": [2.5, 4.5, 6.5], "b": [50.0, 50.0, 50.0]}
    assert timing.medians(seconds) == {"a": 4.5, "b": 50.0}


def test_single_calls_are_timed_one_by_one() -> None:
    shop = Workshop()
    contenders = {"a": shop.worker("a", lambda n: 2.0**n), "b": shop.worker("b", lambda n: 3.0)}
    seconds = timing.alternate_calls(contenders, rounds=2, calls_per_round=2, clock=shop.clock)
    assert seconds == {"a": [[2.0, 4.0], [8.0, 16.0]], "b": [[3.0, 3.0], [3.0, 3.0]]}


def test_the_machine_is_described() -> None:
    machine = timing.describe_machine(3, 12.5)
    assert set(machine) == {"cores", "threads", "sgemm_gflops", "cpu", "kernels"}
    assert (machine["threads"], machine["sgemm_gflops"]) == (3, 12.5)
    assert 1 <= machine["cores"] <= (os.cpu_count() or 1)
    assert timing.measure_sgemm(rounds=1) > 0.0


@pytest.fixture
def given_threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every part return RESULTS at once; the list gets the thread counts that parts were asked to use."""
    threads: list[int] = []

    def measure(given: int) -> dict[str, Any]:
        threads.append(given)
        timing.announce("measuring")
        return RESULTS

    monkeypatch.setattr(cli_bench, "PARTS", dict.fromkeys(cli_bench.PARTS, measure))
    monkeypatch.setattr(cli_bench, "measure_sgemm", lambda: 50.0)
    monkeypatch.setattr(cli_bench, "limit_threads", lambda given: None)
    monkeypatch.setattr(cli_bench, "keep_freed_memory", lambda: None)
    return threads


def test_json_is_one_value_on_standard_output(given_threads: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "replay", "--threads", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out, parse_constant=pytest.fail)
    assert set(report) == {"benchmark", "profile", "machine", "results"}
    assert (report["benchmark"], report["profile"], report["results"]) == ("replay", "fast", RESULTS)
    assert set(report["machine"]) == {"cores", "threads", "sgemm_gflops", "cpu", "kernels"}
    assert report["machine"]["threads"] == 2 and report["machine"]["sgemm_gflops"] == 50.0
    assert err == "measuring\n" and given_threads == [2]


def test_threads_are_the_cores_unless_given(given_threads: list[int]) -> None:
    assert cli.run(["bench", "growth", "--json"]) == cli.run(["bench", "growth", "--threads", "3", "--json"]) == 0
    assert given_threads == [timing.usable_cores(), 3]


def test_acting_has_one_thread(given_threads: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "acting", "--threads", "2", "--json"]) == 0
    assert given_threads == [1] and json.loads(capsys.readouterr().out)["machine"]["threads"] == 1


def test_the_machines_limit_is_the_one_that_a_part_compared_itself_with(
    given_threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cli_bench.PARTS, "learner", lambda threads: {"sgemm_gflops": 70.0})
    assert cli_bench.run("learner", 1)["machine"]["sgemm_gflops"] == 70.0


def test_the_table_has_a_line_with_a_unit_for_every_figure(
    given_threads: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["bench", "simulation"]) == 0
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in out.splitlines() if "│" in line]
    assert rows == [
        ["env_steps_per_s", "20,000", "env steps/s"],
        ["bytes", "1,234", "bytes"],
        ["paper one_task_s", "0.25", "s"],
        ["paper vs_sb3_td3", "1.5", "ratio"],
    ]
    assert "50.0 GFLOP/s" in out


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("paper.updates_per_s", "updates/s"),
        ("fast.transitions_per_s", "transitions/s"),
        ("sgemm_gflops", "GFLOP/s"),
        ("paper.roofline_fraction", "ratio"),
        ("bytes_vs_flat", "ratio"),
        ("flat_bytes", "bytes"),
        ("transitions", "transitions"),
        ("gather_s", "s"),
        ("env_steps_per_s", "env steps/s"),
        ("sync_vector_env_steps_per_s", "env steps/s"),
        ("env_steps_per_s_by_lanes.8", "env steps/s"),
        ("update_ms_by_buffer.10000", "ms"),
        ("context_length_exponent", "exponent"),
        ("paper.p99_us", "µs"),
        ("paper.thirty_tasks_s", "s"),
        ("score_s_per_million", "s per 10^6"),
    ],
)
def test_units(path: str, unit: str) -> None:
    assert cli_bench.unit(tuple(path.split("."))) == unit


def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["bench", "lerner"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: there is no benchmark 'lerner' (mql bench): did you mean 'learner'"
    )
    assert cli.run(["bench", "acting", "--threads", "0"]) == 2
    assert "threads" in capsys.readouterr().err


def test_a_missing_peer_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)  # as if it were not installed
    monkeypatch.setattr(cli_bench, "limit_threads", lambda given: None)
    assert cli.run(["bench", "learner", "--json"]) == 2
    out, err = capsys.readouterr()
    last = err.splitlines()[-1]
    assert out == "" and last.startswith("error: ") and "stable_baselines3" in last and "'mql[bench]'" in last


def test_every_part_has_a_file_of_its_own() -> None:
    for name, measure in cli_bench.PARTS.items():
        assert Path(measure.__code__.co_filename).stem.replace("_", "-") == name


def test_the_help_names_every_part() -> None:
    command: Any = typer.main.get_command(cli.app)
    [part] = [parameter for parameter in command.commands["bench"].params if parameter.name == "part"]
    assert part.metavar.split("|") == list(cli_bench.PARTS)
