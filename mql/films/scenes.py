"""A film of one task: scenes one after the other, takes side by side in each. It runs in a worker process.

Shapes: a picture is [height, width, 3] uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from mql.errors import UserError, told
from mql.films.files import MOST_FRAMES_PER_SECOND, frame_rate, gif, mp4, png
from mql.films.frames import PANEL, Layout, Panel
from mql.films.grid import draw_grid
from mql.films.replay import Moment, Picture, Take, moments
from mql.robots.drawing.opengl import opengl_fault
from mql.robots.drawing.shot import Shot
from mql.tasks.checks.inspection import value_text
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.types import JSON

Scene = Sequence[Take]  # side by side

_HELD_SECONDS = 1.0  # for which a scene's last frame stays, to be read
_STRIP = 6  # pictures in a row
_STRIP_PANEL = 240  # pixels of one, in width
_GIF_PANEL = 320  # GIFs are large


@dataclass(frozen=True)
class Told:
    """What was seen of a take: how long it was, what it returned, and whether that is what was measured."""

    label: str
    seed: int
    steps: int
    episode_return: float
    success: bool | None
    as_measured: bool

    def to_json(self) -> dict[str, JSON]:
        """Return it as plain data."""
        return {
            "label": self.label,
            "seed": self.seed,
            "steps": self.steps,
            "return": self.episode_return,
            "success": self.success,
            "as_measured": self.as_measured,
        }


@dataclass
class _Filming:
    """A film while it is made."""

    family: TaskFamily
    task: Task
    scenes: Sequence[Scene]
    shot: Shot | None
    told: list[Told] = field(default_factory=list)

    @property
    def actions(self) -> str:
        """Whose they are, where nobody says."""
        return "the probe's actions" if self.family.probe is not None else "random actions"

    def film(self, suffix: str) -> bytes:
        rate, every = frame_rate(self.family.control_timestep, MOST_FRAMES_PER_SECOND[suffix])
        frames = self.frames(rate, every, PANEL if suffix == ".mp4" else _GIF_PANEL)
        return mp4(frames, rate) if suffix == ".mp4" else gif(frames, rate)

    def frames(self, rate: float, every: int, width: int) -> Iterator[Picture]:
        """Yield the frames of all scenes; in each, the takes go on in step, and one that has ended waits."""
        layout: Layout | None = None
        for number, scene in enumerate(self.scenes):
            length = max(self.length(take) for take in scene)
            wanted = range(0, length + 1, every)
            playing = [moments(self.family, self.task, take, wanted=wanted, shot=self.shot) for take in scene]
            shown: list[Moment] = []
            frame: Picture | None = None
            for now in zip_longest(*playing):
                shown = [new or old for new, old in zip_longest(now, shown)]
                if layout is None:
                    layout = self.layout(title(self.family, self.task), len(scene), shown[0].picture, width)
                note = f"episode {number + 1} of {len(self.scenes)}" if len(self.scenes) > 1 else ""
                frame = self.frame(layout, scene, shown, length, note)
                yield frame
            assert frame is not None
            for _ in range(round(_HELD_SECONDS * rate)):
                yield frame
            self.tell(scene, shown)

    def strip(self) -> bytes:
        """Return pictures from start to end in a row, and a row for each take."""
        rows = []
        for scene in self.scenes:
            for take in scene:
                length = self.length(take)
                at = sorted({round(step) for step in np.linspace(0, length, _STRIP)})
                shown = list(moments(self.family, self.task, take, wanted=at, shot=self.shot))
                label = f"{title(self.family, self.task)}: {take.label or self.actions}"
                layout = self.layout(label, _STRIP, shown[0].picture, _STRIP_PANEL, clock=False)
                shown += [shown[-1]] * (_STRIP - len(shown))  # where it ended early
                seconds = self.family.control_timestep
                panels = [Panel(f"{moment.step * seconds:.2f} s", moment) for moment in shown[:_STRIP]]
                rows.append(layout.frame(panels))
                self.tell([take], shown[-1:])
        return png(np.concatenate(rows))

    def length(self, take: Take) -> int:
        return self.family.episode_length if take.actions is None else len(take.actions)

    def layout(self, name: str, columns: int, picture: Picture, width: int, *, clock: bool = True) -> Layout:
        if self.shot is not None:
            width = self.shot.width
        texts = parameter_texts(self.family, self.task)
        return Layout.around(name, texts, columns, picture, width=width, clock=clock)

    def frame(self, layout: Layout, scene: Scene, shown: Sequence[Moment], length: int, note: str) -> Picture:
        step = max(moment.step for moment in shown)
        panels = [
            Panel(take.label or self.actions, moment, waits=moment.ended and moment.step < length)
            for take, moment in zip(scene, shown, strict=True)
        ]
        clock = f"{step * self.family.control_timestep:.2f} s    step {step} of {length}"
        return layout.frame(panels, note=note, clock=clock, filled=step / length)

    def tell(self, scene: Scene, shown: Sequence[Moment]) -> None:
        self.told += [
            Told(take.label or self.actions, take.seed, last.step, last.episode_return, last.success, last.as_measured)
            for take, last in zip(scene, shown, strict=True)
        ]


def draw(
    source: TaskFamily | Callable[[], TaskFamily],
    task: Task | str,
    scenes: Sequence[Scene],
    suffix: str,
    shot: Shot | None = None,
) -> tuple[bytes, list[Told]]:
    """Return a film or a strip as the bytes of a file, and what was seen.

    Args:
        source: the family, or what builds it.
        task: one of its tasks, or the name of a split whose first task it is.
        scenes: one after the other, with as many takes each.
        suffix: of the file: .mp4 or .gif for a film, .png for a strip.
        shot: through which camera of the model, and how large; None: the family's own pictures.

    Raises:
        UserError: the family can't be drawn here.
    """
    family = _built(source)
    with _drawing(family):
        filming = _Filming(family, family.tasks(task)[0] if isinstance(task, str) else task, scenes, shot)
        return (filming.strip() if suffix == ".png" else filming.film(suffix)), filming.told


def draw_tasks(
    source: TaskFamily | Callable[[], TaskFamily], split: str, n: int, seed: int, shot: Shot | None = None
) -> bytes:
    """Return a PNG of the first `n` tasks of a split (see `grid.draw_grid`).

    Raises:
        UserError: the family has no such split, or can't be drawn here.
    """
    family = _built(source)
    with _drawing(family):
        return draw_grid(family, family.tasks(split)[:n], seed, shot)


def try_out(family: TaskFamily, shot: Shot | None = None) -> None:
    """Take one picture of a test task.

    Raises:
        UserError: the family can't be drawn here.
    """
    with _drawing(family):
        next(moments(family, family.tasks("test")[0], Take("", 0), wanted=(), steps=1, shot=shot))


def _built(source: TaskFamily | Callable[[], TaskFamily]) -> TaskFamily:
    return source if isinstance(source, TaskFamily) else source()


@contextmanager
def _drawing(family: TaskFamily) -> Iterator[None]:
    """Turn whatever goes wrong meanwhile into one line."""
    try:
        yield
    except UserError:
        raise
    except EpisodeFault as fault:
        raise UserError("can't draw", where=f"family {family.name}", mend=str(fault)) from fault
    except Exception as error:
        mend = opengl_fault() or f"it raised {told(error)}"
        raise UserError("can't draw", where=f"family {family.name}", mend=mend) from error


def title(family: TaskFamily, task: Task) -> str:
    """Name a task in a header: also a listed one that is given by its values, as an adapted agent's is."""
    if task.split == "custom":
        task = next((each for each in _listed(family) if each.parameters == task.parameters), task)
    listed = f"{task.split} task {task.index}" if task.split != "custom" else "a task of your own"
    return f"{task.family}, {listed}"


def _listed(family: TaskFamily) -> Iterator[Task]:
    """Yield the listed tasks, those of the training last: where two lists share one, the other name says more."""
    for split in sorted(family.split_names, key=lambda name: name == "train"):
        yield from family.tasks(split)


def parameter_texts(family: TaskFamily, task: Task) -> list[str]:
    """Write the task parameters with their units."""
    texts = []
    for name, value in task.parameters.items():
        unit = family.parameters[name].unit
        texts.append(f"{name} = {value_text(value)}" + (f" {unit}" if unit and unit not in ("-", "1") else ""))
    if not task.in_training_range:
        texts.append("outside the training range")
    return texts
