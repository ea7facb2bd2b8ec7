"""See an agent at work: a film of an episode of each task, or a strip of pictures of it.

    python examples/film_agent.py runs/walk --tasks test:0 test:1 -o films --every 2
    python examples/film_agent.py runs/walk --tasks heading=0 heading=1.57 -o walk.png --at 10 60 110 160 --shrink 2

A folder gets one .mp4 for each task (`pip install 'mql[video]'`), a .png one row of pictures for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import imageio
import numpy as np
import numpy.typing as npt

import mql
from mql.cli.opengl import open_opengl
from mql.tasks.family import Task, TaskFamily


def main(arguments: Sequence[str] | None = None) -> None:
    """Play, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["test:0"], metavar="SPLIT:N|NAME=VALUE,...")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=2, help="control steps from picture to picture of a film")
    parser.add_argument("--at", type=int, nargs="+", default=[10, 60, 110, 160], help="control steps of a strip")
    parser.add_argument("--shrink", type=int, default=1, help="a strip's pictures are so many times smaller")
    parser.add_argument("--trust", action="store_true", help="run the Python of the run's own definition")
    options = parser.parse_args(arguments)

    open_opengl()
    run = mql.open_run(options.run, trust=options.trust)
    strip = options.out.suffix == ".png"
    rows = []
    for number, text in enumerate(options.tasks):
        task = find_task(run.family, text)
        wanted = set(options.at) if strip else set(range(0, run.family.episode_length, options.every))
        pictures, told = play(run, task, wanted, checkpoint=options.checkpoint, seed=options.seed)
        print(f"{text}: {told}")
        if strip:
            rows.append(np.concatenate([shrunk(picture, options.shrink) for picture in pictures], axis=1))
        else:
            options.out.mkdir(parents=True, exist_ok=True)
            rate = 1.0 / (run.family.control_timestep * options.every)
            imageio.mimsave(options.out / f"{run.family.name}-{number}.mp4", list(pictures), fps=rate)
    if strip:
        width = min(row.shape[1] for row in rows)  # an episode may have ended early
        imageio.imwrite(options.out, np.concatenate([row[:, :width] for row in rows]))


def find_task(family: TaskFamily, text: str) -> Task:
    """Give the task that `test:3` or `heading=1.57` names."""
    if "=" not in text:
        split, _, number = text.partition(":")
        return family.tasks(split)[int(number)]
    pairs = [pair.split("=") for pair in text.split(",")]
    return family.task({name: float(value) for name, value in pairs})


def shrunk(picture: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.uint8]:
    """Average squares of pixels."""
    height, width = (size // times for size in picture.shape[:2])
    squares = picture[: height * times, : width * times].reshape(height, times, width, times, 3)
    return np.asarray(squares.mean(axis=(1, 3)), dtype=np.uint8)


def play(
    run: mql.Run, task: Task, wanted: set[int], *, checkpoint: int | None, seed: int
) -> tuple[list[npt.NDArray[np.uint8]], str]:
    """Play an episode zero-shot -> the pictures at the wanted steps, and a line about it."""
    policy, env = run.policy(checkpoint), run.family.make(task, render_mode="rgb_array")
    obs, _ = env.reset(seed=seed)
    policy.reset()
    action = policy.act(obs)
    pictures, rewards = [], []
    for step in range(run.family.episode_length):
        obs, reward, terminated, truncated, _ = env.step(action)
        rewards.append(float(reward))
        if step in wanted:
            pictures.append(np.asarray(env.render(), dtype=np.uint8))
        if terminated or truncated:
            break
        action = policy.act(obs, float(reward))
    env.close()
    return pictures, f"return {sum(rewards):.1f} in {len(rewards)} steps"


if __name__ == "__main__":
    main()
