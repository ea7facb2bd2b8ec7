"""`mql robots`: the commands and their arguments. Their work is in `robots`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Camera, Size
from mql.cli.commands.completion import robots

robots_app = typer.Typer(help="List, show, check and render robots.", rich_markup_mode=None)

RobotName = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        help="A robot's name, its file, menagerie:<name>, or descriptions:<name>.",
        show_default=False,
        autocompletion=robots,
    ),
]
Menagerie = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Your copy of the MuJoCo Menagerie.", show_default="$MENAGERIE_ROOT, or the package's cache"
    ),
]


@robots_app.command("list")
def robots_list(as_json: AsJson = False) -> None:
    """List the robots."""
    from mql.cli.robots import list_robots

    list_robots(as_json=as_json)


@robots_app.command("show")
def robots_show(name: RobotName, menagerie: Menagerie = None, as_json: AsJson = False) -> None:
    """Show the facts stated about a robot, and where its model is."""
    from mql.cli.robots import show

    show(name, menagerie=menagerie, as_json=as_json)


@robots_app.command("check")
def robots_check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE ...]",
            help="Robots to check; all registered ones if none is given.",
            show_default=False,
            autocompletion=robots,
        ),
    ] = None,
    menagerie: Menagerie = None,
    as_json: AsJson = False,
) -> None:
    """Check robots: each check passes, warns or fails. The exit status is 2 if any check fails."""
    from mql.cli.robots import check

    raise typer.Exit(check(names or [], menagerie=menagerie, as_json=as_json))


@robots_app.command("render")
def robots_render(
    name: RobotName,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FILE", help="The .png file to write.", show_default=False)
    ],
    camera: Camera = None,
    size: Size = None,
    menagerie: Menagerie = None,
) -> None:
    """Draw a robot in its home pose."""
    from mql.cli.robots import render

    render(name, out=out, menagerie=menagerie, camera=camera, size=size)
