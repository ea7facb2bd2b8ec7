"""How one simulation is advanced by a control step: calls that leave all places and contacts those of the new state."""

from __future__ import annotations

from collections.abc import Callable

import mujoco


def stepper(model: mujoco.MjModel, data: mujoco.MjData, frame_skip: int) -> Callable[[], None]:
    """Return a function that advances `data` by one control step.

    Afterwards places, velocities, contacts and the sensors of these are those of the new state, as if MuJoCo's
    ``mj_forward`` had been called: a plain ``mj_step`` leaves them one physics step behind. This costs nothing, since
    the next step goes on from them.
    """
    if model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4:  # which can't be split
        return whole_stepper(model, data, frame_skip)
    step1, step2, step = mujoco.mj_step1, mujoco.mj_step2, mujoco.mj_step

    def split() -> None:
        step2(model, data)
        if frame_skip > 1:
            step(model, data, frame_skip - 1)
        step1(model, data)

    return split


def whole_stepper(model: mujoco.MjModel, data: mujoco.MjData, frame_skip: int) -> Callable[[], None]:
    """Return a function that does the same by whole physics steps.

    The first one starts anew, which a mocap body needs: what was left does not know of its new place.
    """
    step, step1 = mujoco.mj_step, mujoco.mj_step1

    def advance() -> None:
        step(model, data, frame_skip)
        step1(model, data)

    return advance


def forces_finder(model: mujoco.MjModel, data: mujoco.MjData) -> Callable[[], None]:
    """Return a function that computes the forces and accelerations of the state that `data` has.

    Its places and velocities must be known, as they are after a step of this file's; the controls are those that led
    there. The solver starts afresh, so the numbers depend on the state alone, and the simulation goes on as if nothing
    had been computed.
    """
    warmstart = data.qacc_warmstart
    stage = mujoco.mjtStage.mjSTAGE_VEL.value

    def find() -> None:
        kept = warmstart.copy()
        warmstart[:] = 0.0
        mujoco.mj_forwardSkip(model, data, stage, 0)
        warmstart[:] = kept

    return find
