"""`mql train`, `mql evaluate`, `mql adapt` and `mql export`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mql.cli.commands.arguments import (
    SPLITS,
    AdaptationEpisodes,
    AsJson,
    Episodes,
    Run,
    RunOrAdapted,
    Settings,
    Trust,
)
from mql.cli.commands.completion import families, methods, splits
from mql.config.methods import METHODS
from mql.errors import UserError


def train(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="FAMILY|FILE.yaml",
            help="A task family, a file that defines one, or an experiment file.",
            show_default=False,
            autocompletion=families,
        ),
    ] = None,
    settings: Settings = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory to write the run to.", show_default="runs/FAMILY-SETTINGS-SEED-TIME"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed for all random numbers.")] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help=f"How it is learned: {', '.join(METHODS)} (docs/baselines.md).",
            show_default="mql",
            autocompletion=methods,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --run-dir with its own configuration.")
    ] = False,
    checkpoint: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --resume: continue from the checkpoint at N env steps, and delete later ones."
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN[@STEPS]",
            help="Start a new run from the agent of another run's checkpoint; without FAMILY, on its family and with "
            "its settings.",
            show_default=False,
        ),
    ] = None,
    keep_replay: Annotated[
        bool | None,
        typer.Option(
            "--keep-replay/--no-keep-replay",
            help="With --from: copy the other run's stored episodes, too.",
            show_default="for the same family and tasks",
        ),
    ] = None,
    trust: Trust = False,
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Train on a family of your own without the quick checks."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Meta-train an agent on a family of tasks."""
    from mql.cli.train import train

    train(
        target,
        settings=settings or [],
        run_dir=run_dir,
        seed=seed,
        method=method,
        resume=resume,
        checkpoint=checkpoint,
        start_from=start_from,
        keep_replay=keep_replay,
        trust=trust,
        check=not no_check,
        as_json=as_json,
    )


def evaluate(
    run: RunOrAdapted,
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help=f"Tasks to evaluate on: {SPLITS}.", autocompletion=splits)
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Use only the first N tasks of the split.")
    ] = None,
    adaptation_episodes: AdaptationEpisodes = None,
    episodes: Episodes = None,
    no_adapt: Annotated[bool, typer.Option("--no-adapt", help="Evaluate zero-shot only.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="meta-world",
            help="Follow Meta-World's own protocol, and also count exactly.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Use the checkpoint at N environment steps.")
    ] = None,
    video: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Film the first evaluation episode of each task, before and after adaptation next to each other.",
            show_default=False,
        ),
    ] = None,
    settings: Settings = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's agent, zero-shot and after adaptation."""
    from mql.cli.evaluate import evaluate, evaluate_by_protocol

    if no_adapt and adaptation_episodes is not None:
        raise UserError("--no-adapt and --adaptation-episodes contradict each other", mend="give only one of them")
    if protocol is not None and video is not None:
        raise UserError("--protocol films nothing", where="--video", mend="leave one of them out")
    command: Callable[..., None] = (
        partial(evaluate, video=video) if protocol is None else partial(evaluate_by_protocol, protocol=protocol)
    )
    command(
        run,
        split=split,
        tasks=tasks,
        adaptation_episodes=adaptation_episodes,
        episodes=episodes,
        adapting=not no_adapt,
        checkpoint=checkpoint,
        settings=settings or [],
        trust=trust,
        as_json=as_json,
    )


def adapt(
    run: Run,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE ...",
            help="Set every task parameter, a vector as NAME=1,2 or 'NAME=(1, 2)'; "
            "or name a listed task: test:0 is the first test task.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE ...",
            help="Adapt to recorded episodes instead: files, after RUN. Nothing is played.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(metavar="MAP.yaml", help="A column map for these files.", show_default=False),
    ] = None,
    adaptation_episodes: AdaptationEpisodes = None,
    episodes: Episodes = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory to write the adapted agent to.", show_default=False)
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the weight of each training task's stored data.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Use the checkpoint at N environment steps.")
    ] = None,
    settings: Settings = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Adapt a run's agent to a task of your choice, or to recorded episodes of one."""
    from mql.cli.evaluate import adapt

    adapt(
        run,
        given=task or [],
        data=data or [],
        columns=columns,
        adaptation_episodes=adaptation_episodes,
        episodes=episodes,
        out=out,
        picture=picture,
        checkpoint=checkpoint,
        settings=settings or [],
        trust=trust,
        as_json=as_json,
    )


def export(
    run: RunOrAdapted,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Directory to write the policy to.", show_default=False)
    ],
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Use the checkpoint at N environment steps.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Write a policy as ONNX, with a controller that needs no PyTorch, for a robot's computer."""
    from mql.cli.export import export

    export(run, out=out, checkpoint=checkpoint, trust=trust, as_json=as_json)
