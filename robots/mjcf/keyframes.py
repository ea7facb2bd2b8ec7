"""Makes a keyframe fit a model that got more joints than it was written for.

MuJoCo wants as many numbers in a keyframe as the whole model has. So a robot with a keyframe could not be included in a
scene that adds an object. Here a keyframe belongs to the file that it stands in, or to one that includes that file:
where its numbers are as many as these have joints, they are put to where the whole has those; all else stands there as
the model is built, with controls of 0.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.robots.mjcf.files import ModelFiles
from mql.robots.mjcf.lookup import joint_freedoms, joint_width
from mql.robots.mjcf.sealed import Sealed, seal
from mql.robots.mjcf.xml_tree import Element

_SAID = "keyframe"  # in MuJoCo's message that one does not fit
_KEYS = ("qpos", "qvel", "act", "ctrl", "mpos", "mquat")
Array = npt.NDArray[np.float64]


def not_fitting(files: ModelFiles, said: str) -> bool:
    """Tell whether a keyframe has other numbers than the whole model.

    Args:
        files: the model.
        said: of it in its trial: what MuJoCo has against it, or how many numbers a keyframe has.
    """
    sizes = said.split()
    if len(sizes) != len(_KEYS) or not all(size.isdecimal() for size in sizes):
        return _SAID in said
    # Newer versions of MuJoCo take a keyframe of too few numbers, for those of whatever stands first.
    wanted = dict(zip(_KEYS, map(int, sizes), strict=True))
    return any(len(key.attributes[name].split()) != wanted[name] for key in _keys(files.root) for name in _given(key))


def fit_keyframes(files: ModelFiles, sealed: Sealed) -> bool:
    """Change those keyframes of a model that do not fit; tell whether that changed any.

    Args:
        files: the model.
        sealed: the same, sealed as it is.

    Raises:
        UserError: a keyframe fits nothing, or MuJoCo refuses the model without its keyframes, too.
    """
    bare = copy.copy(files)
    bare.root = copy.deepcopy(files.root)
    bare.assets, bare.children = [], []  # the text names them as the sealed one does
    owners = _Owners.of(bare.root)
    for element in bare.root.walk():
        if element.tag == "keyframe":
            element.children = []
    text = seal(bare)
    model = dataclasses.replace(sealed, text=text.text, elements=text.elements).compile()
    changed = False
    for key in _keys(files.root):
        everything = owners.places(model, None)
        if _whole(key, model, everything) is not None:
            continue
        scope: Path | None = key.file
        while scope is not None and scope != files.path:
            whole = _whole(key, model, owners.places(model, _included(scope, files.included_by)))
            if whole is not None:
                key.attributes.update({name: _text(values) for name, values in whole.items()})
                changed = True
                break
            scope = files.included_by.get(scope)
        else:
            shown = ", ".join(f"{name}: {len(key.attributes[name].split())}" for name in _given(key))
            wanted = ", ".join(f"{name}: {len(everything[name][1])}" for name in _given(key))
            mend = f"give as many as the model has ({wanted}), or leave them out"
            raise UserError(f"the keyframe's numbers are not the model's ({shown})", where=key.where, mend=mend)
    return changed


class _Owners:
    """Which file each joint, actuator and mocap body stands in, by its name."""

    def __init__(self) -> None:
        self._files: dict[tuple[str, str], Path] = {}

    @classmethod
    def of(cls, root: Element) -> _Owners:
        """Look through a model, and give a name to what has none."""
        owners = cls()
        for section in root.children:
            if section.tag == "worldbody":
                for element in section.walk():
                    if element.tag in ("joint", "freejoint"):
                        owners._note("joint", element)
                    elif element.tag == "body" and element.attributes.get("mocap") == "true":
                        owners._note("body", element)
            elif section.tag == "actuator":
                for element in section.children:
                    owners._note("actuator", element)
        return owners

    def _note(self, kind: str, element: Element) -> None:
        name = element.attributes.setdefault("name", f"number {len(self._files)} without a name")
        self._files[kind, name] = element.file

    def places(self, model: mujoco.MjModel, files: set[Path] | None) -> dict[str, tuple[Array, Array]]:
        """Return for each kind of a keyframe's numbers the places of those files' own, and the whole as it is built.

        Without `files` these are all places.
        """

        def own(kind: str, name: str) -> bool:
            return files is None or self._files.get((kind, name)) in files

        joints = [j for j in range(model.njnt) if own("joint", model.joint(j).name)]
        actuators = [a for a in range(model.nu) if own("actuator", model.actuator(a).name)]
        bodies = np.flatnonzero(np.asarray(model.body_mocapid) >= 0)
        mocap = [int(model.body_mocapid[b]) for b in bodies if own("body", model.body(b).name)]
        order = np.argsort(np.asarray(model.body_mocapid)[bodies])
        return {
            "qpos": (_ranges(model.jnt_qposadr, [(j, joint_width(model, j)) for j in joints]), model.qpos0.copy()),
            "qvel": (
                _ranges(model.jnt_dofadr, [(j, joint_freedoms(model, j)) for j in joints]),
                np.zeros(model.nv),
            ),
            "act": (
                _ranges(model.actuator_actadr, [(a, int(model.actuator_actnum[a])) for a in actuators]),
                np.zeros(model.na),
            ),
            "ctrl": (np.array(actuators, int), np.zeros(model.nu)),
            "mpos": (
                _ranges(3 * np.arange(model.nmocap), [(m, 3) for m in mocap]),
                model.body_pos[bodies][order].ravel(),
            ),
            "mquat": (
                _ranges(4 * np.arange(model.nmocap), [(m, 4) for m in mocap]),
                model.body_quat[bodies][order].ravel(),
            ),
        }


def _whole(key: Element, model: mujoco.MjModel, places: Mapping[str, tuple[Array, Array]]) -> dict[str, Array] | None:
    """Return the whole model's numbers of a keyframe, or None: it is not written for these places."""
    found = {}
    for name in _given(key):
        try:
            values = np.array([float(word) for word in key.attributes[name].split()])
        except ValueError:
            return None
        where, whole = places[name]
        if len(values) != len(where):
            return None
        whole[where] = values
        found[name] = whole
    return found


def _given(key: Element) -> list[str]:
    return [name for name in _KEYS if name in key.attributes]


def _keys(root: Element) -> Iterator[Element]:
    for element in root.walk():
        if element.tag == "keyframe":
            yield from (child for child in element.children if child.tag == "key")


def _included(scope: Path, included_by: Mapping[Path, Path]) -> set[Path]:
    """Return a file and all that it includes."""
    found = {scope}
    while more := {file for file, by in included_by.items() if by in found} - found:
        found |= more
    return found


def _ranges(starts: npt.ArrayLike, widths: list[tuple[int, int]]) -> Array:
    begin = np.asarray(starts)
    return np.concatenate([np.zeros(0, int), *(np.arange(begin[n], begin[n] + width) for n, width in widths)])


def _text(values: Array) -> str:
    return " ".join(repr(float(value)) for value in values)
