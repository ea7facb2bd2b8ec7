"""`mql data`: the commands and their arguments. Their work is in `mql.cli.data`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Trust

data_app = typer.Typer(help="Check, convert and draw recorded episodes.", rich_markup_mode=None)

_KINDS = "NPZ, HDF5, CSV or Parquet, the folder of a Minari or LeRobot data set, minari:NAME, or a run directory"
Source = Annotated[str, typer.Argument(metavar="FILE", help=f"Episodes: {_KINDS}.", show_default=False)]
Map = Annotated[
    Path | None,
    typer.Option(
        "--columns",
        metavar="MAP.yaml",
        help="A column map: which columns are what, in which units.",
        show_default="columns have their usual names",
    ),
]
FamilyOption = Annotated[
    str | None,
    typer.Option(
        "--family",
        metavar="NAME|FILE.yaml",
        help="The task family to which the episodes belong.",
        show_default=False,
    ),
]
MaxMb = Annotated[int, typer.Option("--max-mb", min=1, metavar="N", help="Refuse a larger file (uncompressed size).")]


@data_app.command("check")
def data_check(
    files: Annotated[list[str], typer.Argument(metavar="FILE ...", help=f"Episodes: {_KINDS}.", show_default=False)],
    family: FamilyOption = None,
    columns: Map = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE ...",
            help="Known task parameters, to compute rewards that were not logged.",
            show_default=False,
        ),
    ] = None,
    max_mb: MaxMb = 2048,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Report errors in logged episodes, by episode, step and key. The exit status is 2 if there is an error."""
    from mql.cli.data import check

    raise typer.Exit(
        check(files, family=family, columns=columns, task=task or [], max_mb=max_mb, trust=trust, as_json=as_json)
    )


@data_app.command("convert")
def data_convert(
    source: Source,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", metavar="FILE", help="What to write: .npz, .h5 or .csv.", show_default=False),
    ],
    columns: Map = None,
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Of a run: use the checkpoint at N environment steps.")
    ] = None,
    max_mb: MaxMb = 2048,
    as_json: AsJson = False,
) -> None:
    """Write episodes in another format, in SI units. For a run, these are its stored episodes."""
    from mql.cli.data import convert

    convert(source, out=out, columns=columns, checkpoint=checkpoint, max_mb=max_mb, as_json=as_json)


@data_app.command("show")
def data_show(
    source: Source,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The picture: .png, .pdf or .svg.", show_default=False)
    ],
    episode: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which episode.", show_default="the first one")
    ] = None,
    family: FamilyOption = None,
    columns: Map = None,
    max_mb: MaxMb = 2048,
    trust: Trust = False,
) -> None:
    """Draw a logged episode. With --family, as converted for the family: resampled, with its rewards."""
    from mql.cli.data import show

    show(source, out=out, episode=episode, family=family, columns=columns, max_mb=max_mb, trust=trust)
