"""URDF on its way to MuJoCo, which reads the format itself: settings, and where its meshes are.

MuJoCo by itself makes one body of all that is fixed to each other, so that names such as ``tool0`` are lost, looks for
meshes beside the URDF only, whatever folder they are named with, and takes two meshes of one name for the same. Here
every link stays a body, joints that mimic others follow them, and ``package://NAME/...`` is looked for below the
folders above the URDF.

What is only to be seen is kept where MuJoCo can read its mesh (not .dae), else the shapes of collisions are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mql.errors import UserError
from mql.robots.mjcf.xml_tree import Element

URDF_ROOT = "robot"
MESHES = (".stl", ".obj", ".msh")
_KEPT = ("link", "joint", "material", "mujoco")  # the rest is for other programs
_SCHEMES = ("package://", "model://")
_INERTIA = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
_NO_MASS = 1e-4  # kg


@dataclass(frozen=True)
class MeshPlace:
    """A mesh of a link, and whether it is only to be seen, not touched."""

    mesh: Element
    link: Element
    shape: Element
    seen_only: bool
    meshdir: str  # of the URDF's settings for MuJoCo

    def take_out(self) -> None:
        """Leave the shape out."""
        self.link.children = [child for child in self.link.children if child is not self.shape]


def prepare(root: Element) -> Iterator[MeshPlace]:
    """Make a URDF ready for MuJoCo, and yield its meshes, of which those only seen may be taken out.

    Raises:
        UserError: it is a xacro file, which is no URDF yet.
    """
    for element in root.walk():
        if element.tag.startswith("xacro:"):
            mend = f"turn it into a URDF first: xacro {element.file.name} > robot.urdf"
            raise UserError("this is a xacro file", where=element.where, mend=mend)
    root.children = [child for child in root.children if child.tag in _KEPT]
    for link in root.children:
        link.children = [child for child in link.children if not _is_placeholder(child)]
    meshdir = _settle(root)
    names: set[str] = set()
    for link in [child for child in root.children if child.tag == "link"]:
        for number, shape in enumerate(list(link.children)):
            if shape.tag not in ("visual", "collision"):
                continue
            name = shape.attributes.get("name")
            if not name or name in names:  # MuJoCo would warn of each
                shape.attributes["name"] = name = f"{link.attributes.get('name', '')}_{shape.tag}_{number}"
            names.add(name)
            for each in shape.walk():
                each.children = [child for child in each.children if child.tag != "texture"]
            for mesh in [each for each in shape.walk() if each.tag == "mesh"]:
                yield MeshPlace(mesh, link, shape, shape.tag == "visual", meshdir)


def _settle(root: Element) -> str:
    """Put the settings into the URDF's part for MuJoCo, where its own hold; return the folder of its meshes."""
    settings = {"fusestatic": "false", "discardvisual": "false"}
    others = []
    for child in [child for extension in root.children if extension.tag == "mujoco" for child in extension.children]:
        if child.tag == "compiler":
            settings |= child.attributes
        elif child.tag != "include":
            others.append(child)
    folders = [settings.pop(key, "") for key in ("meshdir", "assetdir", "texturedir")]
    compiler = Element("compiler", settings | {"strippath": "false"}, root.file, root.line)
    root.children = [
        Element("mujoco", {}, root.file, root.line, [compiler, *others]),
        *(child for child in root.children if child.tag != "mujoco"),
    ]
    return folders[0] or folders[1]


def _is_placeholder(element: Element) -> bool:
    """Tell whether an ``<inertial>`` only fills the place: of no mass, with an inertia that no body has."""
    if element.tag != "inertial":
        return False
    given = {child.tag: child.attributes for child in element.children}
    try:
        mass = float(given.get("mass", {}).get("value", 0.0))
        xx, xy, xz, yy, yz, zz = (float(given.get("inertia", {}).get(key, 0.0)) for key in _INERTIA)
    except ValueError:  # MuJoCo has a line for that
        return False
    inertia = np.linalg.eigvalsh([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return mass <= _NO_MASS and bool(inertia[0] <= 0.0 or inertia[0] + inertia[1] < inertia[2])


def mesh_candidates(name: str, urdf: Path, folder: Path, meshdir: str = "") -> list[Path]:
    """Return where a URDF's mesh may be, the likeliest place first.

    Args:
        name: as the URDF says it: ``package://NAME/...``, or a path from its own folder.
        urdf: the URDF.
        folder: the outermost folder that is looked at.
        meshdir: where MuJoCo would look for all meshes, from the URDF's own folder.
    """
    above = [urdf.parent, *(each for each in urdf.parents if each.resolve().is_relative_to(folder))]
    for scheme in _SCHEMES:
        if name.startswith(scheme):
            package, _, inside = name.removeprefix(scheme).partition("/")
            named = [each / inside for each in above if each.name == package]
            held = [each / package / inside for each in above]
            return [*named, *held, *(each / inside for each in above), urdf.parent / meshdir / Path(inside).name]
    if "://" in name or name.startswith("/"):
        return []
    return [*(each / name for each in above), urdf.parent / meshdir / Path(name).name]


def mimics(root: Element) -> dict[str, tuple[str, float, float]]:
    """Return the joints of a URDF that follow another one: name -> (that one, factor, offset).

    Raises:
        UserError: factor or offset is no number.
    """
    found = {}
    for joint in (child for child in root.children if child.tag == "joint"):
        for mimic in (child for child in joint.children if child.tag == "mimic"):
            given = mimic.attributes
            try:
                factor, offset = float(given.get("multiplier", 1.0)), float(given.get("offset", 0.0))
            except ValueError:
                mend = "write multiplier and offset as numbers"
                raise UserError("a joint follows another by no number", where=mimic.where, mend=mend) from None
            found[joint.attributes.get("name", "")] = (given.get("joint", ""), factor, offset)
    return found
