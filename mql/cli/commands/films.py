"""`mql play`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import AsJson, Camera, RunOrAdapted, Settings, Size, Trust


def play(
    run: RunOrAdapted,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE ... | SPLIT:N",
            help="The task: a value for every parameter, or a listed one: test:3, as mql evaluate plays it.",
            show_default="the first task of evaluate.split",
        ),
    ] = None,
    adapted: Annotated[
        bool,
        typer.Option("--adapted", help="Adapt to the task, too, and show before and after next to each other."),
    ] = False,
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Use the checkpoint at N environment steps.")
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Episodes, one after another.", show_default="1")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed for all random numbers.", show_default="the run's")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FILE",
            help="A film (.mp4, .gif), or a strip of six pictures (.png).",
            show_default="MuJoCo's window",
        ),
    ] = None,
    camera: Camera = None,
    size: Size = None,
    settings: Settings = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Show an agent on one task, as a film or in a window."""
    from mql.cli.play import play

    play(
        run,
        given=task or [],
        adapted=adapted,
        checkpoint=checkpoint,
        episodes=episodes,
        seed=seed,
        out=out,
        camera=camera,
        size=size,
        settings=settings or [],
        trust=trust,
        as_json=as_json,
    )
