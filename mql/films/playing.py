"""Episodes of an agent on one task, played as an evaluation plays them: the same resets, adaptation and numbers.

What is played for a listed task, such as test:3, is what `mql evaluate` plays for it in the same list; for a task of
one's own, what `mql adapt` plays.
"""

from __future__ import annotations

from collections.abc import Mapping

from mql.adaptation.adapters import prepare
from mql.api.adapted import Adapted, changed_config
from mql.api.possible import check_adapts
from mql.api.run import Run
from mql.config.loading import Overrides, override, with_values
from mql.config.schema import Config
from mql.errors import UserError
from mql.evaluation.held_out import TaskResult, evaluate
from mql.films.replay import Take
from mql.tasks.family import Task, TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.threads import limit_threads
from mql.training.meta_q_learning import meta_training
from mql.training.records import evaluation_seed

TaskGiven = Task | Mapping[str, object] | str


def play(
    agent_of: Run | Adapted,
    task: TaskGiven | None = None,
    *,
    adapt: bool = False,
    episodes: int | None = None,
    seed: int | None = None,
    checkpoint: int | None = None,
    settings: Overrides | None = None,
) -> TaskResult:
    """Play evaluation episodes of one task; with `adapt`, adapt to it and play them again, from the same resets.

    Args:
        agent_of: a run, or an adapted agent.
        task: the task, its parameters, or a listed one such as ``test:3``; None: the first one of ``evaluate.split``,
            or the task that an adapted agent was adapted to.
        adapt: adapt to the task, as the run's configuration says.
        episodes: to play, before and after adaptation each; None: ``evaluate.evaluation_episodes``.
        seed: of all random numbers; None: ``evaluate.seed``.
        checkpoint: env steps of the checkpoint to use; None: the newest.
        settings: of ``adapt``, ``evaluate``, ``collect``, ``threads`` and ``device``.

    Raises:
        UserError: no such task, checkpoint or setting, or an adapted agent is asked what only a run can do.
        EpisodeFault: an episode could not be finished.
    """
    if isinstance(agent_of, Adapted) and (adapt or checkpoint is not None):
        asked = "adapt" if adapt else "checkpoint"
        what = "an adapted agent has no replay to adapt with, and no checkpoints"
        raise UserError(what, where=asked, mend=f"leave {asked} out, or give the run")
    changes = with_values({} if settings is None else settings, {"evaluate.evaluation_episodes": episodes})
    config = changed_config(agent_of.config, changes)
    if seed is not None:
        config = override(config, {"seed": seed, "evaluate.seed": seed})
    family = agent_of.family
    chosen = _task(agent_of, family, config, task)
    limit_threads(config.threads)
    adaptation = None
    if isinstance(agent_of, Adapted):
        agent = agent_of.agent
    elif adapt:
        check_adapts(agent_of.config.method, agent_of.path, asked=["adapt"])
        trainer = agent_of.load(config, checkpoint=checkpoint).trainer
        agent, adaptation = trainer.agent, prepare(meta_training(trainer), config.adapt)
    else:
        agent = agent_of.agent(checkpoint)
    return evaluate(
        agent,
        family,
        [chosen],
        places=[chosen.index],  # 0 for a task of one's own
        evaluation_episodes=config.evaluate.evaluation_episodes,
        seed=evaluation_seed(config, chosen.split),
        adaptation=adaptation,
        workers=config.workforce,
    )[0]


def label_of(agent_of: Run | Adapted) -> str:
    """Return what stands above episodes of an agent that adapts no further."""
    return (
        "adapted agent" if isinstance(agent_of, Adapted) and agent_of.report.get("method") != "context" else "zero-shot"
    )


def scenes_of(result: TaskResult, *, label: str = "zero-shot", episodes: int | None = None) -> list[list[Take]]:
    """Return what a film shows of a result: for each evaluation episode, before and after adaptation side by side.

    Args:
        label: of the takes where there was no adaptation.
        episodes: the first so many of them; None: all.

    Raises:
        EpisodeFault: the task has none, because an episode could not be finished.
    """
    if result.fault is not None:
        raise EpisodeFault(result.fault)
    before, after = result.zero_shot[:episodes], result.adapted
    if after is None:
        return [[Take.of(label, episode)] for episode in before]
    return [
        [Take.of("before adaptation", one), Take.of(_adapted_label(result), other)]
        for one, other in zip(before, after, strict=False)
    ]


def _adapted_label(result: TaskResult) -> str:
    """Say what came between."""
    report = result.report or {}
    if report.get("accepted") is False:
        return "after adaptation: kept as it was"
    charged = report.get("episodes_charged")
    return "after adaptation" + (f", {charged} episode{'s' if charged != 1 else ''}" if charged else "")


def _task(agent_of: Run | Adapted, family: TaskFamily, config: Config, given: TaskGiven | None) -> Task:
    if isinstance(given, Task):
        return given
    if given is not None:
        return family.task(given)
    if isinstance(agent_of, Run):
        return family.tasks(config.evaluate.split)[0]
    if agent_of.task is None:
        raise UserError("the task that the agent was adapted to is not known", where="task", mend="give a task")
    return family.task(agent_of.task)
