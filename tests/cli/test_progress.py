"""What the progress display says, with a clock and a console of the tests' own."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mql.cli.progress import Progress, header


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


def test_rates_and_time_left() -> None:
    clock = Clock()
    progress = Progress(10_000, clock=clock, console=shown(terminal=False)[0])
    assert progress.status() == "0/10,000 env steps"
    clock.now += 10
    progress.update(env_steps=1_000, updates=25)
    assert progress.status() == "1,000/10,000 env steps | 100 env steps/s | 2.5 updates/s | 1 min 30 s left"
    progress.evaluated(zero_shot=-12.345, adapted=-1.5)
    assert "| zero-shot -12.3 | adapted -1.5 | 1 min 30 s left" in progress.status()
    clock.now += 90
    progress.update(env_steps=10_000, updates=250)
    assert "left" not in progress.status()


def test_rates_forget_the_past() -> None:
    """Fast random steps at the start say nothing about the steps with updates that follow."""
    clock = Clock()
    progress = Progress(1_000_000, clock=clock, console=shown(terminal=False)[0])
    clock.now += 10
    progress.update(env_steps=500_000, updates=0)
    for minute in range(1, 4):
        clock.now += 60
        progress.update(env_steps=500_000 + 600 * minute, updates=60 * minute)
    assert "| 10 env steps/s | 1.0 updates/s | 13 h 50 min left" in progress.status()


def test_a_resumed_run_counts_from_where_it_goes_on() -> None:
    clock = Clock()
    progress = Progress(1_000, env_steps=900, updates=400, clock=clock, console=shown(terminal=False)[0])
    clock.now += 1
    progress.update(env_steps=910, updates=402)
    assert progress.status() == "910/1,000 env steps | 10 env steps/s | 2.0 updates/s | 9 s left"


def test_without_a_terminal_lines_are_occasional() -> None:
    clock = Clock()
    console, stream = shown(terminal=False)
    with Progress(1_000, clock=clock, console=console) as progress:
        for step in range(100):
            clock.now += 1
            progress.update(env_steps=step, updates=step)
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
    with Progress(1_000, clock=clock, console=console) as progress:
        clock.now += 1
        progress.update(env_steps=500, updates=5)
        progress.evaluated(zero_shot=2.0, adapted=3.0)
    progress.close()
    text = stream.getvalue()
    assert "━" in text
    assert text.rstrip().endswith("zero-shot 2.0 | adapted 3.0 | 1 s left")


def test_an_error_takes_the_bar_away() -> None:
    console, stream = shown(terminal=True)
    with pytest.raises(KeyError), Progress(10, clock=Clock(), console=console):
        raise KeyError
    assert "\x1b[?25h" in stream.getvalue()  # the cursor is shown again


def test_nothing_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(10) as progress:
        progress.note("hello")
        progress.evaluated(zero_shot=1.0, adapted=None)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("hello\n")
