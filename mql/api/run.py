"""A run as an object: what it wrote, its policy, its evaluations, and adaptation to new tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import gymnasium

from mql.adaptation.adapters import Adaptation, prepare
from mql.adaptation.playing import NewTask, Play, Request, carry_out, in_environment, nobody, simulated
from mql.agent.agent import Agent
from mql.agent.robot_policy import RobotPolicy
from mql.api.adapted import Adapted, Comparison, changed_config, tasks_of
from mql.api.exporting import export_run
from mql.api.families import FamilySource, check_same_tasks, source_of
from mql.api.possible import check_adapts, check_has_agent, check_is_meta_q_learning, check_learns_from_data
from mql.api.recorded import ColumnMap, Data, KnownTask, Recorded, in_memory, recorded
from mql.api.training import last_evaluation, open_job
from mql.config.loading import Overrides, override, parse_overrides
from mql.config.methods import METHODS
from mql.config.schema import AdaptConfig, Config
from mql.errors import UserError
from mql.evaluation.held_out import TaskResult, new_task
from mql.files import as_data
from mql.learning.trainer import Trainer
from mql.runs.definition import digest_entry
from mql.runs.newest import from_newest
from mql.runs.run_dir import RunDir
from mql.tasks.family import Task, TaskFamily
from mql.threads import keep_freed_memory, limit_threads
from mql.training.learning import Learning, misfit
from mql.training.meta_q_learning import MetaQLearning, meta_training
from mql.training.methods import load_learning
from mql.training.records import evaluation_seed, record_of
from mql.types import JSON, Episode


def train(
    target: str | os.PathLike[str] | TaskFamily | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    settings: Overrides | None = None,
    method: str | None = None,
    resume: bool = False,
    start_from: str | os.PathLike[str] | None = None,
    keep_replay: bool | None = None,
    trust: bool = False,
    check: bool = True,
    progress: bool = False,
) -> Run:
    """Meta-train an agent, evaluate it, and return its run: what `mql train` does.

    Args:
        target: a family, its name, or the path of a YAML file that defines one or describes an experiment; None: family
            and settings are those of the run to start from.
        run_dir: where the run is to be; None: a new folder below ``runs/``.
        seed: of all random numbers.
        settings: values by key, such as ``{"train.env_steps": 10_000}`` (docs/configuration.md).
        method: how it is learned (docs/baselines.md); None: as the settings say.
        resume: continue the run in `run_dir` with its own configuration; a finished one stays as it is.
        start_from: ``RUN@STEPS``, whose agent a new run starts from.
        keep_replay: the new run learns from that run's episodes, too.
        trust: a definition's Python may be run.
        check: do the cheap checks of `mql tasks check` first, where the family is not this package's own.
        progress: show on standard error how it goes.

    Raises:
        UserError: what the caller can fix, in one line.
        Interrupted: Ctrl-C or SIGTERM; the run was saved, and `resume` continues it.
    """
    job = open_job(
        target,
        run_dir=None if run_dir is None else Path(run_dir),
        seed=seed,
        settings={} if settings is None else settings,
        method=method,
        resume=resume,
        start_from=start_from,
        keep_replay=keep_replay,
        trust=trust,
        check=check,
    )
    with job:
        job.finish(progress=progress)
    return Run(RunDir.open_readonly(job.run.path), job.source)


def open_run(path: str | os.PathLike[str], *, family: TaskFamily | None = None, trust: bool = False) -> Run:
    """Open a run, finished or not, to look at it and to use its agent.

    Args:
        path: its folder.
        family: the family that it was trained on, where that was given to `train` as an object.
        trust: the Python of the run's own definition may be run.

    Raises:
        UserError: the folder is no run.
    """
    run = RunDir.open_readonly(path)
    return Run(run, source_of(run, given=family, trust=trust))


@dataclass(frozen=True)
class LoadedRun:
    """A run's configuration (as changed for now), family, and agent with its replay, as they were at a checkpoint."""

    config: Config
    family: TaskFamily
    trainer: Trainer


class Run:
    """A run; `train` and `open_run` return one. It holds the agent and the replay that it last needed in memory."""

    def __init__(self, run: RunDir, source: FamilySource) -> None:
        self._run, self._source = run, source
        self._loaded: tuple[tuple[int, str], Learning] | None = None
        self._prepared: tuple[Trainer, AdaptConfig, Adaptation] | None = None

    def __repr__(self) -> str:
        return f"mql.Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """Its folder (docs/run-directory.md)."""
        return self._run.path

    @cached_property
    def config(self) -> Config:
        """The resolved configuration."""
        return self._run.config

    @cached_property
    def family(self) -> TaskFamily:
        """The family that it was trained on.

        Raises:
            UserError: it can't be built here, or is no longer the one that the run was started with.
        """
        family = self._source.family
        check_same_tasks(self._run, family)
        return family

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return self._run.finished

    @property
    def result(self) -> dict[str, JSON] | None:
        """The evaluation at its end, as `mql train --json` prints it; None as long as the run has not ended."""
        return last_evaluation(self._run.summary, self.path) if self.finished else None

    @property
    def summary(self) -> dict[str, JSON] | None:
        """What `result` says over all tasks: ``zero_shot``, ``adapted``, ``gain`` and ``random``.

        It is `result` itself where the run's method is another one and its evaluations have no ``summary``.
        """
        result = self.result
        return None if result is None else dict(result.get("summary", result))

    @property
    def checkpoints(self) -> list[int]:
        """Environment steps of the checkpoints that are kept, oldest first."""
        return self._run.checkpoints()

    def evaluations(self) -> list[dict[str, JSON]]:
        """Return the lines of ``evaluations.jsonl`` so far (docs/run-directory.md)."""
        return self._run.read_evaluations()

    def metrics(self) -> list[dict[str, JSON]]:
        """Return the lines of ``metrics.jsonl`` so far."""
        return self._run.read_metrics()

    def agent(self, checkpoint: int | None = None) -> Agent:
        """Return the agent at a checkpoint (env steps; None: the newest), on the CPU.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        check_has_agent(self.config.method, self.path)
        if METHODS[self.config.method].reactive:
            found: Agent = cast("Any", self._learning(self.config, checkpoint)).agent
            return found
        load = self._run.load_checkpoint
        saved = from_newest(self._run, load) if checkpoint is None else load(checkpoint)
        agent = Agent(self.family.obs_dim, self.family.action_dim, self.config.agent, seed=0)
        try:
            agent.load_tensors(saved.tensors)
        except (KeyError, ValueError) as error:
            raise misfit(saved, error) from error
        return agent

    def policy(self, checkpoint: int | None = None) -> RobotPolicy:
        """Return the zero-shot policy for one robot: it infers the task from the running episode alone."""
        return RobotPolicy(self.agent(checkpoint))

    export = export_run

    def evaluate(
        self,
        *,
        split: str | None = None,
        tasks: int | None = None,
        adapt: bool = True,
        checkpoint: int | None = None,
        settings: Overrides | None = None,
        on_task: Callable[[int, int], None] | None = None,
        on_result: Callable[[TaskResult], None] | None = None,
    ) -> dict[str, JSON]:
        """Evaluate the agent on held-out tasks and return, as plain data, what `mql evaluate --json` prints.

        Args:
            split: ``evaluate.split`` where it is None.
            tasks: the first ones of the split; None: at most ``evaluate.final_tasks``.
            adapt: adapt to each task, too.
            checkpoint: env steps of the checkpoint to use; None: the newest.
            settings: of ``adapt``, ``evaluate``, ``collect``, ``threads`` and ``device``.
            on_task: called with (done, tasks) as tasks finish; `on_result` with what each of them gave.

        Raises:
            UserError: no such split, checkpoint or setting, or a damaged run.
            EpisodeFault: no task could be evaluated.
        """
        keys = parse_overrides({} if settings is None else settings)
        check_adapts(self.config.method, self.path, asked=(key for key in keys if key.startswith("adapt.")))
        config = self.changed_config(settings)
        split = config.evaluate.split if split is None else split
        chosen = tasks_of(self.family, config, split, tasks)
        learning = self._learning(config, checkpoint)

        def tell(index: int, result: TaskResult) -> None:
            if on_result:
                on_result(result)
            if on_task:
                on_task(index + 1, len(chosen))

        results = learning.measure(chosen, config=config, split=split, adapt=adapt, with_random=True, on_task=tell)
        record = record_of(config, self.family, results, split=split)
        return as_data(record | {"env_steps": learning.env_steps, **digest_entry(self.path)})

    def adapt(
        self,
        *,
        task: Mapping[str, object] | str | Task | None = None,
        data: Data | None = None,
        columns: ColumnMap | None = None,
        episodes: Sequence[Episode] | None = None,
        env: gymnasium.Env[Any, Any] | None = None,
        seed: int | None = None,
        checkpoint: int | None = None,
        settings: Overrides | None = None,
        on_episodes: Callable[[int, int], None] | None = None,
    ) -> Adapted:
        """Adapt the agent to a new task, of which one of `task`, `data`, `episodes` and `env` tells; the run stays.

        Args:
            task: the task's parameters, or a listed task such as ``test:3`` (counted from 0);
                ``adapt.adaptation_episodes`` episodes of it are simulated, at most. Beside `data`, nothing is
                simulated: it tells observations and rewards that were not recorded (some of the parameters may do),
                and with ``adapt.reward=known`` stored ones.
            data: episodes of the new task that were recorded elsewhere, by any policy: a file (docs/own-data.md) or
                several, or a list of `mql.Episode`. Nothing else is played, so what is learned from them is kept
                without being tried out.
            columns: a column map for the files of `data`, or the YAML file that holds one.
            episodes: the same, as a list of `mql.Episode` only.
            env: an environment with the family's spaces, in which as many episodes are played.
            seed: of all random numbers; None: ``evaluate.seed``.
            checkpoint: env steps of the checkpoint to use; None: the newest.
            settings: of ``adapt``, ``evaluate``, ``collect``, ``threads`` and ``device``.
            on_episodes: called with (played, budget) whenever episodes of the new task were played.

        Raises:
            UserError: none or several of these, or something about it does not fit the run.
            EpisodeFault: an episode could not be finished.
        """
        check_adapts(self.config.method, self.path, asked=["mql adapt"])
        alone = task if data is None else None  # a task that is to be simulated
        if sum(given is not None for given in (alone, data, episodes, env)) != 1:
            mend = "give exactly one of task, data, episodes and env (a task beside data tells its reward)"
            raise UserError("it takes one thing to adapt to", mend=mend)
        if columns is not None and data is None:
            raise UserError("a column map is for files, and none is given", where="columns", mend="leave it out")
        config = self.changed_config(settings)
        if seed is not None:
            config = override(config, {"seed": seed, "evaluate.seed": seed})
        if env is not None and not hasattr(env, "action_space"):
            what = f"the environment is {type(env).__name__}"
            raise UserError(what, where="env", mend="give a Gymnasium environment, such as gymnasium.make(...)")
        told: KnownTask = None
        if data is not None and isinstance(task, Mapping) and not self.family.parameters.keys() <= task.keys():
            told, task = task, None  # what is hidden may stay unknown
        if task is not None and not isinstance(task, Task):
            task = self.family.task(task)
        if task is None and config.adapt.reward == "known":
            what = "nobody says which task it is, so its reward is not known"
            raise UserError(what, where="adapt.reward", mend="give the task, or use adapt.reward=hidden")
        found: Recorded | None = None
        if data is not None or episodes is not None:
            check_learns_from_data(config.adapt)
            found = (
                in_memory(self.family, episodes) if data is None else recorded(self.family, data, columns, task or told)
            )
        trainer = self.load(config, checkpoint=checkpoint).trainer
        played = task if found is None else None
        agent, begin = trainer.agent, evaluation_seed(config, played.split if played else "custom")
        adaptation = self._adaptation(trainer, config.adapt)
        budget = config.adapt.adaptation_episodes
        play: Play = nobody
        if found is not None:
            known = task if config.adapt.reward == "known" else None
            new = NewTask(0, begin, found.episodes, known)
        elif env is not None:
            new, play = NewTask(budget, begin), in_environment(env, self.family, seed=begin)
        else:
            assert played is not None
            new = new_task(adaptation, played, seed=begin)
            play = simulated(self.family, played, seed=begin, workers=config.workforce)
        learned = list(new.given)

        def record(request: Request) -> Sequence[Episode]:
            more = play(request)
            learned.extend(more)
            if on_episodes:
                on_episodes(len(learned) - len(new.given), budget)
            return more

        outcome = carry_out(adaptation.begin(new), record)
        facts = {
            "run": str(self.path),
            "env_steps": trainer.env_steps,
            "seed": config.seed,
            **digest_entry(self.path),
        }
        return Adapted(
            agent=outcome.agent,
            config=config,
            report=as_data({**outcome.report, **({"data": found.facts} if found else {})}),
            episodes=learned,
            task=task.to_json() if task else None,
            facts=facts,
            source=self._source,
            comparison=Comparison(agent, played, begin, outcome.report) if played else None,
        )

    def changed_config(self, settings: Overrides | None = None) -> Config:
        """Return the configuration with settings of what may still be changed after training.

        Raises:
            UserError: a key that is unknown or was fixed by training, or a wrong value.
        """
        return changed_config(self.config, settings)

    def load(self, config: Config | None = None, *, checkpoint: int | None = None) -> LoadedRun:
        """Return agent and replay at a checkpoint (env steps; None: the newest); whoever changes them copies first.

        Raises:
            UserError: there is no such checkpoint, or it is damaged.
        """
        check_is_meta_q_learning(self.config.method, self.path)
        config = self.config if config is None else config
        learning = self._learning(config, checkpoint)
        assert isinstance(learning, MetaQLearning)
        return LoadedRun(config, self.family, learning.trainer)

    def _learning(self, config: Config, checkpoint: int | None) -> Learning:
        """Return the method as it was at a checkpoint, for reading only."""
        keep_freed_memory()
        limit_threads(config.threads)
        known = self._run.checkpoints()
        key = (known[-1] if checkpoint is None and known else checkpoint or 0, config.device)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = self._prepared = None  # two replays may not fit into memory
            self._loaded = key, load_learning(self._run, self.family, config, env_steps=checkpoint)
        return self._loaded[1]

    def _adaptation(self, trainer: Trainer, config: AdaptConfig) -> Adaptation:
        """Return the method, ready; made so once for equal settings."""
        if self._prepared is None or self._prepared[:2] != (trainer, config):
            self._prepared = trainer, config, prepare(meta_training(trainer), config)
        return self._prepared[2]
