"""The configuration of one experiment: every field with its type, allowed range, default and one line of text.

The defaults below are the `fast` profile. ``PROFILES["paper"]`` holds what the `paper` profile says instead: what the
published experiments share. Numbers that belong to one task family stand in ``configs/<family>.yaml``. ``loading.py``
reads files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mql.config.adaptation import AdaptConfig as AdaptConfig
from mql.config.agent import ALGORITHMS as ALGORITHMS
from mql.config.agent import ENCODERS as ENCODERS
from mql.config.agent import AgentConfig as AgentConfig
from mql.config.disturbances import EnvConfig, RandomiseConfig
from mql.config.methods import METHODS
from mql.config.p3o import P3OConfig
from mql.config.pearl import PearlConfig as PearlConfig
from mql.config.profiles import PROFILES as PROFILES
from mql.config.q_learning import QLearningConfig
from mql.config.rl2 import RL2Config
from mql.config.section import (
    ADDRESS,
    NAME,
    PATH,
    Count,
    Episodes,
    Factor,
    FilePath,
    Files,
    Fraction,
    Positive,
    Rows,
    Section,
    Whole,
    whole_number,
)
from mql.config.wandb import WandbConfig as WandbConfig
from mql.types import CONTEXT_PARTS, OnCluster, Workforce


class CollectConfig(Section):
    """How episodes are collected, in training and in evaluations; results do not depend on it."""

    workers: Literal["auto"] | Annotated[Count, Field(le=1024)] = Field(
        default="auto",
        description="Worker processes that play episodes, or threads that share the simulation of families that are "
        "batched; p3o: processes that share its lanes, with 1 none; auto: as many as `threads`.",
    )
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="Where workers are; local: processes and threads of this machine; ray: processes on the nodes of "
        "a Ray cluster (cluster.md).",
    )
    address: Annotated[str, Field(pattern=ADDRESS)] | None = Field(
        default=None,
        description="Ray's cluster, host:port, or auto for the one that this machine is part of; null: engine ray "
        "starts one here, for as long as the program runs.",
    )


class TrainConfig(Section):
    """The meta-training loop."""

    env_steps: Count = Field(default=300_000, description="Environment steps of the whole run.")
    random_steps: Whole = Field(default=10_000, description="Random steps before the first update, over all tasks.")
    random_actions: Literal["uniform", "held", "waypoints", "play"] = Field(
        default="uniform",
        description="Actions of the random steps: new at each, held for a while, to random places, or at the object.",
    )
    random_share: Fraction = Field(
        default=0.0,
        description="Share of the episodes after the random steps that begin with `random_actions`, too, for 1 step to "
        "all of them; the policy goes on from there.",
    )
    episodes_per_iteration: Episodes = Field(default=16, description="Episodes collected in parallel between updates.")
    collection_lag: Literal[0, 1] = Field(
        default=0,
        description="1: episodes are collected during the updates of the iteration before, by the policy from before "
        "them; for two idle cores or more. 0: one after the other, by the newest policy.",
    )
    batch_size: Rows = Field(default=512, description="Transitions per update.")
    env_steps_per_update: Annotated[Positive, Field(ge=0.001, le=1_000_000)] = Field(
        default=8.0, description="Environment steps collected for each update."
    )
    anneal_steps: Whole = Field(
        default=0,
        description="Last environment steps (at most half of the run), over which the learning rate falls to a tenth.",
    )
    replay_capacity: Count = Field(default=1_000_000, description="Transitions kept for learning, over all tasks.")
    replay_on_disk: FilePath | None = Field(
        default=None,
        description="A folder on a local disk, in which a file holds these transitions instead of memory.",
    )
    refresh_rows_per_update: Whole = Field(
        default=4096,
        description="Stored steps per update whose encoder states are recomputed, oldest first (context_mode carry).",
    )
    episode_priority: Literal["uniform", "success", "return"] = Field(
        default="uniform",
        description="Which of a task's episodes are drawn more often: none, successes, or the upper quarter by return.",
    )
    episode_priority_factor: Annotated[Factor, Field(ge=1, le=1_000_000)] = Field(
        default=4.0, description="How many times as often their steps are drawn as those of other episodes."
    )
    task_sampling: Literal["even", "worst"] = Field(
        default="even",
        description="Tasks that are collected: all equally often, or every second time one of the worst quarter.",
    )
    relabel_share: Fraction = Field(
        default=0.0,
        description="Share of collected episodes that are also relabelled as episodes of another training task.",
    )
    relabel_to: Literal["random", "best"] = Field(
        default="random", description="Which task: any, or of ten the one in which the episode has the highest return."
    )
    cuda_graphs: bool = Field(
        default=True,
        description="device cuda: updates are recorded once and repeated; false: called one by one, with the same "
        "results, as an algorithm of your own may need.",
    )
    evaluate_every: Count = Field(default=30_000, description="Environment steps between evaluations.")
    checkpoint_every: Count = Field(default=30_000, description="Environment steps between checkpoints.")
    keep_checkpoints: Count = Field(default=5, description="Newest checkpoints that are kept.")
    prior_data: Files = Field(
        default=(),
        description="Files of episodes recorded earlier, used as additional training tasks.",
    )
    prior_columns: FilePath | None = Field(
        default=None, description="A column map for these files, where they need one (docs/own-data.md)."
    )

    @property
    def anneal_start(self) -> int:
        """Environment steps from which on the learning rate falls: with anneal_steps 0, those of the whole run."""
        return self.env_steps - min(self.anneal_steps, self.env_steps // 2)


WHILE_TRAINING = "validation"  # the split that evaluations while training are made on


class EvaluateConfig(Section):
    """What is measured during and after meta-training."""

    split: Literal["test", "train", "ood", "validation", "validation-ood"] = Field(
        default="test",
        description="Tasks of the last evaluation, and of `mql evaluate`; evaluations during training use validation.",
    )
    tasks: Count = Field(default=10, description="Validation tasks per evaluation during training.")
    final_tasks: Count = Field(default=30, description="Tasks of the last evaluation.")
    evaluation_episodes: Episodes = Field(default=1, description="Episodes per task, zero-shot and adapted each.")
    seed: Annotated[int, BeforeValidator(whole_number), Field(ge=0, le=2**63 - 1)] | None = Field(
        default=0,
        description="Seed of evaluations and adaptations (resets, noise, draws), independent of `seed`; null: `seed`.",
    )
    adapt_while_training: bool = Field(default=False, description="Adapt in every evaluation, not only in the last.")

    def split_of(self, *, final: bool) -> str:
        """Say which tasks an evaluation is made on: what is looked at while training must not be what is reported."""
        return self.split if final else WHILE_TRAINING


class Config(Section):
    """One experiment, resolved: everything that a run depends on."""

    family: str = Field(pattern=NAME, description="Name of the task family.")
    method: Literal["mql", "td3", "td3-context", "oracle", "pearl", "rl2", "p3o", "dqn", "rainbow"] = Field(
        default="mql",
        description="How it is learned; mql: Meta-Q-Learning; others to compare with (baselines.md); related: p3o "
        "(p3o.md), dqn and rainbow (proximal.md).",
    )
    profile: Literal["fast", "paper"] = Field(
        default="fast", description="The set of defaults that the other values start from."
    )
    seed: Annotated[int, BeforeValidator(whole_number)] = Field(
        default=0, ge=0, le=2**63 - 1, description="Seed of every random stream."
    )
    device: Literal["cpu", "cuda"] = Field(default="cpu", description="Where the networks are trained.")
    threads: Annotated[Count, Field(le=1024)] = Field(
        default=1,
        description="CPU threads for matrix products (another number rounds differently), and tasks adapted at once. "
        "More than 1 only helps on idle cores.",
    )
    tracking: Literal["none", "wandb", "tensorboard"] = Field(
        default="none",
        description="Where metrics are sent in addition to the run directory: Weights & Biases (section wandb), or "
        "TensorBoard files in it.",
    )
    start_from: Annotated[str, Field(pattern=PATH)] | None = Field(
        default=None,
        description="A run, or RUN@STEPS, whose agent training starts from (`mql train --from`); null: a new agent.",
    )
    env: EnvConfig = Field(default=EnvConfig(), description="What makes the family harder.")
    collect: CollectConfig = Field(default=CollectConfig(), description="How episodes are collected.")
    agent: AgentConfig = Field(default=AgentConfig(), description="What is learned, and how.")
    train: TrainConfig = Field(default=TrainConfig(), description="The meta-training loop.")
    adapt: AdaptConfig = Field(default=AdaptConfig(), description="Adaptation to a new task.")
    pearl: PearlConfig = Field(default=PearlConfig(), description="Method pearl.")
    rl2: RL2Config = Field(default=RL2Config(), description="Method rl2.")
    p3o: P3OConfig = Field(default=P3OConfig(), description="Method p3o.")
    q_learning: QLearningConfig = Field(default=QLearningConfig(), description="Methods dqn and rainbow.")
    evaluate: EvaluateConfig = Field(default=EvaluateConfig(), description="Evaluations.")
    wandb: WandbConfig = Field(default=WandbConfig(), description="Weights & Biases.")

    @property
    def workers(self) -> int:
        """``collect.workers`` as a number."""
        return self.threads if self.collect.workers == "auto" else self.collect.workers

    @property
    def workforce(self) -> Workforce:
        """Who plays episodes, as the section ``collect`` says."""
        return self.workers if self.collect.engine == "local" else OnCluster(self.workers, self.collect.address)

    @property
    def proximal_c(self) -> float:
        """``agent.proximal_c`` as a number: for ``auto``, lr K / 2.5 for K updates between copies to the targets."""
        return self.q_learning.published_c if self.agent.proximal_c == "auto" else self.agent.proximal_c

    def resolved(self) -> Config:
        """Return this configuration with numbers in the place of what it leaves to the program."""
        agent = self.agent.model_copy(update={"proximal_c": self.proximal_c})
        collect = self.collect.model_copy(update={"workers": self.workers})
        return self.model_copy(update={"collect": collect, "agent": agent})

    @model_validator(mode="after")
    def _fields_agree(self) -> Config:
        for keys, what, mend in _conflicts(self):
            raise PydanticCustomError("conflict", "{what}: {mend}", {"keys": keys, "what": what, "mend": mend})
        return self


# What a saved configuration means that is older than a key and so lacks it; keys that are not here have their defaults.
# A key that changes how a trained agent acts needs a line, so that its default may change later.
BEFORE: Mapping[str, Any] = MappingProxyType(
    {
        "agent.algorithm": "td3",
        "agent.encoder": "gru",
        "agent.context_elements": CONTEXT_PARTS,
        "agent.exploration": "white",
        "agent.normalize": False,
        "adapt.method": "paper",
        "adapt.exploration_noise": 0.0,
        "evaluate.seed": None,
        "env.sensing.noise": 0.0,
        "env.sensing.bias": 0.0,
        "env.sensing.delay_s": 0.0,
        "env.sensing.history": 1,
        "env.actuation.delay_s": 0.0,
        "env.actuation.gain": 1.0,
        "env.actuation.rate_limit": None,
        **{f"env.randomise.{field}": None for field in RandomiseConfig.model_fields},
    }
)


def saved_agent_config(values: Mapping[str, Any]) -> AgentConfig:
    """Return the configuration of a saved agent; what it lacks is as it was before these keys.

    Raises:
        ValidationError: an unknown key or a wrong value.
    """
    before = {key.removeprefix("agent."): value for key, value in BEFORE.items() if key.startswith("agent.")}
    return AgentConfig.model_validate({**before, **values})


def _conflicts(config: Config) -> Iterator[tuple[list[str], str, str]]:
    """Yield (keys, what is wrong, how to fix it) for values that are fine alone but not together."""
    agent, train, adapt, rl2 = config.agent, config.train, config.adapt, config.rl2
    for key, fixed in METHODS[config.method].fixed.items():
        section, _, name = key.rpartition(".")
        value = getattr(getattr(config, section) if section else config, name)
        if value != fixed:
            what = f"{key} is {_as_yaml(value)}, but method {config.method} has {_as_yaml(fixed)} there"
            yield [key, "method"], what, f"leave {key} out, or choose another method"
    if config.collect.address is not None and config.collect.engine == "local":
        what = f"collect.address is {config.collect.address}, but collect.engine is local"
        yield ["collect.address", "collect.engine"], what, "set collect.address to null, or collect.engine to ray"
    if config.collect.engine == "ray" and config.method in ("dqn", "rainbow"):
        what = f"collect.engine is ray, but method {config.method} plays one environment, in its own process"
        yield ["collect.engine", "method"], what, "set collect.engine to local"
    if train.replay_on_disk is not None and config.device != "cpu":
        what = f"train.replay_on_disk is {train.replay_on_disk}, but batches are made on {config.device}"
        yield ["train.replay_on_disk", "device"], what, "set train.replay_on_disk to null, or device to cpu"
    if train.random_steps > train.env_steps:
        what = f"train.random_steps is {train.random_steps}, more than the {train.env_steps} env_steps of the run"
        yield ["train.random_steps", "train.env_steps"], what, "lower train.random_steps or raise train.env_steps"
    if agent.normalize and train.random_steps == 0 and config.start_from is None:  # else the other run's are kept
        what = "agent.normalize is true, but there are no random steps to take mean and spread from"
        mend = "give train.random_steps, or set agent.normalize to false"
        yield ["agent.normalize", "train.random_steps"], what, mend
    valued = config.method in ("dqn", "rainbow")
    if agent.proximal_c == "auto" and not valued:
        what = f"agent.proximal_c is auto, but nothing is published for method {config.method}"
        yield ["agent.proximal_c", "method"], what, "give a number, or 0 for no pull"
    lr, of = (config.q_learning.lr, "q_learning.lr") if valued else (agent.lr, "agent.lr")
    c = config.proximal_c if agent.proximal_c != "auto" or valued else 0.0
    if 0 < c < lr:
        what = f"agent.proximal_c is {c:g}, below {of} = {lr:g}: steps would go beyond the targets"
        mend = "copy to the targets less often" if agent.proximal_c == "auto" else "raise it, or set it to 0"
        yield ["agent.proximal_c", of], what, mend
    first = config.q_learning.random_steps + config.q_learning.update_every
    if valued and first > train.env_steps:
        what = f"the first update would come after {first} env steps, of {train.env_steps} in the run"
        mend = "lower q_learning.random_steps or q_learning.update_every, or raise train.env_steps"
        yield ["q_learning.random_steps", "q_learning.update_every", "train.env_steps"], what, mend
    if agent.context_mode == "carry" and not agent.shared_encoder:
        what = "agent.shared_encoder is false, but with agent.context_mode carry the replay keeps one encoder's states"
        keys = ["agent.shared_encoder", "agent.context_mode"]
        yield keys, what, "set agent.shared_encoder to true, or agent.context_mode to window"
    if agent.context_mode == "carry" and agent.use_context and not ENCODERS[agent.encoder].carries:
        what = f"agent.context_mode is carry, but the encoder {agent.encoder} has no state to carry"
        yield ["agent.encoder", "agent.context_mode"], what, "set agent.context_mode to window"
    if agent.context_mode == "carry" and agent.use_context:
        sizes = {
            "train.batch_size": train.batch_size,
            "adapt.batch_size": adapt.batch_size,
            "adapt.step1_batch_size": adapt.step1_batch_size,
        }
        for key, size in sizes.items():
            if size % agent.segment_length:
                what = f"{key} is {size}, not a multiple of agent.segment_length = {agent.segment_length}"
                multiple = max(1, round(size / agent.segment_length)) * agent.segment_length
                keys = [key, "agent.segment_length", "agent.context_mode"]
                yield keys, what, f"agent.context_mode carry needs a multiple, such as {multiple}"
    blind = not agent.use_context and config.method != "pearl"  # whose belief goes on
    if adapt.method == "context" and adapt.carry_episodes and blind:
        what = "adapt.carry_episodes is true, but agent.use_context is false: there is no context to go on with"
        yield ["adapt.carry_episodes", "agent.use_context"], what, "set adapt.carry_episodes to false"
    if agent.value_min is not None and agent.value_max is not None and agent.value_min >= agent.value_max:
        what = f"agent.value_min is {agent.value_min:g}, not below agent.value_max = {agent.value_max:g}"
        yield ["agent.value_min", "agent.value_max"], what, "give the lowest and the highest discounted return"
    if config.method == "pearl" and train.batch_size % config.pearl.tasks_per_update:
        tasks = config.pearl.tasks_per_update
        what = f"train.batch_size is {train.batch_size}, not a multiple of pearl.tasks_per_update = {tasks}"
        mend = f"give a multiple, such as {max(1, round(train.batch_size / tasks)) * tasks}"
        yield ["train.batch_size", "pearl.tasks_per_update", "method"], what, mend
    if config.method == "rl2" and rl2.steps_per_iteration > train.env_steps:  # it ends with a whole iteration
        what = f"rl2.steps_per_iteration is {rl2.steps_per_iteration}, more than the run's {train.env_steps} steps"
        yield ["rl2.steps_per_iteration", "train.env_steps"], what, "lower it, or raise train.env_steps"
    if config.method == "rl2" and adapt.adaptation_episodes >= rl2.trial_episodes:
        before = rl2.trial_episodes - 1
        what = f"adapt.adaptation_episodes is {adapt.adaptation_episodes}, but a trial has {before} before its last one"
        yield ["adapt.adaptation_episodes", "rl2.trial_episodes"], what, "lower it, or raise rl2.trial_episodes"
    if adapt.min_weight > math.exp(min(adapt.max_log_weight, 700.0)):
        what = f"adapt.min_weight is {adapt.min_weight:g}, above the largest weight exp({adapt.max_log_weight:g})"
        mend = "every weight would be zero; lower it or raise adapt.max_log_weight"
        yield ["adapt.min_weight", "adapt.max_log_weight"], what, mend


def _as_yaml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
