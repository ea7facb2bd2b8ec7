"""Writes the folder that goes to the robot: the policy as ONNX, its card, a controller and examples."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from mql.agent.agent import Agent
from mql.deploy.card import About, card_of, readme_of
from mql.deploy.comparison import checked
from mql.deploy.controller import CARD, MODEL
from mql.deploy.examples import cpp_example, python_example, ros2_node
from mql.deploy.graph import to_graph
from mql.errors import UserError
from mql.files import as_data, check_free, sha256, to_json, write_folder
from mql.tasks.family import TaskFamily

NO_ABOUT = About()


def export(
    agent: Agent, folder: str | os.PathLike[str], *, family: TaskFamily, about: About = NO_ABOUT
) -> dict[str, Any]:
    """Write a new folder with the agent's deterministic policy for a robot's computer, and return its card.

    `Run.export` and `Adapted.export` call it with what they know about the agent.

    Args:
        agent: trained on `family`.
        folder: it must not exist, or be empty; it appears when it is complete.
        family: says what the agent observes and does.
        about: what else is known.

    Raises:
        UserError: something stands there, a package is missing, the agent has a part that can't be exported, or what
            was exported acts otherwise than the agent.
        EpisodeFault: an episode of the family, in which both are compared, could not be played.
    """
    path = Path(folder)
    check_free(path, mend="choose another folder")
    if (agent.obs_dim, agent.action_dim) != (family.obs_dim, family.action_dim):
        what = f"the agent has {agent.obs_dim} observations and {agent.action_dim} actions"
        mend = f"give the family that it was trained on; {family.name} has {family.obs_dim} and {family.action_dim}"
        raise UserError(what, where="family", mend=mend)
    graph = to_graph(agent)
    card = card_of(agent, family, graph, about, checked=checked(agent, graph, family))
    written = {MODEL: graph.model, "controller.py": (files("mql.deploy") / "controller.py").read_bytes()}
    if about.reward_file is not None and card["reward"]["needed"]:
        written["reward.py"] = about.reward_file.encode()
    for name, text in (
        ("example.py", python_example(card)),
        ("example.cpp", cpp_example(card)),
        ("ros2_node.py", ros2_node(card)),
    ):
        written[name] = text.encode()
    card["files"] = {name: {"sha256": sha256(data), "bytes": len(data)} for name, data in written.items()}
    written["README.md"] = readme_of(card, about).encode()
    written[CARD] = to_json(card, indent=1)
    write_folder(path, written)
    return as_data(card)
