"""`mql bench`."""

from __future__ import annotations

from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson


def bench(
    part: Annotated[
        str,
        typer.Argument(
            metavar="learner|gru|replay|simulation|acting|adaptation|growth|controller",
            help="What to measure.",
            show_default=False,
        ),
    ],
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, metavar="N", help="CPU threads to use.", show_default="all cores available"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast one part runs, compared with its peers. The machine should be idle."""
    from mql.cli.bench import bench

    bench(part, threads=threads, as_json=as_json)
