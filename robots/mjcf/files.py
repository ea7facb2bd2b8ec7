"""Which files a model reads, found without MuJoCo: a model from elsewhere is judged before it is compiled.

What is found here was compared with MuJoCo 3.3.0:

- an ``<include>`` and a ``<model>`` are looked for beside the main file, then beside the file that names them;
- a mesh, texture, height field or skin is looked for in the compiler's folder for it, below the main file's folder;
  then beside the file that names it, with that folder before it where the model's own path is a relative one;
- the last ``<compiler>`` of all wins; with ``strippath`` only the last part of an asset's path counts;
- a ``<model>`` is a main file of its own; the folders of its assets are the main file's where it names none.

More is found than MuJoCo finds: what lies where the file that names it would have it by itself. That is of no harm, as
MuJoCo opens none of these files: it gets a text without paths (`mql.robots.mjcf.sealed`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mql.config.findings import shown
from mql.errors import UserError
from mql.robots.mjcf.urdf import MESHES, URDF_ROOT, mesh_candidates, prepare
from mql.robots.mjcf.xml_tree import Element, parse, too_many

MOST_ELEMENTS = 50_000  # XML elements of a model, repeated ones counted as often as they are repeated
MOST_BYTES = 100_000_000  # of each file
FOLDER_ABOVE = "put a spec (docs/robots.md) into {}, whose files it may read, and name that"
_DEEPEST = 20  # files within files
_REPEATED = ("composite", "flexcomp", "replicate")  # their attribute `count` makes many elements of one
_NAMED_BY_FILE = ("mesh", "texture", "hfield", "skin")  # without a name they go by their file's


class Asset(NamedTuple):
    """An attribute that names a file."""

    element: Element
    key: str
    file: Path


@dataclass
class ModelFiles:
    """One main file with all that it includes, and the files that it names.

    Args:
        path: the main file.
        root: its elements, with those of included files in place.
        assets: what names a mesh, a texture and so on.
        children: the models that it names by ``<model>``.
        files: all files that belong to it, the main one first.
        included_by: an included file -> the file that includes it.
    """

    path: Path
    root: Element
    assets: list[Asset] = field(default_factory=list)
    children: list[tuple[Element, ModelFiles]] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    included_by: dict[Path, Path] = field(default_factory=dict)
    _directories: dict[str, str] = field(default_factory=dict)
    _strip: bool = False
    _elements: int = 0

    @property
    def folder(self) -> Path:
        """The main file's folder."""
        return self.path.parent


def mjcf_files(path: Path, folder: Path) -> tuple[Path, ...]:
    """Find every file that compiling a model reads: the model itself first, then includes, meshes, textures and so on.

    Args:
        path: the MJCF or URDF file.
        folder: the folder that none of them may lie outside of, links resolved.

    Raises:
        UserError: a file is missing, outside, absolute, too large or no XML, or the model has too many elements; one
            line with the file and line of the element.
    """
    return read_files(path, folder).files


def read_files(path: Path, folder: Path) -> ModelFiles:
    """Read a model's files, as `mjcf_files` finds them. Raises UserError as that does."""
    walk = _Walk(folder.resolve())
    main = walk.found([path], str(path), None)
    model = walk.model(main, {})
    model.files = tuple(walk.files)
    return model


class _Walk:
    """Goes through a model's files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: dict[Path, None] = {}  # in the order in which they are found
        self._elements = 0
        self._depth = 0

    def model(self, path: Path, directories: Mapping[str, str]) -> ModelFiles:
        """Go through one main file; `directories` are those of assets in the model that names it."""
        root = self._parsed(path, None)
        if root.tag not in ("mujoco", URDF_ROOT):
            mend = "name the file that includes it" if root.tag == "mujocoinclude" else "give an MJCF or a URDF"
            raise UserError(f"the file holds <{root.tag}>, not <mujoco>", where=root.where, mend=mend)
        model = ModelFiles(path, root)
        if root.tag == URDF_ROOT:
            self._count(model, sum(1 for _ in root.walk()), root)
            self._urdf(model)
            return model
        self._put_in(model, root, {path})
        self._directories(model, directories)
        self._count_all(model, root)
        self._find_assets(model)
        return model

    def _parsed(self, path: Path, place: Element | None) -> Element:
        self._depth += 1
        if self._depth > _DEEPEST:
            where = place.where if place is not None else str(path)
            raise UserError("files include files too deeply", where=where, mend=f"at most {_DEEPEST} levels")
        return parse(path, MOST_ELEMENTS)

    def _put_in(self, model: ModelFiles, element: Element, included: set[Path]) -> None:
        """Put the elements of included files into the place of each ``<include>``."""
        left = [element]
        while left:
            each = left.pop()
            children = []
            for child in each.children:
                if child.tag != "include":
                    children.append(child)
                    left.append(child)
                    continue
                name = _relative(child.attributes.get("file", ""), child, self._folder)
                beside = child.file.parent
                found = self.found([model.folder / name, beside / name], name, child)
                if found in included:
                    raise UserError(f"{name!r} is included twice", where=child.where, mend="MuJoCo takes it once")
                included.add(found)
                model.included_by[found] = child.file
                root = self._parsed(found, child)
                self._put_in(model, root, included)
                self._depth -= 1
                children += root.children
            each.children = children

    def _count_all(self, model: ModelFiles, root: Element) -> None:
        """Count elements, repeated ones as often as they are repeated, and read the models that are attached."""
        attached: list[tuple[str, int, Element]] = []
        sizes: dict[str, int] = {}
        left = [(root, 1)]
        while left:
            element, repeat = left.pop()
            self._count(model, repeat, element)
            if element.tag in _REPEATED:
                repeat *= _count_of(element)
                if element.tag != "replicate":
                    self._count(model, repeat, element)
            if element.tag == "attach":
                attached.append((element.attributes.get("model", ""), repeat, element))
            if element.tag == "model" and element.attributes.get("file"):
                name = _relative(element.attributes["file"], element, self._folder)
                beside = element.file.parent
                child = self.model(self.found([model.folder / name, beside / name], name, element), model._directories)
                self._depth -= 1
                model.children.append((element, child))
                for known in (element.attributes.get("name"), child.root.attributes.get("model"), child.path.stem):
                    sizes.setdefault(known or "", child._elements)
            left += [(child, repeat) for child in reversed(element.children)]
        for name, repeat, element in attached:
            self._count(model, sizes.get(name, 0) * repeat, element)

    def _count(self, model: ModelFiles, elements: int, place: Element) -> None:
        model._elements += elements
        self._elements += elements
        if self._elements > MOST_ELEMENTS:
            raise too_many(MOST_ELEMENTS, place.where)

    def _directories(self, model: ModelFiles, inherited: Mapping[str, str]) -> None:
        """Read in which folders the assets are. What is said of paths is taken out: no text for MuJoCo has any."""
        found: dict[str, str] = {}
        for element in model.root.walk():
            if element.tag != "compiler":
                continue
            for key in ("meshdir", "texturedir"):
                for source in ("assetdir", key):
                    directory = _portable(element.attributes.get(source, ""))
                    if directory.startswith("/") or ":" in directory:
                        mend = "write it relative to the model's folder, such as 'meshes'"
                        raise UserError(
                            f"{source} {directory!r} is not a relative path", where=element.where, mend=mend
                        )
                    if source in element.attributes:
                        found[key] = directory
            if "strippath" in element.attributes:
                model._strip = element.attributes["strippath"] == "true"
            for key in ("assetdir", "meshdir", "texturedir", "strippath"):
                element.attributes.pop(key, None)
        model._directories = {key: found.get(key) or inherited.get(key, "") for key in ("meshdir", "texturedir")}

    def _find_assets(self, model: ModelFiles) -> None:
        for element in model.root.walk():
            if element.tag in ("include", "model"):
                continue
            for key, value in element.attributes.items():
                if not (key.startswith("file") and value):
                    continue
                name = _portable(value)
                name = name.rpartition("/")[2] if model._strip else _relative(name, element, self._folder)
                directory = Path(model._directories["texturedir" if element.tag == "texture" else "meshdir"])
                beside = element.file.parent
                relative = Path(os.path.relpath(beside, model.folder))
                base = model.folder / directory
                found = self.found(
                    [base / name, base / relative / name, beside / name],
                    name,
                    element,
                    [beside / directory / name, model.folder / name],
                )
                model.assets.append(Asset(element, key, found))
            if element.tag in _NAMED_BY_FILE and element.attributes.get("file"):
                name = _portable(element.attributes["file"]).rpartition("/")[2]
                element.attributes.setdefault("name", name.rpartition(".")[0] or name)

    def _urdf(self, model: ModelFiles) -> None:
        """Find the meshes of a URDF, and make it ready for MuJoCo."""
        for place in prepare(model.root):
            mesh = place.mesh
            name = _portable(mesh.attributes.get("filename", ""))
            candidates = mesh_candidates(name, model.path, self._folder, _portable(place.meshdir))
            there = [path for path in candidates if os.path.isfile(path)]
            usable = [path for path in there if path.suffix.lower() in MESHES and self._is_inside(path)]
            if place.seen_only and not usable:
                place.take_out()
                continue
            if there and not usable and self._is_inside(there[0]):
                mend = f"convert it, MuJoCo reads {', '.join(MESHES)}"
                raise UserError(f"the mesh {name!r} is none that MuJoCo reads", where=mesh.where, mend=mend)
            if not candidates:
                _relative(name, mesh, self._folder)
            found = self.found(usable or there or candidates[:1], name, mesh)
            model.assets.append(Asset(mesh, "filename", found))

    def found(self, candidates: list[Path], name: str, place: Element | None, others: Sequence[Path] = ()) -> Path:
        """Return the first candidate that is there; all of them that are there must be in order, and all are noted.

        Where none of them is there, the first of `others` counts that is.
        """
        there = [path for path in dict.fromkeys(candidates) if os.path.exists(path)]
        there = there or [path for path in others if os.path.exists(path)][:1] or candidates[:1]
        for path in there:
            self._check(path, name, place)
        self.files |= dict.fromkeys(map(_tidy, there))
        return _tidy(there[0])

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self._folder)
        except (OSError, RuntimeError):  # links that lead in a circle, names that are too long
            return False

    def _check(self, path: Path, name: str, place: Element | None) -> None:
        """Refuse a file that is outside, missing or too large."""
        where = place.where if place is not None else str(path)
        if not self._is_inside(path):
            raise UserError(f"{name!r} lies outside the model's folder", where=where, mend=self._way_in(path))
        if not os.path.isfile(path):
            what = "is not a file" if os.path.exists(path) else "is missing"
            mend = f"put it at {_tidy(path)}, or fix the path" if place is not None else "check the path"
            raise UserError(f"the file {name!r} {what}", where=where, mend=mend)
        if os.path.getsize(path) > MOST_BYTES:
            what = f"the file {name!r} has {os.path.getsize(path) / 1e6:.0f} MB"
            raise UserError(what, where=where, mend=f"make it smaller; at most {MOST_BYTES / 1e6:.0f} MB are read")

    def _way_in(self, path: Path) -> str:
        """Say what helps with a file outside."""
        shared = Path(os.path.commonpath([self._folder, _tidy(path.absolute())]))
        if len(shared.parts) <= 2 or not self._folder.is_relative_to(shared):
            return f"copy it into {self._folder} and name it from there; a model reads nothing outside its folder"
        return f"a model reads nothing outside its folder: copy both into one, or {FOLDER_ABOVE.format(shared)}"


def _relative(name: str, place: Element, folder: Path) -> str:
    """Return a file's name with plain slashes. Raises UserError for an absolute one."""
    name = _portable(name)
    if name.startswith("/") or Path(name).is_absolute() or ":" in name:
        mend = f"copy it into {folder} and write the path from there"
        raise UserError(f"{name!r} is not a relative path", where=place.where, mend=mend)
    return name


def _count_of(element: Element) -> int:
    """Read how many elements one stands for: ``count="8"``, or ``count="8 8 1"``."""
    count = element.attributes.get("count", "1")
    try:
        numbers = [int(word) for word in count.split()]
    except ValueError:  # or one of thousands of digits
        numbers = [0]
    if min(numbers, default=1) < 1:
        raise UserError(f"count is {shown(count)}", where=element.where, mend="give whole numbers, of at least 1")
    return math.prod(numbers)


def _portable(name: str) -> str:
    """Read a backslash as MuJoCo does: as another slash."""
    return name.replace("\\", "/")


def _tidy(path: Path) -> Path:
    """Leave out ``..`` where that doesn't change which file it is."""
    short = Path(os.path.normpath(path))
    same = not os.path.exists(path) or (os.path.exists(short) and short.samefile(path))
    return short if same else path.resolve()
