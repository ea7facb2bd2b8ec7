"""Random play with an object: a hand goes to it and pushes it somewhere, or grasps and carries it, again and again.

Random actions seldom find an object; play finds it in every episode, and knows nothing of tasks and rewards (the word
is that of Lynch et al., arXiv 1903.01973, where people play). It sees what the policy sees: where hand and object are
(`mql.tasks.handling`).

Shapes: N episodes, T steps of a whole episode, M bouts, A action dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.tasks.family import Handling
from mql.types import FloatArray, IntArray

ABOVE = 0.07  # m; height over the object at which the hand travels
BESIDE = 0.08  # m; from which a push starts, seen from the object
NEAR = 0.015  # m; along each axis: the hand is there
FARTHEST_WAY = 0.3  # m; a way that takes longer than this one at full speed is given up
WAY = (0.03, 0.25)  # m; of a push, or of carrying
CLOSING_WAY = 0.1  # m; a way that takes as long as fingers take to close
SLOWEST = 0.3  # of full speed
CLUMSIEST = 0.4  # standard deviation of the noise on actions
SHORTEST_BOUT = 8  # steps; more bouts than there is time for repeat the first ones

RAISE, TRAVEL, LOWER, CLOSE, GO = range(5)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Play:
    """An explorer that plays, whatever the policy says.

    Attributes:
        handling: how the hand is seen and moved.
        steps, action_dim: of an episode, T and A.
    """

    handling: Handling
    steps: int
    action_dim: int

    def begin(self, n: int, rng: np.random.Generator) -> _Playing:
        """Draw the bouts of all episodes: what is done with the object, whichever way it then lies."""
        shape = (n, self.steps // SHORTEST_BOUT + 1)
        angle, rise = rng.uniform(-np.pi, np.pi, shape), rng.uniform(0.0, 1.0, shape)
        grasps = rng.random(shape) < (0.0 if self.handling.closing is None else 0.5)
        flat = np.where(grasps, np.sqrt(1.0 - rise * rise), 1.0)
        towards = np.stack([np.cos(angle) * flat, np.sin(angle) * flat, np.where(grasps, rise, 0.0)], axis=-1)
        bouts = {
            "towards": towards,
            "grasps": grasps,
            "speed": rng.uniform(SLOWEST, 1.0, shape),
            "way": rng.uniform(*WAY, shape),
            "fingers": rng.uniform(-1.0, 1.0, shape),
        }
        clumsiness = rng.uniform(0.0, CLUMSIEST, (n, 1))
        noise = clumsiness * rng.standard_normal((self.steps, n, self.action_dim))
        return _Playing(self.handling, bouts, noise.astype(np.float32), _State.of(n))


@dataclass
class _State:
    """Where each episode's bout is: [N] each."""

    bout: IntArray
    phase: IntArray
    since: IntArray  # steps that the phase has taken

    @classmethod
    def of(cls, n: int) -> _State:
        return cls(*(np.zeros(n, dtype=np.int64) for _ in range(3)))


@dataclass(frozen=True)
class _Playing:
    handling: Handling
    bouts: Mapping[str, npt.NDArray[Any]]  # [N, M, ...]
    noise: FloatArray  # [T, N, A]
    state: _State = field(repr=False)
    follows_policy = False

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        """Go on with each episode's bout."""
        hand = obs[:, self.handling.hand :][:, :3].astype(np.float64)
        thing = obs[:, self.handling.thing :][:, :3].astype(np.float64)
        self._advance(hand, thing)
        now, phase = self._now(), self.state.phase
        way = self._way(hand, thing, phase)
        speed = np.where(phase == GO, now["speed"], 1.0)[:, None]
        moves = np.clip(way / self.handling.stroke, -speed, speed)
        given = np.zeros_like(actions)
        given[:, :3] = moves
        if given.shape[1] > 3:
            closing = self.handling.closing or 0.0
            held = np.where(phase >= CLOSE, closing, -closing)
            given[:, -1] = np.where(now["grasps"], held, now["fingers"])
        self.state.since += 1
        noisy: FloatArray = np.clip(given + self.noise[t], -1.0, 1.0).astype(np.float32)
        return noisy

    def share(self, episodes: IntArray) -> _Playing:
        bouts = {name: drawn[episodes] for name, drawn in self.bouts.items()}
        return replace(self, bouts=bouts, noise=self.noise[:, episodes], state=_State.of(len(episodes)))

    def _now(self) -> dict[str, npt.NDArray[Any]]:
        """What each episode's bout is: [N, ...]."""
        rows = np.arange(len(self.state.bout))
        return {name: drawn[rows, self.state.bout % drawn.shape[1]] for name, drawn in self.bouts.items()}

    def _advance(self, hand: Array, thing: Array) -> None:
        """Go to the next phase, and after the last one to the next bout, wherever one is over."""
        state = self.state
        for _ in range(GO):  # phases that are over as they begin
            now = self._now()
            arrived = (np.abs(self._way(hand, thing, state.phase)) < NEAR).all(axis=1)
            limit = np.select(
                [state.phase == CLOSE, state.phase == GO],
                [np.where(now["grasps"], CLOSING_WAY, 0.0), now["way"] / now["speed"]],
                FARTHEST_WAY,
            )
            over = (state.since >= limit / self.handling.stroke) | ((state.phase < CLOSE) & arrived)
            state.since[over] = 0
            state.bout += over & (state.phase == GO)
            state.phase[over] = (state.phase[over] + 1) % (GO + 1)

    def _way(self, hand: Array, thing: Array, phase: IntArray) -> Array:
        """Return the way [N, 3] in m that the hand has to go in its phase."""
        now = self._now()
        start = thing - np.where(now["grasps"], 0.0, BESIDE)[:, None] * now["towards"]
        over = start + np.array([0.0, 0.0, ABOVE])
        raised = np.concatenate([hand[:, :2], np.maximum(over[:, 2:], hand[:, 2:])], axis=1)
        on = now["towards"] * self.handling.stroke
        on[:, 2] = np.where(now["grasps"], on[:, 2], thing[:, 2] - hand[:, 2])
        choices = {RAISE: raised - hand, TRAVEL: over - hand, LOWER: start - hand, CLOSE: np.zeros_like(hand), GO: on}
        return np.select([(phase == name)[:, None] for name in choices], list(choices.values()))
