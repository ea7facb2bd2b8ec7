"""Arguments and options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.completion import SPLIT_NAMES, keys
from mql.errors import UserError

SPLITS = f"{', '.join(SPLIT_NAMES[:-1])} or {SPLIT_NAMES[-1]}"  # in helps


def _names_shipped(path: Path) -> bool:
    """Whether an agent that comes with the package is meant: nothing else stands there."""
    from mql.shipped import names

    return not path.exists() and str(path) in names()


def _no_shipped(path: Path) -> Path:
    """Say of an agent that comes with the package that it is no run."""
    if _names_shipped(path):
        what = f"{path} is an agent included in the package, without the episodes of its training"
        raise UserError(what, where="RUN", mend=f"mql train {path} --run-dir DIR makes a run to adapt and report")
    return path


Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="A run directory created by mql train.", show_default=False, callback=_no_shipped
    ),
]


def _or_shipped(path: Path) -> Path:
    """Take the name of a family that has an agent in the package for that agent.

    Raises:
        UserError: nothing has this name.
    """
    from mql.runs.folder import no_run
    from mql.shipped import folder_for, names

    if _names_shipped(path):
        return folder_for(str(path))
    if str(path) == path.name and not os.path.lexists(path):
        raise no_run(path, others=names())
    return path


RunOrAdapted = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory created by mql train, an adapted agent written by mql adapt --out, or the name of an "
        "agent included in the package.",
        show_default=False,
        callback=_or_shipped,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE ...",
        help="Override configuration keys.",
        show_default=False,
        autocompletion=keys,
    ),
]
AdaptationEpisodes = Annotated[
    int | None, typer.Option(min=1, metavar="K", help="Episodes to collect on each new task.", show_default=False)
]
Episodes = Annotated[
    int | None,
    typer.Option(min=1, metavar="K", help="Evaluation episodes, before and after adaptation.", show_default=False),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow a family definition to run its own Python code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]
Camera = Annotated[
    str | None, typer.Option(metavar="NAME", help="One of the model's cameras.", show_default="as the family says")
]
Size = Annotated[
    str | None, typer.Option(metavar="WxH", help="Width and height of a picture in pixels.", show_default="480x480")
]
