"""Is a robot valid? Eleven checks, each of which says pass, warn or fail with the reason and the fix.

    inspection = Inspection(build=lambda: registry.load("planar2"))
    for name in CHECKS:
        print(run_check(inspection, name))

A model that nobody knows can crash MuJoCo: `mql robots check` does all this in a worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import mujoco
import numpy as np

from mql.errors import UserError, told
from mql.plain_text import counted
from mql.robots.checks.facts import check_facts, check_stated
from mql.robots.checks.motion import check_actuators, check_drop, check_home
from mql.robots.checks.numbers import check_inertia, check_limits
from mql.robots.checks.verdict import FAIL, Verdict, failed, passed, warned
from mql.robots.drawing.picture import take_picture
from mql.robots.drawing.renderer import undrawn
from mql.robots.inspection import Inspection
from mql.robots.mjcf.files import mjcf_files
from mql.robots.mjcf.warnings import unheard_warnings

BASIC = ("schema", "files", "compiles")  # without these there is nothing that the other checks can look at


@dataclass(frozen=True)
class CheckResult:
    """One line of `mql robots check`; `result` is pass, warn or fail."""

    robot: str
    check: str
    result: str
    message: str

    def to_json(self) -> dict[str, str]:
        """Return the line as plain data."""
        return asdict(self)


def check_schema(inspection: Inspection) -> Verdict:
    """The spec can be read, and agrees with itself."""
    spec = inspection.spec
    return passed(f"{spec.name}, version {spec.version}, {spec.licence}")


def check_files(inspection: Inspection) -> Verdict:
    """The model reads nothing outside its folder, and is of a size that can be compiled."""
    source = inspection.spec.mjcf_source()
    files = mjcf_files(source.path, source.folder)
    return passed(f"{counted(len(files), 'file')}, all inside {source.folder}")


def check_compiles(inspection: Inspection) -> Verdict:
    """MuJoCo compiles the model, and its numbers are numbers."""
    model = inspection.model
    bodies = "1 body" if model.nbody == 2 else f"{model.nbody - 1} bodies"
    joints, actuators = counted(model.njnt, "joint"), counted(model.nu, "actuator")
    return passed(f"{bodies}, {joints}, {actuators}, steps of {model.opt.timestep:g} s")


def check_render(inspection: Inspection) -> Verdict:
    """A picture can be drawn. It may take the whole process down, so this is the last check."""
    try:
        picture = take_picture(inspection.spec, inspection.model)
    except (UserError, mujoco.FatalError):
        if inspection.opengl:
            raise
        return warned("no OpenGL library opens a picture here")
    hidden = undrawn(inspection.model)
    if hidden.size:
        group = int(inspection.model.geom_group[hidden[0]])
        what = f"{hidden.size} shapes are in group {group}, which viewers hide, and nothing else shows their bodies"
        return warned(f"{what}: pictures draw them all the same")
    if np.ptp(picture) == 0:
        return warned("the picture has one colour all over: add a section 'view' that looks at the robot")
    return passed(f"a picture of {picture.shape[1]} x {picture.shape[0]} pixels")


CHECKS: Mapping[str, Callable[[Inspection], Verdict]] = {
    "schema": check_schema,
    "files": check_files,
    "compiles": check_compiles,
    "facts": check_facts,
    "stated": check_stated,
    "home": check_home,
    "drop": check_drop,
    "actuators": check_actuators,
    "limits": check_limits,
    "inertia": check_inertia,
    "render": check_render,
}


def run_check(
    inspection: Inspection, name: str, checks: Mapping[str, Callable[[Inspection], Verdict]] = CHECKS
) -> Verdict:
    """Do one of `checks`. Whatever it meets becomes its verdict: nothing is raised."""
    try:
        with unheard_warnings():
            return checks[name](inspection)
    except UserError as error:  # it says itself where and how
        return failed(str(error))
    except Exception as error:
        return failed(f"it stopped with {told(error, whole=False)}")


def goes_on(check: str, verdict: Verdict) -> bool:
    """Tell whether there is anything to look at after this check."""
    return verdict.result != FAIL or not (check in BASIC or verdict.final)
