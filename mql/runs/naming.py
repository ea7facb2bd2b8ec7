"""The names of runs that were given no folder: they show what differs, and no two are the same."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from mql.config.loading import Overrides, parse_overrides
from mql.config.schema import Config
from mql.config.yaml_text import FIELDS

_SAID = ("family", "method", "seed", "start_from")  # these stand in the name anyway
_OF_ONE_METHOD = ("pearl.", "rl2.", "p3o.", "q_learning.")  # sections whose keys make no other key ambiguous
_LONGEST_VALUE = 16  # characters of a value, such as a list's
_LONGEST = 60  # characters of all settings; those that do not fit are counted


def default_run_path(config: Config, now: datetime, *, settings: Overrides = (), experiment: str | None = None) -> Path:
    """Return ``runs/<family>[-<experiment>][-<method>][-fork][-<settings>]-seed<seed>-<date and time>``.

    Two runs of one second get the same path: `RunDir.create` with `numbered` tells them apart.

    Args:
        settings: ``key=value`` texts of ``--set``, or values by key; keys and values are shortened.
        experiment: the name of the experiment's file, where there is one.
    """
    parts = [config.family]
    if experiment and experiment != config.family:
        parts.append(_plain(experiment))
    if config.method != "mql":
        parts.append(config.method)
    if config.start_from:
        parts.append("fork")
    parts += _shortened(settings)
    return Path("runs") / "-".join([*parts, f"seed{config.seed}", f"{now:%Y%m%d-%H%M%S}"])


def _shortened(settings: Overrides) -> list[str]:
    """Return ``key=value`` texts that are fit for a file name, as many as are not too long together."""
    given = {key: value for key, (value, _) in parse_overrides(settings).items() if key not in _SAID}
    everywhere = [key.rpartition(".")[2] for key in FIELDS]
    common = [key.rpartition(".")[2] for key in FIELDS if not key.startswith(_OF_ONE_METHOD)]
    shown: list[str] = []
    for index, (key, value) in enumerate(given.items()):
        name = key.rpartition(".")[2]
        names = everywhere if key.startswith(_OF_ONE_METHOD) else common
        name = name if names.count(name) == 1 else key  # such as train.batch_size and adapt.batch_size
        text = f"{name}={_plain(str(value))[:_LONGEST_VALUE]}"
        if len("-".join([*shown, text])) > _LONGEST:
            return [*shown, f"and{len(given) - index}more"]
        shown.append(text)
    return shown


def _plain(text: str) -> str:
    """Leave of a text what needs no quotes in a shell: letters, digits, '.', '_', '-' and ','."""
    return re.sub(r"[^\w.,-]+", "", text.replace(", ", ","), flags=re.ASCII).strip(".-")
