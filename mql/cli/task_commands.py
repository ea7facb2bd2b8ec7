"""`mql tasks`: the commands and their arguments. Their work is in `cli_tasks`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

tasks_app = typer.Typer(help="The task families.", rich_markup_mode=None)

Family = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE.yaml", help="A task family, or the file that defines one.", show_default=False),
]
Trust = Annotated[bool, typer.Option("--trust", help="Let a family definition run its own Python code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]


@tasks_app.command("list")
def tasks_list(as_json: AsJson = False) -> None:
    """List the task families."""
    from mql.cli.tasks import list_families

    list_families(as_json=as_json)


@tasks_app.command("show")
def tasks_show(name: Family, trust: Trust = False, as_json: AsJson = False) -> None:
    """Show a family's task parameters and tasks."""
    from mql.cli.tasks import show

    show(name, trust=trust, as_json=as_json)


@tasks_app.command("check")
def tasks_check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FILE.yaml ...]", help="Families; without any, all that have a name.", show_default=False
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Play less; without names, check one family of each module of the task suite."),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Check whether families are sound: a line of pass, warn or fail for each check, exit status 2 on any fail."""
    from mql.cli.tasks import check

    raise typer.Exit(check(names or [], quick=quick, trust=trust, as_json=as_json))


@tasks_app.command("render")
def tasks_render(
    name: Family,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help=".png: a grid of tasks; .mp4: an episode.", show_default=False
        ),
    ],
    split: Annotated[str, typer.Option(metavar="train|test|ood", help="Which tasks.")] = "test",
    tasks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Tasks in the picture.", show_default="6")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the start and of the actions.")] = 0,
    trust: Trust = False,
) -> None:
    """Draw a family's tasks, or film an episode of the split's first task."""
    from mql.cli.tasks import render

    render(name, out=out, split=split, tasks=tasks, seed=seed, trust=trust)


@tasks_app.command("new")
def tasks_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new family.", show_default=False)],
    robot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="A robot, its YAML file, or a bare MJCF (.xml).", show_default="a small arm"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the folder NAME is made.", show_default="the current folder"),
    ] = None,
) -> None:
    """Write a folder NAME with a definition that works as it stands, its test, and what it needs."""
    from mql.cli.task_skeleton import new

    new(name, robot=robot, out=out)


@tasks_app.command("schema")
def tasks_schema() -> None:
    """Say where the JSON schemas of definitions and robots are, for editors."""
    from mql.cli.task_skeleton import print_schemas

    print_schemas()
