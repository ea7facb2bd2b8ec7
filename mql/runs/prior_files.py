"""The prior data of a run, which it keeps whole: logs that are moved or changed later break nothing.

``prior/prior.json`` says of each task what it is called, where its episodes come from and how many there are;
``prior/episodes.safetensors``, whose checksum stands there, has the episodes of all tasks, one after another.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from mql.errors import UserError
from mql.files import read_json, sha256, to_json, user_errors
from mql.learning.prior import Prior, PriorTask
from mql.runs.episodes import Undecodable, decode_episodes, encode_episodes
from mql.runs.run_dir import RunDir
from mql.types import JSON

FOLDER = "prior"
FACTS, EPISODES = f"{FOLDER}/prior.json", f"{FOLDER}/episodes.safetensors"
FORMAT_VERSION = 1


def files_of(prior: Prior) -> dict[str, bytes]:
    """Return the files that keep `prior`, by their path within the run; none where there is none."""
    if not prior:
        return {}
    data = encode_episodes([episode for task in prior for episode in task.episodes])
    described = {"format_version": FORMAT_VERSION, "tasks": described_tasks(prior), "sha256": sha256(data)}
    return {EPISODES: data, FACTS: to_json(described, indent=1)}


def described_tasks(prior: Prior) -> list[dict[str, JSON]]:
    """Return what is known of each task, as plain data."""
    return [{"name": t.name, "episodes": len(t.episodes), "steps": t.steps, **t.facts} for t in prior]


def read_prior(run: RunDir) -> Prior:
    """Read the prior data of a run; empty where it was started without.

    Raises:
        UserError: a file is missing, or differs from its checksum.
    """
    if not run.config.train.prior_data:
        return ()
    described: Any = read_json(run.path / FACTS)
    if not isinstance(described, dict) or described.get("format_version") != FORMAT_VERSION or not _fits(described):
        mend = "restore it from a copy, or use the version of mql that wrote it"
        raise UserError("the file does not describe prior data", where=str(run.path / FACTS), mend=mend)
    path = run.path / EPISODES
    with user_errors(path):
        data = path.read_bytes()
    damage = UserError("the run's prior data is damaged", where=str(path), mend="restore it from a copy")
    if sha256(data) != described.get("sha256"):
        raise damage
    try:
        episodes = list(decode_episodes(data))
    except Undecodable as error:
        raise damage from error
    if len(episodes) != sum(facts["episodes"] for facts in described["tasks"]):
        raise damage
    tasks, rest = [], iter(episodes)
    for facts in described["tasks"]:
        own = {key: value for key, value in facts.items() if key not in ("name", "episodes", "steps")}
        tasks.append(PriorTask(facts["name"], list(islice(rest, facts["episodes"])), own))
    return tuple(tasks)


def _fits(described: Mapping[str, Any]) -> bool:
    """Whether a description has what is read of it."""
    tasks = described.get("tasks")
    return isinstance(tasks, list) and all(
        isinstance(facts, dict)
        and isinstance(facts.get("name"), str)
        and isinstance(facts.get("file"), str)
        and type(facts.get("episodes")) is int
        and facts["episodes"] >= 0
        for facts in tasks
    )
