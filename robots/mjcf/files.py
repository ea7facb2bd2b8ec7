"""Which files an MJCF model reads, found without MuJoCo: a model from elsewhere is judged before it is compiled.

What is found here was compared with MuJoCo 3.3.0:

- an ``<include>`` and a ``<model>`` are looked for beside the main file, then beside the file that names them;
- a mesh, texture, height field or skin is looked for in the compiler's folder for it, below the main file's folder;
  then beside the file that names it, with that folder before it where the model's own path is a relative one;
- the last ``<compiler>`` of all wins; with ``strippath`` only the last part of an asset's path counts;
- a ``<model>`` is a main file of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from mql.errors import UserError

MOST_ELEMENTS = 50_000  # XML elements of a model, repeated ones counted as often as they are repeated
MOST_BYTES = 100_000_000  # of each file
_DEEPEST = 20  # files within files
_REPEATED = ("composite", "flexcomp", "replicate")  # their attribute `count` makes many elements of one


def mjcf_files(path: Path, folder: Path) -> tuple[Path, ...]:
    """Find every file that compiling a model reads: the MJCF itself first, then includes, meshes, textures and so on.

    Args:
        path: the MJCF file.
        folder: the folder that none of them may lie outside of, links resolved.

    Raises:
        UserError: a file is missing, outside, absolute, too large or no XML, or the model has too many elements; one
            line with the file and line of the element.
    """
    walk = _Walk(folder.resolve())
    place = _Place(str(path), None, "")
    walk.model(walk.found([path], _Named(str(path), place, path.parent)), place)
    return tuple(walk.files)


class _Place(NamedTuple):
    """Where a file is named: in which file, at which line, by which element."""

    file: str
    line: int | None
    element: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.element}" if self.line else self.file


class _Named(NamedTuple):
    """A file as an element names it; `beside` is the folder of the file with the element."""

    name: str
    place: _Place
    beside: Path


@dataclass
class _Model:
    """What one main file and its includes say."""

    folder: Path
    elements: int = 0
    assets: list[_Named] = field(default_factory=list)
    directories: dict[str, str] = field(default_factory=lambda: {"meshdir": "", "texturedir": ""})
    strip: bool = False
    included: set[Path] = field(default_factory=set)
    children: dict[str, int] = field(default_factory=dict)  # name of a <model> -> its elements
    attached: list[tuple[str, int]] = field(default_factory=list)  # name of a <model>, how often


class _Walk:
    """Goes through a model's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[Path, None] = {}  # in the order in which they are found
        self._elements = 0
        self._depth = 0

    def model(self, path: Path, place: _Place) -> int:
        """Go through one main file; return its number of elements."""
        model = _Model(path.parent, included={path})
        self._read(path, place, model, repeat=1, root="mujoco")
        for asset in model.assets:
            directory = Path(model.directories["texturedir" if asset.place.element == "texture" else "meshdir"])
            name = asset._replace(name=asset.name.rpartition("/")[2]) if model.strip else asset
            beside = Path(os.path.relpath(asset.beside, model.folder))
            base = model.folder / directory
            self.found([base / name.name, base / beside / name.name, asset.beside / name.name], name)
        for name_of_child, repeat in model.attached:
            self._count(model, model.children.get(name_of_child, 0) * repeat, place)
        return model.elements

    def _read(self, path: Path, place: _Place, model: _Model, repeat: int, root: str | None) -> None:
        """Go through the elements of one file; `repeat` is how often what it holds is there."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UserError("files include files too deeply", where=str(place), mend=f"at most {_DEEPEST} levels")
        repeats = [repeat]

        def start(element: str, attributes: dict[str, str], line: int) -> None:
            here = _Place(str(path), line, element)
            if root is not None and len(repeats) == 1 and element != root:
                mend = "give an MJCF file; MuJoCo turns a URDF into one (load it, then mj_saveLastXML)"
                raise UserError(f"the file holds <{element}>, not <{root}>", where=str(here), mend=mend)
            self._count(model, repeats[-1], here)
            repeats.append(repeats[-1] * (_count_of(attributes, here) if element in _REPEATED else 1))
            if element in ("composite", "flexcomp"):
                self._count(model, repeats[-1], here)
            self._element(path, here, attributes, model, repeats[-1])

        for event in _elements(path):
            if event is None:
                repeats.pop()
            else:
                start(*event)
        self._depth -= 1

    def _element(self, path: Path, here: _Place, attributes: Mapping[str, str], model: _Model, repeat: int) -> None:
        if here.element == "compiler":
            _compiler(attributes, model, here)
        elif here.element == "attach":
            model.attached.append((attributes.get("model", ""), repeat))
        elif here.element in ("include", "model"):
            named = _Named(_portable(attributes.get("file", "")), here, path.parent)
            if here.element == "model" and not named.name:
                return
            candidates = [model.folder / named.name, path.parent / named.name]
            found = self.found(candidates, named)
            if here.element == "model":
                name = attributes.get("name", found.stem)
                model.children[name] = self.model(found, here)
            else:
                if found in model.included:
                    raise UserError(f"{named.name!r} is included twice", where=str(here), mend="MuJoCo takes it once")
                model.included.add(found)
                self._read(found, here, model, repeat, None)
        else:
            for key, value in attributes.items():
                if key.startswith("file") and value:
                    model.assets.append(_Named(_portable(value), here, path.parent))

    def _count(self, model: _Model, elements: int, place: _Place) -> None:
        model.elements += elements
        self._elements += elements
        if self._elements > MOST_ELEMENTS:
            what = f"the model has more than {MOST_ELEMENTS:,} elements"
            raise UserError(what, where=str(place), mend="make it smaller; no simulation of that size would learn")

    def found(self, candidates: list[Path], named: _Named) -> Path:
        """Return the first candidate that is there. All that are there must be in order, and all are noted."""
        where = str(named.place)
        if named.place.line and (named.name.startswith("/") or Path(named.name).is_absolute() or ":" in named.name):
            mend = f"copy it into {self._folder} and write the path from there"
            raise UserError(f"{named.name!r} is not a relative path", where=where, mend=mend)
        there = [path for path in dict.fromkeys(candidates) if os.path.exists(path)] or candidates[:1]
        for path in there:
            self._check(path, named)
        self.files |= dict.fromkeys(map(_tidy, there))
        return _tidy(there[0])

    def _check(self, path: Path, named: _Named) -> None:
        """Refuse a file that is outside, missing or too large."""
        where = str(named.place)
        try:
            inside = path.resolve().is_relative_to(self._folder)
        except (OSError, RuntimeError):  # links that lead in a circle, names that are too long
            inside = False
        if not inside:
            mend = f"copy it into {self._folder}; a model reads nothing outside its folder"
            raise UserError(f"{named.name!r} lies outside the model's folder", where=where, mend=mend)
        if not os.path.isfile(path):
            what = "is not a file" if os.path.exists(path) else "is missing"
            mend = f"put it at {_tidy(path)}, or fix the path" if named.place.line else "check the path"
            raise UserError(f"the file {named.name!r} {what}", where=where, mend=mend)
        if os.path.getsize(path) > MOST_BYTES:
            what = f"the file {named.name!r} has {os.path.getsize(path) / 1e6:.0f} MB"
            raise UserError(what, where=where, mend=f"make it smaller; at most {MOST_BYTES / 1e6:.0f} MB are read")


def _elements(path: Path) -> Iterator[tuple[str, dict[str, str], int] | None]:
    """Yield (element, attributes, line) at each start and None at each end."""
    # As MuJoCo reads it: UTF-8, whatever the file says of itself.
    parser = expat.ParserCreate("utf-8")
    events: list[tuple[str, dict[str, str], int] | None] = []

    def refuse(*_: object) -> None:
        where = f"{path}:{parser.CurrentLineNumber}"
        raise UserError("a DOCTYPE or ENTITY", where=where, mend="delete it; MJCF needs none")

    def start(element: str, attributes: dict[str, str]) -> None:
        events.append((element, attributes, parser.CurrentLineNumber))

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda element: events.append(None)
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 16):
                parser.Parse(piece, False)
                yield from _taken(events)
            parser.Parse(b"", True)
            yield from _taken(events)
    except expat.ExpatError as error:
        what = f"not valid XML: {expat.errors.messages[error.code]}"
        raise UserError(what, where=f"{path}:{error.lineno}", mend="fix the syntax of that line") from None
    except OSError as error:
        raise UserError(f"cannot read the file ({error})", where=str(path), mend="check path and permissions") from None


def _taken(events: list[tuple[str, dict[str, str], int] | None]) -> list[tuple[str, dict[str, str], int] | None]:
    taken = events[:]
    events.clear()
    return taken


def _compiler(attributes: Mapping[str, str], model: _Model, place: _Place) -> None:
    for key in ("meshdir", "texturedir"):
        for source in ("assetdir", key):
            directory = _portable(attributes.get(source, ""))
            if directory.startswith("/") or ":" in directory:
                mend = "write it relative to the model's folder, such as 'meshes'"
                raise UserError(f"{source} {directory!r} is not a relative path", where=str(place), mend=mend)
            if source in attributes:
                model.directories[key] = directory
    if "strippath" in attributes:
        model.strip = attributes["strippath"] == "true"


def _count_of(attributes: Mapping[str, str], place: _Place) -> int:
    """Read how many elements one stands for: ``count="8"``, or ``count="8 8 1"``."""
    try:
        return math.prod(max(int(word), 1) for word in attributes.get("count", "1").split()) or 1
    except ValueError:
        raise UserError(f"count is {attributes['count']!r}", where=str(place), mend="give whole numbers") from None


def _portable(name: str) -> str:
    """Read a backslash as MuJoCo does: as another slash."""
    return name.replace("\\", "/")


def _tidy(path: Path) -> Path:
    """Leave out ``..`` where that doesn't change which file it is."""
    short = Path(os.path.normpath(path))
    same = not os.path.exists(path) or (os.path.exists(short) and short.samefile(path))
    return short if same else path.resolve()
