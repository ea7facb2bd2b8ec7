"""To the robot and back, whole: train in simulation, export, log on the robot, adapt from the log, and try again.

    python examples/desk_arm/to_the_robot.py -o runs/desk-arm            # some quarter of an hour on two idle cores
    python examples/desk_arm/to_the_robot.py -o /tmp/desk-arm --quick    # a minute: that it runs, not what it learns

Ten robots of one kind stand for one in the lab (real_robot.py): what each carries is heavier than anything in training,
and its joints rub as none does there. Only exported folders go to them, and only logs come back. For each of them:

1. The zero-shot policy runs for some trials, with a little noise, and leaves a log.
2. `mql data check` looks at the log, `mql adapt --data` learns from it, `mql export` writes what goes back.
3. The new policy and the one before run from the same starts to the same targets. The better one is kept, since what is
   learned from a log alone may be worse. Then the next round, which learns from all logs so far.
4. In the end the zero-shot policy and the kept one are compared, from starts and to targets that nobody has seen.

What is done is what one would type: every command is added to commands.txt. A stage whose output is there is skipped,
so the script goes on where it was stopped. It writes results.json and before-and-after.png.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

import mql
from mql.data.fitting import fit
from mql.data.reading import read
from mql.evaluation.statistics import LEAST_FOR_INTERVAL

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from real_robot import JOINTS, TARGET_MIDDLE, tool_place  # noqa: E402

COLUMNS = HERE / "columns.yaml"
NOISE = 0.1  # of actions while a log is recorded to be learned from; 1 is the end of a joint's range
LEARN, TRY, COMPARE = 1000, 2000, 3000  # seeds of starts and targets: none is used for two ends
AT_THE_END = 10  # control steps over which the last distance is averaged


@dataclass(frozen=True)
class Plan:
    """How much of everything there is."""

    robots: int = 10
    rounds: int = 2
    logged: int = 20  # trials of a round that are there to be learned from
    tried: int = 5  # by which policies are told apart
    compared: int = 20  # in the end
    train: tuple[str, ...] = ()
    adapt: tuple[str, ...] = ("adapt.method=finetune", "adapt.round_updates=1000", "adapt.round_lr=1e-3")


QUICK = Plan(
    robots=2,
    rounds=1,
    logged=2,
    tried=1,
    compared=2,
    train=(
        "train.env_steps=1200",
        "train.anneal_steps=0",
        "train.random_steps=600",
        "train.evaluate_every=1200",
        "train.checkpoint_every=1200",
        "evaluate.final_tasks=2",
        "agent.hidden_sizes=[16]",
        "agent.context_dim=4",
    ),
    adapt=("adapt.method=finetune", "adapt.round_updates=4", "adapt.round_batch_size=32"),
)


class Work:
    """The folder that everything is written to, and the commands that were run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.begun = folder, time.perf_counter()
        folder.mkdir(parents=True, exist_ok=True)
        self.seconds: dict[str, float] = {}

    def say(self, text: str) -> None:
        print(f"{time.perf_counter() - self.begun:6.0f} s  {text}", flush=True)

    def stage(self, name: str, text: str, begun: float) -> None:
        """Say that a stage is done, and remember how long it took."""
        self.seconds[name] = time.perf_counter() - begun
        self.say(f"{name}: {text} ({self.seconds[name]:.0f} s)")

    def run(self, *command: object, threads: int = 1) -> None:
        """Run a command of Python's, such as ``-m mql ...``; what it prints is added to output.txt.

        Raises:
            SystemExit: it failed; its last lines are shown.
        """
        words = [str(word) for word in command]
        with (self.folder / "commands.txt").open("a") as file:
            file.write(shlex.join(["mql", *words[2:]] if words[:2] == ["-m", "mql"] else ["python", *words]) + "\n")
        env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)
        with (self.folder / "output.txt").open("a") as file:
            file.write(f"$ {shlex.join(words)}\n{done.stdout}{done.stderr}\n")
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise SystemExit(f"{shlex.join(words)} ended with status {done.returncode}:\n{last}")

    def mql(self, *command: object, threads: int = 1) -> None:
        """Run a command of mql's."""
        self.run("-m", "mql", *command, threads=threads)


def train(work: Work, plan: Plan, cores: int) -> Path:
    """Meta-train, or go on with it where it was stopped; return the run."""
    run = work.folder / "run"
    if run.exists():
        if not mql.open_run(run).finished:
            work.mql("train", HERE / "desk-reach-experiment.yaml", "--run-dir", run, "--resume", threads=cores)
        return run
    settings = ("--set", f"threads={min(cores, 2)}", *plan.train)
    work.mql("train", HERE / "desk-reach-experiment.yaml", "--run-dir", run, *settings, threads=cores)
    return run


def exported(work: Work, source: Path, folder: Path) -> Path:
    """Export a run or an adapted agent to `folder`, unless it is there."""
    if not folder.exists():
        work.mql("export", source, "-o", folder)
    return folder


def logged(work: Work, policy: Path, robot: int, log: Path, *, trials: int, seed: int, noise: float = 0.0) -> Path:
    """Let a robot run a policy and write `log`, unless it is there."""
    if not log.exists():
        options = ("--trials", trials, "--seed", seed, "--noise", noise, "-o", log)
        work.run(HERE / "real_robot.py", policy, "--robot", robot, *options)
    return log


def on_one_robot(work: Work, plan: Plan, run: Path, zero_shot: Path, robot: int) -> dict[str, Any]:
    """Log, adapt and try out for some rounds on one robot; return how the kept policy compares with zero-shot."""
    folder = work.folder / f"robot-{robot}"
    folder.mkdir(exist_ok=True)
    kept, kept_round, rounds = zero_shot, 0, []
    tried = logged(work, kept, robot, folder / "tried-0.csv", trials=plan.tried, seed=TRY)
    logs = [tried]
    for number in range(1, plan.rounds + 1):
        adapted, seed = folder / f"adapted-{number}", LEARN + number
        log = folder / f"log-{number}.csv"
        logs.append(logged(work, kept, robot, log, trials=plan.logged, seed=seed, noise=NOISE))
        if not adapted.exists():
            if number == 1:  # later ones come from the same recorder
                work.mql("data", "check", log, "--columns", COLUMNS, "--family", HERE / "desk-reach.yaml")
            work.mql("adapt", run, "--data", *logs, "--columns", COLUMNS, "--out", adapted, "--set", *plan.adapt)
        policy = exported(work, adapted, folder / f"exported-{number}")
        again = logged(work, policy, robot, folder / f"tried-{number}.csv", trials=plan.tried, seed=TRY)
        logs.append(again)
        before, after = returns(run, tried), returns(run, again)
        better = bool(after.mean() > before.mean())
        rounds.append({"before": float(before.mean()), "after": float(after.mean()), "kept": better})
        if better:
            kept, kept_round, tried = policy, number, again
    found: dict[str, Any] = {"robot": robot, "kept_round": kept_round, "rounds": rounds}
    for name, policy in {"zero_shot": zero_shot, "adapted": kept}.items():
        log = logged(work, policy, robot, folder / f"compared-{name}.csv", trials=plan.compared, seed=COMPARE)
        found[name] = {"return": float(returns(run, log).mean()), "last_distance_cm": 100 * last_distance(log)}
    return found


def returns(run: Path, log: Path) -> np.ndarray:
    """Return what each trial of a log was worth, [trials], by the family's own reward."""
    family = mql.open_run(run).family
    return np.array([episode.episode_return for episode in fit(family, read(log, columns=COLUMNS)).episodes])


def last_distance(log: Path) -> float:
    """Return how far the tool is from the target at the end of a trial, m, the mean of a log's trials."""
    by_trial: dict[str, list[float]] = {}
    with log.open(newline="") as file:
        for row in csv.DictReader(file):
            tool = tool_place(np.radians([float(row[f"{joint}_deg"]) for joint in JOINTS]))
            target = TARGET_MIDDLE + np.array([0.0, float(row["task.target_y"]), float(row["task.target_z"])])
            by_trial.setdefault(row["trial"], []).append(float(np.linalg.norm(tool - target)))
    return float(np.mean([np.mean(distances[-AT_THE_END:]) for distances in by_trial.values()]))


def summary(robots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means over robots, and the paired gain with its 95 % interval by Student's t."""
    found: dict[str, Any] = {}
    for key in ("return", "last_distance_cm"):
        before, after = (np.array([each[name][key] for each in robots]) for name in ("zero_shot", "adapted"))
        gain = after - before
        few = len(gain) < LEAST_FOR_INTERVAL
        half = 0.0 if few else stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
        found[key] = {
            "zero_shot": float(before.mean()),
            "adapted": float(after.mean()),
            "change": float(gain.mean()),
            "ci95": None if few else [float(gain.mean() - half), float(gain.mean() + half)],
        }
    return found


def draw(robots: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a robot in each row, from the zero-shot policy to the adapted one."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.32 * len(robots) + 1.4), sharey=True, layout="constrained")
    for axis, (key, label) in zip(axes, TITLES.items(), strict=True):
        for place, each in enumerate(robots):
            before, after = each["zero_shot"][key], each["adapted"][key]
            axis.plot([before, after], [place, place], color="0.75", linewidth=2, zorder=1)
            axis.scatter([before], [place], color="0.45", zorder=2, label="zero-shot" if not place else None)
            axis.scatter([after], [place], color="tab:blue", zorder=3, label="adapted" if not place else None)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(robots)), [f"robot {each['robot']}" for each in robots])
    axes[0].legend(frameon=False, loc="best")
    figure.savefig(path, dpi=120)
    plt.close(figure)


TITLES = {"return": "return, a trial of 3 s", "last_distance_cm": "distance from the target at the end, cm"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Do all stages that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/desk-arm"), help="folder for everything")
    parser.add_argument("--quick", action="store_true", help="tiny: only to see that it runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="robots at a time, and threads to train")
    given = parser.parse_args(arguments)
    plan, work = QUICK if given.quick else Plan(), Work(given.out)

    begun = time.perf_counter()
    run = train(work, plan, given.jobs)
    work.stage("train", str(run), begun)
    begun, page = time.perf_counter(), work.folder / "report.html"
    if not page.exists():
        work.mql("report", run, "-o", page)
    work.stage("report", str(page), begun)
    begun = time.perf_counter()
    zero_shot = exported(work, run, work.folder / "zero-shot")
    work.stage("export", str(zero_shot), begun)
    begun = time.perf_counter()
    robots: list[dict[str, Any]] = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for each in pool.map(lambda robot: on_one_robot(work, plan, run, zero_shot, robot), range(plan.robots)):
            robots.append(each)
            before, after = each["zero_shot"]["return"], each["adapted"]["return"]
            work.say(f"robot {each['robot']}: return {before:.1f} to {after:.1f}, round {each['kept_round']} kept")
    work.stage("robots", f"{plan.robots} robots, {plan.rounds} rounds", begun)
    found = summary(robots)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = {
        "seconds": work.seconds,
        "total": time.perf_counter() - work.begun,
        "processor_seconds": used.ru_utime + used.ru_stime,  # what it would take on one idle core
    }
    results = {"plan": {**vars(plan)}, "summary": found, "robots": robots, **seconds}
    (work.folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(robots, work.folder / "before-and-after.png")
    for key, each in found.items():
        ends = f": {each['ci95'][0]:+.2f} to {each['ci95'][1]:+.2f}" if each["ci95"] else ", too few for an interval"
        line = f"{TITLES[key]}: {each['zero_shot']:.2f} zero-shot, {each['adapted']:.2f} adapted"
        print(f"{line}, change {each['change']:+.2f} (95 % over {plan.robots} robots{ends})")
    took = f"{seconds['total'] / 60:.1f} min, {seconds['processor_seconds'] / 60:.1f} min of one processor"
    print(f"all of this took {took}; results.json and before-and-after.png are in {work.folder}")


if __name__ == "__main__":
    main()
