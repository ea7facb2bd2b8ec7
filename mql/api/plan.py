"""What a run asks for, before it begins: the memory of its replay, networks and batches, and how long it goes on.

Each number is fine alone; what does not fit follows from the family and the machine. The figures are those of the
largest arrays, in float32: they tell a slip of the keyboard from a plan, and don't foresee the last megabyte.

Shapes: O observation, A action, Z context variable.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from mql.api.display import say
from mql.config.methods import METHODS
from mql.config.schema import Config
from mql.config.yaml_text import Given
from mql.errors import UserError
from mql.files import user_errors
from mql.learning.prior import Prior
from mql.learning.replay_size import ReplaySize
from mql.learning.trainer import replay_size, updates_after
from mql.runs.available_memory import AvailableMemory, available_memory
from mql.tasks.family import TaskFamily

MOST_UPDATES = 10**9  # of a run: at a million in an hour, six weeks
MOST_STEPS = 10**8  # of an iteration, or of an evaluation: hours, before anything is said or saved
MOST_ROUNDS = 10**6  # updates of all rounds of an adaptation
_BIT, _FLOAT, _DOUBLE = 1, 4, 8  # bytes, as arrays hold them
_COPIES = 6  # of each parameter: value, target, gradient, Adam's two moments, and the anchor or a copy to adapt
_KEPT = 3  # times a batch's numbers: as they come, between layers, and their gradients
_GATES = 3  # of a GRU
_OF_A_TRANSFORMER = 24  # times Z^2 parameters, about: two layers of twelve


class Need(NamedTuple):
    """Something that takes memory: the key to blame, what it is, its bytes, where, and whether for as long as a run.

    ``place``: "cpu", "cuda", or a folder whose disk it lies on; "": where the run learns (``device``).
    """

    key: str
    what: str
    nbytes: float
    place: str = ""
    kept: bool = True


def check_plan(config: Config, family: TaskFamily, given: Mapping[str, Given] | None = None) -> None:
    """Refuse a run that could not be made on this machine, or never ended.

    Args:
        config: the resolved configuration.
        family: the one that is trained on, with all that makes it harder.
        given: what the user's files and settings say by key, for messages.

    Raises:
        UserError: it names the key, and what would fit.
    """
    known = given or {}

    def refuse(key: str, what: str, mend: str) -> None:
        place = known[key].where if key in known else None
        raise UserError(what, where=place or key, mend=mend)

    for key, what, mend in _endless(config, family, known):
        refuse(key, what, mend)
    devices: set[str] = {"cpu", config.device}
    there = {device: available_memory(device) for device in devices}
    for need in _needs(config, family):
        device = need.place or config.device
        if need.nbytes > there[device].nbytes:
            left = f"{there[device].nbytes / 1e9:,.1f} GB are free {there[device].where}"
            refuse(need.key, f"{need.what} need {need.nbytes / 1e9:,.0f} GB", f"{left}; lower it")


def needs_at_once(config: Config, family: TaskFamily) -> list[Need]:
    """Return what a run takes in each place at one moment: all that it keeps, and the largest of what it does not."""
    found = [*_replay(config, family), *_needs(config, family)]
    needs = [need._replace(place=need.place or config.device) for need in found]
    largest: dict[str, Need] = {}
    for need in needs:
        if not need.kept:
            largest[need.place] = max(need, largest.get(need.place, need), key=lambda each: each.nbytes)
    return [*(need for need in needs if need.kept), *largest.values()]


def room_in(place: str) -> AvailableMemory:
    """Return what is left in a place of `Need`."""
    if place in ("cpu", "cuda"):
        return available_memory(place)
    with user_errors(Path(place)):
        return AvailableMemory(float(shutil.disk_usage(place).free), f"in {place}")


def _replay(config: Config, family: TaskFamily) -> Iterator[Need]:
    if not METHODS[config.method].replay:
        return
    size, folder, key = replay_size(config, family, ()), config.train.replay_on_disk, "train.replay_capacity"
    yield Need(key, "the full replay", float(size.device_bytes), folder or "")
    yield Need(key, "its indices", float(size.nbytes - size.device_bytes), "cpu")


def check_memory(config: Config, family: TaskFamily, prior: Prior = ()) -> None:
    """Refuse a replay that does not fit into the memory that is left: the machine's, the container's or the GPU's."""
    size = replay_size(config, family, prior)
    for task in prior:
        if (rows := task.steps + len(task.episodes)) > size.rows:
            what = f"{task.name} ({task.facts['file']}) has {rows:,} rows, of which the newest {size.rows:,} are used"
            say(f"note: {what}: a task's share of train.replay_capacity holds no more")
    folder = config.train.replay_on_disk
    in_memory = size.nbytes if folder is None else size.nbytes - size.device_bytes
    if folder is not None:
        _check_disk(folder, size)
    needs = [(in_memory, available_memory("cpu"))]
    if config.device == "cuda":
        needs = [(size.device_bytes, available_memory("cuda")), (size.nbytes - size.device_bytes, needs[0][1])]
    for needed, there in needs:
        if needed > there.nbytes:
            what = f"the full replay of {size.n_tasks * size.rows:,} rows needs {_gigabytes(needed)}"
            left = f"{_gigabytes(there.nbytes)} are free {there.where}"
            raise UserError(what, where="train.replay_capacity", mend=f"{left}; {_mend(size, there.nbytes / needed)}")


def _check_disk(folder: str, size: ReplaySize) -> None:
    """Refuse a folder whose disk has no room for the replay's table, or that is none."""
    free = room_in(folder).nbytes
    if size.device_bytes > free:
        what = f"the full replay of {size.n_tasks * size.rows:,} rows needs {_gigabytes(size.device_bytes)}"
        mend = f"{_gigabytes(free)} are free there; lower train.replay_capacity, or give another folder"
        raise UserError(what, where="train.replay_on_disk", mend=mend)


def _endless(config: Config, family: TaskFamily, given: Mapping[str, Given]) -> Iterator[tuple[str, str, str]]:
    """Yield (key, what, mend) of what goes on for longer than anybody waits."""
    train, adapt, evaluate = config.train, config.adapt, config.evaluate
    key, updates = _updates(config)
    if updates > MOST_UPDATES:
        blamed = key if key in given or "train.env_steps" not in given else "train.env_steps"
        what, mend = f"the run would make {updates:.3g} updates", f"at most {MOST_UPDATES:.0e} are made"
        yield blamed, what, f"{mend}: change it, or {key if blamed != key else 'train.env_steps'}"
    steps = {
        "mql": ("train.episodes_per_iteration", train.episodes_per_iteration * family.episode_length),
        "p3o": ("p3o.steps", config.p3o.lanes * config.p3o.steps),
        "rl2": ("rl2.steps_per_iteration", config.rl2.steps_per_iteration),
        "dqn": ("q_learning.update_every", 0),
    }
    key, of_iteration = steps[_kind(config)]
    if of_iteration > max(MOST_STEPS / 10, 10 * train.env_steps):
        what = f"an iteration would take {of_iteration:.3g} env steps, of {train.env_steps:,} in the run"
        yield key, what, "lower it"
    tasks = max(min(evaluate.final_tasks, len(family.tasks(evaluate.split_of(final=True)))), 1)
    for key, episodes in (
        ("evaluate.evaluation_episodes", 2 * evaluate.evaluation_episodes),
        ("adapt.adaptation_episodes", adapt.adaptation_episodes if METHODS[config.method].adapts else 0),
    ):
        played = tasks * episodes * family.episode_length
        if played > max(MOST_STEPS, 10 * train.env_steps):
            yield key, f"the last evaluation would play {played:.3g} env steps for it", "lower it"
    rounds = adapt.adaptation_episodes * adapt.round_updates
    if (
        METHODS[config.method].adapts
        and adapt.method in ("auto", "finetune", "relabel", "simulate")
        and rounds > MOST_ROUNDS
    ):
        what = f"adapting to a task would make {rounds:.3g} updates"
        yield "adapt.round_updates", what, "lower it, or adapt.adaptation_episodes"


def _updates(config: Config) -> tuple[str, float]:
    """Return the key that sets how many updates a run makes, and how many these are, about."""
    steps, own, ppo, values = config.train.env_steps, config.p3o, config.rl2, config.q_learning
    kind = _kind(config)
    if kind == "p3o":
        return "p3o.replay_ratio", steps / (own.lanes * own.steps) * (1.0 + own.replay_ratio)
    if kind == "rl2":
        return "rl2.epochs", steps / ppo.steps_per_iteration * ppo.epochs * ppo.minibatches
    if kind == "dqn":
        return "q_learning.update_every", steps / values.update_every
    return "train.env_steps_per_update", updates_after(config.train, steps)


def _kind(config: Config) -> str:
    """Return the method whose keys a method has."""
    return {"p3o": "p3o", "rl2": "rl2", "dqn": "dqn", "rainbow": "dqn"}.get(config.method, "mql")


def _needs(config: Config, family: TaskFamily) -> Iterator[Need]:
    kind, obs, action = _kind(config), family.obs_dim, family.action_dim
    if kind == "p3o":
        own = config.p3o
        yield _network("p3o.hidden_sizes", own.hidden_sizes, obs, action + 1)
        yield _batch("p3o.steps", own.lanes * own.steps, obs + action + 2 * sum(own.hidden_sizes))
        yield _batch("p3o.segments", own.segments * own.steps, obs + action + 2 * sum(own.hidden_sizes))
        yield Need(
            "p3o.replay_capacity",
            "episodes to learn from",
            _FLOAT * own.replay_capacity * (obs + 2 * action + 4),
            "cpu",
        )
    elif kind == "rl2":
        ppo, sees = config.rl2, obs + action + 2
        yield Need("rl2.state_dim", "the networks", _FLOAT * _COPIES * _GATES * ppo.state_dim * (sees + ppo.state_dim))
        width = sees + (1 + _GATES) * ppo.state_dim
        yield _batch("rl2.steps_per_iteration", ppo.steps_per_iteration, width)
        trial = ppo.trial_episodes * family.episode_length
        yield _batch("rl2.trial_episodes", trial, width)
        yield _batch("rl2.sequence_length", min(ppo.sequence_length, trial), width)
    elif kind == "dqn":
        values = config.q_learning
        outputs = action * values.atoms
        yield _network("q_learning.hidden_sizes", values.hidden_sizes, obs, outputs)
        if family.planes is not None:
            height, wide, _ = family.planes
            shrunk = values.filters * max(height - 2, 1) * max(wide - 2, 1)
            yield _network("q_learning.conv_units", (shrunk, values.conv_units), 9, outputs)
        yield _batch("q_learning.batch_size", values.batch_size, obs + outputs + sum(values.hidden_sizes))
        row = obs * (_FLOAT if family.planes is None else _BIT) + 2 * _FLOAT + 3 * _DOUBLE
        yield Need("q_learning.replay_capacity", "episodes to learn from", float(values.replay_capacity * row), "cpu")
    else:
        yield from _of_meta_q_learning(config, obs, action, family.episode_length)


def _of_meta_q_learning(config: Config, obs: int, action: int, episode_length: int) -> Iterator[Need]:
    agent, train, adapt, pearl = config.agent, config.train, config.adapt, config.pearl
    z = agent.context_dim if agent.use_context else pearl.latent_dim if config.method == "pearl" else 0
    element = obs + action + 1
    if agent.use_context:
        encoder = _OF_A_TRANSFORMER * z * z if agent.encoder == "transformer" else _GATES * z * (element + z)
        encoder += agent.context_length * z
        yield Need("agent.context_dim", "the context encoders", 2.0 * _FLOAT * _COPIES * encoder)
    outputs = 1 if agent.critic == "squared" else agent.value_bins
    yield _network("agent.hidden_sizes", agent.hidden_sizes, obs + action + z, 2 * outputs + action, times=3)
    lanes = train.episodes_per_iteration
    nbytes = _FLOAT * lanes * episode_length * (obs + action + 4.0)
    yield Need("train.episodes_per_iteration", "episodes of an iteration", nbytes, "cpu", kept=False)
    width = obs + action + z + sum(agent.hidden_sizes) + 2 * outputs
    if agent.use_context and agent.context_mode == "carry":
        width += (element + _GATES * z) * (agent.segment_length + agent.burn_in) // agent.segment_length
    elif agent.use_context:
        width += (element + _GATES * z) * agent.context_length
    yield _batch("train.batch_size", train.batch_size, width)
    if METHODS[config.method].adapts:
        for key in ("batch_size", "round_batch_size", "step1_batch_size"):
            yield _batch(f"adapt.{key}", getattr(adapt, key), width)
    if config.method == "mql":
        rows = min(adapt.scored_transitions, train.replay_capacity)
        nbytes = 2.0 * _DOUBLE * rows * (2 * obs + action + z + 1)
        yield Need("adapt.scored_transitions", "rows to weigh", nbytes, kept=False)
    if config.method == "pearl":
        yield _batch("pearl.latent_dim", train.batch_size, 2 * z)
        rows = pearl.tasks_per_update * pearl.context_transitions
        yield _batch("pearl.context_transitions", rows, 2 * element + sum(agent.hidden_sizes))


def _network(key: str, hidden: tuple[int, ...], before: int, after: int, *, times: int = 2) -> Need:
    """Return what networks of these layers need; `times` of them: actor and critic, say."""
    parameters = sum(a * b for a, b in pairwise((before, *hidden, after)))
    return Need(key, "the networks", float(_FLOAT * _COPIES * times * parameters))


def _batch(key: str, rows: int, width: int) -> Need:
    return Need(key, "batches of that size", float(_FLOAT * _KEPT * rows * width), kept=False)


def _mend(size: ReplaySize, fraction: float) -> str:
    """Say what makes a replay as small as this fraction of its bytes."""
    if replace(size, capacity=1).nbytes > fraction * size.nbytes:
        tasks = f"one episode of {size.episode_length:,} steps of each of {size.n_tasks:,} training tasks"
        return f"it holds at least {tasks}, so free some memory or train on fewer tasks"
    return f"set it to at most {float(f'{0.98 * fraction * size.capacity:.1e}'):,.0f}"


def _gigabytes(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.1f} GB"
