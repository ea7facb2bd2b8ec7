"""`mql bench`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mql.cli.commands.arguments import AsJson


def bench(
    part: Annotated[
        str,
        typer.Argument(
            metavar="learner|gru|replay|simulation|acting|adaptation|growth|controller|p3o|q-learning|collecting|population|peer",
            help="What to measure.",
            show_default=False,
        ),
    ],
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, metavar="N", help="CPU threads to use.", show_default="all cores available"),
    ] = None,
    as_json: AsJson = False,
    algorithm: Annotated[
        str | None,
        typer.Option(metavar="recurrent-ppo|ppo|a2c", help="The peer (part peer).", show_default="recurrent-ppo"),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.yaml",
            help="What the peer learns: a family, or a file (part peer).",
            show_default="point-robot",
        ),
    ] = None,
    env_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Environment steps of its training (part peer).",
            show_default="as the family's own",
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="N", help="Episodes per trial (part peer).", show_default="2")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Its seed (part peer).", show_default="0")
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"] | None,
        typer.Option(
            metavar="cpu|cuda", help="Where updates are made (parts learner and population).", show_default="cpu"
        ),
    ] = None,
    agents: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="K", help="Learners (part population).", show_default="2")
    ] = None,
) -> None:
    """Measure how fast one part runs, compared with its peers; or, part peer, what a peer learns.

    The machine should be idle.
    """
    from mql.cli.bench import bench

    of_peer = {"algorithm": algorithm, "family": family, "env_steps": env_steps, "episodes": episodes, "seed": seed}
    bench(part, threads=threads, as_json=as_json, options={**of_peer, "device": device, "agents": agents})
