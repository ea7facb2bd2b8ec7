"""Standard output is for results: where they are JSON, nothing else may stand there.

Environments, simulators and packages of other people print as they like, from Python and from C. While a command with
``--json`` runs, that goes to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TextIO

from mql.plain_text import plain

_STDOUT, _STDERR = 1, 2

_output: TextIO | None = None


def output() -> TextIO:
    """Return the file that results are written to."""
    return sys.stdout if _output is None else _output


def tell(text: str) -> None:
    """Print a line of results for people: only characters that show, whatever other people's files call things."""
    print(plain(text), file=output())


def tell_aside(text: str) -> None:
    """Print a line on standard error, as `tell` does."""
    print(plain(text), file=sys.stderr, flush=True)


def guard(command: Any) -> Any:
    """Return a command of the parser, and with it all below, that keeps standard output clean under ``--json``.

    It takes ``-h`` for ``--help``, too.
    """
    command.context_settings["help_option_names"] = ["--help", "-h"]
    for below in getattr(command, "commands", {}).values():
        guard(below)
    if command.callback is not None:
        command.callback = partial(_call, command.callback)
    return command


def _call(callback: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not kwargs.get("as_json"):
        return callback(*args, **kwargs)
    with results_alone():
        return callback(*args, **kwargs)


@contextmanager
def results_alone() -> Iterator[None]:
    """Let only what is written to `output` reach standard output."""
    global _output
    real = sys.stdout
    real.flush()
    with ExitStack() as at_end:
        _output = real
        if _is_standard_output(real):  # in a test, or a notebook, it is not
            saved = os.dup(_STDOUT)
            _output = at_end.enter_context(open(saved, "w", encoding=real.encoding, errors=real.errors))
            at_end.callback(os.dup2, saved, _STDOUT)
            os.dup2(_STDERR, _STDOUT)
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout, _output = real, None


def _is_standard_output(file: TextIO) -> bool:
    try:
        return file.fileno() == _STDOUT
    except (OSError, ValueError):  # it has no descriptor, or is closed
        return False
