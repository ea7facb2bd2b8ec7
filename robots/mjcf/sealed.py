"""A model as one text and the bytes of its files, without any path: MuJoCo opens no file for it.

So a model reads what `mql.robots.mjcf.files` found, and nothing else, whatever a version of MuJoCo makes of paths.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from mql.errors import UserError
from mql.robots.mjcf.attributes import check_attributes
from mql.robots.mjcf.files import ModelFiles
from mql.robots.mjcf.urdf import mimics
from mql.robots.mjcf.xml_tree import Element, write

# What MuJoCo has against many URDFs, and its setting for that.
_URDF_SETTINGS = {
    "balanceinertia": 'balanceinertia="true"',
    "larger than mjMINVAL": 'boundmass="0.001" boundinertia="0.000001"',
}
_LINE = re.compile(r"\bline (\d+)")


@dataclass(frozen=True)
class Sealed:
    """A model for MuJoCo.

    Args:
        path: its main file, for messages.
        text: MJCF or URDF.
        includes: the models that it attaches: name in the text -> text.
        assets: meshes, textures and so on: name in the text, which is a digest of the bytes -> bytes.
        shown: such a name -> the file's own.
        elements: what stands in each line of the text.
        loose: those of the assets that MuJoCo 3.3 wants on the disk all the same.
    """

    path: Path
    text: str
    includes: Mapping[str, bytes]
    assets: Mapping[str, bytes] = field(repr=False)
    shown: Mapping[str, str] = field(repr=False)
    elements: tuple[Element, ...] = field(repr=False)
    loose: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of all of it; the same for the same content, wherever it lies."""
        whole = hashlib.sha256(self.text.encode())  # names of assets are digests
        for name in sorted(self.includes):
            whole.update(name.encode() + self.includes[name])
        return whole.hexdigest()

    @property
    def is_urdf(self) -> bool:
        """Whether the text is URDF."""
        return self.elements[0].tag != "mujoco"

    def compile(self) -> mujoco.MjModel:
        """Compile it.

        Raises:
            UserError: MuJoCo refuses it; one line that names the file and line of what it does not like.
        """
        try:
            if self.is_urdf:
                return self.spec().compile()
            with self.laid_out() as (text, includes, assets):
                return mujoco.MjModel.from_xml_string(text, {**includes, **assets})
        except (ValueError, RuntimeError, mujoco.FatalError) as error:
            raise self.refusal(error) from None

    def spec(self) -> Any:
        """Return it as an MjSpec, to be changed and compiled. Raises UserError as `compile` does."""
        try:
            with self.laid_out() as (text, includes, assets):
                spec = mujoco.MjSpec.from_string(text, includes, assets)
        except (ValueError, RuntimeError, mujoco.FatalError) as error:
            raise self.refusal(error) from None
        followers = mimics(self.elements[0]) if self.is_urdf else {}
        if list(spec.equalities):  # newer versions of MuJoCo read them themselves
            followers = {}
        for name, (other, factor, offset) in followers.items():
            follow = spec.add_equality(
                type=mujoco.mjtEq.mjEQ_JOINT, objtype=mujoco.mjtObj.mjOBJ_JOINT, name1=name, name2=other, active=True
            )
            coefficients = np.zeros(len(follow.data))
            coefficients[:2] = offset, factor
            follow.data = coefficients
        return spec

    @contextmanager
    def laid_out(self) -> Iterator[tuple[str, dict[str, bytes], dict[str, bytes]]]:
        """Yield text, includes and assets as MuJoCo takes them, with the loose ones in a temporary folder."""
        if not self.loose:
            yield self.text, dict(self.includes), dict(self.assets)
            return
        with tempfile.TemporaryDirectory() as folder:
            text, includes = self.text, dict(self.includes)
            for name in self.loose:
                path = Path(folder) / name
                path.write_bytes(self.assets[name])
                text = text.replace(name, str(path))
                includes = {key: each.replace(name.encode(), str(path).encode()) for key, each in includes.items()}
            yield text, includes, dict(self.assets)

    def refusal(self, error: Exception) -> UserError:
        """Say in one line what MuJoCo said, in the words of the files."""
        said = " ".join(str(error).split()).removeprefix("Error: ").removeprefix("XML Error: ")
        for name, own in self.shown.items():
            said = said.replace(name, own).replace(name.partition(".")[0], Path(own).stem)
        found = None if "could not parse model file" in said else _LINE.search(said)
        where = str(self.path)
        if found is not None and 0 < int(found.group(1)) <= len(self.elements):
            element = self.elements[int(found.group(1)) - 1]
            where = element.where
            said = said.replace(f", {found.group()}", "").removesuffix(f" Element '{element.tag}'")
        mend = "fix the MJCF there"
        if self.is_urdf:
            helps = next((setting for words, setting in _URDF_SETTINGS.items() if words in said), None)
            mend = "fix the URDF there"
            if helps is not None:
                mend = f"fix the URDF, or add '<mujoco><compiler {helps}/></mujoco>' below <robot>"
        return UserError(f"MuJoCo refuses the model: {said}", where=where, mend=mend)


def seal(files: ModelFiles) -> Sealed:
    """Put a model's files together; the attributes that name files get the names of the sealed model.

    Raises:
        UserError: a file can't be read, or an attribute has a value that no model should have.
    """
    check_attributes(files.root)
    assets: dict[str, bytes] = {}
    shown: dict[str, str] = {}
    includes: dict[str, bytes] = {}
    loose: set[str] = set()
    for asset in files.assets:
        data = _read(asset.file)
        name = f"{hashlib.sha256(data).hexdigest()[:32]}{asset.file.suffix}"
        assets[name], shown[name] = data, asset.file.name
        asset.element.attributes[asset.key] = name
        if asset.element.tag == "flexcomp":
            loose.add(name)
    for element, child in files.children:
        sealed = seal(child)
        name = f"{sealed.digest[:32]}.xml"
        element.attributes["file"] = name
        includes |= {**sealed.includes, name: sealed.text.encode()}
        assets |= sealed.assets
        shown |= {**sealed.shown, name: child.path.name}
        loose |= sealed.loose
    written = write(files.root)
    return Sealed(files.path, written.text, includes, assets, shown, written.elements, frozenset(loose))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the file ({error})", where=str(path), mend="check path and permissions") from None
