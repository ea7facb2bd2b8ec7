"""How collected actions differ from the policy's: the explorers that `agent.exploration` chooses from.

An explorer begins N episodes at once and gets one generator for all of them. What is begun can be shared out to
threads and worker processes, and each share acts as it would have among the others: noise that does not look at the
episode (open loop) is drawn for all episodes beforehand, and an explorer with a state of its own begins a stream for
each episode (``rng.spawn(n)``) and gives them along.

A new explorer is a file of its own, a line in `EXPLORERS`, and a word in `agent.exploration` (`config/schema.py`). The
file holds a function that draws noise (`pink.py`; `AddedNoise` makes an explorer of it) or, where actions shall depend
on the state, a class with `begin` and one of what it gives, with `act`, `share` and `follows_policy`. As this module
imports the file, the file can't import this one: a class that has these methods fits, without inheriting.

Shapes: N episodes in parallel, T steps of a whole episode, O observation, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

import numpy as np

from mql.collecting.persistent import held_actions, waypoint_actions
from mql.collecting.pink import pink_noise
from mql.collecting.play import Play
from mql.errors import UserError
from mql.tasks.family import TaskFamily
from mql.types import FloatArray, IntArray

Shape = tuple[int, int, int]
# Makes numbers of a shape [T, N, A]: noise of mean 0 and variance 1, or actions.
Noise = Callable[[Shape, np.random.Generator], FloatArray]


class Exploration(Protocol):
    """How N running episodes are explored. It pickles, and needs no PyTorch."""

    @property
    def follows_policy(self) -> bool:
        """False: the policy's actions are not looked at, so nobody needs to compute them."""

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        """Return the actions [N, A] to take at step t, in [-1, 1]; `actions` [N, A] are the policy's for obs [N, O].

        Called once for each step, in order; an episode that has ended goes on being asked until all have.
        """

    def share(self, episodes: IntArray) -> Exploration:
        """Return the exploration of these episodes (indices) alone; called before the first step."""


class Explorer(Protocol):
    """A rule of exploration. It has no state: what is random or remembered belongs to the episodes it begins."""

    def begin(self, n: int, rng: np.random.Generator) -> Exploration:
        """Return the exploration of `n` episodes that start now; all its random numbers come from `rng`."""


@dataclass(frozen=True)
class AddedNoise:
    """An explorer in open loop: noise of a given kind is added to the policy's actions, which are clipped to [-1, 1].

    Attributes:
        noise: draws the noise of whole episodes, of unit variance.
        scale: its standard deviation, in actions.
        steps, action_dim: of an episode, T and A.
        spread: an episode's standard deviation is `scale` times a factor of its own, log-uniform from 1 / spread to
            spread: some episodes follow the policy closely while others stray (1: all have `scale`).
    """

    noise: Noise
    scale: float
    steps: int
    action_dim: int
    spread: float = 1.0

    def begin(self, n: int, rng: np.random.Generator) -> Exploration:
        """Draw the noise of all episodes."""
        noise = self.scale * self.noise((self.steps, n, self.action_dim), rng)
        if self.spread != 1.0:
            factor = np.exp(np.log(self.spread) * rng.uniform(-1.0, 1.0, (n, 1)))
            noise = (noise * factor).astype(np.float32)
        return _NoiseAdded(noise)


@dataclass(frozen=True)
class RandomActions:
    """Random actions, whatever the policy says: the warm-up, and what returns are compared with (uniform ones).

    Attributes:
        draw: gives the actions of whole episodes, in [-1, 1].
        steps, action_dim: of an episode, T and A.
    """

    draw: Noise
    steps: int
    action_dim: int

    def begin(self, n: int, rng: np.random.Generator) -> Exploration:
        """Draw the actions of all episodes."""
        return _ActionsGiven(self.draw((self.steps, n, self.action_dim), rng))


def uniform_actions(shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Draw actions uniform in [-1, 1] that are independent at every step."""
    return rng.uniform(-1.0, 1.0, shape).astype(np.float32)


def white_noise(shape: Shape, rng: np.random.Generator) -> FloatArray:
    """Draw Gaussian noise that is independent at every step."""
    return rng.standard_normal(shape, dtype=np.float32)


# Beside the choices of `agent.exploration`: what makes an explorer of (standard deviation, T, A, spread).
EXPLORERS: Mapping[str, Callable[[float, int, int, float], Explorer]] = MappingProxyType(
    {
        "white": partial(AddedNoise, white_noise),
        "pink": partial(AddedNoise, pink_noise),
    }
)


# Beside the choices of `train.random_actions`, but for play: what draws them.
RANDOM_ACTIONS: Mapping[str, Noise] = MappingProxyType(
    {"uniform": uniform_actions, "held": held_actions, "waypoints": waypoint_actions}
)


def explorer_for(family: TaskFamily, kind: str, scale: float, *, spread: float = 1.0) -> Explorer | None:
    """Return the explorer of a kind for episodes of `family`, or None where `scale`, its standard deviation, is 0.

    With `spread`, episodes have standard deviations of their own, by a factor of up to `spread` smaller or larger.
    """
    return EXPLORERS[kind](scale, family.episode_length, family.action_dim, spread) if scale else None


def random_actions(family: TaskFamily, kind: str = "uniform") -> Explorer:
    """Return the explorer that acts at random in episodes of `family`: a kind of `train.random_actions`.

    Raises:
        UserError: play in a family that does not say where hand and object are seen.
    """
    if kind == "play":
        if family.handling is None:
            what = f"{family.name} does not say where a hand and an object are seen"
            raise UserError(what, where="train.random_actions", mend="use uniform, held or waypoints")
        return Play(family.handling, family.episode_length, family.action_dim)
    return RandomActions(RANDOM_ACTIONS[kind], family.episode_length, family.action_dim)


def begin(explorer: Explorer, n: int, rng: np.random.Generator | Sequence[np.random.Generator]) -> Exploration:
    """Begin `n` episodes with one generator for all of them, or with one for each.

    With one for each, what an episode gets does not depend on how many others there are.

    Raises:
        ValueError: not one generator for each episode.
    """
    if isinstance(rng, np.random.Generator):
        return explorer.begin(n, rng)
    if len(rng) != n:
        raise ValueError(f"{n} episodes but {len(rng)} random generators")
    return _EachItsOwn([explorer.begin(1, own) for own in rng])


@dataclass(frozen=True)
class _NoiseAdded:
    noise: FloatArray  # [T, N, A]
    follows_policy = True

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        del obs
        noisy: FloatArray = np.clip(actions + self.noise[t], -1.0, 1.0)
        return noisy

    def share(self, episodes: IntArray) -> Exploration:
        return _NoiseAdded(self.noise[:, episodes])


@dataclass(frozen=True)
class _ActionsGiven:
    actions: FloatArray  # [T, N, A]
    follows_policy = False

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        del actions, obs
        given: FloatArray = self.actions[t]
        return given

    def share(self, episodes: IntArray) -> Exploration:
        return _ActionsGiven(self.actions[:, episodes])


@dataclass(frozen=True)
class _EachItsOwn:
    """Episodes that were begun one by one."""

    episodes: Sequence[Exploration]

    @property
    def follows_policy(self) -> bool:
        return any(own.follows_policy for own in self.episodes)

    def act(self, actions: FloatArray, obs: FloatArray, t: int) -> FloatArray:
        rows = (slice(place, place + 1) for place in range(len(self.episodes)))
        return np.concatenate(
            [own.act(actions[row], obs[row], t) for own, row in zip(self.episodes, rows, strict=True)]
        )

    def share(self, episodes: IntArray) -> Exploration:
        return _EachItsOwn([self.episodes[place] for place in episodes])
