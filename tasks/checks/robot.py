"""All checks of a robot: those of `mql.robots.checks`, and whether what commands it in tasks lets it stay at home.

Robots know nothing of tasks, so this check stands here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import mujoco
import numpy as np

from mql.robots.checks.run import CHECKS, run_check
from mql.robots.checks.verdict import Verdict, judged, passed
from mql.robots.inspection import Inspection
from mql.robots.mjcf.lookup import site_id
from mql.tasks.control.joints import TargetControl
from mql.tasks.control.modes import control_of_mode
from mql.tasks.control.rest import ALLOWED, Resting

_SECONDS = 2.0  # of simulation
_HEAVIER = 3.0  # times the end effector's own mass


def check_rest(inspection: Inspection) -> Verdict:
    """In each control mode that can ask for it the end effector stays at home, as it is and with a load.

    The load makes the body of the end effector three times as heavy, or adds `safety.payload_kg` where that is more.
    """
    spec = inspection.spec
    if not spec.control:
        return passed("no control mode is stated")
    model, home = inspection.model, inspection.home()
    site = None if spec.end_effector is None else site_id(model, spec.end_effector.site)
    heavy = None if site is None else _loaded(model, int(model.site_bodyid[site]), spec.safety.payload_kg or 0.0)
    faults, remarks, looked_at, furthest = [], [], [], 0.0
    for name, mode in spec.control.items():
        seconds = 1.0 / mode.rate_hz
        own = np.array(inspection.actuators, np.intp)
        controller = control_of_mode(model, spec, name, own=own, home=home.qpos.copy(), seconds=seconds)
        if (
            spec.end_effector is None
            or heavy is None
            or not (controller.stays or isinstance(controller, TargetControl))
        ):
            continue
        looked_at.append(name)
        none = np.zeros(controller.action_dim)
        action = controller.action_at(home.qpos) if isinstance(controller, TargetControl) else none
        frame_skip = max(1, round(seconds / float(model.opt.timestep)))
        for loaded, of in ((model, ""), (heavy, " with a load")):
            end = spec.end_effector.site
            resting = Resting(loaded, home.qpos.copy(), np.zeros(model.nv), end, controller, action, frame_skip)
            drift = resting.drift(_SECONDS)
            left = resting.left_behind() if not of else 0.0
            furthest = max(furthest, drift)
            if drift <= ALLOWED and left <= ALLOWED:
                continue
            text = f"in mode {name} the end effector goes {100 * drift:.3g} cm in {_SECONDS:g} s{of}"
            if drift <= ALLOWED:
                text = (
                    f"in mode {name} a load hung on the end effector and taken off leaves it {100 * left:.3g} cm away"
                )
            weak = resting.why()
            if weak is not None:
                remarks.append(
                    f"{text}: its servos are too weak: {weak}: raise their force or range, or state less load"
                )
            elif resting.touches():
                remarks.append(f"{text}: something touches it at home")
            else:
                faults.append(f"{text}, and its servos could carry it: look at gains, ranges and home")
            break
    watched = f"within {100 * furthest:.2f} cm, also with a load, in {', '.join(looked_at)}"
    nothing = "not looked at: no control mode asks an end effector to stay"
    return judged(faults=faults, remarks=remarks, fine=f"it stays {watched}" if looked_at else nothing)


def _loaded(model: mujoco.MjModel, body: int, payload: float) -> mujoco.MjModel:
    """Return a copy in which a body bears a load where its own mass is."""
    heavy = copy.deepcopy(model)
    while body and heavy.body_mass[body] == 0.0:  # a site may stand on a frame without mass
        body = int(heavy.body_parentid[body])
    more = max(_HEAVIER, 1.0 + payload / float(heavy.body_mass[body])) if body else 1.0
    heavy.body_mass[body] *= more
    heavy.body_inertia[body] *= more
    mujoco.mj_setConst(heavy, mujoco.MjData(heavy))
    return heavy


# Drawing comes last: it may take the whole process down.
ROBOT_CHECKS: Mapping[str, Callable[[Inspection], Verdict]] = {
    **{name: check for name, check in CHECKS.items() if name != "render"},
    "rest": check_rest,
    "render": CHECKS["render"],
}


def run_robot_check(inspection: Inspection, name: str) -> Verdict:
    """Do one check. Whatever it meets becomes its verdict: nothing is raised."""
    return run_check(inspection, name, ROBOT_CHECKS)
