"""`mql report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Trust


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|STUDY ...", help="Run directories, or folders that contain some.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The .html file to write.")] = Path(
        "report.html"
    ),
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where figures (PNG, PDF) and tables (CSV, LaTeX, JSON) go.",
            show_default="FILE_files, for several runs",
        ),
    ] = None,
    no_figures: Annotated[
        bool, typer.Option("--no-figures", help="Write only the .html file, also for several runs.")
    ] = False,
    films: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Show the .mp4 files of this folder in the report.", show_default=False),
    ] = None,
    no_compute: Annotated[
        bool,
        typer.Option(
            "--no-compute", help="Load no run: no contexts, and weights of stored data only where they were recorded."
        ),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write a report of runs: results, learning curves, adaptation, reused data, contexts."""
    from mql.cli.report import report

    report(
        runs,
        out=out,
        figures=figures,
        with_figures=not no_figures,
        films=films,
        compute=not no_compute,
        trust=trust,
        as_json=as_json,
    )
