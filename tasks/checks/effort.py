"""How much the checks of a family play, in full and with --quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """How much is played of one family.

    Args:
        steps: longest piece of an episode that is played where a whole one is not the point.
        finite_tasks: tasks of each split whose whole episodes must be finite.
        success_episodes: random episodes that are looked at for success; the first one that succeeds asks for ten.
        pairs: pairs of tasks that the classifier tells apart.
        transitions: transitions of each task that it learns from, unless episodes end early.
        pose_tasks: tasks for which a pose that succeeds is looked for.
        compiled_tasks: training tasks whose models are compared with compiled ones, and one ood task besides.
        side_by_side: tasks that are compared in parallel and alone.
        longest: longest episode that is played to its end; where episodes are longer, what does not show by then is
            left to a larger effort.
    """

    steps: int
    finite_tasks: int
    success_episodes: int
    pairs: int
    transitions: int
    pose_tasks: int
    compiled_tasks: int
    side_by_side: int
    longest: int = 1_000_000


@dataclass(frozen=True)
class Effort:
    """How much the checks of one family may play, and how long.

    Args:
        native: for families that are stepped in parallel.
        other: for environments that are stepped one by one, which takes ten times as long.
        speed_seconds: time of one measurement of speed.
        check_seconds: a check that takes longer counts as hanging. Waiting for a processor that others use is no part
            of it: whether the machine is busy does not decide.
        family_seconds: all checks of a family together, likewise.
    """

    native: Amount
    other: Amount
    speed_seconds: float
    check_seconds: float
    family_seconds: float


FULL = Effort(Amount(200, 2, 20, 3, 400, 10, 3, 8), Amount(60, 1, 10, 2, 200, 5, 1, 3), 0.25, 60.0, 120.0)
QUICK = Effort(Amount(100, 1, 10, 1, 200, 5, 1, 4), Amount(50, 1, 2, 1, 150, 3, 1, 2), 0.05, 25.0, 40.0)
# Before a training, which waits for it: what takes longer than these seconds is left out.
BRIEF = Effort(
    Amount(50, 1, 2, 1, 100, 1, 1, 2, longest=100), Amount(20, 1, 1, 1, 50, 1, 1, 2, longest=50), 0.01, 10.0, 20.0
)
