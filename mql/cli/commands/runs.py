"""`mql runs`: the commands and their arguments. Their work is in `runs`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Run

runs_app = typer.Typer(help="List and show runs.", rich_markup_mode=None)


@runs_app.command("list")
def runs_list(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Searched for runs, with its subfolders.")] = Path(
        "runs"
    ),
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder, most recently written last."""
    from mql.cli.runs import print_runs

    print_runs(folder, as_json=as_json)


@runs_app.command("show")
def runs_show(run: Run, as_json: AsJson = False) -> None:
    """Show a run: what differs from the defaults, checkpoints, evaluations, versions and faults."""
    from mql.cli.runs import print_run

    print_run(run, as_json=as_json)
