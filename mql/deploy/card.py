"""What is said of an exported policy: ``card.json`` for programs, and the same in words for people.

Shapes: O observation, A action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mql.agent.agent import Agent
from mql.deploy.comparison import STEPS, Comparison
from mql.deploy.controller import FORMAT, FORMAT_VERSION
from mql.deploy.graph import Graph
from mql.errors import UserError
from mql.tasks.family import Task, TaskFamily
from mql.types import JSON

EXPORTED, FROM_MQL, MEASURED = "reward.py", "family.reward", "measured"


@dataclass(frozen=True)
class About:
    """What whoever exports knows beside the agent and its family.

    Args:
        observation: name, unit, minus and per of each number of an observation: it is seen as (value - minus) / per;
            None: the family doesn't say.
        action: likewise of an action.
        reward_file: the text of a ``reward.py``; None: the reward can't be written as a file.
        family_text: what the family says of itself: what is observed, done and rewarded.
        task: what the agent was adapted to; None: it is the meta-trained one, or that is not known.
        facts: more of where the agent comes from, such as ``training`` and ``versions``.
    """

    observation: Sequence[Mapping[str, JSON]] | None = None
    action: Sequence[Mapping[str, JSON]] | None = None
    reward_file: str | None = None
    family_text: str = ""
    task: Mapping[str, JSON] | None = None
    facts: Mapping[str, JSON] = field(default_factory=dict)


def card_of(agent: Agent, family: TaskFamily, graph: Graph, about: About, *, checked: Comparison) -> dict[str, Any]:
    """Return the card, but for the checksums of files."""
    names = [port.name for port in graph.inputs]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "family": family.name,
        "summary": family.summary,
        "control_timestep": family.control_timestep,
        "episode_length": family.episode_length,
        "inputs": _ports(graph.inputs),
        "outputs": _ports(graph.outputs),
        "state": graph.state,
        "opset": graph.opset,
        "limits": {"low": [-1.0] * agent.action_dim, "high": [1.0] * agent.action_dim},
        "observation": None if about.observation is None else list(about.observation),
        "action": None if about.action is None else list(about.action),
        "reward": _reward(family, about, needed="last_reward" in names),
        "parameters": {name: each.to_json() for name, each in family.parameters.items()},
        "episodes": list(family.episodes),
        "adapted_to": None if about.task is None else dict(about.task),
        "agent": agent.config.model_dump(mode="json"),
        "carries_context": agent.carried is not None,
        "checked": {"steps": STEPS, "largest_difference": checked.difference, "rounding": checked.rounding},
        **about.facts,
    }


def _ports(ports: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"name": port.name, "shape": [1, port.size], "type": "float32", "text": port.text} for port in ports]


def _reward(family: TaskFamily, about: About, *, needed: bool) -> dict[str, Any]:
    if not needed:
        return {"needed": False, "from": None, "text": "The policy needs no reward."}
    if about.reward_file is not None:
        text = "reward.py computes it from the observations before and after the step, the action and the task."
        return {"needed": True, "from": EXPORTED, "text": text}
    begin = (
        "In every step but an episode's first, last_reward is what the action before was worth, in the numbers that "
        f"the family {family.name} gives in training (the policy scales them itself). "
    )
    if _is_seen(family):
        source = (
            "as the text of the family says" if about.family_text else "as `reward` in the family's definition says"
        )
        text = (
            "It is a function of what is observed, but not one that can be written as a file of its own: compute it "
            f"on the robot's computer {source}, and compare with mql's "
            "family.reward(before, after, action, task)."
        )
        return {"needed": True, "from": FROM_MQL, "text": begin + text}
    text = (
        "It does not follow from the observation: the robot has to measure what the text of the family says. Where it "
        "can't, train with agent.context_elements=[obs, action], and no reward is needed."
    )
    return {"needed": True, "from": MEASURED, "text": begin + text}


def _is_seen(family: TaskFamily) -> bool:
    """Tell whether the family's reward follows from observations."""
    obs, action = np.zeros((1, family.obs_dim), np.float32), np.zeros((1, family.action_dim), np.float32)
    task: Task = family.tasks("train")[0]
    try:
        return family.reward(obs, obs, action, task) is not None
    except UserError:
        return False


def readme_of(card: Mapping[str, Any], about: About) -> str:
    """Return the model card as Markdown."""
    rate = 1.0 / card["control_timestep"]
    lines = [
        f"# A policy for {card['family']}",
        "",
        card["summary"],
        "",
        f"It acts every {card['control_timestep']:g} s ({rate:g} Hz); in training, episodes had "
        f"{card['episode_length']} steps. {_of_task(card)}",
        "",
        "| file | what it is |",
        "| --- | --- |",
        *(f"| `{name}` | {text} |" for name, text in FILES.items() if name in card["files"] or name in _UNLISTED),
        "",
        "## One step",
        "",
        f"ONNX opset {card['opset']}, float32, on a CPU. "
        "Statistics of `agent.normalize` are inside; the scaling of the next sections is not.",
        "",
        "| in or out | name | shape | what it is |",
        "| --- | --- | --- | --- |",
        *_port_lines(card),
        "",
        *_state_lines(card),
        *_number_lines("The observation", _GIVEN, card["observation"], card["inputs"][0]),
        *_number_lines("The action", _COMMANDED, card["action"], card["outputs"][0]),
        "Actions are within -1 and 1; the controller keeps them there, and to a rate of change that it is given.",
        "",
        "## The reward",
        "",
        card["reward"]["text"],
        "",
    ]
    if about.family_text:
        text = (f"    {line}".rstrip() for line in about.family_text.splitlines())
        lines += ["## The family in its own words", "", *text, ""]
    lines += ["## The tasks", "", "| parameter | unit | training range | what it is |", "| --- | --- | --- | --- |"]
    for name, each in card["parameters"].items():
        hidden = "; hidden" if each["hidden"] else ""
        lines.append(f"| `{name}` | {each['unit']} | {_range(each['distribution'])} | {each['doc']}{hidden} |")
    lines += ["", *(f"- {line}" for line in card["episodes"]), *([""] if card["episodes"] else [])]
    lines += ["Outside these ranges nothing was learned, and nothing is promised.", "", *_origin_lines(card)]
    return "\n".join(lines)


FILES = {
    "policy.onnx": "the policy: one control step",
    "card.json": "all of this for programs",
    "controller.py": "`Controller`, which needs numpy and onnxruntime alone",
    "reward.py": "the reward, computed from what is observed; needs numpy alone",
    "example.py": "a control loop",
    "example.cpp": "the same in C++, without the controller's checks",
    "ros2_node.py": "the same as a ROS 2 node",
    "SHA256SUMS": "checksums: `sha256sum -c SHA256SUMS`",
}
_GIVEN = "Give the policy (value - minus) / per for each number, with the value in its unit."
_COMMANDED = (
    "A number commands the value minus + per * number, so 0 commands `minus`. Where that is a position, "
    '`on_fault="stop"` moves the robot there: choose `"hold"`, or an action of your own.'
)
_UNLISTED = ("card.json", "SHA256SUMS")


def _of_task(card: Mapping[str, Any]) -> str:
    if card["adapted_to"] is None:
        return "It finds out within an episode which task it has, from what it observes."
    return (
        "It was adapted to the task "
        + ", ".join(f"{name} = {value}" for name, value in card["adapted_to"].items())
        + "."
    )


def _port_lines(card: Mapping[str, Any]) -> list[str]:
    both = (("in", card["inputs"]), ("out", card["outputs"]))
    return [f"| {way} | `{p['name']}` | {p['shape']} | {p['text']} |" for way, ports in both for p in ports]


def _state_lines(card: Mapping[str, Any]) -> list[str]:
    if not card["state"]:
        return ["It remembers nothing from step to step.", ""]
    parts = ", ".join(f"{name} ({size})" for name, size in card["state"].items())
    begin = "An episode begins with a context that earlier ones left behind." if card["carries_context"] else ""
    return [f"The state consists of {parts}, one after another. {begin}".rstrip(), ""]


def _number_lines(
    title: str, rule: str, numbers: Sequence[Mapping[str, Any]] | None, port: Mapping[str, Any]
) -> list[str]:
    head = [f"## {title}", ""]
    if numbers is None:
        text = f"{port['shape'][1]} numbers in the order and units of the family, which does not name them one by one."
        return [*head, text, ""]
    rows = [
        f"| {place} | `{each['name']}` | {each['unit']} | {each['minus']:g} | {each['per']:g} |"
        for place, each in enumerate(numbers)
    ]
    table = ["| place | name | unit | minus | per |", "| --- | --- | --- | --- | --- |", *rows, ""]
    return [*head, rule, "", *table]


def _range(distribution: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in distribution.items())


def _origin_lines(card: Mapping[str, Any]) -> list[str]:
    lines = ["## Where it comes from", ""]
    training = card.get("training", {})
    lines += [f"- {name}: {value}" for name, value in _flat(training)]
    versions = card.get("versions", {})
    if versions:
        lines.append("- exported with " + ", ".join(f"{name} {value}" for name, value in versions.items() if value))
    checked = card["checked"]
    lines.append(
        f"- checked: over {checked['steps']} steps its actions differ from the agent's by at most "
        f"{checked['largest_difference']:.1g}; the agent itself, in float32, is {checked['rounding']:.1g} from what "
        "it is in float64"
    )
    lines += ["", "| file | SHA-256 |", "| --- | --- |"]
    lines += [f"| `{name}` | `{each['sha256']}` |" for name, each in card["files"].items()]
    return [*lines, ""]


def _flat(values: Mapping[str, Any], *above: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, *above, str(name))
        elif value is not None:
            found.append((" ".join([*above, str(name)]), f"{value:.6g}" if isinstance(value, float) else value))
    return found
