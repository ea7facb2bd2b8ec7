"""What a task family's definition in YAML may say: every field with its type, limits and one line of text.

Reading a file, with the line of every mistake, is the work of `mql.tasks.definitions.file`; what an expression may say
stands in `mql.tasks.definitions.expressions.compiled`, and what a change of the physics does in
`mql.tasks.physics.changes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mql.config.parts import Mistake, Names, Part, Real
from mql.tasks.definitions.episode_schema import ROBOT, Nuisances, ScheduleSpec, StartSpec, randomise_schema
from mql.tasks.definitions.values import (
    Count,
    DistributionSpec,
    Disturbance,
    Formula,
    Gain,
    Identifier,
    Limit,
    Line,
    Seed,
    Steps,
)
from mql.tasks.family import SuccessAt
from mql.tasks.physics.fields import Change

SCHEMA: Literal["mql.task_family/1"] = "mql.task_family/1"
_PYTHON = r"^[^:\x00]+\.py:[A-Za-z_][A-Za-z0-9_]*$"
MOST_NUMBERS = 5_000_000  # that all tasks of all splits are made of


def _ordered(bounds: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    low, high = bounds
    if low is not None and high is not None and not low < high:
        raise Mistake(f"bounds {low:g} and {high:g} are out of order", "write [low, high]; null leaves an end open")
    return bounds


class Scaling(Part):
    """How a quantity is observed: (value - minus) / per. Networks ignore inputs that vary by only hundredths."""

    minus: Real | tuple[Real, ...] = Field(default=0.0, description="A number, or one for each component.")
    per: Annotated[Real, Field(gt=0.0)] = Field(default=1.0, description="What is seen as 1.")


class EnvSpec(Part):
    """What is simulated: a registered Gymnasium environment, an MJCF file, or a robot in a scene."""

    id: str | None = Field(default=None, min_length=1, description="Id of a registered Gymnasium environment.")
    kwargs: dict[str, Any] = Field(
        default={},
        description="What the environment is made with (id only); 'task.NAME' is the parameter's value.",
    )
    mjcf: str | None = Field(default=None, min_length=1, description="The model: an MJCF file beside the definition.")
    robot: str | None = Field(default=None, min_length=1, description="Name of a robot, or the path of its spec.")
    scene: str | None = Field(default=None, min_length=1, description="Name of a scene, or the path of its MJCF file.")
    control: str | None = Field(default=None, min_length=1, description="One of the robot's control modes.")
    python: str | None = Field(
        default=None, pattern=_PYTHON, description="A Python class with the task's own terms, as file.py:Class."
    )
    episode_length: Steps | None = Field(default=None, description="Control steps of an episode (id: its own limit).")
    frame_skip: Steps | None = Field(default=None, description="Physics steps of a control step (not for id).")
    observe: Names | None = Field(
        default=None,
        description="What the agent sees: quantities of the model, qpos and qvel, or keys of a Dict observation.",
    )

    scaling: dict[str, Scaling] = Field(
        default={}, description="Observed quantity or visible parameter -> {minus, per}, in which it is seen."
    )

    @property
    def kind(self) -> Literal["id", "mjcf", "robot"]:
        """Which of the three it is."""
        return "id" if self.id is not None else "mjcf" if self.mjcf is not None else "robot"

    @model_validator(mode="after")
    def _fits(self) -> EnvSpec:
        given = [key for key in ("id", "mjcf", "robot") if getattr(self, key) is not None]
        if len(given) != 1:
            what = f"{' and '.join(given)} are given" if given else "nothing to simulate"
            raise Mistake(what, "give one of id, mjcf, and robot with scene", given[-1] if given else "")
        kind = self.kind
        allowed = {
            "kwargs": ("id",),
            "python": ("mjcf", "robot"),
            "scene": ("robot",),
            "control": ("robot",),
            "frame_skip": ("mjcf", "robot"),
        }
        for key, kinds in allowed.items():
            if getattr(self, key) and kind not in kinds:
                raise Mistake(f"{key} doesn't go with {kind}", f"delete it, or give {' or '.join(kinds)}", key)
        if kind == "robot" and self.scene is None:
            raise Mistake("robot without a scene", "add 'scene: NAME', or the path of an MJCF file", "robot")
        if kind != "id" and self.episode_length is None:
            raise Mistake("episode_length is missing", "add 'episode_length: 200' (control steps)")
        if kind == "mjcf" and self.frame_skip is None:
            raise Mistake("frame_skip is missing", "add 'frame_skip: 10' (physics steps of a control step)")
        return self


class ParameterSpec(Part):
    """What varies between the tasks."""

    value: DistributionSpec = Field(description="What the training tasks draw it from, such as {dist: uniform, ...}.")
    hidden: bool = Field(default=True, strict=True, description="False: it stands at the end of the observation.")
    unit: Line = Field(default="1", description="Unit of a value; 1 for a pure number.")
    doc: Line = Field(default="", description="One line of text.")
    bounds: Annotated[tuple[Real | None, Real | None], AfterValidator(_ordered)] | None = Field(
        default=None, description="Lowest and highest value that makes sense; null leaves an end open."
    )
    apply: tuple[Change, ...] = Field(default=(), description="What it changes in the physics.")
    schedule: ScheduleSpec | None = Field(
        default=None, description="When, within an episode, it acts: {at_s, before, ramp_s}; without it, all along."
    )

    @model_validator(mode="after")
    def _fits(self) -> ParameterSpec:
        if self.schedule is not None and not self.apply:
            raise Mistake("a schedule without apply", "say what it changes in the physics", "schedule")
        return self


class TermSpec(Part):
    """One term of the reward."""

    expr: Formula = Field(description="An expression, such as '-abs(info.x_velocity - task.velocity)'.")
    weight: Real = Field(default=1.0, description="Factor of the term in the sum.")


class StageSpec(Part):
    """A part of an episode with reward terms of its own."""

    name: Identifier = Field(description="What its terms are reported under, as reward_NAME_TERM.")
    until: Formula | None = Field(
        default=None, description="Once this is true, the next stage begins, for good; the last stage needs none."
    )
    terms: dict[Identifier, TermSpec] = Field(default={}, description="Name -> {expr, weight}, paid in this stage.")
    bonus: Real = Field(default=0.0, description="Added to the reward of the step that completes it.")


class RewardSpec(Part):
    """The reward of a step: a weighted sum of terms."""

    mode: Literal["replace", "add"] = Field(
        default="replace", description="Replace the environment's or the class's own reward, or add to it."
    )
    terms: dict[Identifier, TermSpec] = Field(default={}, description="Name -> {expr, weight}.")
    stages: tuple[StageSpec, ...] = Field(
        default=(), description="Parts of an episode one after another, whose terms come on top of `terms`."
    )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is paid."""
        return not self.terms and not any(stage.terms or stage.bonus for stage in self.stages)

    @model_validator(mode="after")
    def _fits(self) -> RewardSpec:
        reported = {f"reward_{term}": f"the term {term!r}" for term in self.terms}
        for n, stage in enumerate(self.stages):
            if stage.until is None and n < len(self.stages) - 1:
                raise Mistake(f"the stage {stage.name!r} has no end", "add 'until: ...'", f"stages.{n}")
            if stage.until is None and stage.bonus:
                mend = "add 'until: ...', or leave the bonus out"
                raise Mistake(
                    f"the stage {stage.name!r} has a bonus but no end ('until') at which it is given",
                    mend,
                    f"stages.{n}.bonus",
                )
            if stage.name in [other.name for other in self.stages[:n]]:
                raise Mistake(f"two stages are called {stage.name!r}", "give one another name", f"stages.{n}.name")
            for term in (*stage.terms, *(("bonus",) if stage.bonus else ())):
                key = f"reward_{stage.name}_{term}"
                if key in reported:
                    what = f"{term!r} of the stage {stage.name!r} and {reported[key]} are both reported as {key}"
                    raise Mistake(what, "give one another name", f"stages.{n}")
                reported[key] = f"{term!r} of the stage {stage.name!r}"
        return self


class TerminateSpec(Part):
    """What ends an episode early, such as a fall."""

    expr: Formula = Field(description="True while the task is where the episode should end.")
    after: Steps = Field(default=1, description="Control steps in a row that this must last.")


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, Mapping | TerminateSpec) else value


class SuccessSpec(Part):
    """When a task counts as solved."""

    expr: Formula | None = Field(default=None, description="True while the task is where it should be.")
    hold: Steps = Field(default=1, description="Control steps in a row that this must last.")
    at: SuccessAt = Field(
        default="any", description="When they count: at any time of the episode, or only as its last ones (end)."
    )


class SensingSpec(Part):
    """How an observed quantity is seen; what is left out is as `all` says it, else as the robot's sensors do."""

    noise: Disturbance | None = Field(
        default=None, description="Standard deviation of white noise, in the quantity's own unit."
    )
    bias: Disturbance | None = Field(
        default=None, description="Largest constant error, drawn once per episode, uniform within +- bias."
    )
    delay_s: Disturbance | None = Field(
        default=None, description="Age of what is seen, s; the nearest whole number of control steps."
    )
    history: Count | None = Field(default=None, description="How many of its last values are seen; 1: the newest only.")


class ActuationSpec(Part):
    """What becomes of actions on their way to the simulation."""

    delay_s: Disturbance = Field(
        default=0.0, description="How long an action is on its way, s; the nearest whole number of control steps."
    )
    gain: Gain = Field(default=1.0, description="Factor of an action: one number, or one for each of the action's.")
    rate_limit: Limit | None = Field(default=None, description="Largest change of an action per second; null: none.")


class SplitSpec(Part):
    """A fixed list of tasks."""

    n: Count = Field(description="Number of tasks.")
    seed: Seed = Field(description="Seed that they are drawn with.")
    override: dict[str, DistributionSpec] = Field(
        default={}, description="Parameter -> the distribution that this split draws it from."
    )


class Definition(Part):
    """A task family."""

    schema_: Literal["mql.task_family/1"] = Field(alias="schema", description="Version of this format.")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Name of the family: letters, digits, '-', '_' and '.'.",
    )
    version: Count = Field(description="Version of the family; raise it when tasks or rewards change.")
    description: Line = Field(description="One line of text.")
    env: EnvSpec = Field(description="What is simulated.")
    parameters: dict[Identifier, ParameterSpec] = Field(min_length=1, description="What varies: name -> parameter.")
    reward: RewardSpec | None = Field(default=None, description="The reward; without it, the environment's own.")
    success: SuccessSpec | None = Field(default=None, description="When a task counts as solved.")
    start: StartSpec | None = Field(default=None, description="Where episodes start: joints, bodies, noise.")
    randomise: Nuisances = Field(
        default={},
        description="What differs from episode to episode and is no task: name -> {value, each, apply}, or robot.",
    )
    sensing: dict[str, SensingSpec] = Field(
        default={}, description="Observed quantity, or all -> how it is seen: noise, bias, delay, history."
    )
    actuation: ActuationSpec = Field(default=ActuationSpec(), description="What becomes of actions: delay, gain, rate.")
    terminate: Annotated[tuple[TerminateSpec, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="What ends an episode early: {expr, after}, or a list of these."
    )
    probe: tuple[Annotated[Real, Field(ge=-1.0, le=1.0)], ...] = Field(
        default=(), description="An action, held all along, that lets the parameters show to `mql tasks check`."
    )
    splits: dict[Literal["train", "validation", "test", "ood", "validation-ood"], SplitSpec] = Field(
        description="The lists of tasks: train, test and, for tasks outside the training ranges, ood. validation and "
        "validation-ood, to choose settings on, are drawn like test and ood where they are not stated."
    )

    def expressions(self) -> dict[str, str]:
        """Return every expression by its dotted key."""
        reward = self.reward or RewardSpec()
        found = {f"reward.terms.{name}.expr": term.expr for name, term in reward.terms.items()}
        for n, stage in enumerate(reward.stages):
            if stage.until is not None:
                found[f"reward.stages.{n}.until"] = stage.until
            found |= {f"reward.stages.{n}.terms.{name}.expr": term.expr for name, term in stage.terms.items()}
        if self.success is not None and self.success.expr is not None:
            found["success.expr"] = self.success.expr
        return found | {f"terminate.{n}.expr": ending.expr for n, ending in enumerate(self.terminate)}

    @model_validator(mode="after")
    def _fits(self) -> Definition:
        for split in ("train", "test"):
            if split not in self.splits:
                raise Mistake(f"there is no split {split!r}", f"add '{split}: {{n: 20, seed: 2}}'", "splits")
        self._check_reward()
        if self.success is not None and self.success.expr is None and self.env.python is None:
            raise Mistake("success has no expr", "add one, or a Python class with a method success", "success")
        if self.start is not None and self.env.kind == "id":
            raise Mistake("start doesn't go with id", "the environment draws its own starts; delete it", "start")
        if ROBOT in self.randomise and self.env.kind != "robot":
            raise Mistake("no robot states what to randomise", "name the numbers, or give env.robot", "randomise")
        return self

    def _check_reward(self) -> None:
        python, own = self.env.python is not None, self.env.kind == "id" or self.env.python is not None
        if self.reward is None:
            if not own:
                raise Mistake("there is no reward", "add 'reward: {terms: {NAME: {expr: ...}}}'")
            return
        if self.reward.is_empty and not python and not (own and self.reward.mode == "add"):
            raise Mistake("the reward has no terms", "add 'terms: {NAME: {expr: ...}}'", "reward")
        if self.reward.mode == "add" and not own:
            raise Mistake("there is no reward to add to", "write 'mode: replace'", "reward.mode")


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a definition, for editors that complete and check YAML."""
    schema: Mapping[str, Any] = Definition.model_json_schema(by_alias=True)
    ends = schema["properties"]["terminate"]
    listed = {key: ends.pop(key) for key in ("type", "items")}
    ends["anyOf"] = [listed["items"], listed]  # one that stands alone is read, too
    schema["properties"]["randomise"] = randomise_schema(schema["properties"]["randomise"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **schema,
        "title": "A task family of mql",
    }
