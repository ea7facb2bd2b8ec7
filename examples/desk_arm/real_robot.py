"""The "real robot" of to_the_robot.py: an arm in a lab, as far as anybody there can know it.

It takes an exported folder, runs that folder's own controller at its own rate, and leaves a log. It needs neither mql
nor PyTorch: numpy, onnxruntime, and MuJoCo, which stands in for metal here::

    python real_robot.py EXPORTED --robot 3 --trials 20 --seed 1 --noise 0.1 -o log.csv

What each robot carries and how its joints rub is drawn from its number and told nowhere: the log has times, joint
angles and speeds, commands, and where the arm was sent. Neither rewards nor what is hidden are in it.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

JOINTS = ("turn", "shoulder", "elbow")
COLUMNS = (
    "trial",
    "t_ms",
    *(f"{joint}_deg" for joint in JOINTS),
    *(f"{joint}_deg_s" for joint in JOINTS),
    *(f"{joint}_command_rad" for joint in JOINTS),
    "task.target_y",  # m: columns of such a name are task parameters that are known
    "task.target_z",
)
UPPER_ARM = FOREARM = 0.26  # m
SHOULDER_HEIGHT = 0.14  # m

# What differs between robots. In training, the forearm is 0.5 to 3 times as heavy as in the model, the turning joint
# 0.3 to 3 times as stiff, and no joint has dry friction.
PAYLOAD = (3.5, 5.0)  # factor on the forearm's mass and inertia
DAMPING = (3.0, 6.0)  # factor on the damping of the turning joint
DRY_FRICTION = (0.3, 1.0)  # N m, of each joint; the motors have up to 25

ENCODER_NOISE, SPEED_NOISE = 2e-4, 5e-3  # rad, rad/s
HOME_NOISE = 0.01  # rad, by which a trial starts away from home
TARGET_MIDDLE = np.array([0.264, 0.001, 0.351])  # m, where the model of the task has it
TARGET_Y, TARGET_Z = 0.13, 0.17  # m, by which targets are to the sides, and above and below


class RealRobot:
    """One robot of the series, counted from 0."""

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng([number, 2718])
        model = mujoco.MjModel.from_xml_path(str(Path(__file__).parent / "desk_arm.xml"))
        forearm, turn = model.body("forearm").id, model.joint("turn").dofadr[0]
        payload = rng.uniform(*PAYLOAD)
        model.body_mass[forearm] *= payload
        model.body_inertia[forearm] *= payload
        model.dof_damping[turn] *= rng.uniform(*DAMPING)
        model.dof_frictionloss[:] = rng.uniform(*DRY_FRICTION, size=len(JOINTS))
        mujoco.mj_setConst(model, mujoco.MjData(model))
        self._model, self._data = model, mujoco.MjData(model)
        self._noise = np.random.default_rng([number, 1618])

    def place_at_home(self, rng: np.random.Generator) -> None:
        """Put the arm near its pose `home`, at rest."""
        mujoco.mj_resetDataKeyframe(self._model, self._data, self._model.key("home").id)
        self._data.qpos += rng.uniform(-HOME_NOISE, HOME_NOISE, size=len(JOINTS))
        mujoco.mj_forward(self._model, self._data)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what the encoders say: angles [3] (rad) and speeds [3] (rad/s)."""
        noise = self._noise.standard_normal((2, len(JOINTS)))
        return self._data.qpos + ENCODER_NOISE * noise[0], self._data.qvel + SPEED_NOISE * noise[1]

    def command(self, angles: np.ndarray, seconds: float) -> None:
        """Ask the servos for angles [3] (rad), and wait."""
        self._data.ctrl[:] = angles
        mujoco.mj_step(self._model, self._data, round(seconds / self._model.opt.timestep))

    @property
    def time(self) -> float:
        """Seconds since it was placed at home."""
        return float(self._data.time)


def tool_place(angles: np.ndarray) -> np.ndarray:
    """Return where the tool is, x, y, z in m, for joint angles [3] (rad): what the robot's own driver computes."""
    turn, shoulder, elbow = angles
    reach = UPPER_ARM * np.sin(shoulder) + FOREARM * np.sin(shoulder + elbow)
    height = SHOULDER_HEIGHT + UPPER_ARM * np.cos(shoulder) + FOREARM * np.cos(shoulder + elbow)
    return np.array([reach * np.cos(turn), reach * np.sin(turn), height])


def trials(controller: Any, robot: RealRobot, *, count: int, seed: int, noise: float) -> Iterator[dict[str, float]]:
    """Run a policy for some trials, and yield the rows of the log.

    Args:
        controller: of an exported folder.
        robot: the one to move.
        count: of trials, each with a target of its own.
        seed: of targets, starts and noise: the same seed asks the same of every policy.
        noise: standard deviation of what is added to actions, so that a log shows more than one way to move.
    """
    card = controller.card
    seen_minus, seen_per = _scaling(card["observation"])
    asked_minus, asked_per = _scaling(card["action"])
    rng, explore = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    for trial in range(count):
        robot.place_at_home(rng)
        target = rng.uniform((-TARGET_Y, -TARGET_Z), (TARGET_Y, TARGET_Z))
        controller.reset()
        done = None
        for step in range(card["episode_length"] + 1):
            angles, speeds = robot.read()
            last = step == card["episode_length"]
            command = np.full(len(JOINTS), np.nan)
            now = robot.time
            if not last:
                obs = (np.concatenate([angles, speeds, tool_place(angles), target]) - seen_minus) / seen_per
                action = controller.act(obs, last_action=done)
                if controller.last_fault:
                    print(f"trial {trial} step {step}: {controller.last_fault}", file=sys.stderr)
                done = np.clip(action + noise * explore.standard_normal(len(JOINTS)), -1.0, 1.0)
                command = asked_minus + asked_per * done
                robot.command(command, controller.control_timestep)
            values = [trial, 1e3 * now, *np.degrees(angles), *np.degrees(speeds), *command, *target]
            yield dict(zip(COLUMNS, values, strict=True))


def _scaling(numbers: list[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return `minus` and `per` of what a card says of observations or actions."""
    return np.array([each["minus"] for each in numbers]), np.array([each["per"] for each in numbers])


def main(arguments: list[str] | None = None) -> None:
    """Run a policy on one robot, and write the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy", type=Path, help="what mql export wrote")
    parser.add_argument("--robot", type=int, required=True, help="its number")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of targets, starts and noise")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, added to actions")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the log, CSV")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(given.policy))
    from controller import Controller  # the folder's own copy

    robot = RealRobot(given.robot)
    controller = Controller(given.policy, on_fault="hold", clock=lambda: robot.time)
    rows = trials(controller, robot, count=given.trials, seed=given.seed, noise=given.noise)
    unfinished = given.out.with_suffix(".part")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if np.isnan(value) else f"{value:.7g}" for name, value in row.items()})
    unfinished.replace(given.out)


if __name__ == "__main__":
    main()
