"""A process that makes one run of a study: it begins or continues the run, and ends when the study does.

What is to be done comes as one line of JSON on standard input, which then stays open: it closes when the process that
runs the study ends, however that ends. The run is saved then, as after Ctrl-C, and goes on from there another time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mql.api.families import check_same_tasks, source_of
from mql.api.training import Job, create_run
from mql.config.schema import Config
from mql.errors import UserError
from mql.runs.listing import is_locked
from mql.runs.run_dir import RunDir
from mql.tasks.definitions.file import read_definition
from mql.threads import keep_freed_memory
from mql.training.loop import Interrupted

SAVING_SECONDS = 60.0  # for saving, once the study has ended; then the process ends as it is
_INPUT = 0  # the descriptor of standard input
FINISHED, BUG, MISTAKE, STOPPED = 0, 1, 2, 130  # exit statuses, as those of the command line


def main() -> int:
    """Make the run that standard input describes, and return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that runs the study
    line = first_line()
    if line is None:
        return STOPPED  # the study ended before it said what is to be done
    threading.Thread(target=end_with_the_study, daemon=True).start()
    return make(json.loads(line))


def make(wanted: Mapping[str, Any]) -> int:
    """Make the run that `open_run` opens, print in a line how it ended unless it is finished, and return its status."""
    try:
        with open_run(wanted) as job:
            job.finish(progress=False)
    except Interrupted as stop:
        print(f"stopped and saved after {stop.env_steps:,} env steps", flush=True)
        return STOPPED
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return STOPPED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return MISTAKE
    except Exception:
        traceback.print_exc()
        return BUG
    return FINISHED


def open_run(wanted: Mapping[str, Any]) -> Job:
    """Open the run: a new one, or the one that is there already with its own configuration.

    Args:
        wanted: ``run_dir``, ``config`` (resolved), ``definition`` (path and digest, or None), ``trust``, ``command``.

    Raises:
        UserError: it can't be made, or its folder can't be read.
    """
    path = Path(wanted["run_dir"])
    keep_freed_memory()
    _wait_for_the_last_one(path)
    if (path / "environment.json").is_file():
        run, resume = RunDir.open_for_resume(path), True
    else:
        config = Config.model_validate(wanted["config"])
        definition = None
        if wanted["definition"] is not None:
            definition = Path(wanted["definition"][0])
            if read_definition(definition).digest != wanted["definition"][1]:
                what = "the definition has changed since the study was started"
                raise UserError(what, where=str(definition), mend="restore it, or use another --dir")
        run, resume = (
            create_run(
                config,
                path,
                definition=definition,
                trust=wanted["trust"],
                check=False,  # it was done once for all runs
                command=wanted["command"],
            ),
            False,
        )
    try:
        source = source_of(run, trust=wanted["trust"])
        check_same_tasks(run, source.family)
        return Job(run, run.config, source, resume=resume)
    except BaseException:
        run.close()
        raise


def _wait_for_the_last_one(path: Path) -> None:
    """Wait for the process of a study that was killed a moment ago: it may still be saving this run."""
    end = time.monotonic() + SAVING_SECONDS + 5.0
    while is_locked(path) and time.monotonic() < end:
        time.sleep(0.2)


def first_line() -> bytes | None:
    """Read the first line of standard input; None: it closes before one is complete."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(_INPUT, 65_536)
        if not more:
            return None
        line += more
    return line


def end_with_the_study() -> None:
    """Wait until the process that runs the study ends, then save and end, too."""
    while os.read(_INPUT, 1):  # (not sys.stdin, whose lock a thread must not hold when Python ends)
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SAVING_SECONDS)
    os._exit(STOPPED)
