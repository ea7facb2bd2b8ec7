"""lab-drawer's own terms: how an episode starts, what is seen, and what a step is worth.

The fingertip pushes the drawer shut until its opening is the hidden one. It can only push: who goes too far has lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

START_OPENING = 0.22  # m; farther open than any goal
START_X, START_Z = 0.40, 0.10  # m; the fingertip, before the handle
NOISE = 0.01  # m; uniform, on the start of drawer and fingertip
TOLERANCE = 0.01  # m; within this distance the opening counts as the goal
REST_SPEED = 0.02  # m/s; a drawer that only passes by the goal does not count
OPENING_SCALE = 0.1  # m; that much error costs 1 a step
REACH_WEIGHT = 0.5  # 10 cm between fingertip and handle cost as much as 5 cm of opening


class DrawerTask:
    """What `mql` calls; `task` holds the task parameters: opening (m), mass (a factor), damping (N s/m)."""

    def bind(self, model: Any) -> None:
        """Look names up once."""
        self._drawer = model.joint("drawer").qposadr[0]
        self._drawer_speed = model.joint("drawer").dofadr[0]
        self._finger = [model.joint(name).qposadr[0] for name in ("finger_x", "finger_z")]
        self._tip, self._handle = model.site("fingertip").id, model.site("handle").id

    def reset(self, model: Any, data: Any, task: Any, rng: np.random.Generator) -> None:
        """Open the drawer; the fingertip waits before it."""
        opening, x, z = np.array([START_OPENING, START_X, START_Z]) + rng.uniform(-NOISE, NOISE, 3)
        data.qpos[self._drawer] = opening
        data.qpos[self._finger] = x, z

    def observe(self, model: Any, data: Any) -> Any:
        """All positions (m) and velocities (m/s): opening, fingertip x and z. The goal is not among them."""
        return np.concatenate([data.qpos, data.qvel])

    def reward(self, model: Any, data: Any, task: Any, action: Any) -> dict[str, float]:
        """Punish the distance of the opening to the goal, and of the fingertip to the handle."""
        away = data.site_xpos[self._tip] - data.site_xpos[self._handle]
        error = abs(data.qpos[self._drawer] - task.opening)
        reach = float(np.sqrt(away @ away))
        return {"opening": -error / OPENING_SCALE, "reach": -REACH_WEIGHT * reach / OPENING_SCALE}

    def success(self, model: Any, data: Any, task: Any) -> bool:
        """Tell whether the drawer rests at the goal."""
        at_goal = abs(data.qpos[self._drawer] - task.opening) <= TOLERANCE
        return bool(at_goal and abs(data.qvel[self._drawer_speed]) <= REST_SPEED)

    def probe(self, model: Any, data: Any, t: int) -> Any:
        """Push the drawer in two shoves, so that its weight and its rails show."""
        return np.array([-0.4 if t % 60 < 40 else 0.2, 0.0])
