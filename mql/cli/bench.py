"""`mql bench`: measure one part of the program on this machine, and print the figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from mql.bench import (
    acting,
    adaptation,
    collecting,
    controller,
    growth,
    gru,
    learner,
    p3o,
    peer,
    population,
    q_learning,
    replay,
    simulation,
)
from mql.bench.timing import Results, describe_machine, measure_sgemm, usable_cores
from mql.cli.tables import WIDTH_OF_A_FILE, print_json
from mql.errors import UserError, nearest
from mql.threads import keep_freed_memory, limit_threads

PARTS: Mapping[str, Callable[..., Results]] = {
    "learner": learner.measure,
    "gru": gru.measure,
    "replay": replay.measure,
    "simulation": simulation.measure,
    "acting": acting.measure,
    "adaptation": adaptation.measure,
    "growth": growth.measure,
    "controller": controller.measure,
    "p3o": p3o.measure,
    "q-learning": q_learning.measure,
    "collecting": collecting.measure,
    "population": population.measure,
    "peer": peer.measure,
}
# Parts that options change, and the options that are not the peer's.
_SIZED: Mapping[str, Any] = {"learner": learner.FULL, "population": population.FULL, "peer": peer.FULL}
_PARTS_OF = {"device": ("learner", "population"), "agents": ("population",)}
ON_ONE_THREAD = ("acting", "controller", "q-learning", "population")  # as a control loop, a lane of DQN, a learner
PROFILE = "fast"  # every part measures it; what belongs to the paper's alone is named so in the results

# The unit of a figure, by how its name (or that of the group it stands in) begins or ends; all others are ratios.
UNITS_BY_BEGINNING = {
    "update_ms": "ms",
    "env_steps_per_s": "env steps/s",
    "zero_shot": "return",
    "adapted": "return",
}
UNITS_BY_ENDING = {
    "score_s_per_million": "s per 10^6",
    "sgemm_gflops": "GFLOP/s",
    "min_weight": "weight",
    "transitions": "transitions",
    "bytes": "bytes",
    "exponent": "exponent",
    "env_steps_per_s": "env steps/s",
    "vector_env_steps_per_s": "env steps/s",
    "env_steps": "env steps",
    "episodes_per_trial": "episodes",
    "updates_per_iteration": "updates",
    "workers": "workers",
    "agents": "agents",
    "held_out_tasks": "tasks",
    "transitions_per_s": "transitions/s",
    "updates_per_s": "updates/s",
    "_us": "µs",
    "_mb": "MB",
    "_ms": "ms",
    "_s": "s",
}


def bench(part: str, *, threads: int | None, as_json: bool, options: Mapping[str, str | int | None]) -> None:
    """Do what `mql bench` does; the arguments are the command's, and those of single parts in `options`.

    Raises:
        UserError: there is no such part, an option is not for it, or a peer's package is missing.
    """
    if part not in PARTS:
        raise UserError(f"there is no benchmark {part!r}", where="mql bench", mend=nearest(part, PARTS))
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        parts = _PARTS_OF.get(name, ("peer",))
        if part not in parts:
            what = f"--{name.replace('_', '-')} is an option of {' and '.join(parts)}"
            raise UserError(what, where=f"mql bench {part}", mend="leave it out")
    report = run(part, threads or usable_cores(), **given)
    if as_json:
        print_json(report)
    else:
        print_report(report)


def run(part: str, threads: int, **sizes: Any) -> Results:
    """Measure one part on `threads` threads and return the JSON value of the contract; `sizes` are some of its own."""
    threads = 1 if part in ON_ONE_THREAD else threads
    keep_freed_memory()
    limit_threads(threads)
    results = PARTS[part](threads, **({"sizes": replace(_SIZED[part], **sizes)} if sizes else {}))
    # A part that compares itself with the machine's limit has measured it in turn with its own figures.
    sgemm_gflops = results.get("sgemm_gflops") or measure_sgemm()
    machine = describe_machine(threads, sgemm_gflops)
    return {"benchmark": part, "profile": PROFILE, "machine": machine, "results": results}


def print_report(report: Results) -> None:
    """Print a table: a line for each figure."""
    subject = report["results"].get("family", f"{report['profile']} profile")
    table = Table(title=f"{report['benchmark']}, {subject}", title_justify="left")
    table.add_column(report["benchmark"], no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    for path, value in flatten(report["results"]):
        table.add_row(" ".join(path), number(value), unit(path))
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False)
    console.print(table)
    facts = "{cpu}, {cores} cores, {threads} threads, {sgemm_gflops:.1f} GFLOP/s in a 2048^3 product, kernels {kernels}"
    console.print(facts.format(**report["machine"]))


def flatten(results: Results, *names: str) -> Iterator[tuple[tuple[str, ...], float]]:
    """Yield every figure with the names that lead to it; a peer's evaluation and its family are none."""
    for name, value in results.items():
        if isinstance(value, dict) and name != "evaluation":
            yield from flatten(value, *names, name)
        elif isinstance(value, int | float):
            yield (*names, name), value


def number(value: float) -> str:
    """Write a figure: whole from a thousand on, else with four digits."""
    return f"{value:,.0f}" if isinstance(value, int) or value >= 1000 else f"{value:.4g}"


def unit(path: tuple[str, ...]) -> str:
    """Say what a figure is counted in."""
    for beginning, text in UNITS_BY_BEGINNING.items():
        if path[0].startswith(beginning):
            return text
    return next((text for ending, text in UNITS_BY_ENDING.items() if path[-1].endswith(ending)), "ratio")
