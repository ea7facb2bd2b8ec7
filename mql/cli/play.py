"""`mql play`: an agent at work on one task, as a film or in MuJoCo's window; and the films of `mql evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mql.agent.robot_policy import RobotPolicy
from mql.api.adapted import Adapted, is_adapted
from mql.api.run import Run, open_run
from mql.cli.results import tell, tell_aside
from mql.cli.tables import print_json
from mql.cli.task_argument import chosen_task, tell_if_outside
from mql.cli.task_bar import task_bar, told_if_stopped
from mql.errors import UserError
from mql.evaluation.held_out import TaskResult
from mql.files import as_data, user_errors
from mql.films.files import check_name, ffmpeg
from mql.films.film import film_result
from mql.films.frames import number_text
from mql.films.playing import label_of, scenes_of
from mql.films.playing import play as play_task
from mql.films.scenes import Told
from mql.films.studio import Film, Studio, check_sides
from mql.robots.drawing.shot import shot_of
from mql.tasks.family import Task, TaskFamily


def play(
    path: Path,
    *,
    given: Sequence[str],
    adapted: bool,
    checkpoint: int | None,
    episodes: int | None,
    seed: int | None,
    out: Path | None,
    camera: str | None,
    size: str | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql play` does; the arguments are the command's.

    Raises:
        UserError: what the user can fix, in one line.
        EpisodeFault: an episode could not be finished.
    """
    shot = None if camera is None and size is None else shot_of(camera, size)
    if out is None:
        _need_display(path, as_json)
    else:
        check_sides(check_name(out), shot)
    agent_of: Run | Adapted = Adapted.load(path, trust=trust) if is_adapted(path) else open_run(path, trust=trust)
    if isinstance(agent_of, Adapted):
        _check_adapted(path, adapted, checkpoint)
    task = chosen_task(agent_of.family, given) if given else None
    if task is not None:
        tell_if_outside(agent_of.family, task)
    if out is None:
        _show(agent_of, task, adapted, checkpoint, seed, camera, settings)
        return
    unchanged = "before the end: no film was written, and the run is unchanged"
    with Studio() as studio, told_if_stopped(lambda: unchanged):
        studio.try_out(agent_of.family, shot)
        with task_bar("adapting" if adapted else "playing"):
            result = play_task(
                agent_of,
                task,
                adapt=adapted,
                episodes=episodes or 1,
                seed=seed,
                checkpoint=checkpoint,
                settings=settings,
            )
        scenes = scenes_of(result, label=label_of(agent_of))
        with task_bar("drawing"):
            film = studio.make(out, agent_of.family, result.task, scenes, shot)
    _warn(film.told, out)
    if as_json:
        print_json(as_data({**result.to_json(), **_named(result.task), **_film_facts(film)}))
        return
    for told in film.told:
        tell(f"{told.label}: {_in_words(told)}")
    tell(f"written: {out}")


def film_evaluation(
    studio: Studio,
    folder: Path,
    agent_of: Run | Adapted,
    results: Iterable[TaskResult],
    on_task: Callable[[int, int], None],
) -> list[dict[str, object]]:
    """Write a film of each task of an evaluation; return what is said of each, in order ({} where an episode failed).

    Raises:
        UserError: the family can't be drawn here, or the files not be written.
    """
    results, said = list(results), list[dict[str, object]]()
    for number, result in enumerate(results):
        on_task(number, len(results))
        if result.fault is not None:
            said.append({})
            continue
        film = film_result(studio, folder / film_name(result.task), agent_of.family, result, label=label_of(agent_of))
        _warn(film.told, film.path)
        said.append(_film_facts(film))
    return said


def open_studio(folder: Path, family: TaskFamily) -> Studio:
    """Open what makes an evaluation's films, and create their folder, before anything is played.

    Raises:
        UserError: the family can't be drawn here, the package that writes videos is missing, or the folder can't be
            created.
    """
    ffmpeg()
    studio = Studio()
    try:
        studio.try_out(family)
        with user_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except BaseException:
        studio.close()
        raise
    return studio


def film_name(task: Task) -> str:
    """Return the name of a task's film: its split and its place there."""
    return f"{task.split}-{task.index:02d}.mp4"


def _named(task: Task) -> dict[str, object]:
    return {"split": task.split, "index": task.index, "in_training_range": task.in_training_range}


def _film_facts(film: Film) -> dict[str, object]:
    return {"video": str(film.path), "shown": [told.to_json() for told in film.told]}


def _in_words(told: Told) -> str:
    success = {None: "", True: ", success", False: ", no success"}[told.success]
    return f"return {number_text(told.episode_return)} in {told.steps} steps{success}"


def _warn(told: Sequence[Told], out: Path) -> None:
    """Say where an episode that was played again for its pictures went otherwise."""
    for one in told:
        if not one.as_measured:
            why = f"replayed for rendering, the episode ({one.label}) got different rewards"
            tell_aside(f"warning: {out}: {why}; the film shows the replay")


def _check_adapted(path: Path, adapted: bool, checkpoint: int | None) -> None:
    asked = "--adapted" if adapted else "--checkpoint" if checkpoint is not None else None
    if asked is not None:
        what = f"an adapted agent has no replay to adapt with, and no checkpoints, for {asked}"
        raise UserError(what, where=str(path), mend="leave that out, or give the run")


def _need_display(path: Path, as_json: bool) -> None:
    from mql.cli.view import has_display

    if as_json or not has_display():
        what = "--json is for films" if as_json else "there is no display to open a window on"
        raise UserError(what, mend=f"write a film: mql play {path} -o episode.mp4 (or .gif, or strip.png)")


def _show(
    agent_of: Run | Adapted,
    task: Task | None,
    adapted: bool,
    checkpoint: int | None,
    seed: int | None,
    camera: str | None,
    settings: Sequence[str],
) -> None:
    """Open MuJoCo's window on the task, with the agent acting."""
    from mql.cli.view import Trained, show_in_window

    if isinstance(agent_of, Run) and adapted:
        task = agent_of.family.tasks(agent_of.changed_config(settings).evaluate.split)[0] if task is None else task
        with task_bar("adapting"):
            agent_of = agent_of.adapt(task=task, seed=seed, checkpoint=checkpoint, settings=settings)
    if isinstance(agent_of, Run):
        policy, split = agent_of.policy(checkpoint), agent_of.changed_config(settings).evaluate.split
        task = agent_of.family.tasks(split)[0] if task is None else task
    else:
        policy = RobotPolicy(agent_of.agent)
        if task is None and agent_of.task is None:
            raise UserError("the task that the agent was adapted to is not known", where="--task", mend="give a task")
        task = agent_of.family.task(agent_of.task or {}) if task is None else task
    show_in_window(agent_of.family, task, lambda env: Trained(policy), camera=camera, seed=seed or 0)
