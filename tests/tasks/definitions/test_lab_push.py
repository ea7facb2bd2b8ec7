"""examples/lab-push: a puck pushed to a marker, in YAML only. A plain rule that sees the truth solves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mql import tasks
from mql.tasks.disturbances.family import undisturbed

PUSH = Path(__file__).parents[3] / "examples" / "lab-push" / "lab-push.yaml"
HAND, PUCK, GOAL = slice(0, 2), slice(9, 11), slice(15, 17)  # in an observation, dm


def expert(obs: np.ndarray) -> np.ndarray:
    """Go behind the puck as seen from the marker, then through it."""
    way = obs[:, GOAL] - obs[:, PUCK]
    away = np.linalg.norm(way, axis=1, keepdims=True)
    ahead = way / np.maximum(away, 1e-9)
    behind = obs[:, PUCK] - 0.76 * ahead
    ready = np.linalg.norm(behind - obs[:, HAND], axis=1, keepdims=True) < 0.12
    target = np.where(ready, obs[:, PUCK] - 0.55 * ahead, behind)
    action = np.zeros((len(obs), 3))
    action[:, :2] = np.where(away < 0.2, 0.0, np.clip(3.0 * (target - obs[:, HAND]), -1.0, 1.0))
    action[:, 2] = np.clip(-3.0 * obs[:, 2], -1.0, 1.0)
    return action


def test_places_differ_from_episode_to_episode_and_noise_and_delay_are_on() -> None:
    family = tasks.from_file(PUSH)
    assert family.obs_dim == 18 and undisturbed(family) is not family
    batch = family.make_batch(family.tasks("train")[:1] * 20)
    obs = batch.reset(list(range(20)))
    batch.close()
    assert np.ptp(obs[:, PUCK], axis=0).min() > 0.3 and np.ptp(obs[:, GOAL], axis=0).min() > 0.5


def test_an_expert_that_sees_the_truth_solves_it() -> None:
    family = undisturbed(tasks.from_file(PUSH))
    listed = [*family.tasks("test"), *family.tasks("ood")]
    batch = family.make_batch(listed)  # type: ignore[attr-defined]
    obs, solved = batch.reset(list(range(len(listed)))), np.zeros(len(listed), np.bool_)
    for _ in range(family.episode_length):
        step = batch.step(expert(np.asarray(obs, np.float64)))
        obs, solved = step.obs, solved | step.info["success"]
    batch.close()
    assert solved.mean() >= 0.85
