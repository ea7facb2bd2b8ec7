"""What the progress display says, with a clock and a console of the tests' own."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mql.api.progress import Progress, header
from mql.config.loading import load_config, override
from mql.learning.trainer import Trainer, updates_after
from mql.tasks import registry


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(*, terminal: bool) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=160, color_system=None, legacy_windows=False), stream


def test_header_names_the_run_and_its_memory_bound() -> None:
    line = header(family="reacher-goal", profile="fast", seed=3, threads=2, device="cpu", replay_bytes=1_234_000_000)
    assert line == "reacher-goal (fast) | seed 3 | 2 threads on cpu | replay up to 1.2 GB"
    small = header(
        family="a", profile="paper", seed=0, threads=1, device="cuda", replay_bytes=84_000_000, run_path="runs/a-0"
    )
    assert small == "a (paper) | seed 0 | 1 thread on cuda | replay up to 84 MB | runs/a-0"


def record(
    env_steps: int, updates: int, *, collect_seconds: float = 0.0, update_seconds: float = 0.0
) -> dict[str, float]:
    """What a line of metrics.jsonl says about progress."""
    return {
        "env_steps": env_steps,
        "updates": updates,
        "collect_seconds": collect_seconds,
        "update_seconds": update_seconds,
    }


def test_time_left_is_that_of_the_steps_and_updates_that_are_left() -> None:
    progress = Progress(10_000, 250, console=shown(terminal=False)[0])
    assert progress.status() == "0/10,000 env steps"
    progress.update(record(1_000, 25, collect_seconds=2, update_seconds=8))
    rates = "1,000/10,000 env steps | 100 env steps/s | 2.5 updates/s"
    # 9,000 steps at 2 ms and 225 updates at 0.32 s
    assert progress.status() == rates + " | 1 min 30 s of training left"
    progress.evaluated(zero_shot=-12.345, adapted=-1.5)
    assert progress.status() == rates + " | zero-shot -12.3 | adapted -1.5 | 1 min 30 s of training left"
    progress.update(record(10_000, 250, collect_seconds=18, update_seconds=72))
    assert "left" not in progress.status()


def test_no_time_left_from_random_steps_alone() -> None:
    """5,000 random steps take 1 s, and 31 s with the updates that come later: 18 s would be wrong by a factor of 31."""
    progress = Progress(100_000, 11_250, console=shown(terminal=False)[0])
    progress.update(record(5_000, 0, collect_seconds=1))
    progress.update(record(10_000, 0, collect_seconds=1))
    assert progress.status().endswith("| time left not known before the first update")
    progress.update(record(15_000, 625, collect_seconds=1, update_seconds=30))
    assert progress.status().endswith("| 8 min 47 s of training left")  # 17 times 5,000 steps and 625 updates


def test_steps_of_the_agent_are_not_taken_for_random_ones() -> None:
    progress = Progress(20_000, 10, console=shown(terminal=False)[0])
    progress.update(record(10_000, 0, collect_seconds=1))
    progress.update(record(11_000, 1, collect_seconds=10, update_seconds=0))
    assert progress.status().endswith("| 1 min 30 s of training left")


def test_updates_that_are_still_due_count_beside_few_steps() -> None:
    """Updates and env steps need not be left in the proportion of the past: a resumed run may owe updates."""
    progress = Progress(1_000, 600, env_steps=900, updates=400, console=shown(terminal=False)[0])
    progress.update(record(910, 410, collect_seconds=1, update_seconds=10))
    assert progress.status() == "910/1,000 env steps | 1 env steps/s | 0.9 updates/s | 3 min 19 s of training left"


def test_a_run_without_updates_has_a_time_left() -> None:
    progress = Progress(1_000, 0, console=shown(terminal=False)[0])
    progress.update(record(100, 0, collect_seconds=1))
    assert progress.status().endswith("| 9 s of training left")


def test_rates_forget_the_past() -> None:
    progress = Progress(1_000_000, 100_000, console=shown(terminal=False)[0])
    progress.update(record(500_000, 50_000, collect_seconds=5, update_seconds=5))
    for minute in range(1, 4):
        steps, updates = 500_000 + 600 * minute, 50_000 + 60 * minute
        progress.update(record(steps, updates, collect_seconds=30, update_seconds=30))
    assert "| 10 env steps/s | 1.0 updates/s | 13 h 50 min of training left" in progress.status()


def test_the_updates_expected_are_those_that_the_trainer_makes() -> None:
    config = override(
        load_config("point-robot"),
        ["train.env_steps=2000", "train.random_steps=300", "train.env_steps_per_update=30", "train.batch_size=8"],
    )
    trainer = Trainer(config, registry.load("point-robot"))
    while trainer.env_steps < config.train.env_steps:
        trainer.iterate()
    assert trainer.updates == updates_after(config.train, trainer.env_steps) > 0


def test_an_evaluation_says_how_far_it_is() -> None:
    progress = Progress(1_000, 0, console=shown(terminal=False)[0])
    said = []
    for done in range(4):
        progress.evaluating(done, 3)
        said.append(progress.status().rpartition(" | ")[2])
    assert said == ["evaluating 1 of 3", "evaluating 2 of 3", "evaluating 3 of 3", "evaluating 3 of 3"]
    progress.evaluated(zero_shot=1.0, adapted=None)
    assert "evaluating" not in progress.status()


def test_evaluating_reaches_the_bar_and_occasional_lines() -> None:
    clock = Clock()
    for terminal in (True, False):
        console, stream = shown(terminal=terminal)
        with Progress(1_000, 0, clock=clock, console=console) as progress:
            clock.now += 31
            progress.evaluating(2, 10)
        assert "evaluating 3 of 10" in stream.getvalue()


def test_without_a_terminal_lines_are_occasional() -> None:
    clock = Clock()
    console, stream = shown(terminal=False)
    with Progress(1_000, 0, clock=clock, console=console) as progress:
        for step in range(100):
            clock.now += 1
            progress.update(record(step, step))
        assert len(stream.getvalue().splitlines()) == 3  # one each 30 seconds
        progress.evaluated(zero_shot=1.0, adapted=None)
        progress.note("brackets [stay] as they are")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert "zero-shot 1.0" in lines[3]
    assert "adapted" not in lines[3]
    assert lines[4] == "brackets [stay] as they are"
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_a_bar_and_one_last_line() -> None:
    clock = Clock()
    console, stream = shown(terminal=True)
    with Progress(1_000, 0, clock=clock, console=console) as progress:
        clock.now += 1
        progress.update(record(500, 5, collect_seconds=1))
        progress.evaluated(zero_shot=2.0, adapted=3.0)
    progress.close()
    text = stream.getvalue()
    assert "━" in text
    assert text.rstrip().endswith("zero-shot 2.0 | adapted 3.0 | 1 s of training left")


def test_an_error_takes_the_bar_away() -> None:
    console, stream = shown(terminal=True)
    with pytest.raises(KeyError), Progress(10, 0, clock=Clock(), console=console):
        raise KeyError
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is shown again


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10, 0) as progress:
        progress.note("hello")
        progress.evaluated(zero_shot=1.0, adapted=None)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hello\n")
