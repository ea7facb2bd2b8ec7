"""`mql robots`: list, show, check and draw robots.

A model that nobody knows can crash MuJoCo: it is compiled in a worker process only, and a crash becomes one line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.text import Text

from mql.cli.results import tell, tell_aside
from mql.cli.tables import print_checks, print_json, print_robot, print_robots, tally
from mql.collecting.workers import WorkerLost, Workers
from mql.errors import UserError
from mql.files import user_errors, write_atomic
from mql.films.opengl import open_opengl
from mql.plain_text import plain
from mql.robots import registry
from mql.robots.spec import RobotSpec

if TYPE_CHECKING:
    from mql.robots.checks.run import CheckResult
    from mql.robots.drawing.shot import Shot

_CHECK_SECONDS = 120.0  # for one check; the largest robots take a second
_MODEL_SECONDS = 300.0  # to compile and to draw one
Answer = TypeVar("Answer")


def list_robots(*, as_json: bool) -> None:
    """Do what `mql robots list` does."""
    rows = [registry.load(name).summary_row() for name in registry.names()]
    print_json(rows) if as_json else print_robots(rows)


def show(name: str, *, menagerie: Path | None, as_json: bool) -> None:
    """Do what `mql robots show` does; that a model is missing, or can't be taken, is said on standard error.

    Raises:
        UserError: there is no such robot, or its file is wrong.
    """
    spec = registry.load(name, menagerie)
    description = spec.describe() | {"path": None, "model": None}
    try:
        description["path"] = str(spec.path())
    except UserError as error:
        tell_aside(f"the model is missing: {error}")
    else:
        try:
            description["model"] = _in_a_process(_contents, name, menagerie, does="reads the model")
        except UserError as error:
            tell_aside(f"what the model holds is not known: {error}")
    print_json(description) if as_json else print_robot(description)


def check(names: Sequence[str], *, menagerie: Path | None, as_json: bool) -> int:
    """Do what `mql robots check` does; return the exit status, 2 where a check fails.

    Raises:
        UserError: a name stands for no robot. A file that is wrong is a check that fails.
    """
    chosen = list(dict.fromkeys(names)) or registry.names()
    for name in chosen:
        registry.check_name(name)
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    opengl = open_opengl()
    tables, failures = [], 0
    for number, name in enumerate(chosen, start=1):
        begin = time.monotonic()
        lines = list(_check_robot(name, menagerie, opengl=opengl))
        seconds = time.monotonic() - begin
        tables.append((name, seconds, [line.to_json() for line in lines]))
        failures += sum(line.result == "fail" for line in lines)
        counts = tally(line.result for line in lines)
        console.print(Text(plain(f"{number}/{len(chosen)} {name}: {counts} ({seconds:.1f} s)")))
    if as_json:
        print_json([line for _, _, results in tables for line in results])
    else:
        print_checks(tables, subject="robot")
    return 2 if failures else 0


def render(name: str, *, out: Path, menagerie: Path | None, camera: str | None, size: str | None) -> None:
    """Do what `mql robots render` does.

    Raises:
        UserError: there is no such robot, `out` is no .png, or nothing can be drawn or written.
    """
    registry.check_name(name)
    from mql.robots.drawing.shot import shot_of

    shot = shot_of(camera, size)
    if out.suffix.lower() != ".png":
        raise UserError(f"can't write a picture to {str(out)!r}", where="--out", mend="give a name that ends in .png")
    if not out.parent.is_dir():
        raise UserError("there is no such folder", where=str(out.parent), mend="create it, or choose another --out")
    open_opengl()
    answer = _in_a_process(_draw, name, menagerie, shot, does="draws the picture")
    with user_errors(out):
        write_atomic(out, answer)
    tell(f"written: {out}")


def _in_a_process(job: Callable[..., Answer], name: str, *arguments: object, does: str) -> Answer:
    """Return what a job with a robot's model answers in a worker process.

    Raises:
        UserError: the process died; or what the job raises.
    """
    workers = Workers(1)
    try:
        answer = workers.bound(job, timeout=_MODEL_SECONDS)(name, *arguments)
    finally:
        workers.close()
    if isinstance(answer, WorkerLost):
        mend = f"{answer}; see 'mql robots check {name}'"
        raise UserError(f"the process that {does} died", where=f"robot {name}", mend=mend)
    done: Answer = answer
    return done


def _check_robot(name: str, menagerie: Path | None, *, opengl: bool) -> Iterator[CheckResult]:
    """Do the checks of one robot in a process of its own, until one fails without which the others are of no use."""
    from mql.robots.checks.run import CheckResult, goes_on
    from mql.robots.checks.verdict import Verdict, failed
    from mql.robots.inspection import Inspection
    from mql.tasks.checks.robot import ROBOT_CHECKS, run_robot_check

    inspection = Inspection(partial(_load, name, menagerie), opengl)
    workers = Workers(1)
    try:
        # What comes with every job is kept by the worker: the model is read and compiled once for all checks.
        verdict_of = workers.bound(run_robot_check, inspection, timeout=_CHECK_SECONDS)
        for each in ROBOT_CHECKS:
            answer = verdict_of(each)
            verdict = answer if isinstance(answer, Verdict) else failed(_lost(each, answer))
            yield CheckResult(name, each, verdict.result, verdict.message)
            if not goes_on(each, verdict):
                return
    finally:
        workers.close()


def _lost(check: str, lost: WorkerLost) -> str:
    """Say what became of the process that did a check."""
    if lost.late:
        return f"check {check}: {lost}: make the model smaller, or its timestep longer"
    return f"check {check} ended its process: {str(lost).removeprefix('its process ')}: MuJoCo can't take this model"


def _load(name: str, menagerie: Path | None) -> RobotSpec:
    return registry.load(name, menagerie)


def _contents(name: str, menagerie: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Compile a model and say what it holds, in a worker process."""
    from mql.robots.mjcf.contents import contents

    return contents(registry.load(name, menagerie).compile())


def _draw(name: str, menagerie: Path | None, shot: Shot) -> bytes:
    """Draw in a worker process."""
    from PIL import Image

    from mql.robots.drawing.picture import take_picture

    spec = registry.load(name, menagerie)
    buffer = BytesIO()
    Image.fromarray(take_picture(spec, spec.compile(), shot)).save(buffer, format="png")
    return buffer.getvalue()
