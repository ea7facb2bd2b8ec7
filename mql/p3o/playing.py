"""What P3O's lanes do in an iteration: act, step, and take down what happened; in numpy, for worker processes, too.

Shapes: N lanes, T steps, O observation, P numbers of an action distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mql.collecting.lanes import Ended, Lanes
from mql.p3o.acting import Acted, ActingPolicy
from mql.tasks.family import BoolArray
from mql.tasks.fault import EpisodeFault
from mql.types import FloatArray


@dataclass(frozen=True)
class Recorded:
    """T steps of N lanes: what `segments.Segments` says, as arrays."""

    obs: FloatArray
    action: npt.NDArray[Any]
    numbers: FloatArray
    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    final: FloatArray


@dataclass(frozen=True)
class Played:
    """What T steps of N lanes gave, the episodes that ended with them, and those that could not go on."""

    recorded: Recorded
    ended: list[Ended]
    faults: list[EpisodeFault]


def play(lanes: Lanes, policy: ActingPolicy, noise: FloatArray, *, choices: bool) -> Played:
    """Step some lanes as often as there is noise for.

    The policy computes as many rows as all lanes are, each lane's at its place: BLAS rounds by the number of rows.

    Args:
        noise: [T, lanes, ...], of all lanes, with those that are played elsewhere.
        choices: the family's actions are choices, given as numbers of which one is 1.

    Raises:
        EpisodeFault: a lane can play no episode.
    """
    own = slice(lanes.share.start, lanes.share.stop)
    recorder = Recorder(lanes=len(lanes.share), steps=len(noise))
    seen = np.zeros((noise.shape[1], lanes.obs.shape[1]), np.float32)
    ended: list[Ended] = []
    faults: list[EpisodeFault] = []
    eye = np.eye(lanes.family.action_dim, dtype=np.float32)
    for drawn in noise:
        obs = seen[own] = lanes.obs
        acted = policy.act(seen, drawn).rows(own)
        step = lanes.step(eye[acted.sent] if choices else acted.sent)
        recorder.add(obs, acted, step.reward, step.terminated, step.truncated, step.after)
        ended += step.ended
        faults += step.faults
    return Played(recorder.taken(), ended, faults)


class Recorder:
    """Takes down steps of N lanes in parallel, until there are T of them."""

    def __init__(self, *, lanes: int, steps: int) -> None:
        self._steps, self._lanes = steps, lanes
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._finals: list[tuple[int, int, FloatArray]] = []  # lane, step, observation
        self._at = 0

    @property
    def full(self) -> bool:
        """Whether there are T steps."""
        return self._at == self._steps

    def add(
        self,
        obs: FloatArray,
        acted: Acted,
        reward: npt.NDArray[np.floating[Any]],
        terminated: BoolArray,
        truncated: BoolArray,
        following: FloatArray,
    ) -> None:
        """Take down one step of every lane.

        Args:
            obs: [N, O] before the step.
            acted: what the policy gave for `obs`.
            reward, terminated, truncated: [N]. Where both flags are set, the episode terminated.
            following: [N, O] after the step, before any reset.
        """
        arrays, t = self._arrays or self._begun(obs, acted), self._at
        truncated = truncated & ~terminated
        arrays["obs"][:, t] = obs
        arrays["action"][:, t], arrays["numbers"][:, t] = acted.action, acted.numbers
        arrays["reward"][:, t] = reward
        arrays["terminated"][:, t], arrays["truncated"][:, t] = terminated, truncated
        if t == self._steps - 1:
            arrays["obs"][:, t + 1] = following
        elif truncated.any():
            self._finals += [(int(lane), t, following[lane].copy()) for lane in np.flatnonzero(truncated)]
        self._at += 1

    def taken(self) -> Recorded:
        """Return the T steps, and begin anew.

        Raises:
            ValueError: there are fewer.
        """
        if not self.full:
            raise ValueError(f"{self._at} steps were taken down, not {self._steps}")
        arrays = self._arrays
        finals = [obs for *_, obs in sorted(self._finals, key=lambda each: each[:2])]
        final = np.stack(finals).astype(np.float32) if finals else np.zeros((0, arrays["obs"].shape[2]), np.float32)
        self._arrays, self._at, self._finals = {}, 0, []
        return Recorded(**arrays, final=final)

    def _begun(self, obs: FloatArray, acted: Acted) -> dict[str, npt.NDArray[Any]]:
        rows = self._lanes, self._steps
        self._arrays = {
            "obs": np.zeros((rows[0], rows[1] + 1, obs.shape[1]), np.float32),
            "action": np.zeros((*rows, *acted.action.shape[1:]), acted.action.dtype),
            "numbers": np.zeros((*rows, acted.numbers.shape[1]), np.float32),
            "reward": np.zeros(rows, np.float32),
            "terminated": np.zeros(rows, np.bool_),
            "truncated": np.zeros(rows, np.bool_),
        }
        return self._arrays
