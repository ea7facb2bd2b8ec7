"""`mql bench simulation`: collection on many half-cheetahs in parallel, beside its limit and its peers.

- The limit: bare `mujoco.rollout`, one call per control step for all tasks, with the actions that the collection took
  given beforehand: the same physics, but no policy, no observation, no reward.
- The peers: the same agent acting on Gymnasium's SyncVectorEnv and AsyncVectorEnv of eight HalfCheetah-v5 each, made
  once and outside the timing. The eight workers run on as many cores as everything else.
- The price of physics that vary: each task with its own model, of other masses and frictions, over one shared model.

Shapes: N tasks, O observation, A action, S numbers of MuJoCo's full physics state.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial

import gymnasium
import mujoco
import numpy as np
from mujoco.rollout import Rollout

from mql.agent.agent import Agent
from mql.bench.subjects import act_in_loop
from mql.bench.timing import Call, Results, alternate, announce, medians
from mql.collecting.rollout import collect
from mql.config.loading import load_config
from mql.seeding import generator, spawn_seeds
from mql.tasks.families.locomotion.cheetah_vel import CheetahVel, cheetah_vel
from mql.tasks.family import Task
from mql.tasks.physics.changes import PhysicsChanges
from mql.tasks.physics.fields import change
from mql.tasks.stepping.rollout import compiled_model
from mql.types import FloatArray

PEER = "HalfCheetah-v5"
SCALES = (0.5, 1.5)  # of a body's mass and inertia and a geom's friction where each task has its own model


@dataclass(frozen=True)
class Sizes:
    """`parallel` tasks for a whole episode; the peers' `environments` take `peer_steps` control steps each."""

    parallel: int = 64
    environments: int = 8
    peer_steps: int = 200
    overrides: tuple[str, ...] = ()
    rounds: int = 5


FULL = Sizes()


@dataclass(frozen=True, kw_only=True, eq=False)
class VariedCheetahVel(CheetahVel):
    """cheetah-vel with a model of its own for each training task."""

    models: tuple[mujoco.MjModel, ...]

    def model(self, task: Task) -> mujoco.MjModel:
        """Return the task's model."""
        return self.models[task.index]


def measure(threads: int, sizes: Sizes = FULL) -> Results:
    """Time whole collections, bare rollouts and the peers' loops in turn."""
    announce("simulation: building the environments")
    config = load_config("cheetah-vel", overrides=sizes.overrides)
    family = cheetah_vel()
    agent = Agent(family.obs_dim, family.action_dim, config.agent, seed=0)
    tasks = family.tasks("train")[: sizes.parallel]
    make = [partial(gymnasium.make, PEER)] * sizes.environments
    sync = gymnasium.vector.SyncVectorEnv(make)
    with _cores(threads):
        # Spawned, not forked: this process has threads, and a fork may copy a lock that one of them holds.
        workers = gymnasium.vector.AsyncVectorEnv(make, context="spawn")
    try:
        announce(f"simulation: {sizes.rounds} rounds of {len(tasks)} tasks, on {threads} threads")
        seconds = medians(
            alternate(
                {
                    "shared": _collection(agent, family, tasks, threads),
                    "rollout": _bare_rollout(agent, family, tasks, threads),
                    "per_lane": _collection(agent, _vary(family, len(tasks)), tasks, threads),
                    "sync": _peer_loop(agent, sync, sizes),
                    "async": _peer_loop(agent, workers, sizes),
                },
                rounds=sizes.rounds,
            )
        )
    finally:
        workers.close()
        sync.close()
    env_steps = {name: len(tasks) * family.episode_length for name in ("shared", "rollout", "per_lane")}
    env_steps |= {name: sizes.environments * sizes.peer_steps for name in ("sync", "async")}
    speed = {name: env_steps[name] / seconds[name] for name in seconds}
    return {
        "env_steps_per_s": speed["shared"],
        "vs_rollout": speed["shared"] / speed["rollout"],
        "vs_sync_vector_env": speed["shared"] / speed["sync"],
        "vs_async_vector_env": speed["shared"] / speed["async"],
        "model_per_lane_vs_shared": speed["per_lane"] / speed["shared"],
        "rollout_env_steps_per_s": speed["rollout"],
        "sync_vector_env_steps_per_s": speed["sync"],
        "async_vector_env_steps_per_s": speed["async"],
        "model_per_lane_env_steps_per_s": speed["per_lane"],
    }


def _collection(agent: Agent, family: CheetahVel, tasks: Sequence[Task], threads: int) -> Call:
    seeds = spawn_seeds(len(tasks), 0, "bench reset")
    return lambda: collect(agent, family, tasks, seeds, workers=threads)


def _bare_rollout(agent: Agent, family: CheetahVel, tasks: Sequence[Task], threads: int) -> Call:
    """Return a call that simulates the collection's episodes again, with all buffers and the thread pool made before.

    How long a step of physics takes depends on what the body does: contacts cost. So the limit gets the same actions.
    """
    seeds, parallel = spawn_seeds(len(tasks), 0, "bench reset"), len(tasks)
    episodes = collect(agent, family, tasks, seeds, workers=threads)
    model, frames = compiled_model(str(family.robot.path)), family.robot.frame_skip
    threads = min(threads, parallel)
    models, data = [model] * parallel, [mujoco.MjData(model) for _ in range(threads)]
    rollout = Rollout(nthread=threads if threads > 1 else 0)
    states = np.zeros((parallel, frames, mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_FULLPHYSICS.value)))
    sensors = np.zeros((parallel, frames, model.nsensordata))
    actions = np.stack([episode.action for episode in episodes], axis=1).astype(np.float64)  # [T, N, A], the controls
    controls = np.repeat(actions[:, :, None], frames, axis=2)
    first = np.zeros((parallel, states.shape[2]))  # the time, qpos, qvel
    drawn = zip(seeds, tasks, strict=True)
    starts = [family.initial_state(np.random.default_rng(seed), task.parameters) for seed, task in drawn]
    first[:, 1:] = [np.concatenate(start) for start in starts]
    before = np.empty_like(first)

    def simulate() -> None:
        states[:, -1] = first
        for control in controls:
            np.copyto(before, states[:, -1])
            rollout.rollout(
                models,
                data,
                before,
                control,
                control_spec=mujoco.mjtState.mjSTATE_CTRL.value,
                skip_checks=True,
                nstep=frames,
                state=states,
                sensordata=sensors,
                chunk_size=max(1, parallel // (2 * threads)),
            )

    return simulate


def _vary(family: CheetahVel, parallel: int) -> VariedCheetahVel:
    """Return the family with another model for each of its first `parallel` training tasks."""
    rng, original = generator(0, "bench models"), family.base()
    bodies = tuple(original.body(row).name for row in range(1, original.nbody))
    geoms = tuple(original.geom(row).name for row in range(original.ngeom))
    changes = PhysicsChanges(
        original,
        {
            "mass": (change("scale", "body_mass", body=bodies),),
            **{name: tuple(change("scale", "geom_friction", index=n, geom=name) for n in range(3)) for name in geoms},
        },
        where=lambda key: f"bench: {key}",
    )

    def varied() -> mujoco.MjModel:
        mass, friction = rng.uniform(*SCALES, len(bodies)), rng.uniform(*SCALES, len(geoms))
        return changes.of_copy(original, {"mass": tuple(mass), **dict(zip(geoms, friction, strict=True))})

    models = tuple(varied() for _ in range(parallel))
    return VariedCheetahVel(**{field.name: getattr(family, field.name) for field in fields(family)}, models=models)


def _peer_loop(agent: Agent, envs: gymnasium.vector.VectorEnv, sizes: Sizes) -> Call:
    def reset() -> FloatArray:
        obs: FloatArray = envs.reset(seed=0)[0].astype(np.float32)
        return obs

    def step(action: FloatArray) -> tuple[FloatArray, FloatArray]:
        obs, reward, *_ = envs.step(action)
        return obs.astype(np.float32), reward.astype(np.float32)

    return lambda: act_in_loop(agent, reset, step, steps=sizes.peer_steps)


@contextmanager
def _cores(threads: int) -> Iterator[None]:
    """Let processes that start in here run on `threads` of the usable cores only (where the system can say so)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)
