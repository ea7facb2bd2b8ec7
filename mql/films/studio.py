"""Makes films and pictures in a process of its own, which a broken OpenGL library may end, and writes the files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mql.collecting.workers import WorkerLost, Workers
from mql.errors import UserError
from mql.files import user_errors, write_atomic
from mql.films.files import check_name
from mql.films.opengl import open_opengl
from mql.films.scenes import Scene, Told, draw, draw_tasks, try_out
from mql.robots.drawing.opengl import NO_OPENGL
from mql.robots.drawing.shot import Shot
from mql.tasks.family import Task, TaskFamily

_SECONDS = 600.0  # for an episode of a film: a long one, where drawing is slow


@dataclass(frozen=True)
class Film:
    """A film that was written, and what is seen in it: each scene's takes, from left to right."""

    path: Path
    told: list[Told]


class Studio:
    """Makes films in a process of its own; a context manager.

    Raises:
        UserError: MUJOCO_GL names a library that keeps MuJoCo from being imported.
    """

    def __init__(self) -> None:
        open_opengl()
        self._workers = Workers(1)

    def __enter__(self) -> Studio:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._workers.close()

    def try_out(self, family: TaskFamily, shot: Shot | None = None) -> None:
        """Find out whether a family can be drawn, before anybody waits for what is to be drawn.

        Raises:
            UserError: it can't.
        """
        self._made(Path(), try_out, _SECONDS, family, shot)

    def make(
        self,
        out: Path,
        source: TaskFamily | Callable[[], TaskFamily],
        task: Task | str,
        scenes: Sequence[Scene],
        shot: Shot | None = None,
    ) -> Film:
        """Write a film or a strip, by the suffix of `out` (see `scenes.draw`).

        Raises:
            UserError: the family can't be drawn here, or the file not be written.
        """
        suffix = check_name(out)
        check_sides(suffix, shot)
        takes = sum(len(scene) for scene in scenes)
        data, told = self._made(out, draw, _SECONDS * takes, source, task, scenes, suffix, shot)
        with user_errors(out):
            write_atomic(out, data)
        return Film(out, told)

    def make_grid(
        self,
        out: Path,
        source: TaskFamily | Callable[[], TaskFamily],
        split: str,
        *,
        tasks: int,
        seed: int = 0,
        shot: Shot | None = None,
    ) -> None:
        """Write a PNG of the first tasks of a split, each some steps after a reset with `seed`.

        Raises:
            UserError: the family can't be drawn here, or the file not be written.
        """
        data = self._made(out, draw_tasks, _SECONDS, source, split, tasks, seed, shot)
        with user_errors(out):
            write_atomic(out, data)

    def _made(self, out: Path, function: Callable[..., Any], seconds: float, *args: Any) -> Any:
        made = self._workers.bound(function, timeout=seconds)(*args)
        if isinstance(made, WorkerLost):
            raise UserError(
                "the process that draws died", where=str(out) if out.name else None, mend=f"{made}; {NO_OPENGL}"
            )
        return made


def check_sides(suffix: str, shot: Shot | None) -> None:
    """Refuse a film of odd sides, which H.264 can't have.

    Raises:
        UserError: it is one.
    """
    if suffix == ".mp4" and shot is not None and (shot.width % 2 or shot.height % 2):
        raise UserError(f"a video of {shot.width} x {shot.height} pixels", where="--size", mend="give even numbers")
