"""MinAtar's games (Young, Tian, arXiv 1903.03176) as Gymnasium environments.

Observation: planes [10, 10, C] of what is where, as bool. Action: one of 6 (nothing, left, up, right, down, fire). The
last action is repeated with probability 0.1, and the games get harder as they go on (ramping).

The package is not needed by anything else (``pip install 'mql[games]'``), and imported only here.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from mql.errors import missing_package

LONGEST_EPISODE = 5000  # frames; games do not end by themselves where nobody loses
CHOICES = 6

Planes = npt.NDArray[np.bool_]


class MinAtar(gymnasium.Env[Any, Any]):
    """One game; the package's own environment is `game`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, name: str, render_mode: str | None = None) -> None:
        try:
            from minatar import Environment  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ModuleNotFoundError as error:
            raise missing_package("minatar", where=f"MinAtar's {name}") from error
        self.game = Environment(name)
        self.render_mode = render_mode
        self.observation_space = spaces.MultiBinary(tuple(self.game.state_shape()))
        self.action_space = spaces.Discrete(CHOICES)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Planes, dict[str, Any]]:
        """Begin a game; the same seed plays the same game."""
        super().reset(seed=seed)
        self.game.seed(int(self.np_random.integers(2**31)) if seed is None else seed)
        self.game.last_action = 0  # which the package keeps from the game before
        self.game.reset()
        return self.game.state(), {}

    def step(self, action: int) -> tuple[Planes, float, bool, bool, dict[str, Any]]:
        """Play a frame."""
        reward, over = self.game.act(int(action))
        return self.game.state(), float(reward), bool(over), False, {}

    def render(self) -> npt.NDArray[np.uint8]:
        """Return a picture [160, 160, 3]: a colour for each plane."""
        planes = self.game.state()
        colours = np.linspace(0.0, 1.0, planes.shape[2], endpoint=False)
        wheel = np.stack([0.5 + 0.5 * np.cos(2 * np.pi * (colours + shift / 3)) for shift in range(3)], axis=1)
        shown = np.where(planes.any(axis=2)[..., None], wheel[planes.argmax(axis=2)], 0.0)
        picture: npt.NDArray[np.uint8] = (255 * shown).astype(np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        return picture
