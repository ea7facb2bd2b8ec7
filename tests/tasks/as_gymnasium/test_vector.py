"""`gymnasium.make_vec("mql/<family>-v0")`: the batch equals single environments, whatever ends when."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from lab_environments import Cart

from mql import tasks
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.distributions import Choice, Uniform
from mql.tasks.fault import EpisodeFault

pytestmark = pytest.mark.newest

ROWS = 5


class Ending(Cart):
    """A cart whose episodes end early at places of their own."""

    def step(self, action: Any) -> Any:
        answer = super().step(action)
        return (*answer[:2], abs(self.place) > 0.9, *answer[3:])


@pytest.fixture(autouse=True)
def lab_family(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_added", {})
    registry.tell_gymnasium()
    parameters = {"gain": Uniform(0.5, 2.0), "fault": Choice((0.0,))}
    for name, cls in (("ending-carts", Ending), ("carts", Cart)):
        tasks.add(tasks.from_gymnasium(cls, parameters, name=name, episode_length=10, success_key="is_success"))
    yield
    for name in registry._added:
        gymnasium.registry.pop(f"mql/{name}-v0", None)


def batch_of(name: str, rows: int = ROWS, **options: Any) -> Any:
    return gymnasium.make_vec(f"mql/{name}-v0", num_envs=rows, vectorization_mode="vector_entry_point", **options)


def singles_of(name: str, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: gymnasium.make(f"mql/{name}-v0")] * ROWS, autoreset_mode=mode)


def assert_same_infos(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Compare the infos of two vectors: which rows have an entry, and the entries of those."""
    assert {name for name in one if one.get(f"_{name}", np.ones(1)).any()} >= set(other)
    for name, values in other.items():
        if name.startswith("_"):
            assert np.array_equal(one[name], values), name
        elif isinstance(values, dict):
            assert_same_infos(one[name], values)
        else:
            for row in np.flatnonzero(other[f"_{name}"]):
                assert np.array_equal(one[name][row], values[row]), name


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", ["point-robot", "hopper-params", "ending-carts", "reacher-goal"])
def test_every_row_is_a_single_environment_bit_for_bit(name: str, mode: AutoresetMode) -> None:
    """Over several episodes; Gymnasium's own vector of single environments is the reference."""
    batch, singles = batch_of(name, autoreset_mode=mode), singles_of(name, mode)
    rng = np.random.default_rng(0)
    obs, infos = batch.reset(seed=11)
    expected, _ = singles.reset(seed=11)
    assert np.array_equal(obs, expected) and obs.dtype == np.float32 and infos == {}
    tasks_seen: set[int] = set()
    ends = 0
    for _ in range(120):
        action = rng.uniform(-1, 1, batch.action_space.shape).astype(np.float32)
        found, wanted = batch.step(action), singles.step(action)
        for one, other in zip(found[:4], wanted[:4], strict=True):
            assert np.array_equal(one, other) and one.dtype == other.dtype
        assert_same_infos(found[4], wanted[4])
        ends += int((found[2] | found[3]).sum())
        assert [env.unwrapped.task for env in singles.envs] == batch.unwrapped.tasks  # type: ignore[attr-defined]
        tasks_seen |= {task.index for task in batch.unwrapped.tasks}
    assert ends >= ROWS and len(tasks_seen) > ROWS
    if name in ("point-robot", "reacher-goal"):
        assert len(batch.unwrapped._cohorts) == 1  # side by side all the time
    obs, _ = batch.reset()  # the streams go on
    assert np.array_equal(obs, singles.reset()[0])
    batch.close()
    singles.close()


def test_the_spaces_and_what_the_vector_says_of_itself() -> None:
    envs = batch_of("hopper-params", threads=2)
    family = registry.load("hopper-params")
    assert envs.single_observation_space == family.observation_space and envs.num_envs == ROWS
    assert envs.observation_space.shape == (ROWS, 11) and envs.action_space.shape == (ROWS, 3)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert envs.spec.id == "mql/hopper-params-v0"
    obs, _ = envs.reset(seed=[5, 4, 3, 2, 1])
    assert envs.observation_space.contains(obs)
    one = gymnasium.make("mql/hopper-params-v0")
    assert np.array_equal(obs[4], one.reset(seed=1)[0])
    envs.close()


def test_without_automatic_reset_rows_stay_ended_until_they_are_reset() -> None:
    envs = batch_of("ending-carts", autoreset_mode="Disabled")
    envs.reset(seed=0)
    push = np.ones((ROWS, 1))
    ended = np.zeros(ROWS, np.bool_)
    while not ended.any():
        obs, _, terminated, truncated, _ = envs.step(push)
        ended = terminated | truncated
    assert not ended.all()
    again, reward, terminated, _, _ = envs.step(push)
    assert np.array_equal(again[ended], obs[ended]) and not reward[ended].any() and terminated[ended].all()
    started, _ = envs.reset(seed=50, options={"reset_mask": ended.copy()})
    one = gymnasium.make("mql/ending-carts-v0")
    for row in np.flatnonzero(ended):
        assert np.array_equal(started[row], one.reset(seed=50 + int(row))[0])
    assert np.array_equal(started[~ended], again[~ended])
    assert not (envs.step(0 * push)[2] & ended).any()
    envs.close()


def test_tasks_are_chosen_for_all_rows_for_each_or_for_one_episode() -> None:
    envs = batch_of("cheetah-vel", 2, task={"velocity": 1.0})
    envs.reset(seed=0)
    assert [task.to_json() for task in envs.unwrapped.tasks] == [{"velocity": 1.0}] * 2
    envs.reset(options={"task": ["test:0", {"velocity": 2.0}]})
    listed = registry.load("cheetah-vel").tasks("test")[0]
    assert [task.to_json() for task in envs.unwrapped.tasks] == [listed.to_json(), {"velocity": 2.0}]
    envs.reset()
    assert [task.to_json() for task in envs.unwrapped.tasks] == [{"velocity": 1.0}] * 2
    each = batch_of("cheetah-vel", 2, task=["train:3", "train:4"])
    each.reset(seed=0)
    assert [task.index for task in each.unwrapped.tasks] == [3, 4]
    envs.close()
    each.close()


def test_gymnasiums_statistics_count_the_episodes() -> None:
    envs = RecordEpisodeStatistics(batch_of("point-robot"))
    envs.reset(seed=0)
    total = np.zeros(ROWS)
    for _ in range(20):
        _, reward, _, _, infos = envs.step(np.full((ROWS, 2), 0.3, np.float32))
        total += reward
    assert infos["episode"]["l"].tolist() == [20] * ROWS
    assert np.allclose(infos["episode"]["r"], total)
    envs.close()


def test_a_row_that_fails_says_so_and_a_reset_starts_anew() -> None:
    envs = batch_of("carts", 2, task={"gain": 1.0, "fault": 1.0})
    for _ in range(2):
        envs.reset(seed=0)
        with pytest.raises(EpisodeFault, match="step 3 raised ValueError"):
            for _ in range(3):
                envs.step(np.zeros((2, 1)))
        with pytest.raises(UserError, match="step before reset"):
            envs.step(np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "can't build 0 environments"),
        ({"task": ["test:0"]}, "1 task for 5 rows .*give one, or a list of 5"),
        ({"task": {"gaol": 1}}, "unknown task parameter 'gaol'"),
        ({"autoreset_mode": "never"}, "no autoreset mode 'never'"),
        ({"threads": 0}, "can't run on 0 threads"),
        ({"render_mode": "human"}, "no render mode 'human'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        batch_of("point-robot", **options).reset(seed=0)


def test_bad_use_is_refused() -> None:
    envs = batch_of("point-robot")
    with pytest.raises(UserError, match="step before reset"):
        envs.step(np.zeros((ROWS, 2)))
    with pytest.raises(UserError, match="no row has started"):
        envs.reset(options={"reset_mask": np.array([True, False, False, False, False])})
    with pytest.raises(UserError, match="2 seeds for 5 rows"):
        envs.reset(seed=[1, 2])
    with pytest.raises(UserError, match="reset_mask does not say which rows"):
        envs.reset(options={"reset_mask": [True]})
    with pytest.raises(UserError, match="no option 'mask' of reset"):
        envs.reset(options={"mask": 1})
    with pytest.raises(UserError, match="its batches take no pictures"):
        batch_of("carts", render_mode="rgb_array")
