"""Draw where an agent of examples/quadruped walks: its paths in the test and ood tasks, seen from above.

    python examples/draw_walks.py runs/walk -o paths.png

Each task is played once, zero-shot. A path is the sum of the trunk's velocities that were observed; the bar of its
colour on the circle shows where the task wants it to go.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt

import mql
from mql.tasks.family import Task

matplotlib.use("Agg")
import matplotlib.pyplot as plt

VELOCITY = slice(31, 33)  # of the observation: 12 joints, their speeds, orientation (4), gravity (3), then x and y
CIRCLE = (3.8, 4.2)  # m, from where to where a bar is drawn


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, draw and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=int)
    options = parser.parse_args(arguments)

    run = mql.open_run(options.run)
    figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="tight")
    for axis, split in zip(axes, ("test", "ood"), strict=True):
        tasks = run.family.tasks(split)
        metres, degrees = [], []
        for seed, task in enumerate(tasks):
            heading = float(np.asarray(task.parameters["heading"]))
            ahead = np.array([np.cos(heading), np.sin(heading)])
            path = walk(run, task, options.checkpoint, seed)
            metres.append(path[-1] @ ahead)
            degrees.append(np.degrees(np.arccos(path[-1] @ ahead / np.linalg.norm(path[-1]))))
            colour = plt.get_cmap("hsv")(heading / (2 * np.pi) % 1.0)
            axis.plot(*path.T, color=colour, lw=1.2)
            axis.plot(*np.outer(ahead, CIRCLE), color=colour, lw=4)
        seconds = run.family.episode_length * run.family.control_timestep
        print(
            f"{len(tasks)} {split} tasks: {np.mean(metres):.2f} m in the direction (least {min(metres):.2f}) of an "
            f"episode of {seconds:.0f} s, off by {np.median(degrees):.0f} degrees (median, most {max(degrees):.0f})"
        )
        axis.set(aspect="equal", xlim=(-4.4, 4.4), ylim=(-4.4, 4.4), xlabel="m", title=f"{len(tasks)} {split} tasks")
    figure.savefig(options.out, dpi=80)


def walk(run: mql.Run, task: Task, checkpoint: int | None, seed: int) -> npt.NDArray[np.float64]:
    """Play one episode -> the path [T, 2] in m."""
    policy, env = run.policy(checkpoint), run.family.make(task)
    obs, _ = env.reset(seed=seed)
    policy.reset()
    action, ended = policy.act(obs), False
    path = [np.zeros(2)]
    while not ended:
        obs, reward, terminated, truncated, _ = env.step(action)
        path.append(path[-1] + run.family.control_timestep * obs[VELOCITY])
        ended = terminated or truncated
        if not ended:
            action = policy.act(obs, float(reward))
    env.close()
    return np.array(path)


if __name__ == "__main__":
    main()
