"""Which stored episodes are next to have their encoder states computed afresh: the longest untouched ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping


class RefreshOrder:
    """Episode numbers in the order in which their states were last computed, and those that have no states yet.

    Numbers of episodes that the replay has forgotten stay in line until they come up, and are skipped then.
    """

    def __init__(self) -> None:
        self._without: list[int] = []
        self._line: deque[int] = deque()  # longest untouched first

    def add(self, number: int) -> None:
        """Note a new episode, which has no states."""
        self._without.append(number)

    def take(self, lengths: Mapping[int, int], at_most: int | None) -> list[int]:
        """Return the episodes to compute now, and move them to the end of the line.

        All that have no states, and of the others the longest untouched, until they have at least `at_most` steps
        together (None: all; so no episode is too long to get its turn).

        Args:
            lengths: steps of every episode that is held, by number.
            at_most: of episodes that have states.
        """
        chosen: list[int] = []
        steps = 0
        while self._line and (at_most is None or steps < at_most):
            number = self._line.popleft()
            if number in lengths:
                chosen.append(number)
                steps += lengths[number]
        chosen += [number for number in self._without if number in lengths]
        self._without = []
        self._line.extend(chosen)
        return chosen

    def with_states(self, held: Mapping[int, int]) -> list[int]:
        """Return the episodes of `held` that have states, longest untouched first."""
        return [number for number in self._line if number in held]

    def restore(self, numbers: Iterable[int]) -> None:
        """Start from what `with_states` gave."""
        self._without, self._line = [], deque(numbers)

    def forget(self, held: Iterable[int]) -> None:
        """Let all episodes of `held` be without states."""
        self._without, self._line = list(held), deque()
