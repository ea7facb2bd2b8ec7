"""`mql study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Trust


def study(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.yaml|DIR", help="A study's file, or the folder of a started one.", show_default=False
        ),
    ],
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Folder of the study and its runs.", show_default="studies/NAME"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="N",
            help="Runs at the same time.",
            show_default="cores, divided by threads of a run",
        ),
    ] = None,
    population: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1024,
            metavar="K",
            help="Runs of one family that share a process.",
            show_default="1",
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Make them on a Ray cluster: HOST:PORT, or auto for the one that this machine is part of; its nodes "
            "must share the study's folder.",
            show_default="this machine",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a started study; finished runs stay as they are.")
    ] = False,
    listing: Annotated[
        bool, typer.Option("--list", help="Show the runs and their progress, without starting any.")
    ] = False,
    trust: Trust = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Skip the quick checks of a family of your own.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a study: families, methods, variants of settings and seeds, several at a time."""
    from mql.cli.study import list_study, study

    if listing:
        list_study(file, directory=directory, as_json=as_json)
        return
    status = study(
        file,
        directory=directory,
        workers=workers,
        population=population,
        cluster=cluster,
        resume=resume,
        trust=trust,
        check=not no_check,
        as_json=as_json,
    )
    raise typer.Exit(status)
