"""Definitions around environments whose observations are nested or whose interface is another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Text
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault

pytestmark = pytest.mark.newest

TEXT = """schema: mql.task_family/1
name: lab-family
version: 1
description: Go to the middle.
env: {{id: {id}{env}}}
parameters:
  bonus: {{value: {{dist: uniform, low: 0.0, high: 1.0}}, doc: reward of each step survived}}
reward: {{mode: add, terms: {{up: {{expr: "task.bonus"}}}}}}
splits: {{train: {{n: 5, seed: 1}}, test: {{n: 5, seed: 2}}}}
"""


class Nested(Cart):
    metadata: Any = {"render_modes": [], "render_fps": 20}  # noqa: RUF012
    observation_space: Any = Dict(
        {"state": Box(-5, 5, (2,)), "wanted": Dict({"lid": Box(-5, 5, (1,)), "knob": Box(-5, 5, (2,))})}
    )

    def _seen(self) -> Any:
        wanted = {"lid": np.ones(1), "knob": np.full(2, 2.0)}
        return {"wanted": wanted, "state": super()._seen()}


class Old(Cart):
    def step(self, action: Any) -> Any:
        obs, reward, terminated, _, info = super().step(action)
        return obs, np.array([reward]), terminated, info


@pytest.fixture
def family_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a class with a time limit, and read a definition around it."""
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)

    def read(cls: Any, env: str = "", limit: int | None = 20) -> TaskFamily:
        gymnasium.registry.pop("lab/Own-v0", None)
        gymnasium.register("lab/Own-v0", entry_point=cls, max_episode_steps=limit)
        path = tmp_path / "own.yaml"
        path.write_text(TEXT.format(id="lab/Own-v0", env=env))
        return tasks.from_file(path)

    return read


def test_a_dict_within_a_dict_is_flattened_or_chosen_from(family_of: Any) -> None:
    family = family_of(Nested)
    assert (family.obs_dim, family.episode_length) == (5, 20)
    env = family.make(family.tasks("train")[0])
    obs, _ = env.reset(seed=0)
    assert obs[2:].tolist() == [2, 2, 1]  # knob and lid, in the order of the space
    assert np.array_equal(env.step([0.0])[0][2:], [2, 2, 1])
    assert family_of(Nested, ", observe: [wanted]").obs_dim == 3
    with pytest.raises(UserError, match=r"own\.yaml:5.* no 'lid' in the observation|no 'lid'.*own\.yaml:5"):
        family_of(Nested, ", observe: [lid]")


def test_what_is_no_number_is_refused_with_key_and_line(family_of: Any) -> None:
    class Told(Nested):
        observation_space: Any = Dict({"state": Box(-5, 5, (2,)), "wanted": Dict({"mission": Text(9)})})

    with pytest.raises(UserError) as caught:
        family_of(Told)
    assert "'wanted.mission' of the observation is Text" in str(caught.value)
    assert "own.yaml:5" in str(caught.value) and str(caught.value).endswith("naming the others in env.observe")
    assert family_of(Told, ", observe: [state]").obs_dim == 2


def test_an_old_interface_is_refused_when_the_file_is_read(family_of: Any) -> None:
    with pytest.raises(UserError) as caught:
        family_of(Old)
    assert str(caught.value).startswith("step 1 gave 4 values, not 5 (") and "own.yaml:5" in str(caught.value)


def test_an_old_interface_that_shows_late_costs_the_episode(family_of: Any) -> None:
    class Late(Cart):
        def step(self, action: Any) -> Any:
            answer = super().step(action)
            return answer if self.steps < 3 else (*answer[:3], {})

    family = family_of(Late)
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    env.step([0.0])
    env.step([0.0])
    with pytest.raises(EpisodeFault, match="family lab-family: step 3 gave 4 values, not 5"):
        env.step([0.0])


def test_episodes_end_after_the_environments_own_limit_or_that_of_the_file(family_of: Any) -> None:
    assert family_of(Cart).episode_length == 20
    assert family_of(Cart, ", episode_length: 30").episode_length == 30
    with pytest.raises(UserError, match=r"no time limit of its own .*episode_length: 200"):
        family_of(Cart, limit=None)
    family = family_of(Cart, ", episode_length: 30")
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    ends = [env.step([0.0])[2:4] for _ in range(30)]
    assert ends[:29] == [(False, False)] * 29 and ends[29] == (False, True)


def test_an_environment_without_pictures_is_a_warning(family_of: Any) -> None:
    verdict = run_check(Inspection(build=lambda: family_of(Nested)), "render")
    assert verdict.result == "warn" and "draws no pictures" in verdict.message


@pytest.mark.needs_extra
def test_franka_kitchen_is_seen_whole(tmp_path: Path) -> None:
    path = tmp_path / "kitchen.yaml"
    path.write_text(TEXT.format(id="FrankaKitchen-v1", env=", kwargs: {tasks_to_complete: [kettle, microwave]}"))
    family = tasks.from_file(path)
    assert family.obs_dim == 59 + 2 * (7 + 1)  # the state, and place and goal of a kettle and of a door
    env = family.make(family.tasks("train")[0])
    env.reset(seed=0)
    assert np.isfinite(env.step(np.zeros(9))[1])
    env.close()
