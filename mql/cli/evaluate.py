"""`mql evaluate` and `mql adapt`: what a run's agent does on tasks it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mql.adaptation.adapters import prepare
from mql.api.adapted import Adapted, first_tasks, is_adapted
from mql.api.possible import check_adapts
from mql.api.run import Run, open_run
from mql.cli.adaptation_text import in_words
from mql.cli.play import film_evaluation, open_studio
from mql.cli.results import tell, tell_aside
from mql.cli.tables import print_evaluation, print_json, print_protocol, print_task_rows
from mql.cli.task_argument import chosen_task, task_parameters, tell_if_outside
from mql.cli.task_bar import task_bar, told_if_stopped
from mql.config.loading import Overrides, parse_overrides, with_values
from mql.config.methods import METHODS
from mql.errors import UserError
from mql.evaluation.held_out import TaskResult
from mql.files import check_free
from mql.plain_text import counted
from mql.report.adaptation import draw_task_weights
from mql.runs.definition import digest_entry
from mql.tasks.family import Task, TaskFamily
from mql.training.meta_q_learning import meta_training
from mql.training.records import evaluation_seed


def evaluate(
    path: Path,
    *,
    split: str | None,
    tasks: int | None,
    adaptation_episodes: int | None,
    episodes: int | None,
    adapting: bool,
    checkpoint: int | None,
    video: Path | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql evaluate` does; the arguments are the command's."""
    changes = _counts(settings, adaptation_episodes, episodes)
    results: list[TaskResult] = []
    agent_of: Run | Adapted
    if is_adapted(path):
        _check_adapted(path, adaptation_episodes, checkpoint, settings)
        agent_of = Adapted.load(path, trust=trust, settings=changes)
    else:
        agent_of = open_run(path, trust=trust)
    with ExitStack() as opened:
        studio = None if video is None else opened.enter_context(open_studio(video, agent_of.family))
        opened.enter_context(told_if_stopped(lambda: _stopped_evaluation(results, video, as_json=as_json)))
        with task_bar("evaluating") as on_task:
            if isinstance(agent_of, Adapted):
                record = agent_of.evaluate(split=split, tasks=tasks, on_task=on_task, on_result=results.append)
            else:
                record = agent_of.evaluate(
                    split=split,
                    tasks=tasks,
                    adapt=adapting,
                    checkpoint=checkpoint,
                    settings=changes,
                    on_task=on_task,
                    on_result=results.append,
                )
        if studio is not None and video is not None:
            with task_bar("filming") as on_task:
                films = film_evaluation(studio, video, agent_of, results, on_task)
            record["tasks"] = [{**row, **film} for row, film in zip(record["tasks"], films, strict=True)]
    if isinstance(agent_of, Adapted) and adapting:
        tell_aside("note: zero-shot is the agent as saved; it cannot adapt again without its run")
    print_json(record) if as_json else print_evaluation(record)
    if video is not None and not as_json:
        tell(f"films: {video}")


def evaluate_by_protocol(
    path: Path,
    *,
    protocol: str,
    split: str | None,
    tasks: int | None,
    adaptation_episodes: int | None,
    episodes: int | None,
    adapting: bool,
    checkpoint: int | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql evaluate --protocol` does; the arguments are the command's."""
    if protocol != "meta-world":
        raise UserError(f"there is no protocol {protocol!r}", where="--protocol", mend="use meta-world")
    from mql.evaluation import meta_world_protocol as meta_world

    if is_adapted(path):
        raise _only_as_saved(path, "--protocol")
    run = open_run(path, trust=trust)
    config = run.changed_config(settings)
    split = config.evaluate.split if split is None else split
    listed = meta_world.protocol_tasks(run.family, split)
    chosen = listed if tasks is None else first_tasks(listed, tasks, split)
    adapting = adapting and METHODS[config.method].adapts
    trainer = run.load(config, checkpoint=checkpoint).trainer
    agent = trainer.agent
    finished = 0

    def note(count: int) -> None:
        nonlocal finished
        finished = count
        on_task(count, len(chosen))

    without = "without results, which are computed at the end"
    with told_if_stopped(lambda: _stopped(finished, without)), task_bar("evaluating") as on_task:
        record = meta_world.official_evaluation(
            agent,
            prepare(meta_training(trainer), config.adapt) if adapting else None,
            run.family,
            tasks=chosen,
            seed=evaluation_seed(config, split),
            adaptation_episodes=adaptation_episodes or meta_world.ADAPTATION_EPISODES,
            evaluation_episodes=episodes or meta_world.EVALUATION_EPISODES,
            threads=config.threads,
            workers=config.workforce,
            on_goals=note,
        )
    record |= {"split": split, "env_steps": trainer.env_steps, **digest_entry(run.path)}
    print_json(record) if as_json else print_protocol(record)


def adapt(
    path: Path,
    *,
    given: Sequence[str],
    data: Sequence[str],
    columns: Path | None,
    adaptation_episodes: int | None,
    episodes: int | None,
    out: Path | None,
    picture: Path | None,
    checkpoint: int | None,
    settings: Sequence[str],
    trust: bool,
    as_json: bool,
) -> None:
    """Do what `mql adapt` does; the arguments are the command's."""
    if is_adapted(path):
        raise _only_as_saved(path, "mql adapt")
    changes = _counts(settings, adaptation_episodes, episodes)
    if data:
        _check_nothing_is_played({"--adaptation-episodes": adaptation_episodes, "--episodes": episodes})
    elif columns is not None:
        raise UserError("--columns is for the files of --data", mend="give --data FILE, or leave it out")
    run = open_run(path, trust=trust)
    check_adapts(run.config.method, path, asked=["mql adapt"])
    if not data and not given and run.family.parameters:
        named = " ".join(f"{name}=VALUE" for name in run.family.parameters)
        mend = f"write --task test:0 for a listed one, --task {named} for your own, or --data FILE"
        raise UserError("there is no task to adapt to", mend=mend)
    task = _told(run.family, given) if data else chosen_task(run.family, given)
    if out is not None:
        check_free(out, mend="choose another --out")
    if isinstance(task, Task):
        tell_if_outside(run.family, task)
    with told_if_stopped(lambda: _stopped_adaptation(out)), task_bar("adapting", of="episodes") as on_episodes:
        if data:
            adapted = run.adapt(task=task, data=data, columns=columns, checkpoint=checkpoint, settings=changes)
            measured: Mapping[str, Any] = {"parameters": adapted.task, **adapted.report}
        else:
            adapted = run.adapt(task=task, checkpoint=checkpoint, settings=changes, on_episodes=on_episodes)
            measured = adapted.compare()
        row = {**measured, "env_steps": adapted.facts["env_steps"], **digest_entry(run.path)}
    if out is not None:
        adapted.save(out, facts=row)
    if picture is not None:
        _draw_weights(picture, run.family.tasks("train"), row)
    if as_json:
        print_json(row)
    else:
        if not data:
            print_task_rows([row])
        tell(in_words(row))
        for note in row.get("data", {}).get("notes", ()):
            tell_aside(f"note: {note}")
        for written in (out, picture):
            if written is not None:
                tell(f"written: {written}")


def _told(family: TaskFamily, given: Sequence[str]) -> Task | Mapping[str, object] | None:
    """Return what is known of the task of recorded episodes: all, some of its parameters, or nothing."""
    if given and all("=" in text for text in given):
        known = task_parameters(given)
        if not family.parameters.keys() <= known.keys():
            return known
    return chosen_task(family, given) if given else None


def _stopped_evaluation(results: Sequence[TaskResult], video: Path | None, *, as_json: bool) -> str:
    """Print the tasks that are finished, and return what is said of the rest; a summary needs all of them."""
    rows = [result.to_json() for result in results]
    if as_json:
        print_json({"stopped": True, "tasks": rows})
    elif rows:
        print_task_rows(rows)
    films = "" if video is None else f"; films that are complete stay in {video}"
    what = "above are their results" if rows and not as_json else "what is finished is printed, without a summary"
    return _stopped(len(rows), what + films)


def _stopped(finished: int, what: str) -> str:
    return f"after {counted(finished, 'task')}: {what}; the run is unchanged; --tasks N evaluates fewer"


def _stopped_adaptation(out: Path | None) -> str:
    nothing = "nothing was kept" if out is None else f"nothing was written to {out}"
    return f"before the end: {nothing}, and the run is unchanged; the same command starts anew"


def _check_nothing_is_played(wanted: Mapping[str, int | None]) -> None:
    """Refuse options that say how many episodes are to be played.

    Raises:
        UserError: one of them was given.
    """
    for option, value in wanted.items():
        if value is not None:
            what = f"{option} {value} asks for episodes, and with --data none is played"
            raise UserError(what, where=option, mend="leave one of them out")


def _draw_weights(picture: Path, training: Sequence[Task], row: Mapping[str, Any]) -> None:
    """Draw which training tasks the adaptation weighed how.

    Raises:
        UserError: it weighed none, or the picture can't be written.
    """
    if not row.get("task_weights"):
        what = f"adapt.method {row['method']} gave no training task a weight"
        mend = "use adapt.method=paper or simulate, or finetune with adapt.old_fraction=0.5 adapt.old=propensity"
        raise UserError(what, where="--picture", mend=mend)
    try:
        draw_task_weights(picture, [task.to_json() for task in training], row["task_weights"], row["parameters"])
    except (OSError, ValueError) as error:
        mend = "give a file such as weights.png in a folder that can be written"
        raise UserError(f"the picture can't be drawn: {error}", where=str(picture), mend=mend) from None


def _counts(settings: Sequence[str], adaptation_episodes: int | None, episodes: int | None) -> Overrides:
    """Add what has options of its own to the settings."""
    counts = {"adapt.adaptation_episodes": adaptation_episodes, "evaluate.evaluation_episodes": episodes}
    return with_values(settings, counts)


def _check_adapted(
    path: Path, adaptation_episodes: int | None, checkpoint: int | None, settings: Sequence[str]
) -> None:
    """Refuse what only a run can do.

    Raises:
        UserError: something like that was asked for.
    """
    wanted = {"--adaptation-episodes": adaptation_episodes, "--checkpoint": checkpoint}
    asked = [option for option, value in wanted.items() if value is not None]
    asked += [given.where or key for key, given in parse_overrides(settings).items() if key.startswith("adapt.")]
    if asked:
        raise _only_as_saved(path, asked[0])


def _only_as_saved(path: Path, asked: str) -> UserError:
    what = f"an adapted agent has no replay to adapt with, and no checkpoints, for {asked}"
    return UserError(what, where=str(path), mend="leave that out, or give the run")
