"""Saved agents: what `Agent.save` writes, `Agent.load` reads back bit for bit, or refuses in one line."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from mql.agent.agent import Agent
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.files import CHECKSUMS, sha256


def agent_of(**settings: Any) -> Agent:
    config = AgentConfig(hidden_sizes=(16,), context_dim=4, **settings)
    return Agent(3, 2, config, seed=1)


def fitted() -> Agent:
    agent = agent_of(normalize=True, reward_scale=5.0)
    agent.scaling.fit(torch.randn(50, 3) * 7 + 2, torch.randn(50))
    return agent


@pytest.mark.parametrize(
    "agent",
    [
        agent_of(),
        agent_of(algorithm="sac"),
        agent_of(shared_encoder=False, context_mode="window"),
        agent_of(use_context=False),
        agent_of(critic="hl_gauss", value_bins=21),
        fitted(),
    ],
)
def test_an_agent_comes_back_bit_for_bit(agent: Agent, tmp_path: Path) -> None:
    agent.save(tmp_path / "saved")
    back = Agent.load(tmp_path / "saved")
    assert (back.obs_dim, back.action_dim, back.config) == (3, 2, agent.config)
    saved = dict(agent.named_tensors())
    assert saved.keys() == dict(back.named_tensors()).keys()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in back.named_tensors())
    back.learner(lr=1e-3)  # and it can learn on


def test_the_folder_can_be_checked_and_holds_nothing_pickled(tmp_path: Path) -> None:
    agent_of().save(tmp_path / "saved")
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"agent.json", "agent.safetensors", CHECKSUMS}
    subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=tmp_path / "saved", check=True, capture_output=True)


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    agent_of().save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"the file is damaged \(.*{name}\): restore it from a copy"):
        Agent.load(tmp_path)


@pytest.mark.parametrize("name", ["agent.safetensors", CHECKSUMS])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    agent_of().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=rf"missing \(.*{name}\)"):
        Agent.load(tmp_path)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the description, as another version would have written it."""
    text = json.dumps({**json.loads((folder / "agent.json").read_text()), **changes}).encode()
    (folder / "agent.json").write_bytes(text)
    sums = [line for line in (folder / CHECKSUMS).read_text().splitlines() if not line.endswith("agent.json")]
    (folder / CHECKSUMS).write_text("\n".join([*sums, f"{sha256(text)}  agent.json", ""]))


def test_what_is_no_agent_or_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the folder holds no saved agent"):
        Agent.load(tmp_path)
    agent_of().save(tmp_path)
    known = agent_of().config.model_dump(mode="json")
    rewrite(tmp_path, config={**known, "wings": 2})
    with pytest.raises(UserError, match=r"this version does not know the agent's wings .*: use the version of mql"):
        Agent.load(tmp_path)
    rewrite(tmp_path, config=known, obs_dim=4)
    with pytest.raises(UserError, match=r"the tensors do not fit the agent: .* has shape"):
        Agent.load(tmp_path)
    rewrite(tmp_path, format_version=3)
    with pytest.raises(UserError, match="the agent has format 3, but this version reads 1 and 2"):
        Agent.load(tmp_path)


def test_an_agent_older_than_a_key_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_of().save(tmp_path)
    known = agent_of().config.model_dump(mode="json")
    rewrite(tmp_path, config={key: value for key, value in known.items() if key not in ("normalize", "tau")})
    monkeypatch.setattr("mql.config.schema.BEFORE", {"agent.normalize": False, "agent.tau": 0.5})
    assert not Agent.load(tmp_path).config.normalize and Agent.load(tmp_path).config.tau == 0.5


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(UserError, match="the path already exists"):
        agent_of().save(tmp_path / "taken")

    def refuse(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("mql.files.write_file", refuse)
    with pytest.raises(UserError, match="the disk is full"):
        agent_of().save(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
