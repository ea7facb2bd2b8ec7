"""`mql tasks`: the commands and their arguments. Their work is in `tasks`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

tasks_app = typer.Typer(help="List, show, check, render and create task families.", rich_markup_mode=None)

Family = Annotated[
    str,
    typer.Argument(metavar="NAME|FILE.yaml", help="A task family, or the file that defines one.", show_default=False),
]
Trust = Annotated[bool, typer.Option("--trust", help="Allow a family definition to run its own Python code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of tables.")]
CameraName = Annotated[
    str | None,
    typer.Option("--camera", metavar="NAME", help="One of the model's own cameras.", show_default="as the spec says"),
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Pixels of a picture.", show_default="480x480")]


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
            metavar="[NAME|FILE.yaml ...]",
            help="Families to check; all registered ones if none is given.",
            show_default=False,
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Simulate less; without names, check one family per module of the task suite."),
    ] = False,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Check task families: each check passes, warns or fails. The exit status is 2 if any check fails."""
    from mql.cli.tasks import check

    raise typer.Exit(check(names or [], quick=quick, trust=trust, as_json=as_json))


@tasks_app.command("render")
def tasks_render(
    name: Family,
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="FILE", help="A .png shows a grid of tasks, an .mp4 an episode.", show_default=False
        ),
    ],
    split: Annotated[
        str, typer.Option(metavar="train|test|ood", help="Tasks to draw; a video shows the first one.")
    ] = "test",
    tasks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of tasks in the picture.", show_default="6")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed for the initial states and the actions.")] = 0,
    camera: CameraName = None,
    size: Size = None,
    trust: Trust = False,
) -> None:
    """Draw a family's tasks, or record a video of an episode."""
    from mql.cli.tasks import render

    render(name, out=out, split=split, tasks=tasks, seed=seed, trust=trust, camera=camera, size=size)


@tasks_app.command("new")
def tasks_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new family.", show_default=False)],
    robot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A robot's name, its YAML file, or a plain MJCF file (.xml).",
            show_default="a small arm",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to create the folder NAME.", show_default="the current folder"),
    ] = None,
) -> None:
    """Create a new task family. The folder NAME gets a working definition, its test and the files it needs."""
    from mql.cli.task_skeleton import new

    new(name, robot=robot, out=out)


@tasks_app.command("schema")
def tasks_schema() -> None:
    """Print the paths of the JSON schemas. Editors check definitions and robots with them."""
    from mql.cli.task_skeleton import print_schemas

    print_schemas()
