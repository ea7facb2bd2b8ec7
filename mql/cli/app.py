"""The `mql` command: its arguments, and how it ends.

Exit status 0 is success, 2 the user's mistake (one line on standard error), 1 a bug (a traceback), 130 stopped by
Ctrl-C, SIGTERM or SIGHUP. Results go to standard output, all else to standard error. The commands' work is in the
modules beside this one, imported when a command runs: `mql --help` loads neither PyTorch nor MuJoCo.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from mql.api.terminal import lasting
from mql.cli.commands.bench import bench
from mql.cli.commands.data import data_app
from mql.cli.commands.films import play
from mql.cli.commands.learning import adapt, evaluate, export, train
from mql.cli.commands.report import report
from mql.cli.commands.robots import robots_app
from mql.cli.commands.runs import runs_app
from mql.cli.commands.study import study
from mql.cli.commands.tasks import tasks_app
from mql.cli.results import guard
from mql.errors import UserError, nearest
from mql.stopping import interrupt

# Typer brings the parser's exceptions from click, or from its own copy of it; only this one has a public name.
_USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]

FILES = "--data"  # the option that files follow
# Where several of a thing go, by the command that takes one.
_SEVERAL = {
    "train": "several families, seeds or settings are a study: mql study FILE.yaml (docs/studies.md)",
    "evaluate": "evaluate one run at a time; mql report RUN RUN ... compares several",
    "adapt": "adapt one run at a time; mql study FILE.yaml makes many (docs/studies.md)",
}
_SEEDS = "one run has one seed; several are a study, with 'seeds: [{}]': mql study FILE.yaml (docs/studies.md)"
_COMPLETION = "_MQL_COMPLETE"  # the environment variable by which a shell asks what may come next

app = typer.Typer(
    help="Meta-Q-Learning for robots: meta-train on a family of tasks, then adapt to a new one within a few episodes.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (train, evaluate, adapt, play, study, report, export, bench):
    app.command()(command)
app.add_typer(tasks_app, name="tasks")
app.add_typer(robots_app, name="robots")
app.add_typer(runs_app, name="runs")
app.add_typer(data_app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        from mql.runs.git_state import own_commit

        commit = own_commit()
        print(f"mql {import_module('mql').__version__}" + (f" ({commit[:12]})" if commit else ""))
        raise typer.Exit


@app.callback()
def _mql(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version, and the commit of a clone."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    sys.stderr = lasting(sys.stderr)
    # They end like Ctrl-C: nothing half done stays. One that is ignored, as SIGHUP is under nohup, stays so.
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)
    if _COMPLETION in os.environ:
        app(prog_name="mql")  # which answers the shell, and ends the process
    status = run(sys.argv[1:])
    if any(not thread.daemon and thread is not threading.current_thread() for thread in threading.enumerate()):
        # A thread hangs in what was interrupted; Python would wait for it.
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; only a bug raises."""
    command = guard(typer.main.get_command(app))
    try:
        # Not command.main, which would make an exit status of Ctrl-C before anything is said.
        words = _repeated(arguments) or ["--help"]
        _check_given_once(command, words)
        with command.make_context("mql", words) as context:
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
    except OSError as error:
        if error.filename is not None or error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
        # The reader of our output has gone, as in `mql tasks list | head -1`, or the terminal, or the disk is full.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in (errno.EPIPE, errno.EIO):
            return 141
        return _fail(UserError("the disk is full", where="standard output", mend="free some space"))
    except RuntimeError as error:
        from mql.tasks.fault import EpisodeFault

        if not isinstance(error, EpisodeFault):
            raise
        return _fail(UserError(str(error), mend="fix the environment, or leave this task out"))
    return 0


def _repeated(arguments: Sequence[str]) -> list[str]:
    """Allow several values after one --set, --task or --data: ``--set a=1 b=2`` is ``--set a=1 --set b=2``."""
    result: list[str] = []
    option = None
    for argument in _joined(arguments):
        if option == FILES and not argument.startswith("-"):
            result += [FILES, argument] if result[-1] != FILES else [argument]
            continue
        if option and re.match(r"[A-Za-z_][\w.-]*=", argument) and result[-1] != option:
            result.append(option)
        elif argument in ("--set", "--task", FILES):
            option = argument
        elif not option or result[-1] != option:
            option = None
        result.append(argument)
    return result


def _check_given_once(command: Any, words: Sequence[str]) -> None:
    """Refuse an option that takes one value and is given several: the parser would take the last without a word.

    Raises:
        UserError: there is one.
    """
    names, words = ["mql"], list(words)
    while words and words[0] in getattr(command, "commands", {}):
        names.append(words[0])
        command = command.commands[words.pop(0)]
    if "--" in words:
        words = words[: words.index("--")]
    for parameter in command.params:
        if getattr(parameter, "multiple", False) or getattr(parameter, "is_flag", False):
            continue
        given = [
            after if word in parameter.opts else word.partition("=")[2]
            for word, after in zip(words, [*words, ""][1:], strict=True)
            if word.startswith("-") and word.partition("=")[0] in parameter.opts
        ]
        option, where = parameter.opts[-1], " ".join(names)
        seeds = [seed for text in given for seed in text.split(",") if seed] if option == "--seed" else []
        if names[-1] == "train" and len(seeds) > 1:
            raise UserError(f"--seed has {len(seeds)} values", where=where, mend=_SEEDS.format(", ".join(seeds)))
        if len(given) > 1:
            raise UserError(f"{option} is given {len(given)} times", where=where, mend="give it once")


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
    extra = re.match(r"Got unexpected extra arguments? \((.*)\)|Got unexpected extra argument\(s\) \((.*)\)", message)
    if extra and context and (forgotten := re.match(r"([A-Za-z_][\w.]*=\S+)", extra[1] or extra[2])):
        for its in ("--set", "--task") if "." in forgotten[1].partition("=")[0] else ("--task", "--set"):
            if any(its in parameter.opts for parameter in context.command.params):
                what = f"{forgotten[1]} is given without an option"
                return UserError(what, where=where, mend=f"write {its} {forgotten[1]}")
    if extra and context and (several := _SEVERAL.get(context.command.name)):
        return UserError(f"one too many: {extra[1] or extra[2]}", where=where, mend=several)
    option = getattr(error, "option_name", None)
    if context and option and message.startswith("No such option"):
        from mql.config.yaml_text import FIELDS

        key = option.lstrip("-").replace("-", "_")
        meant = [name for name in FIELDS if name == key or name.endswith(f".{key}")]
        if meant and any("--set" in parameter.opts for parameter in context.command.params):
            mend = " or ".join(f"--set {name}=VALUE" for name in meant[:3])
            return UserError(f"there is no option {option}", where=where, mend=f"it is a configuration key: {mend}")
        options = [name for parameter in context.command.params for name in parameter.opts if name.startswith("--")]
        return UserError(f"there is no option {option}", where=where, mend=nearest(option, [*options, "--help"]))
    return UserError(message.strip().rstrip("."), where=where, mend=f"see '{where} --help'")
