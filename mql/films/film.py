"""Films of agents at work."""

from __future__ import annotations

import os
from pathlib import Path

from mql.api.adapted import Adapted
from mql.api.run import Run
from mql.config.loading import Overrides
from mql.evaluation.held_out import TaskResult
from mql.films.files import check_name
from mql.films.playing import TaskGiven, label_of, play, scenes_of
from mql.films.studio import Film, Studio, check_sides
from mql.robots.drawing.shot import Shot
from mql.tasks.family import TaskFamily


def film_result(
    studio: Studio,
    out: Path,
    family: TaskFamily,
    result: TaskResult,
    *,
    label: str = "zero-shot",
    shot: Shot | None = None,
) -> Film:
    """Write what an evaluation played on one task: its first episode, before and after adaptation side by side.

    Args:
        label: of the episode where there was no adaptation.

    Raises:
        UserError: see `Studio.make`.
        EpisodeFault: an episode could not be finished, so that there is nothing to show.
    """
    return studio.make(out, family, result.task, scenes_of(result, label=label, episodes=1), shot)


def film(
    agent_of: Run | Adapted,
    task: TaskGiven | None,
    out: str | os.PathLike[str],
    *,
    adapt: bool = False,
    episodes: int | None = None,
    seed: int | None = None,
    checkpoint: int | None = None,
    settings: Overrides | None = None,
    shot: Shot | None = None,
) -> Path:
    """Play an agent on one task and write that as a film, or as a strip of six pictures; return the file's path.

    Args:
        out: a name that ends in .mp4 or .gif, or in .png for a strip.
        shot: through which camera of the model, and how large; None: the family's own pictures.
        agent_of, task, adapt, episodes, seed, checkpoint, settings: see `mql.films.playing.play`.

    Raises:
        UserError: what the caller can fix, in one line.
        EpisodeFault: an episode could not be finished.
    """
    path = Path(out)
    check_sides(check_name(path), shot)
    with Studio() as studio:
        studio.try_out(agent_of.family, shot)
        played = play(
            agent_of, task, adapt=adapt, episodes=episodes, seed=seed, checkpoint=checkpoint, settings=settings
        )
        return studio.make(path, agent_of.family, played.task, scenes_of(played, label=label_of(agent_of)), shot).path
