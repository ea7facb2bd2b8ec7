"""Simulations that live on from step to step, in models that change within an episode: against plain MuJoCo."""

from __future__ import annotations

import mujoco
import numpy as np
from lab_episodes import MJCF

from mql.tasks.distributions import Uniform
from mql.tasks.physics.episode import EpisodePhysics
from mql.tasks.physics.fields import change
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.physics.schedule import Schedule
from mql.tasks.stepping.contact import ContactDynamics
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.rollout import MujocoDynamics
from mql.tasks.stepping.varying import Varying

STEPS, LATE, SKIP = 20, 10, 2
MASSES = (1.0, 2.5)  # kg, which the red ball weighs from step LATE on
WHOLE = mujoco.mjtState.mjSTATE_INTEGRATION


def physics(model: mujoco.MjModel) -> EpisodePhysics:
    return EpisodePhysics(
        model,
        {"mass": (change("set", "body_mass", body="red"),)},
        [Nuisance("grip", Uniform(0.5, 2.0), (change("scale", "dof_damping", joint="shoulder"),))],
        {"mass": Schedule(LATE * SKIP * 0.01)},
        control_timestep=SKIP * 0.01,
        where=str,
    )


def varying(model: mujoco.MjModel) -> Varying:
    return Varying(physics(model), model, [{"mass": mass} for mass in MASSES])


def by_hand(mass: float, factor: float) -> list[np.ndarray]:
    """qpos after each control step, in models compiled with these numbers."""
    damped = MJCF.replace('damping="0.5"', f'damping="{0.5 * factor}"')
    light = mujoco.MjModel.from_xml_string(damped)
    heavy = mujoco.MjModel.from_xml_string(damped.replace('size="0.05" mass="0.2"', f'size="0.05" mass="{mass}"'))
    data, seen = mujoco.MjData(light), []
    mujoco.mj_forward(light, data)
    for step in range(STEPS):
        if step == LATE:
            state = np.zeros(mujoco.mj_stateSize(light, WHOLE))
            mujoco.mj_getState(light, data, state, WHOLE)
            data = mujoco.MjData(heavy)
            mujoco.mj_setState(heavy, data, state, WHOLE)
        data.ctrl[0] = 1.0
        mujoco.mj_step(light if step < LATE else heavy, data, SKIP)
        seen.append(data.qpos.copy())
    return seen


def test_live_simulations_go_on_in_the_changed_model() -> None:
    model = mujoco.MjModel.from_xml_string(MJCF)
    for threads in (1, 2):
        dynamics = ContactDynamics(varying(model), SKIP, threads, ["cfrc_ext"], view=None)
        start = PhysicsState(np.tile(model.qpos0, (2, 1)), np.zeros((2, model.nv)), drawn=np.array([[0.8], [1.7]]))
        right = [by_hand(mass, factor) for mass, factor in zip(MASSES, (0.8, 1.7), strict=True)]
        for _ in range(2):  # and back at the next start
            dynamics.place(start)
            for step in range(STEPS):
                _, after = dynamics.advance(np.ones((2, 1)))
                np.testing.assert_allclose(after.qpos, [row[step] for row in right], atol=1e-6)
        dynamics.close()


def test_simulations_side_by_side_go_on_in_the_changed_model_too() -> None:
    model = mujoco.MjModel.from_xml_string(MJCF)
    dynamics = MujocoDynamics(varying(model), SKIP, 2)
    start = PhysicsState(np.tile(model.qpos0, (2, 1)), np.zeros((2, model.nv)), drawn=np.array([[0.8], [1.7]]))
    right = [by_hand(mass, factor) for mass, factor in zip(MASSES, (0.8, 1.7), strict=True)]
    for _ in range(2):
        dynamics.place(start)
        for step in range(STEPS):
            _, after = dynamics.advance(np.ones((2, 1)))
            np.testing.assert_allclose(after.qpos, [row[step] for row in right], atol=1e-6)
    dynamics.close()


def test_a_state_that_says_nothing_of_draws_has_the_models_own_numbers() -> None:
    model = mujoco.MjModel.from_xml_string(MJCF)
    models = varying(model)
    dynamics = MujocoDynamics(models, SKIP, 1)
    dynamics.place(PhysicsState(np.tile(model.qpos0, (2, 1)), np.zeros((2, model.nv))))
    for each in models.models:
        np.testing.assert_array_equal(each.dof_damping, model.dof_damping)
    dynamics.close()
