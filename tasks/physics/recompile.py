"""Carries out changes that only MuJoCo's compiler can: sizes, and places of what has volumes or fixes lengths.

The model's files are read anew, the changed numbers are written into them, and what the compiled result has otherwise
than the files as they are is kept for each value: MuJoCo's volumes around geoms, inertias that follow from geoms, the
points of a mesh. Written into a model, this makes it the recompiled one, and whoever holds the model goes on with it.

Where bodies' centres of mass are moved, all bodies first get the masses and inertias that they were compiled with, so
that no setting of <compiler> computes them again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
import numpy.typing as npt

from mql.errors import UserError
from mql.tasks.distributions import Value
from mql.tasks.physics.step import Step
from mql.tasks.scenes.part import tree, write_angles_plainly, write_numbers
from mql.tasks.scenes.source import ModelSource, compiled

Array = npt.NDArray[Any]

_MOST_BYTES = 1 << 26  # of results that are kept; with meshes a value may take some 100 kB, without them 1 kB
_MESH = mujoco.mjtGeom.mjGEOM_MESH.value
# What `mj_setConst` computes: it is computed anyway, on the model itself.
_DERIVED = frozenset(
    {
        *("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "tendon_length0", "tendon_invweight0"),
        *("actuator_length0", "actuator_acc0", "flexedge_length0", "flexedge_invweight0"),
        *("cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0", "light_dir0"),
    }
)


class _Different(NamedTuple):
    """Elements [K] of an array, flat, that compiling changes, and their values."""

    places: npt.NDArray[np.intp]
    values: Array


class Recompiler:
    """The compiled changes of one model.

    Args:
        model: the model, which its environment may have changed elsewhere since it was compiled.
        steps: the changes, in their order.
        source: the model's files.

    Raises:
        UserError: there is no source, or it gives another model.
    """

    def __init__(self, model: mujoco.MjModel, steps: Sequence[Step], source: ModelSource | None) -> None:
        self._steps = tuple(steps)
        first = steps[0]
        if source is None:
            what = f"{first.change.field} needs the model's file, which nobody knows here"
            raise UserError(what, where=first.where, mend="write a definition with 'mjcf: FILE.xml'")
        self._source = source
        self._plain = compiled(source.spec())
        sizes = other_sizes(self._plain, model)
        if sizes:
            what = f"{source.name} gives another model than the one in use ({sizes})"
            raise UserError(what, where=first.where, mend="write a definition with 'mjcf: FILE.xml'")
        self._own = {name: differing(getattr(self._plain, name), getattr(model, name)) for name in arrays_of(model)}
        self._kept: OrderedDict[tuple[Value, ...], Mapping[str, _Different]] = OrderedDict()
        self._bytes = 0  # of these
        self._written: dict[str, npt.NDArray[np.intp]] = {}  # elements that some value has changed

    def put_back(self, model: mujoco.MjModel) -> None:
        """Undo what `write` has done with whatever values."""
        for name, places in self._written.items():
            getattr(model, name).reshape(-1)[places] = getattr(self._plain, name).reshape(-1)[places]

    def write(self, model: mujoco.MjModel, parameters: Mapping[str, Value]) -> None:
        """Write into `model`, where it has its own values, what compiling with these values changes.

        Raises:
            UserError: a value that physics or MuJoCo refuses, or that changes how large the model is.
        """
        key = tuple(parameters[step.parameter] for step in self._steps)
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = self._compile(parameters)
            self._bytes += _size(self._kept[key])
            while self._bytes > _MOST_BYTES and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        for name, each in self._kept[key].items():
            getattr(model, name).reshape(-1)[each.places] = each.values

    def _compile(self, parameters: Mapping[str, Value]) -> Mapping[str, _Different]:
        first = self._steps[0]
        try:
            changed = _compiled_with(self._source, self._plain, self._steps, parameters)
        except ValueError as error:
            said = " ".join(str(error).split()).removeprefix("Error: ")
            names = ", ".join(sorted({step.parameter for step in self._steps}))
            what = f"MuJoCo refuses the model with {names}: {said}"
            raise UserError(what, where=first.where, mend="keep the values where the model compiles") from None
        sizes = other_sizes(self._plain, changed)
        if sizes:
            what = f"{first.parameter} changes how large the model is ({sizes})"
            raise UserError(what, where=first.where, mend="write a file for each, or scale all axes alike")
        found = {}
        for name in arrays_of(changed):
            before, after = getattr(self._plain, name).reshape(-1), getattr(changed, name).reshape(-1)
            unused = np.isnan(before) & np.isnan(after) if before.dtype.kind == "f" else False
            places = np.flatnonzero((before != after) & ~np.asarray(unused))
            if not places.size:
                continue
            if name not in _DERIVED and np.intersect1d(places, self._own[name]).size:
                what = f"the environment changes {name} itself, and so does {first.parameter}"
                raise UserError(what, where=first.where, mend="change another field, or write a definition with 'mjcf'")
            found[name] = _Different(places, after[places])
            self._written[name] = np.union1d(self._written.get(name, places), places)
        return found


def _size(found: Mapping[str, _Different]) -> int:
    return sum(each.places.nbytes + each.values.nbytes for each in found.values())


def _compiled_with(
    source: ModelSource, plain: mujoco.MjModel, steps: Sequence[Step], parameters: Mapping[str, Value]
) -> mujoco.MjModel:
    """Compile the files with changed numbers, and make sure that they are what comes out."""
    wanted = _Wanted(plain)
    loads = [step for step in steps if step.change.field == "body_ipos"]
    for step in steps:
        if step not in loads:
            wanted.take(step, parameters[step.parameter])
    model = compiled(source.spec(wanted.write)) if wanted.rows else plain
    for name, rows in wanted.rows.items():
        got = as_in_the_file(model, name)[rows]
        if name.endswith("quat"):
            got = got * np.sign((got * wanted.arrays[name][rows]).sum(axis=1, keepdims=True))
        if not np.allclose(got, wanted.arrays[name][rows], rtol=1e-6, atol=1e-9):
            step = next(step for step in steps if step.change.kind.array == name)
            what = f"{step.parameter} can't set {step.change.field}: MuJoCo's compiler makes something else of it"
            mend = "write it at the element itself, without <replicate>, alignfree or a size fitted to a mesh"
            raise UserError(what, where=step.where, mend=mend)
    if not loads:
        return model
    spec = source.spec(wanted.write if wanted.rows else None)
    write_angles_plainly(spec)
    write_numbers(spec, model)
    places = model.body_ipos.copy()
    for step in loads:
        step.take(places, parameters[step.parameter])
    bodies = list(tree(spec.worldbody))
    for row in {row for step in loads for row in step.all_rows}:
        bodies[row].ipos = places[row]
    return compiled(spec)


class _Wanted:
    """The numbers of places and shapes as the files say them, changed for one task."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self.arrays: dict[str, Array] = {}
        self.rows: dict[str, list[int]] = {}

    def take(self, step: Step, value: Value) -> None:
        """Carry out one change on these numbers."""
        name = step.change.kind.array
        if name not in self.arrays:
            self.arrays[name] = as_in_the_file(self._model, name).copy()
        step.take(self.arrays[name], value)
        self.rows[name] = sorted({*self.rows.get(name, ()), *step.all_rows})

    def write(self, spec: Any) -> bool:
        """Write them into a file's spec; tell whether it has any of the elements."""
        model, found = self._model, False
        bodies = {body.name: body for body in spec.bodies} | {"world": spec.worldbody}
        for row in sorted({row for name in ("geom_pos", "geom_quat", "geom_size") for row in self.rows.get(name, ())}):
            geom = _find_geom(spec, bodies, model, row)
            if geom is not None:
                found = True
                self._write_geom(geom, row)
        for kind, elements in (("body", bodies), ("site", {site.name: site for site in spec.sites})):
            for row in sorted({*self.rows.get(f"{kind}_pos", ()), *self.rows.get(f"{kind}_quat", ())}):
                element = elements.get(getattr(model, kind)(row).name)
                if element is not None:
                    found = True
                    self._place(element, kind, row)
        for row in self.rows.get("mesh_scale", ()):
            for mesh in spec.meshes:
                if (mesh.name or Path(mesh.file).stem) == model.mesh(row).name:
                    found = True
                    mesh.scale = self.arrays["mesh_scale"][row]
        return found

    def _write_geom(self, geom: Any, row: int) -> None:
        if self._model.geom_type[row] != _MESH:
            write_size(geom, self.arrays.get("geom_size", self._model.geom_size)[row])
        self._place(geom, "geom", row)

    def _place(self, element: Any, kind: str, row: int) -> None:
        for name in (f"{kind}_pos", f"{kind}_quat"):
            if name not in self.arrays:
                self.arrays[name] = as_in_the_file(self._model, name).copy()
        write_place(element, self.arrays[f"{kind}_pos"][row], self.arrays[f"{kind}_quat"][row])


def write_size(geom: Any, size: Array) -> None:
    """Write the size [3] of a geom that is no mesh into its element, whatever the file says it by."""
    geom.size = size
    geom.fromto = np.full(6, np.nan)


def write_place(element: Any, pos: Array, quat: Array) -> None:
    """Write a place [3] and an orientation [4], seen from the body that the element belongs to."""
    if getattr(element.parent, "frames", ()):  # what a <frame> says stands in the place already
        element.set_frame(element.parent.add_frame())
    element.pos, element.quat = pos, quat
    element.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT


def _find_geom(spec: Any, bodies: Mapping[str, Any], model: mujoco.MjModel, row: int) -> Any:
    """Return the element of a compiled geom, by its name, or by its body's and its number there; None: not here."""
    name = model.geom(row).name
    if name:
        return next((geom for geom in spec.geoms if geom.name == name), None)
    body = int(model.geom_bodyid[row])
    owner = bodies.get(model.body(body).name) if model.body(body).name else None
    geoms = [] if owner is None else list(owner.geoms)
    place = row - int(model.body_geomadr[body])
    return geoms[place] if place < len(geoms) else None


def as_in_the_file(model: mujoco.MjModel, name: str) -> Array:
    """Return an array with each geom of a mesh where the file puts it: compiling moves the mesh into its own axes."""
    values = np.asarray(getattr(model, name))
    meshes = np.flatnonzero(model.geom_type == _MESH) if name in ("geom_pos", "geom_quat") else ()
    if len(meshes):
        values = values.copy()
    for row in meshes:
        mesh, turn, back, moved = int(model.geom_dataid[row]), np.zeros(4), np.zeros(4), np.zeros(3)
        mujoco.mju_negQuat(back, model.mesh_quat[mesh])
        mujoco.mju_mulQuat(turn, model.geom_quat[row], back)
        mujoco.mju_rotVecQuat(moved, model.mesh_pos[mesh], turn)
        values[row] = turn if name == "geom_quat" else model.geom_pos[row] - moved
    return values


def arrays_of(model: mujoco.MjModel) -> list[str]:
    """Return the names of a model's arrays of numbers, names of its elements left out."""
    names = [name for name in dir(model) if not name.startswith(("_", "name"))]
    return [name for name in names if isinstance(getattr(model, name), np.ndarray)]


def other_sizes(one: mujoco.MjModel, other: mujoco.MjModel) -> str:
    """Say in which arrays two models have different sizes; empty: in none."""
    shapes = [(name, getattr(one, name).shape, getattr(other, name).shape) for name in arrays_of(one)]
    return ", ".join(f"{name} {mine} {theirs}" for name, mine, theirs in shapes if mine != theirs)[:200]


def differing(one: Array, other: Array) -> npt.NDArray[np.intp]:
    """Return the elements, flat, that are not the same but for rounding; MuJoCo leaves NaN in unused ones."""
    return np.flatnonzero(~np.isclose(one.reshape(-1), other.reshape(-1), rtol=1e-9, atol=1e-12, equal_nan=True))
