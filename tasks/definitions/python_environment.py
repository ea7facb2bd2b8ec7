"""Definitions as Gymnasium environments, one simulation each: here an MJCF model with the methods of a Python class.

Shapes: O observation, A action in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from gymnasium.spaces import Box

from mql.tasks.control.mocap import MocapEffector
from mql.tasks.control.rest import Resting
from mql.tasks.definitions.control import control_of, end_of, frame_skip_of, robot_of
from mql.tasks.definitions.environment import Answer, Array, DefinedEnvironment
from mql.tasks.definitions.episodes import episode_physics
from mql.tasks.definitions.file import DefinitionFile
from mql.tasks.definitions.judge import Verdict
from mql.tasks.definitions.model import compiled_model, source_of, start_of
from mql.tasks.definitions.python import TaskValues, guarded, load_class, python_path
from mql.tasks.definitions.quantities import LiveQuantities, Quantity, named_in, quantities_of
from mql.tasks.definitions.scaling import scaling_of
from mql.tasks.definitions.start import DrawnStart
from mql.tasks.definitions.terms import terms_of
from mql.tasks.distributions import Value
from mql.tasks.physics.nuisances import Nuisance
from mql.tasks.stepping.advance import forces_finder, stepper, whole_stepper
from mql.tasks.stepping.camera import Camera


class PythonEnvironment(DefinedEnvironment):
    """An MJCF model with the methods of a definition's Python class.

    `reset` of the class is called with the model at its keyframe ``home``, or at its own pose where there is none, and
    where the definition's ``start`` puts it.
    After a step all that `data` holds is that of the new state, with the controls that led there: places, velocities,
    contacts, their forces, and what sensors read. An episode ends early only where the class says so.
    """

    def __init__(
        self, file: DefinitionFile, render_mode: str | None = None, nuisances: Sequence[Nuisance] = ()
    ) -> None:
        super().__init__(file, terms_of(file))
        robot = robot_of(file)
        self.model = compiled_model(file, robot)
        self.data = mujoco.MjData(self.model)
        frame_skip = frame_skip_of(file, self.model, robot)
        self.dt = frame_skip * float(self.model.opt.timestep)
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": max(1, round(1.0 / self.dt))}
        self.render_mode = render_mode
        self.view = robot.camera() if robot is not None else None
        self._camera = Camera(self.view)
        self._start = start_of(self.model, robot)
        self._commands = commands = control_of(file, self.model, robot)
        self._end, self._frame_skip = end_of(self.model, robot), frame_skip
        self._drive = commands.drive(self.model, self.data)
        steps = whole_stepper if isinstance(commands, MocapEffector) else stepper
        self._advance = steps(self.model, self.data, frame_skip)
        self._find_forces = forces_finder(self.model, self.data)
        # A view of the data's own memory: each access to an attribute of MjData makes a new one.
        self._warnings = self.data.warning.number[mujoco.mjtWarning.mjWARN_BADQPOS :]
        self.source = source_of(file, robot)
        physics = episode_physics(
            file, self.model, control_timestep=self.dt, robot=robot, source=self.source, nuisances=nuisances
        )
        self._change(physics, self.model)
        self.drawn = DrawnStart(
            file, self.model, self._start, home_noise=0.0, apply=physics.apply if physics is not None else None
        )
        self.known = quantities_of(self.model)
        self._read, self._quantities = self._read_by(file)
        scaling_of(file, {})
        self._bind(file)
        self._values = TaskValues({})
        self.action_space = Box(-1.0, 1.0, (commands.action_dim,), np.float64)
        self.observation_space = Box(-np.inf, np.inf, (0,), np.float64)  # the class says the size at the first reset

    def _read_by(self, file: DefinitionFile) -> tuple[dict[str, Quantity], LiveQuantities]:
        """Return the quantities that expressions read, and what reads them."""

        def where(name: str) -> str:
            return file.where(self.terms.reads(name))

        used = named_in(self.terms.info_names, self.known, where=where)
        return used, LiveQuantities(used, self.data, where=where)

    def _bind(self, file: DefinitionFile) -> None:
        """Build the user's object, and look its methods up once."""
        path, name = python_path(file)
        where = file.where("env.python")
        cls = load_class(file)
        own = guarded(path, where, f"{name}()", cls)
        if hasattr(own, "bind"):
            guarded(path, where, f"{name}.bind", lambda: own.bind(self.model))
        self._own_reset, self._own_observe = own.reset, own.observe
        replaced = self.terms.replaces
        self._own_reward = None if replaced and "reward" not in self.terms.info_names else getattr(own, "reward", None)
        self._own_success = None if self.terms.success is not None else getattr(own, "success", None)
        self._own_terminated = getattr(own, "terminated", None)
        self._own_probe = getattr(own, "probe", None)

    @property
    def has_success(self) -> bool:
        """Whether an expression or the class says when the task is solved."""
        return self.terms.success is not None or self._own_success is not None

    @property
    def has_probe(self) -> bool:
        """Whether the class chooses actions that let the parameters show."""
        return self._own_probe is not None

    def info_names(self) -> frozenset[str]:
        """Return what expressions find below ``info``."""
        return frozenset((*self.known, *self._read, "reward"))

    def set_task(self, parameters: Mapping[str, Value]) -> None:
        """Choose the task of the next episode."""
        super().set_task(parameters)
        self._values = TaskValues(parameters)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode of the task that was set."""
        super().reset(seed=seed)
        self._begin_physics()
        mujoco.mj_resetData(self.model, self.data)
        self._start.put(self.model, self.data)
        self._put_drawn()
        self._own_reset(self.model, self.data, self._values, self.np_random)
        self._drive.start()
        mujoco.mj_forward(self.model, self.data)
        self._find_forces()
        self._quantities.start()
        self._check_stable()
        obs = self._observe()
        self._begin(obs, self._known(0.0))
        if self.observation_space.shape != obs.shape:
            self.observation_space = Box(-np.inf, np.inf, obs.shape, np.float64)
        return obs, {}

    def step(self, action: Array) -> Answer:
        """Advance by one control step with action [A] in [-1, 1]."""
        self._drive.act(action)
        if self._changing is not None and self._changing.advance():
            mujoco.mj_step1(self.model, self.data)  # what the step before left was that of the model before
        self._advance()
        self._find_forces()
        self._check_stable()
        obs = self._observe()
        verdict = self._outcome(obs, action)
        verdict.info.update({name: float(cut) for name, cut in self._drive.limited.items()})
        ended = self._own_terminated is not None and bool(self._own_terminated(self.model, self.data))
        return obs, verdict.reward, ended or verdict.terminated, False, verdict.info | {"at_goal": verdict.at_goal}

    def _put_drawn(self) -> None:
        """Put joints and bodies where ``start`` draws them."""
        if self.drawn.draws:
            drawn = self.drawn.draw(self.np_random, self._parameters)
            self.data.qpos[:] = drawn.qpos
            if drawn.mocap_pos is not None and drawn.mocap_quat is not None:
                self.data.mocap_pos[:], self.data.mocap_quat[:] = drawn.mocap_pos, drawn.mocap_quat

    def judge_pose(self, qpos: Array) -> tuple[float, bool]:
        """Put the model at rest into a pose [Q]; return the reward that it gets, and whether success holds there."""
        self.data.qpos[:], self.data.qvel[:] = qpos, 0.0
        mujoco.mj_forward(self.model, self.data)
        self._find_forces()
        obs = self._observe()
        self._begin(obs, self._known(0.0))
        verdict = self._outcome(obs, np.zeros(self.action_dim))
        return verdict.reward, verdict.at_goal

    def _outcome(self, obs: Array, action: Array) -> Verdict:
        """Judge the state after a step, by the class and by the definition's expressions."""
        info: dict[str, Any] = {}
        own = 0.0
        if self._own_reward is not None:
            given = self._own_reward(self.model, self.data, self._values, action)
            if not isinstance(given, Mapping):
                raise TypeError(f"reward returned {given!r}, which is no {{term: value}}")
            for name, value in given.items():
                info[f"reward_{name}"] = value = float(value)
                own += value
        verdict = self._verdict(obs, action, self._known(own), own)
        info = verdict.info if self.terms.replaces else info | verdict.info
        at_goal = verdict.at_goal
        if self._own_success is not None:
            at_goal = bool(self._own_success(self.model, self.data, self._values))
        return replace(verdict, info=info, at_goal=at_goal)

    def _known(self, own: float) -> dict[str, Any]:
        """Return what expressions find below ``info``; `own` is the class's reward."""
        return self._quantities.read() | {"reward": own} if self._judged else {}

    def resting(self) -> Resting | None:
        """Return the robot as it stands now, asked to stay; None: no action asks for that, or it has no end."""
        if self._end is None or not self._commands.stays:
            return None
        qpos, qvel, none = self.data.qpos.copy(), self.data.qvel.copy(), np.zeros(self._commands.action_dim)
        return Resting(self.model, qpos, qvel, self._end, self._commands, none, self._frame_skip, self._start.put)

    def probe(self, step: int) -> Array:
        """Return the class's action [A] of this step."""
        assert self._own_probe is not None
        return np.asarray(self._own_probe(self.model, self.data, step), np.float64)

    def render(self) -> Any:
        """Return a picture [480, 480, 3]."""
        return self._camera.picture(self.model, self.data)

    def close(self) -> None:
        """Release the rendering context."""
        self._camera.close()

    def _observe(self) -> Array:
        return self._with_visible(np.array(self._own_observe(self.model, self.data), np.float64).reshape(-1))

    def _check_stable(self) -> None:
        """Refuse to go on where MuJoCo has put a simulation that blew up back to its start."""
        if self._warnings.any():
            raise FloatingPointError("the physics diverged: take a smaller timestep, or weaker actuators")
