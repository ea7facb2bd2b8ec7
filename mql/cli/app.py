"""The `mql` command: its arguments, and how it ends.

Exit status 0 is success, 2 the user's mistake (one line on standard error), 1 a bug (a traceback), 130 stopped by
Ctrl-C or SIGTERM. Results go to standard output, all else to standard error. The commands' work is in the modules
beside this one, imported when a command runs: `mql --help` loads neither PyTorch nor MuJoCo.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from mql.cli.results import guard
from mql.cli.robot_commands import robots_app
from mql.cli.task_commands import SPLITS, AsJson, Trust, tasks_app
from mql.errors import UserError, nearest

# Typer brings the parser's exceptions from click, or from its own copy of it; only this one has a public name.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    help="Meta-Q-Learning for robots: meta-train on a family of tasks, then adapt to a new one within a few episodes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(tasks_app, name="tasks")
app.add_typer(robots_app, name="robots")

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory created by mql train.", show_default=False)]
RunOrAdapted = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run directory created by mql train, or an adapted agent written by mql adapt --out.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE ...", help="Override configuration keys.", show_default=False),
]
AdaptationEpisodes = Annotated[
    int | None, typer.Option(min=1, metavar="K", help="Episodes to collect on each new task.", show_default=False)
]
Episodes = Annotated[
    int | None,
    typer.Option(min=1, metavar="K", help="Evaluation episodes, before and after adaptation.", show_default=False),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mql {import_module('mql').__version__}")
        raise typer.Exit


@app.callback()
def _mql(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FAMILY|FILE.yaml",
            help="A task family, a file that defines one, or an experiment file.",
            show_default=False,
        ),
    ],
    settings: Settings = None,
    run_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory to write the run to.", show_default="runs/FAMILY-SETTINGS-SEED-TIME"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed for all random numbers.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --run-dir with its own configuration.")
    ] = False,
    checkpoint: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --resume: continue from the checkpoint at N env steps, and delete later ones."
        ),
    ] = None,
    trust: Trust = False,
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Train on a family of your own without the short checks that come first."),
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
        resume=resume,
        checkpoint=checkpoint,
        trust=trust,
        check=not no_check,
        as_json=as_json,
    )


@app.command()
def evaluate(
    run: RunOrAdapted,
    split: Annotated[str | None, typer.Option(metavar="SPLIT", help=f"Tasks to evaluate on: {SPLITS}.")] = None,
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
            help="Follow Meta-World's own protocol, with an exact count beside it.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Annotated[
        int | None, typer.Option(metavar="N", help="Use the checkpoint at N environment steps.")
    ] = None,
    settings: Settings = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run's agent, zero-shot and after adaptation."""
    from mql.cli.evaluate import evaluate, evaluate_by_protocol

    if no_adapt and adaptation_episodes is not None:
        raise UserError("--no-adapt and --adaptation-episodes contradict each other", mend="give only one of them")
    command: Callable[..., None] = evaluate if protocol is None else partial(evaluate_by_protocol, protocol=protocol)
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


@app.command()
def adapt(
    run: Run,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE ...",
            help="Set every task parameter, a vector as NAME=1,2 or 'NAME=(1, 2)'; "
            "or take a listed task: test:0 is the first of the test tasks.",
            show_default=False,
        ),
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
    """Adapt a run's agent to a task of your choice."""
    from mql.cli.evaluate import adapt

    adapt(
        run,
        given=task or [],
        adaptation_episodes=adaptation_episodes,
        episodes=episodes,
        out=out,
        picture=picture,
        checkpoint=checkpoint,
        settings=settings or [],
        trust=trust,
        as_json=as_json,
    )


@app.command()
def bench(
    part: Annotated[
        str,
        typer.Argument(
            metavar="learner|gru|replay|simulation|acting|adaptation|growth",
            help="What to measure.",
            show_default=False,
        ),
    ],
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, metavar="N", help="CPU threads to use.", show_default="all cores available"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how fast one part runs, compared with its peers. The machine should be idle."""
    from mql.cli.bench import bench

    bench(part, threads=threads, as_json=as_json)


def main() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends like Ctrl-C: nothing half done stays
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; only a bug raises."""
    command = guard(typer.main.get_command(app))
    try:
        # Not command.main, which would make an exit status of Ctrl-C before anything is said.
        with command.make_context("mql", _repeated(arguments) or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as end:
        sys.stdout.flush()
        return end.exit_code
    except UserError as error:
        return _fail(error)
    except _USAGE_ERROR as error:
        return _fail(_usage_mistake(error))
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as in `mql tasks list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except RuntimeError as error:
        from mql.tasks.fault import EpisodeFault

        if not isinstance(error, EpisodeFault):
            raise
        return _fail(UserError(str(error), mend="fix the environment, or leave this task out"))
    return 0


def _repeated(arguments: Sequence[str]) -> list[str]:
    """Allow several values after one --set or --task: ``--set a=1 b=2`` is ``--set a=1 --set b=2``."""
    result: list[str] = []
    option = None
    for argument in _joined(arguments):
        if option and re.match(r"[A-Za-z_][\w.-]*=", argument) and result[-1] != option:
            result.append(option)
        elif argument in ("--set", "--task"):
            option = argument
        elif not option or result[-1] != option:
            option = None
        result.append(argument)
    return result


def _joined(arguments: Sequence[str]) -> list[str]:
    """Put a vector together that the shell took apart: ``goal=[0.3, -0.5]`` without quotes is two arguments."""
    result: list[str] = []
    for argument in arguments:
        if result and not argument.startswith("--") and re.match(r"[A-Za-z_][\w.]*=[\[(][^\])]*$", result[-1]):
            result[-1] += f" {argument}"
        else:
            result.append(argument)
    return result


def _fail(error: UserError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _usage_mistake(error: Any) -> UserError:
    """Say in the one-line form what the parser found, with the nearest option or command."""
    context = error.ctx
    where = context.command_path if context else "mql"
    message = error.format_message()
    commands = getattr(context.command, "commands", None) if context else None
    unknown = re.match(r"No such command '([^']*)'", message)
    if unknown and commands:
        return UserError(f"there is no command {unknown[1]!r}", where=where, mend=nearest(unknown[1], commands))
    if message.startswith("Missing command") and commands:
        return UserError("a command is missing", where=where, mend="choose one of " + ", ".join(sorted(commands)))
    option = getattr(error, "option_name", None)
    if context and option and message.startswith("No such option"):
        options = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        return UserError(f"there is no option {option}", where=where, mend=nearest(option, [*options, "--help"]))
    return UserError(message.strip().rstrip("."), where=where, mend=f"see '{where} --help'")
