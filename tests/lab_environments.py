"""Environments with faults, for the tests of families around Gymnasium environments."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

OBS = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float64)


class Cart(gymnasium.Env[Any, Any]):
    """A point on a line, pushed by its action times a hidden gain; at a hidden step something goes wrong."""

    observation_space = OBS
    action_space = gymnasium.spaces.Box(-2.0, 4.0, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(self, gain: float = 1.0, fault: float = 0.0, render_mode: str | None = None) -> None:
        self.gain, self.fault, self.render_mode = gain, fault, render_mode
        self.place, self.steps = 0.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.steps = float(self.np_random.uniform(-1.0, 1.0)), 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.place += 0.1 * self.gain * float(action[0])
        seen, reward = self._seen(), -abs(self.place)
        if self.steps == 3:
            seen, reward = go_wrong(FAULTS[int(self.fault)], seen, reward)
        return seen, reward, False, False, {"place": self.place, "is_success": abs(self.place) < 0.1}

    def render(self) -> Any:
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[:, int(self.place) % 8] = 255
        return picture

    def _seen(self) -> Any:
        return np.array([self.place, self.steps / 10.0])


FAULTS = ("none", "raise", "nan", "reward", "spaces", "crash", "hang")


def go_wrong(fault: str, seen: Any, reward: float) -> tuple[Any, float]:
    if fault == "raise":
        raise ValueError("the gearbox is jammed")
    if fault == "nan":
        seen[0] = np.nan
    if fault == "reward":
        reward = float("inf")
    if fault == "spaces":
        seen = np.zeros(3)
    if fault == "crash":
        os._exit(7)
    if fault == "hang":
        time.sleep(3600)
    return seen, reward


def set_gain(environment: gymnasium.Env[Any, Any], values: Mapping[str, Any]) -> None:
    cart = environment.unwrapped
    assert isinstance(cart, Cart)
    cart.gain, cart.fault = values["gain"], values.get("fault", 0.0)
