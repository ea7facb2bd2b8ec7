"""The one error that users see: what is wrong, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any

from mql.plain_text import plain

_MOST_LISTED = 20
_LONGEST_TEXT = 500  # characters of an exception's text
_LONGEST_PART = 2000  # characters of what, where or mend in a message: names in a file may be as long as the file

# The packages that the core does without, and the extra of this project that brings each: `module: extra`.
EXTRAS = {
    "gymnasium_robotics": "gymnasium-robotics",
    "h5py": "data",
    "imageio_ffmpeg": "video",
    "jinja2": "report",
    "metaworld": "meta-world",
    "minari": "data",
    "minatar": "games",
    "mujoco_menagerie": "robots",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "pyarrow": "data",
    "ray": "cluster",
    "sb3_contrib": "peer",
    "stable_baselines3": "bench",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
}


class UserError(Exception):
    """A mistake the user can fix. The command line prints it as one line and exits with status 2.

    The message may name what stands in other people's files: it holds only characters that show, and not too many.

    Args:
        what: what is wrong, in a few words.
        where: the place, such as ``file.yaml:12 train.env_steps`` or a path; None when there is none.
        mend: how to put it right.
    """

    def __init__(self, what: str, *, where: str | None = None, mend: str) -> None:
        self.what, self.where, self.mend = what, where, mend
        place = f" ({_short(where)})" if where else ""
        super().__init__(plain(" ".join(f"{_short(what)}{place}: {_short(mend)}".split())))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by the three parts: worker processes raise this error, too."""
        return partial(UserError, where=self.where, mend=self.mend), (self.what,)


def told(error: BaseException, *, whole: bool = True) -> str:
    """Return an exception of somebody else's code in one line: its type and its text, which itself may raise.

    Without `whole`, the text is its first line.
    """
    name = type(error).__name__
    try:
        lines = [line for line in str(error).splitlines() if line.strip()]
    except Exception:
        return f"{name} (its text can't be read)"
    text = plain(" ".join(" ".join(lines if whole else lines[:1]).split()))
    short = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} ..."
    return f"{name}: {short}" if short else name


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_PART else f"{text[:_LONGEST_PART]} ..."


def missing_package(module: str, *, where: str | None = None) -> UserError:
    """Return the error that says that `module` can't be imported, and how to install what holds it."""
    package = module.split(".")[0]
    return UserError(f"package {package} is missing", where=where, mend=f"install it with {installation(package)}")


def installation(package: str) -> str:
    """Return the command that installs a package's top module: the extra where it belongs to one of this project's."""
    return f"pip install 'mql[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package.replace('_', '-')}"


def nearest(name: str, names: Iterable[str], *, others: Iterable[str] = ()) -> str:
    """Name the closest valid choices for a misspelt `name`; where none is close list them, the first ones of many.

    `others` are valid, too, but not listed.
    """
    choices = sorted(names)
    close = difflib.get_close_matches(name, [*choices, *others], n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(choice) for choice in close) + "?"
    shown = choices if len(choices) <= _MOST_LISTED else [*choices[:_MOST_LISTED], f"... ({len(choices)} in all)"]
    return "choose one of " + ", ".join(shown)
