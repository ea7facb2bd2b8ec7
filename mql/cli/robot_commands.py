"""`mql robots`: the commands and their arguments. Their work is in `cli_robots`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.task_commands import AsJson

robots_app = typer.Typer(help="The robots.", rich_markup_mode=None)

RobotName = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE", help="A robot, its file, or menagerie:<name>.", show_default=False),
]
Menagerie = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="A copy of the MuJoCo Menagerie.", show_default="MENAGERIE_ROOT, or the package's cache"
    ),
]


@robots_app.command("list")
def robots_list(as_json: AsJson = False) -> None:
    """List the robots."""
    from mql.cli.robots import list_robots

    list_robots(as_json=as_json)


@robots_app.command("show")
def robots_show(name: RobotName, menagerie: Menagerie = None, as_json: AsJson = False) -> None:
    """Show what is stated about a robot, and where its model is."""
    from mql.cli.robots import show

    show(name, menagerie=menagerie, as_json=as_json)


@robots_app.command("check")
def robots_check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE ...]", help="Robots; without any, all that have a name.", show_default=False
        ),
    ] = None,
    menagerie: Menagerie = None,
    as_json: AsJson = False,
) -> None:
    """Check whether robots are sound: a line of pass, warn or fail for each check, exit status 2 on any fail."""
    from mql.cli.robots import check

    raise typer.Exit(check(names or [], menagerie=menagerie, as_json=as_json))


@robots_app.command("render")
def robots_render(
    name: RobotName,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="A picture, .png.", show_default=False)],
    menagerie: Menagerie = None,
) -> None:
    """Draw a robot at home."""
    from mql.cli.robots import render

    render(name, out=out, menagerie=menagerie)
