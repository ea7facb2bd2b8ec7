"""Whether a robot stays where it is when no action asks it to go elsewhere, and why not.

The robot is put where an episode starts and simulated by plain ``mj_step``; how far its end effector goes from there is
measured. A servo is too weak where its range or its greatest force do not let it carry what the joint has to bear.

Shapes: Q positions, V velocities, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np

from mql.robots.mjcf.lookup import blew_up, driven_joint, joint_kind, joint_width
from mql.tasks.control.actuators import load
from mql.tasks.control.controller import Controller
from mql.tasks.control.mocap import MocapEffector
from mql.tasks.family import Array

ALLOWED = 0.01  # m; how far an end effector may go that is asked to stay
_HUNG, _FREE = 1.0, 2.0  # s; a load hangs on an end effector, and is gone
_GRAVITY = 9.81  # m/s2
_MOST_STEPS = 3000  # physics steps of one piece, however short they are
_SHORT = 0.01  # share of what a joint has to bear that may be missing: rounding, and friction


@dataclass(frozen=True, eq=False)
class Resting:
    """A robot that is asked to stay.

    Args:
        model: its own, or a task's.
        qpos: [Q], where it starts.
        qvel: [V].
        site: whose place is watched.
        controller: what actions do.
        action: [A], which asks for nothing.
        frame_skip: physics steps of a control step.
        begin: writes the rest of the first state into data that has just been reset; None: that is all.
    """

    model: mujoco.MjModel
    qpos: Array
    qvel: Array
    site: str
    controller: Controller | MocapEffector
    action: Array
    frame_skip: int
    begin: Callable[[mujoco.MjModel, mujoco.MjData], None] | None = None

    def drift(self, seconds: float) -> float:
        """Return how far the site gets from its start, in m, without any disturbance; inf if physics diverges."""
        return self._run([(seconds, 0.0)])[0]

    def left_behind(self) -> float:
        """Return how far from its start the site is left, in m, by a load that is hung on it and taken off again.

        For a second it bears twice the weight of the body that it is on. Targets that follow the arm do not come back.
        """
        model = self.model
        body = int(model.body_weldid[model.site_bodyid[model.site(self.site).id]])
        weight = float(model.body_subtreemass[body]) * _GRAVITY if body else 0.0
        return self._run([(_HUNG, 2.0 * weight), (_FREE, 0.0)])[1]

    def _run(self, pulls: Sequence[tuple[float, float]]) -> tuple[float, float]:
        """Pull the site's body down, s and N; return how far the site got from its start, and is at the end, in m."""
        data, model = self._started(), self.model
        drive = self.controller.drive(model, data)
        drive.start()
        mujoco.mj_forward(model, data)
        site, body = data.site(self.site), int(model.site_bodyid[model.site(self.site).id])
        start, furthest, away = site.xpos.copy(), 0.0, 0.0
        for seconds, force in pulls:
            data.xfrc_applied[body, 2] = -force
            for _ in range(self._steps(seconds)):
                drive.act(self.action)
                mujoco.mj_step(model, data, self.frame_skip)
                mujoco.mj_fwdPosition(model, data)
                if blew_up(data):
                    return np.inf, np.inf
                away = float(np.linalg.norm(site.xpos - start))
                furthest = max(furthest, away)
        return furthest, away

    def _steps(self, seconds: float) -> int:
        return max(1, min(round(seconds / float(self.model.opt.timestep)), _MOST_STEPS) // self.frame_skip)

    def why(self) -> str | None:
        """Say which joints' servos are too weak for what they have to bear at the start, and by how much, or None."""
        data, model = self._started(), self.model
        data.qvel[:] = 0.0
        data.ctrl[:] = self.controller.holding.controls(model, data)
        self.controller.holding.settle(data.act, data.ctrl)
        mujoco.mj_forward(model, data)
        needed, given, found = load(model, data), data.qfrc_actuator, []
        for joint in {driven_joint(model, index) for index in self.controller.holding.carriers}:
            assert joint is not None
            dof, unit = int(model.jnt_dofadr[joint]), "N m" if joint_kind(model, joint) == "hinge" else "N"
            missing = abs(float(needed[dof] - given[dof]))
            if missing > _SHORT * abs(float(needed[dof])):
                name = model.joint(joint).name or f"number {joint}"
                text = (
                    f"joint {name!r} bears {abs(needed[dof]):.3g} {unit}, its servo gives {abs(given[dof]):.3g} {unit}"
                )
                found.append((missing, text))
        return "; ".join(text for _, text in sorted(found, reverse=True)[:3]) or None

    def touches(self) -> bool:
        """Whether something that the watched site hangs on touches something else at the start."""
        data, model = self._started(), self.model
        mujoco.mj_fwdPosition(model, data)
        moved = {int(model.jnt_bodyid[joint]) for joint in range(model.njnt) if joint_width(model, joint) == 1}
        chain, body = set(), int(model.site_bodyid[model.site(self.site).id])
        while body:
            chain.add(body)
            body = int(model.body_parentid[body])
        ends = {int(model.geom_bodyid[geom]) for contact in data.contact for geom in contact.geom}
        return bool(ends & chain & moved)

    def _started(self) -> mujoco.MjData:
        data = mujoco.MjData(self.model)
        if self.begin is not None:
            self.begin(self.model, data)
        data.qpos[:], data.qvel[:] = self.qpos, self.qvel
        return data
