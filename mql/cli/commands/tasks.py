"""`mql tasks`: the commands and their arguments. Their work is in `tasks`, imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import SPLITS, AsJson, Camera, Size, Trust
from mql.cli.commands.completion import families, robots, splits

tasks_app = typer.Typer(help="List, show, check, draw, view and create task families.", rich_markup_mode=None)

Family = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE.yaml",
        help="A task family, or the file that defines one.",
        show_default=False,
        autocompletion=families,
    ),
]


@tasks_app.command("list")
def tasks_list(
    everything: Annotated[
        bool, typer.Option("--all", help="List every variant of a family by itself, with sizes and splits.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the task families, with --json all of them."""
    from mql.cli.tasks import list_families

    list_families(everything=everything, as_json=as_json)


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
            autocompletion=families,
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
            "-o",
            "--out",
            metavar="FILE",
            help="A .png shows a grid of tasks, an .mp4 or .gif an episode.",
            show_default=False,
        ),
    ],
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT", help=f"Tasks to draw ({SPLITS}); a video shows the first one.", autocompletion=splits
        ),
    ] = "test",
    tasks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Number of tasks in the picture.", show_default="6")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed for the initial states and the actions.")] = 0,
    camera: Camera = None,
    size: Size = None,
    trust: Trust = False,
) -> None:
    """Draw a family's tasks, or record a video of an episode."""
    from mql.cli.tasks import render

    render(name, out=out, split=split, tasks=tasks, seed=seed, camera=camera, size=size, trust=trust)


@tasks_app.command("view")
def tasks_view(
    name: Family,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE ... | SPLIT:N",
            help="The task: values that differ from the split's first task, or the task N of a split.",
            show_default="the first one of --split",
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(metavar="SPLIT", help=f"Show the first task of this split: {SPLITS}.", autocompletion=splits)
    ] = "test",
    actions: Annotated[
        str | None, typer.Option(metavar="random|zero|probe", help="Which actions to take.", show_default="random")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Let the agent of this run act.", show_default=False)
    ] = None,
    camera: Camera = None,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="Seed of the first episode.")] = 0,
    trust: Trust = False,
) -> None:
    """Show a task in MuJoCo's viewer, episode after episode, until it is closed. Needs a display."""
    from mql.cli.view import view

    view(name, given=task or [], split=split, actions=actions, run=run, camera=camera, seed=seed, trust=trust)


@tasks_app.command("new")
def tasks_new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new family.", show_default=False)],
    robot: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A robot's name, its YAML file, or a plain MJCF file (.xml).",
            show_default="a small arm",
            autocompletion=robots,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to create the folder NAME.", show_default="the current folder"),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            metavar="SITE",
            help="The site that has to reach the target.",
            show_default="the end effector, or what looks like a tool",
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            metavar="goal|physics",
            help="physics: payload and damping are hidden, the target is visible; goal: the target is hidden, too.",
            show_default="physics, if any can vary",
        ),
    ] = None,
) -> None:
    """Create a new task family. The folder NAME gets a working definition, its test and the files it needs."""
    from mql.cli.task_skeleton import new

    new(name, robot=robot, out=out, end=end, hidden=hidden)


@tasks_app.command("schema")
def tasks_schema() -> None:
    """Print the paths of the JSON schemas. Editors use them to check definitions and robots."""
    from mql.cli.task_skeleton import print_schemas

    print_schemas()
