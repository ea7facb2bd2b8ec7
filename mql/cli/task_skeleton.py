"""`mql tasks new`: writes a folder with a definition that works as it stands, to change from there."""

from __future__ import annotations

import os
from pathlib import Path

from mql.cli.results import tell, tell_aside
from mql.collecting.workers import WorkerLost, Workers
from mql.errors import UserError, nearest
from mql.files import TEMPORARY, remove_folder
from mql.study.editor_schema import schema_path
from mql.tasks.definitions.editor_schemas import schema_paths
from mql.tasks.definitions.family import load_definition
from mql.tasks.definitions.new.experiment import experiment_file
from mql.tasks.definitions.new.skeleton import check_new_name, new_skeleton
from mql.tasks.definitions.new.text import Hidden

HIDDEN: tuple[Hidden, ...] = ("goal", "physics")
_SECONDS = 300.0  # a model with many large meshes takes a while


def new(name: str, *, robot: str | None, out: Path | None, end: str | None, hidden: str | None) -> None:
    """Do what `mql tasks new` does: write the folder ``out/name``; print what it holds, what was chosen, what is next.

    Raises:
        UserError: the name is wrong or taken, the folder is there, there is no such robot or site, or its model can't
            be used. Nothing is left then.
    """
    if hidden is not None and hidden not in HIDDEN:
        raise UserError(f"{hidden!r} is not hidden by any new task", where="--hidden", mend=nearest(hidden, HIDDEN))
    check_new_name(name)
    parent = out or Path()
    folder = parent / name
    if not parent.is_dir():
        raise UserError("there is no such folder", where=str(parent), mend="create it, or choose another --out")
    if os.path.lexists(folder):
        raise UserError("the folder already exists", where=str(folder), mend="choose another NAME or --out")
    unfinished = parent / f".{name}.{os.getpid()}{TEMPORARY}"
    workers = Workers(1)  # a model that nobody knows may crash MuJoCo, and only that process
    try:
        unfinished.mkdir()
        answer = workers.bound(_write, timeout=_SECONDS)(name, robot, str(unfinished), end, hidden)
        if isinstance(answer, WorkerLost):
            mend = f"see 'mql robots check {robot}'"
            raise UserError(f"the process that read the model died: {answer}", where=robot, mend=mend)
        os.rename(unfinished, folder)
    except OSError as error:
        mend = "choose another --out, or change the permissions"
        raise UserError(f"cannot write the folder ({error.strerror})", where=str(folder), mend=mend) from None
    except UserError as error:
        where = error.where and error.where.replace(str(unfinished.resolve()), str(folder))
        where = where and where.replace(str(unfinished), str(folder))
        raise UserError(error.what, where=where, mend=error.mend) from None
    finally:
        workers.close()
        if unfinished.exists():
            remove_folder(unfinished)
    written, chosen, remarks = answer
    for remark in remarks:
        tell_aside(f"note: {remark}")
    tell(f"written to {folder}{os.sep}:")
    for path in written:
        tell(f"  {path}")
    tell("chosen:")
    for what, text in chosen.items():
        tell(f"  {what}: {text}")
    definition = folder / f"{name}.yaml"
    tell(f"next:\n  mql tasks check {definition}\n  mql tasks render {definition} -o {name}.png")
    tell(f"  mql train {folder / experiment_file(name)}")


def print_schemas() -> None:
    """Do what `mql tasks schema` does."""
    for what, path in (schema_paths() | {"study": schema_path()}).items():
        tell(f"{what}: {path}")


def _write(
    name: str, robot: str | None, folder: str, end: str | None, hidden: Hidden | None
) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Write the files and load the definition, in a worker process; return the files' names, choices and remarks."""
    made = new_skeleton(name, robot, end=end, hidden=hidden)
    for each, data in made.files.items():
        path = Path(folder) / each
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    load_definition(Path(folder) / f"{name}.yaml")
    return sorted(made.files), dict(made.chosen), made.remarks
