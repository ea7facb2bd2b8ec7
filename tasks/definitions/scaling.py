"""How observed quantities and visible task parameters are seen: (value - minus) / per, where a definition says so.

Shapes: W components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from mql.errors import UserError, nearest
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.schema import Scaling
from mql.tasks.family import Array
from mql.tasks.parameter import visible_values


def scaled(scaling: Scaling | None, values: Array) -> Array:
    """Return values [..., W] as they are seen; with None they stay as they are."""
    return values if scaling is None else (values - np.asarray(scaling.minus)) / scaling.per


def scaling_of(file: DefinitionFile, observed: Mapping[str, int]) -> Mapping[str, Scaling]:
    """Return how things are seen, by their names: of `observed` quantities -> W, and of visible parameters.

    Raises:
        UserError: a name is not seen, or two things are called so; or ``minus`` has another number of components.
    """
    visible = visible_names(file)
    widths = {name: file.distribution(name).size or 1 for name in visible} | dict(observed)
    for name, each in file.definition.env.scaling.items():
        where = file.where(f"env.scaling.{name}")
        if name not in widths:
            mend = nearest(name, widths) if widths else "give names of parameters with 'hidden: false'"
            raise UserError(f"{name!r} is not observed", where=where, mend=mend)
        if name in observed and name in visible:
            mend = "give the parameter another name"
            raise UserError(f"{name!r} is an observed quantity and a visible parameter", where=where, mend=mend)
        if isinstance(each.minus, tuple) and len(each.minus) != widths[name]:
            what = f"minus has {len(each.minus)} numbers, {name} {widths[name]}"
            raise UserError(what, where=where, mend="give one for each component, or a single one")
    return file.definition.env.scaling


def visible_part(
    scaling: Mapping[str, Scaling], parameters: Mapping[str, npt.ArrayLike], names: Iterable[str], tasks: int
) -> Array:
    """Return the task parameters called `names` as they are seen at the end of an observation: [N, W].

    `parameters` and `tasks` = N are as of `mql.tasks.parameter.visible_values`.
    """
    seen = {
        name: scaled(scaling.get(name), np.asarray(parameters[name], np.float64).reshape(tasks, -1)) for name in names
    }
    return visible_values(seen, names, tasks)


def visible_names(file: DefinitionFile) -> tuple[str, ...]:
    """Return the parameters that stand at the end of the observation."""
    return tuple(name for name, spec in file.definition.parameters.items() if not spec.hidden)
