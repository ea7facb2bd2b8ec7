"""How long a run's training takes on this machine, from slices of it.

Training is the same bit for bit wherever its checkpoints are continued, so that how good a run is can be found out on a
machine that is shared, and how long it takes afterwards, on an idle one: from some of its checkpoints a few iterations
are made anew and timed. Nothing is written into the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from mql.api.families import check_same_tasks, family_of
from mql.bench.idle import LOOK_SECONDS, Used, check_idle, used_so_far, wait_and_check
from mql.config.loading import Overrides, override, parse_overrides
from mql.config.schema import Config
from mql.errors import UserError
from mql.runs.machine import describe_environment
from mql.runs.prior_files import read_prior
from mql.runs.run_dir import RunDir
from mql.tasks.family import TaskFamily
from mql.threads import keep_freed_memory, limit_threads
from mql.training.learning import Learning, restore
from mql.training.methods import new_learning
from mql.types import JSON

CHANGEABLE = ("threads", "collect.workers")  # what a run may be timed with instead of its own
Say = Callable[[str], None]


@dataclass(frozen=True)
class Slice:
    """Iterations that were timed from `env_steps` on: how many steps they collected, and seconds of each part.

    ``once_seconds`` is what the first iteration, which is none of them, took longer for its updates: behind a
    checkpoint the states of all stored episodes are computed.
    """

    env_steps: int
    iterations: int
    collected: int
    updates: int
    collect_seconds: float
    update_seconds: float
    once_seconds: float

    @property
    def seconds_per_step(self) -> float:
        """Seconds of training for one env step."""
        return (self.collect_seconds + self.update_seconds) / self.collected

    def to_json(self) -> dict[str, JSON]:
        """Return it as it stands in time.json."""
        return {
            "env_steps": self.env_steps,
            "iterations": self.iterations,
            "collected": self.collected,
            "updates": self.updates,
            "collect_seconds": self.collect_seconds,
            "update_seconds": self.update_seconds,
            "once_seconds": self.once_seconds,
        }


def time_run(
    path: Path,
    *,
    iterations: int = 5,
    slices: int = 4,
    settings: Overrides | None = None,
    trust: bool = False,
    say: Say = lambda _: None,
    look_seconds: float = LOOK_SECONDS,
    read: Callable[[], Used] = used_so_far,
) -> dict[str, JSON]:
    """Time a run on this machine, which has to be idle, and return what `time.json` holds.

    Args:
        path: the run's folder; its checkpoints are only read.
        iterations: that count, of each slice.
        slices: checkpoints that are timed from, spread over those that the run keeps; the random steps come besides.
        settings: ``threads`` and ``collect.workers`` to time with; those of the run, where they are not given.
        trust: the Python of the run's own definition may be run.
        say: is told what is done now.
        look_seconds: how long it is looked first whether the machine is idle.
        read: what the machine has used so far.

    Raises:
        UserError: the machine is not idle, the run has no checkpoint, or a setting that may not be changed.
    """
    run = RunDir.open_readonly(path)
    config = _config(run, settings)
    others = [wait_and_check(look_seconds, read=read)]
    limit_threads(config.threads)
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    family = family_of(run, trust=trust)
    check_same_tasks(run, family)
    timed: list[Slice] = []
    evaluated: float | None = None
    last_evaluated: float | None = None
    chosen = chosen_checkpoints(run.checkpoints(), slices)
    if not chosen:
        mend = "give a run that keeps its checkpoints"
        raise UserError("the run has no checkpoint to time from", where=str(path), mend=mend)
    random_steps = config.train.random_steps
    for env_steps in [0, *chosen] if random_steps else chosen:
        say(f"from {env_steps:,} env steps")
        learning = _learning(config, family, run, env_steps)
        before = read()
        timed.append(
            time_slice(learning, iterations) if env_steps else time_random_steps(learning, iterations, random_steps)
        )
        others.append(check_idle(before, read()))
        if env_steps == chosen[-1]:
            say("an evaluation while training, and the final one")
            before = read()
            evaluated, last_evaluated = (_time_evaluation(learning, final=final) for final in (False, True))
            others.append(check_idle(before, read()))
    assert evaluated is not None and last_evaluated is not None
    evaluations = max(len(run.read_evaluations()) - 1, 0)
    once = fmean(each.once_seconds for each in timed if each.env_steps)
    training = training_seconds(timed, env_steps=config.train.env_steps, random_steps=random_steps)
    training += (config.train.env_steps // config.train.checkpoint_every) * once
    facts = describe_environment([])
    return {
        "env_steps": config.train.env_steps,
        "wall_seconds": training + evaluations * evaluated + last_evaluated,
        "training_seconds": training,
        "env_steps_per_s": config.train.env_steps / training,
        "evaluations": evaluations,
        "evaluation_seconds": evaluated,
        "final_evaluation_seconds": last_evaluated,
        "threads": config.threads,
        "workers": config.workers,
        "slices": [each.to_json() for each in timed],
        "others_used_cores": max(others),
        "machine": facts["machine"],
        "versions": facts["versions"],
        "git_commit": facts["git_commit"],
        "git_changes": facts["git_changes"],
        "date": datetime.now(UTC).date().isoformat(),
    }


def chosen_checkpoints(known: Sequence[int], slices: int) -> list[int]:
    """Return up to `slices` of the checkpoints, evenly spread, the newest among them; the one that a fork begins with
    is none of its own training."""
    later = [steps for steps in known if steps > 0]
    places = np.linspace(len(later) - 1, 0, min(slices, len(later)))
    return sorted({later[round(float(place))] for place in places})


def training_seconds(timed: Sequence[Slice], *, env_steps: int, random_steps: int) -> float:
    """Return the seconds of a whole training: random steps at the speed of the first slice, the others at that of the
    slices from checkpoints, straight lines between these and level before and behind them.

    Args:
        timed: slices by env steps; the first one at 0, where there are random steps.
        env_steps, random_steps: of the run.
    """
    random = [each for each in timed if each.env_steps == 0]
    learned = [each for each in timed if each.env_steps > 0]
    begin = min(random_steps, env_steps) if random else 0
    grid = np.unique([begin, *(s.env_steps for s in learned if begin < s.env_steps < env_steps), env_steps])
    speed = np.interp(grid, [s.env_steps for s in learned], [s.seconds_per_step for s in learned])
    later = float(np.sum(np.diff(grid) * (speed[1:] + speed[:-1]) / 2))
    return later + (begin * random[0].seconds_per_step if random else 0.0)


def _config(run: RunDir, settings: Overrides | None) -> Config:
    given: Mapping[str, object] = {} if settings is None else parse_overrides(settings)
    for key in given:
        if key not in CHANGEABLE:
            mend = f"only {' and '.join(CHANGEABLE)} may differ from the run's"
            raise UserError(f"{key} is not for timing", where=f"--set {key}", mend=mend)
    return run.config if settings is None else override(run.config, settings)


def _learning(config: Config, family: TaskFamily, run: RunDir, env_steps: int) -> Learning:
    learning = new_learning(config, family, read_prior(run))
    if env_steps:
        restore(learning, run.load_checkpoint(env_steps))
    return learning


def time_random_steps(learning: Learning, iterations: int, random_steps: int) -> Slice:
    """Time collecting at a training's start; an iteration goes before, if there are random steps for more than one."""
    first = learning.iterate()
    seconds, steps, timed = first.collect_seconds, learning.env_steps, 1
    if learning.env_steps < random_steps:
        seconds, steps, timed, last = 0.0, 0, 0, first
        while timed < iterations and learning.env_steps < random_steps:
            before, iteration = learning.env_steps, learning.iterate()
            # (With train.collection_lag they were played in the place of updates of the one before, which made none.)
            seconds += last.update_seconds + iteration.collect_seconds
            steps, timed, last = steps + learning.env_steps - before, timed + 1, iteration
    return Slice(0, timed, steps, 0, seconds, 0.0, 0.0)


def time_slice(learning: Learning, iterations: int) -> Slice:
    """Time some iterations after a first one, in which caches fill."""
    begin, first = learning.env_steps, learning.iterate()
    steps, updates, collecting, updating = learning.env_steps, learning.updates, 0.0, 0.0
    for _ in range(iterations):
        iteration = learning.iterate()
        collecting += iteration.collect_seconds
        updating += iteration.update_seconds
    return Slice(
        env_steps=begin,
        iterations=iterations,
        collected=learning.env_steps - steps,
        updates=learning.updates - updates,
        collect_seconds=collecting,
        update_seconds=updating,
        once_seconds=max(first.update_seconds - updating / iterations, 0.0),
    )


def _time_evaluation(learning: Learning, *, final: bool) -> float:
    begun = time.perf_counter()
    learning.evaluate(final=final, with_random=final)
    return time.perf_counter() - begun
