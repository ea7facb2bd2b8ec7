"""Published results, for whoever keeps the folder `results/`: ``python -m mql.cli.publish``.

    page [--check]          write the tables of docs/results.md and README.md, draw what has changed (`make results`)
    add RUN ...             bring finished runs in: copies what is needed, draws, writes the tables
    time RUN [-o FILE]      how long its training takes on this machine, which has to be idle
    agent RUN               put the run's agent into the package (mql/shipped), to be looked at without training

A RUN is a run directory, or a folder that holds some. results/README.md says what lies where.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mql.errors import UserError
from mql.files import to_json, user_errors, write_atomic
from mql.report.published.adding import Added, Beside, add_run, family_name, method_name
from mql.report.published.drawing import draw_family, is_drawn
from mql.report.published.folder import CURVE, NOTES, TIME, Family, read_results, read_seed
from mql.report.published.page import PAGE, README, between_marks, documents, write_documents
from mql.runs.listing import find_runs
from mql.runs.machine import describe_environment
from mql.tasks.families import table

RESULTS = Path("results")
WRITTEN = tuple(map(str, (PAGE, README)))  # by this program itself


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 2 where something is wrong that the user can fix."""
    given = _parser().parse_args(arguments)
    try:
        return int(given.command(given))
    except UserError as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def page(given: argparse.Namespace) -> int:
    """Write the documents and pictures, or say what is not as it should be."""
    families = read_results(given.results)
    root = given.results.resolve().parent
    if not given.check:
        return _write(root, families)
    wrong = [str(family.path / CURVE) for family in families if not _is_drawn(family)]
    for path, made in documents(families, table.names()).items():
        with user_errors(root / path):
            text = (root / path).read_text(encoding="utf-8")
        if between_marks(text, made, where=str(root / path)) != text:
            wrong.append(str(root / path))
    if wrong:
        raise UserError("these are not what results/ says", where=", ".join(wrong), mend="run: make results")
    return 0


def add(given: argparse.Namespace) -> int:
    """Add runs, each of which may be refused alone; the others are added."""
    beside = Beside(given.ood, given.again, given.how, given.idle_seconds)
    runs = [run for path in given.runs for run in _runs(path)]
    if len(runs) != 1 and beside != Beside():
        raise UserError("--ood, --again, --how and --idle-seconds are of one run", mend="add that run alone")
    if given.how is not None and given.again is None:
        raise UserError("--how says how --again FILE was adapted", where="--how", mend="give both")
    refused, changed = 0, False
    for run in runs:
        try:
            added: Added = add_run(
                run,
                given.results,
                name=given.name,
                beside=beside,
                unfinished=given.unfinished,
                replace=given.replace,
            )
        except UserError as error:
            refused = _fail(error)
            continue
        changed = True
        print(f"{added.what}: {added.path}")
        notes = added.path.parents[1] / NOTES
        if added.what == "replaced" and notes.exists():
            print(f"note: check whether {notes} refers to the removed run", file=sys.stderr)
    if changed:
        _write(given.results.resolve().parent, read_results(given.results))
    return refused


def time(given: argparse.Namespace) -> int:
    """Time a run and write the result beside its published figures, or into the file that is named."""
    from mql.bench.run_time import time_run

    seed = read_seed(given.run)
    out = given.out
    if out is None:
        out = given.results / family_name(seed) / method_name(seed, given.name) / TIME
        if not out.parent.is_dir():
            mend = "add the run first, or name a file with -o"
            raise UserError("nothing is published there", where=str(out.parent), mend=mend)
        _check_committed()
    record = time_run(
        given.run,
        iterations=given.iterations,
        slices=given.slices,
        settings=given.settings,
        trust=given.trust,
        say=lambda text: print(text, file=sys.stderr, flush=True),
    )
    with user_errors(out):
        write_atomic(out, to_json(record, indent=1))
    print(f"written: {out} ({record['env_steps_per_s']:,.0f} env steps/s, {record['wall_seconds']:,.0f} s in all)")
    if given.out is None:
        _write(given.results.resolve().parent, read_results(given.results))
    return 0


def agent(given: argparse.Namespace) -> int:
    """Put a run's newest agent into the package, on its first test task."""
    from mql.api.run import open_run
    from mql.shipped import folder_for

    run = open_run(given.run)
    environment = read_seed(given.run).environment
    if not environment.get("git_commit") or environment.get("git_changes"):
        what = "the run is of a program that no commit has"
        raise UserError(what, where=str(given.run), mend="train it from a clean commit")
    adapted = run.adapt(task="test:0", settings={"adapt.method": "context"})
    known = {**adapted.facts, "run": f"{run.config.family}, seed {run.config.seed}"}
    folder = folder_for(run.config.family)
    replace(adapted, facts=known).save(folder, facts={"git_commit": environment["git_commit"]})
    print(f"written: {folder}")
    return 0


def _check_committed() -> None:
    """Refuse to publish times of a program that no commit has.

    Raises:
        UserError: there is no commit, or a file of the program has changed since.
    """
    facts = describe_environment([])
    lines = str(facts["git_changes"] or "").splitlines()
    changed = [line.split(maxsplit=1)[-1] for line in lines]
    changed = [name for name in changed if not name.startswith((*WRITTEN, "results/"))]
    if not facts["git_commit"] or changed:
        what = (
            f"files have changed since the last commit ({', '.join(changed[:3])})" if changed else "there is no commit"
        )
        raise UserError(what, mend="commit first: a published time names the commit that it was measured with")


def _write(root: Path, families: Sequence[Family]) -> int:
    for family in families:
        if not _is_drawn(family):
            try:
                print(f"drawn: {draw_family(family, family.path / CURVE)}")
            except ValueError as error:
                mend = "see whether its seeds belong together"
                raise UserError(f"no picture can be drawn: {error}", where=str(family.path), mend=mend) from error
    for path in write_documents(root, families, table.names()):
        print(f"written: {path}")
    return 0


def _is_drawn(family: Family) -> bool:
    return not family.methods or is_drawn(family, family.path / CURVE)


def _runs(path: Path) -> list[Path]:
    """Return the runs that `path` is or holds."""
    if (path / "environment.json").exists() or not path.is_dir():
        return [path]
    found = list(find_runs(path))
    if not found:
        raise UserError("there is no run in the folder", where=str(path), mend="give a run directory")
    return found


def _fail(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mql.cli.publish", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="page|add|time|agent")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--results", type=Path, default=RESULTS, help="the folder of results (%(default)s)")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--as", dest="name", metavar="NAME", help="of the method's folder, such as mql-600k")

    one = commands.add_parser("page", parents=[shared], help="write the tables, draw the pictures")
    one.add_argument("--check", action="store_true", help="write nothing; fail where something is not up to date")
    one.set_defaults(command=page)

    one = commands.add_parser("add", parents=[shared, named], help="bring finished runs in")
    one.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run directory, or a folder that holds some")
    one.add_argument("--ood", type=Path, metavar="FILE", help="mql evaluate RUN --split ood --json")
    one.add_argument("--again", type=Path, metavar="FILE", help="another mql evaluate RUN --json, such as adapted anew")
    one.add_argument("--how", metavar="TEXT", help="how --again adapted, in a few words")
    one.add_argument("--idle-seconds", type=Path, metavar="FILE", help="what `time` wrote")
    one.add_argument("--unfinished", action="store_true", help="take a run that has not come to its end")
    one.add_argument("--replace", action="store_true", help="take away what another run has in its place")
    one.set_defaults(command=add)

    one = commands.add_parser("time", parents=[shared, named], help="how long a run's training takes, machine idle")
    one.add_argument("run", type=Path, metavar="RUN")
    one.add_argument("-o", "--out", type=Path, metavar="FILE", help="write there instead of beside published figures")
    one.add_argument("--iterations", type=int, default=5, help="timed in each slice (%(default)s)")
    one.add_argument("--slices", type=int, default=4, help="checkpoints timed from (%(default)s)")
    one.add_argument("--set", dest="settings", nargs="+", metavar="KEY=VALUE", help="threads, collect.workers")
    one.add_argument("--trust", action="store_true", help="run the Python of the run's own definition")
    one.set_defaults(command=time)

    one = commands.add_parser("agent", help="put a run's agent into the package")
    one.add_argument("run", type=Path, metavar="RUN")
    one.set_defaults(command=agent)
    return parser


if __name__ == "__main__":
    sys.exit(main())
