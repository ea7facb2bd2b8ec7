"""What a report shows of a run's agent and replay, which it must load for that: contexts, and weights of old data.

What can't be had (a package that is missing, Python that nobody trusts, a damaged checkpoint) becomes a note. Nothing
is learned, and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mql.adaptation.new_data import replay_of
from mql.adaptation.old_data import ScoredData, contexts_of
from mql.adaptation.playing import Request, simulated
from mql.adaptation.weighing import scored_for_weights, weigh_rows
from mql.api.run import LoadedRun, Run, open_run
from mql.config.loading import override
from mql.errors import UserError
from mql.report.page.facts import Contexts, Looked, Record, RunFacts
from mql.tasks.family import Task
from mql.tasks.fault import EpisodeFault
from mql.training.records import evaluation_seed

Given = TypeVar("Given")

EPISODES = 400  # whose contexts are looked at: the newest ones, of all tasks alike
HELD_OUT = 8  # tasks that stored data is weighed for
SCORED = 20_000  # stored transitions that are weighed


def look(facts: RunFacts, *, trust: bool) -> Looked:
    """Load a run and return what its agent and replay say.

    Weights are computed where its last evaluation recorded none: each of a few held-out tasks is played once,
    zero-shot.
    """
    notes: list[str] = []

    def attempt(do: Callable[[], Given], otherwise: Given) -> Given:
        try:
            return do()
        except (UserError, EpisodeFault) as error:
            notes.append(" ".join(str(error).split()))
            return otherwise

    run = attempt(lambda: open_run(facts.path, trust=trust), None)
    family = attempt(lambda: run.family if run else None, None)
    if run is None or family is None:
        return Looked(notes=notes)
    parameters = family.parameters
    looked = Looked(
        units={name: p.unit for name, p in parameters.items() if p.unit not in ("1", "")},
        meanings={name: p.doc for name, p in parameters.items()},
        notes=notes,
    )
    loaded = attempt(lambda: run.load(override(run.config, {"adapt.scored_transitions": SCORED})), None)
    if loaded is None:
        return looked
    if loaded.trainer.replay.transitions == 0:
        notes.append("the replay holds no episode yet")
        return looked
    contexts = _contexts(loaded) if run.config.agent.use_context else None
    none: list[Record] = []
    weights = none if _recorded(facts) else attempt(lambda: _weights(run, loaded), none)
    return replace(looked, contexts=contexts, weights=weights)


def _recorded(facts: RunFacts) -> bool:
    return bool(facts.result) and any(row.get("task_weights") for row in (facts.result or {})["tasks"])


def _contexts(loaded: LoadedRun) -> Contexts:
    """Return z before the last step of the newest stored episodes."""
    agent, replay = loaded.trainer.agent, loaded.trainer.replay
    starts = replay.episode_starts(replay.all_rows())[:EPISODES]
    task, row = np.divmod(starts, replay.rows)
    last = task * replay.rows + (row + replay.remaining[task, row].astype(np.int64) - 1) % replay.rows
    if agent.state_dim:
        # Of whole episodes: the view computes states from their starts, in the order of `all_rows`.
        replay = replay.with_states_of(agent.online.actor_encoder, last)
    z = contexts_of(agent, replay, last).cpu().numpy().astype(np.float64)
    return Contexts(z, task.astype(np.int64))


def _weights(run: Run, loaded: LoadedRun) -> list[Record]:
    """Weigh the stored data for some held-out tasks by the propensity, each by one episode that is played zero-shot."""
    config, family, agent = loaded.config, loaded.family, loaded.trainer.agent
    tasks = family.tasks(config.evaluate.split)[:HELD_OUT]
    scored = scored_for_weights(agent, loaded.trainer.replay, config.adapt)
    begin = evaluation_seed(config, config.evaluate.split)
    return [_weighed(loaded, scored, task, seed=begin, place=place) for place, task in enumerate(tasks)]


def _weighed(loaded: LoadedRun, scored: ScoredData, task: Task, *, seed: int, place: int) -> Record:
    agent, config = loaded.trainer.agent, loaded.config
    play = simulated(loaded.family, task, seed=seed, place=place, workers=1)
    new = replay_of(agent, list(play(Request(agent, range(1)))))
    model, weighed = weigh_rows(agent, scored, new, config.adapt, seed + place)
    return {
        "parameters": task.to_json(),
        "task_weights": scored.shares(weighed.weights),
        "normalized_ess": weighed.normalized_ess,
        "classifier_auc": model.auc if model else None,
        "fraction_zero_weight": weighed.fraction_zero,
        "tasks_covered": scored.tasks_covered,
        "calibration": dict(scored.calibration),
    }
