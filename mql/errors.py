"""The one error that users see: what is wrong, where, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Any

from mql.plain_text import plain

_MOST_LISTED = 20
_MOST_MEANT = 3  # names that a message offers for a misspelt one
_SAME, _SLIPS, _PART = range(3)  # how a name can be meant: nearer ones first
_SHORTEST_PART = 2  # characters of a name's beginning
_LONGEST_MISSPELT = 100  # characters; a longer text is no name
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


def nearest(name: str, names: Iterable[str], *, others: Iterable[str] = (), listed_by: str = "") -> str:
    """Name the valid choices that a misspelt `name` may mean; where there are none list them, the first ones of many.

    `others` are valid, too, but not listed; `listed_by` is the command that lists all.
    """
    choices = sorted(names)
    if meant := close_names(name, choices) or close_names(name, others):
        return did_you_mean(map(repr, meant))
    shown = ", ".join(choices[:_MOST_LISTED])
    more = f"; {listed_by} lists all" if listed_by else ""
    return f"choose one of {shown}" + (f", ... ({len(choices)} in all{more})" if len(choices) > _MOST_LISTED else "")


def did_you_mean(names: Iterable[str]) -> str:
    """Ask whether one of `names` was meant."""
    return f"did you mean {' or '.join(names)}?"


def close_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the closest of `names` that somebody who wrote `name` may have meant; most often there is none, or one.

    They are those that differ in case or punctuation only; in a slip of the fingers for every five characters or so (a
    character too many, too few or another one, or two neighbours exchanged); those of which `name` is the beginning,
    or a whole word or several; and those that are a beginning of `name`.
    """
    ranked = sorted((rank, choice) for choice in set(names) if (rank := _distance(name, choice)) is not None)
    if not ranked:
        return []
    best, _ = ranked[0]
    return [choice for rank, choice in ranked if rank == best or best[0] == rank[0] == _PART][:_MOST_MEANT]


def _distance(name: str, choice: str) -> tuple[int, int] | None:
    """Return how far `choice` is from what was written, as kind and number of slips; None: it can't be meant."""
    written, right = (re.sub(r"[\W_]+", "", text.casefold()) for text in (name, choice))
    if written == right:
        return _SAME, 0
    longer = max(len(written), len(right))
    most = (longer + 3) // 5 if longer > _SHORTEST_PART else 0
    if abs(len(written) - len(right)) <= most and len(written) <= _LONGEST_MISSPELT:
        slips = _slips(written, right)
        if slips <= most:
            return _SLIPS, slips
    said, words = ({word for word in re.split(r"[\W_]+", text.casefold()) if word} for text in (name, choice))
    begins = len(written) >= _SHORTEST_PART and right.startswith(written)
    if begins or (said and said <= words) or (len(right) > _SHORTEST_PART and written.startswith(right)):
        return _PART, abs(len(right) - len(written))
    return None


def _slips(written: str, right: str) -> int:
    """Count the insertions, deletions, replacements and exchanges of neighbours from one to the other."""
    before, last = [0] * (len(right) + 1), list(range(len(right) + 1))
    for row, mine in enumerate(written, start=1):
        now = [row]
        for column, its in enumerate(right, start=1):
            fewest = min(last[column] + 1, now[-1] + 1, last[column - 1] + (mine != its))
            if row > 1 and column > 1 and mine == right[column - 2] and written[row - 2] == its:
                fewest = min(fewest, before[column - 2] + 1)
            now.append(fewest)
        before, last = last, now
    return last[-1]
