"""Families around any Gymnasium environment: what is passed through, what is refused, and that nothing drifts."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from lab_environments import FAULTS, OBS, Cart, set_gain

from mql import tasks
from mql.errors import UserError
from mql.tasks import registry
from mql.tasks.distributions import Choice, Uniform
from mql.tasks.family import Split, Task
from mql.tasks.fault import EpisodeFault
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

pytestmark = pytest.mark.newest

GAINS = {"gain": Uniform(0.5, 2.0)}


def carts(**options: Any) -> GymnasiumFamily:
    given = {"name": "carts", "episode_length": 10, "success_key": "is_success", "info_keys": ("place",)} | options
    return tasks.from_gymnasium(given.pop("make_env", Cart), given.pop("parameters", GAINS), **given)


def test_what_the_environment_says_of_itself_is_taken_over() -> None:
    family = tasks.from_gymnasium(partial(gymnasium.make, "Pendulum-v1"), {"g": Uniform(5.0, 15.0)}, name="pendulums")
    assert (family.obs_dim, family.action_dim, family.episode_length) == (3, 1, 200)
    assert family.control_timestep == 0.05
    assert family.summary == "Pendulum-v1 with hidden g"
    assert not family.native and not family.has_success
    assert [len(family.tasks(split)) for split in ("train", "test")] == [50, 20]


def test_an_episode_is_the_environments_own_with_actions_mapped_and_float32() -> None:
    family = carts()
    task = family.tasks("train")[0]
    plain, ours = Cart(gain=task.parameters["gain"]), family.make(task)  # type: ignore[arg-type]
    assert np.array_equal(ours.reset(seed=5)[0], plain.reset(seed=5)[0].astype(np.float32))
    for action in (-1.0, 0.0, 0.5, 1.0, 7.0):
        obs, reward, terminated, truncated, info = ours.step(np.array([action]))
        # [-1, 1] is mapped to [-2, 4]; what lies outside is clipped.
        seen, expected, _, _, told = plain.step([1.0 + 3.0 * min(action, 1.0)])
        assert np.array_equal(obs, seen.astype(np.float32)) and obs.dtype == np.float32
        assert reward == expected and (terminated, truncated) == (False, False)
        assert info == {"place": told["place"], "success": told["is_success"]}


def test_gymnasiums_checker_passes_and_pictures_are_taken() -> None:
    family = carts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(family.make(family.tasks("train")[0]))
    env = family.make(family.tasks("test")[0], render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.shape == (8, 8, 3)
    assert family.make(family.tasks("test")[0]).render() is None


@pytest.mark.parametrize("options", [{}, {"set_task": set_gain}], ids=["a new environment", "set_task"])
def test_an_episode_is_the_same_after_another_task(options: dict[str, Any]) -> None:
    family = carts(**options)
    first, second = family.tasks("train")[:2]

    def play(task: Task) -> list[float]:
        batch = family.make_batch([task])
        batch.reset([3])
        rewards = [float(batch.step([[0.3]]).reward[0]) for _ in range(10)]
        batch.close()
        return rewards

    before, between, after = play(first), play(second), play(first)
    assert before == after != between


def test_a_batch_equals_its_tasks_alone_and_masks_ended_ones() -> None:
    family = carts(set_task=set_gain)
    chosen, seeds = family.tasks("train")[:3], [4, 5, 6]
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (12, 3, 1))
    batch = family.make_batch(chosen)
    obs = batch.reset(seeds)
    steps = [batch.step(action) for action in actions]
    for row, (task, seed) in enumerate(zip(chosen, seeds, strict=True)):
        env = family.make(task)
        assert np.array_equal(env.reset(seed=seed)[0], obs[row])
        for t in range(10):
            seen, reward, _, truncated, info = env.step(actions[t, row])
            assert np.array_equal(seen, steps[t].obs[row])
            assert np.float32(reward) == steps[t].reward[row]
            assert truncated == steps[t].truncated[row] == (t == 9)
            assert info["success"] == steps[t].info["success"][row]
    for late in steps[10:]:
        assert np.array_equal(late.obs, steps[9].obs) and not late.reward.any() and late.truncated.all()


def test_dict_observations_show_the_chosen_keys_only() -> None:
    class Told(Cart):
        observation_space: Any = gymnasium.spaces.Dict({"goal": gymnasium.spaces.Box(-1, 1, (1,)), "seen": OBS})

        def _seen(self) -> Any:
            return {"goal": np.ones(1), "seen": super()._seen()}

    everything, chosen = carts(make_env=Told), carts(make_env=Told, observed=("seen",))
    assert (everything.obs_dim, chosen.obs_dim) == (3, 2)
    task = chosen.tasks("train")[0]
    assert everything.make(task).reset(seed=0)[0].tolist()[0] == 1.0
    assert np.array_equal(chosen.make(task).reset(seed=0)[0], everything.make(task).reset(seed=0)[0][1:])
    with pytest.raises(UserError, match=r"no 'sen' in the observation .*did you mean 'seen'"):
        carts(make_env=Told, observed=("sen",))


def test_the_oracle_sees_the_parameters() -> None:
    family = carts().as_oracle()
    task = family.tasks("train")[0]
    assert family.obs_dim == 3
    assert family.make(task).reset(seed=0)[0][-1] == np.float32(task.parameters["gain"])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", "step 3 raised ValueError: the gearbox is jammed"),
        ("nan", "step 3 gave nan at place 0 of the observation"),
        ("reward", "step 3 gave the reward inf"),
        ("spaces", "step 3 gave an observation of 3 numbers, not 2"),
    ],
)
def test_a_fault_is_one_line_with_the_tasks_parameters(fault: str, message: str) -> None:
    parameters = GAINS | {"fault": Choice(tuple(range(len(FAULTS))))}
    family = carts(parameters=parameters, set_task=set_gain)
    env = family.make(family.task({"gain": 1.5, "fault": FAULTS.index(fault)}))
    env.reset(seed=0)
    env.step([0.0])
    env.step([0.0])
    with pytest.raises(EpisodeFault) as caught:
        env.step([0.0])
    text = f"family carts: {message} (task custom 0: gain 1.5, fault {FAULTS.index(fault)})"
    assert str(caught.value) == text


def test_an_environment_that_cannot_be_built_or_has_other_spaces_is_a_fault() -> None:
    def make(gain: float) -> Cart:
        if gain > 1.9:
            raise OSError("no licence")
        cart = Cart(gain)
        if gain < 0.6:
            cart.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
        return cart

    family = carts(make_env=make, splits={"train": Split(listed=({"gain": 1.0},)), "test": Split(n=2, seed=1)})
    with pytest.raises(EpisodeFault, match=r"building the environment raised OSError: no licence .*gain 1\.95"):
        family.make(family.task({"gain": 1.95}))
    with pytest.raises(EpisodeFault, match=r"the action space is Box\(.*not a Box of 1 numbers .*gain 0\.5"):
        family.make(family.task({"gain": 0.5}))


def discrete(**_: object) -> Any:
    return gymnasium.make("CartPole-v1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"make_env": discrete}, r"actions of Discrete\(2\) \(family carts\): wrap it"),
        ({"episode_length": None}, "nothing says how long an episode is .*give episode_length"),
        ({"parameters": {"gian": Uniform(0.0, 1.0)}}, r"make_env\(gian=0\.\d+\) raised TypeError"),
        ({"parameters": {"gain": 1.0}}, r"task parameter 'gain' is 1\.0 .*Uniform"),
        ({"splits": {"train": Split(n=3)}}, "splits train and test"),
        ({"observed": ("x",)}, "observation is not a Dict"),
        ({"hold_steps": 0}, r"hold_steps is 0 \(family carts\): give 1 to \d+: an episode has as many"),
        ({"hold_steps": 1000}, r"hold_steps is 1000 \(family carts\): give 1 to"),
        ({"success_at": "ende"}, "success_at is 'ende' .*did you mean 'end'"),
    ],
)
def test_what_cannot_be_a_family_is_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        carts(**options)


def test_bad_use_is_refused_clearly() -> None:
    family = carts(set_task=set_gain)
    task = family.tasks("train")[0]
    batch = family.make_batch([task, task])
    with pytest.raises(UserError, match="call reset first"):
        batch.step(np.zeros((2, 1)))
    with pytest.raises(UserError, match="1 seeds for 2 tasks"):
        batch.reset([0])
    batch.reset([0, 1])
    with pytest.raises(UserError, match=r"actions have shape \[2, 2\]"):
        batch.step(np.zeros((2, 2)))
    with pytest.raises(UserError, match="task 1 is not finite"):
        batch.step([[0.0], [np.nan]])
    env = family.make(task)
    with pytest.raises(UserError, match="call reset first"):
        env.step([0.0])
    env.close()
    env.close()
    with pytest.raises(UserError, match="the environment is closed"):
        env.reset(seed=0)
    with pytest.raises(UserError, match="no render mode 'human'"):
        family.make(task, render_mode="human")


def test_a_family_pickles_without_its_environments() -> None:
    family = carts(set_task=set_gain)
    family.make(family.tasks("train")[0]).close()
    copy = cloudpickle.loads(cloudpickle.dumps(family))
    assert "_source" not in vars(copy) and copy.tasks("test") == family.tasks("test")
    assert copy.make(copy.tasks("test")[0]).reset(seed=1)[0].shape == (2,)


def test_a_family_of_ones_own_gets_a_name_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})
    family = carts()
    tasks.add(family)
    assert tasks.load("carts") is family and "carts" in tasks.names()
    with pytest.raises(UserError, match="there is a family 'carts' already"):
        tasks.add(family)
    with pytest.raises(UserError, match="there is a family 'cheetah-vel' already"):
        tasks.add(carts(name="cheetah-vel"))
