"""The ant, humanoid, walker and hopper families: first states, rewards by hand, episode ends, observations."""

from __future__ import annotations

import math

import gymnasium
import mujoco
import numpy as np
import pytest

from mql.robots.models.ant import ANT
from mql.robots.models.humanoid import HUMANOID
from mql.tasks import registry
from mql.tasks.family import Array
from mql.tasks.stepping.derived import FROM_STATE, Deriver, empty
from mql.tasks.stepping.parallel import ParallelFamily
from mql.tasks.stepping.physics_state import Layout, PhysicsState
from mql.tasks.stepping.rollout import MujocoFamily, compiled_model
from mql.tasks.stepping.state import Outcome, State

pytestmark = pytest.mark.newest

FAMILIES = ["ant-dir", "ant-goal", "cheetah-faults", "hopper-params", "humanoid-dir", "walker-params"]


def native(name: str) -> MujocoFamily:
    family = registry.load(name)
    assert isinstance(family, MujocoFamily)
    return family


def neutral(family: ParallelFamily) -> dict[str, object]:
    """Task parameters that leave the physics as it is, and point along x."""
    values = {"goal": (0.0, 0.0), "angle": 0.0}
    return {name: values.get(name, (1.0,) * spec.width) for name, spec in family.parameters.items()}


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("Ant-v5", "ant-dir"),
        ("Humanoid-v5", "humanoid-dir"),
        ("Walker2d-v5", "walker-params"),
        ("Hopper-v5", "hopper-params"),
    ],
)
def test_a_seed_starts_and_shows_what_gymnasium_starts_and_shows(env_id: str, name: str) -> None:
    theirs, family = gymnasium.make(env_id), native(name)
    ours = family.make(family.task(neutral(family)))
    for seed in range(3):
        obs, _ = ours.reset(seed=seed)
        their_obs, _ = theirs.reset(seed=seed)
        assert np.array_equal(obs, their_obs[: family.obs_dim].astype(np.float32))
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("env_id", "name", "limit"), [("Ant-v5", "ant-dir-contact", 1.0), ("Humanoid-v5", "humanoid-dir-contact", 0.4)]
)
def test_a_contact_variants_episode_is_gymnasiums_bit_for_bit(env_id: str, name: str, limit: float) -> None:
    """A whole episode with Gymnasium's own solver warm start: all that is observed, costs, and when it ends."""
    theirs, family = gymnasium.make(env_id), native(name)
    env, ours = theirs.unwrapped, family.make(family.task({"angle": 0.0}))
    ended = 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        obs, _ = ours.reset(seed=seed)
        their_obs, _ = env.reset(seed=seed)
        assert np.array_equal(obs, their_obs.astype(np.float32))
        for _ in range(60):
            action = rng.uniform(-1.0, 1.0, family.action_dim)
            obs, reward, terminated, _, info = ours.step(action)
            their_obs, their_reward, their_terminated, _, their_info = env.step(limit * action)
            assert np.array_equal(obs, their_obs.astype(np.float32))
            assert terminated == their_terminated
            assert info["contact_cost"] == pytest.approx(-their_info["reward_contact"], abs=1e-15)
            assert info["control_cost"] == pytest.approx(-their_info["reward_ctrl"], rel=1e-12)
            if name.startswith("humanoid"):  # Ant v5 measures its speed by places that are one trial state old
                assert info["speed"] == pytest.approx(their_info["x_velocity"], abs=1e-9)
                alive = 5.0 * terminated  # which we also give at the last step
                assert reward == pytest.approx(float(their_reward) + alive, abs=1e-5)
            if terminated:
                ended += 1
                break
    assert ended
    ours.close()
    theirs.close()


def judge(
    name: str, parameters: dict[str, object], before: State, after: State, action: list[float] | Array
) -> Outcome:
    family = native(name)
    values = {key: np.array([value]) for key, value in family.task(parameters).parameters.items()}
    return family.outcome(before, after, np.array([action]), values)


def ant_at(x: float, y: float, z: float = 0.75, forces: Array | None = None) -> State:
    qpos = np.array([ANT.rest])
    qpos[0, :3] = x, y, z
    return State(qpos, np.zeros((1, 14)), {} if forces is None else {"cfrc_ext": forces[None]})


def test_ant_dir_reward_by_hand() -> None:
    """0.1 m along x and 0.05 m along y in 0.05 s is (2, 1) m/s; two actions of 1 cost 0.5 * 2 = 1; being up gives 1."""
    action = [1.0, -1.0, *[0.0] * 6]
    before, after = ant_at(1.0, 1.0), ant_at(1.1, 1.05)
    for angle, speed in ((0.0, 2.0), (math.pi / 2, 1.0), (math.pi, -2.0), (math.pi / 4, 3.0 / math.sqrt(2.0))):
        outcome = judge("ant-dir-angles", {"angle": angle}, before, after, action)
        assert outcome.reward[0] == pytest.approx(speed - 1.0 + 1.0)
        assert outcome.info["speed"][0] == pytest.approx(speed)
    assert judge("ant-dir", {"angle": math.pi}, before, after, action).reward[0] == pytest.approx(-2.0)


def test_ant_contact_cost_by_hand() -> None:
    """Forces of 0.5, 7 and -9 N count 0.25 + 1 + 1: 5e-4 * 2.25 less than without."""
    forces = np.zeros((14, 6))
    forces[4, :3] = 0.5, 7.0, -9.0
    before, after = ant_at(0.0, 0.0, forces=forces), ant_at(0.0, 0.0, forces=forces)
    outcome = judge("ant-dir-contact", {"angle": 0.0}, before, after, [0.0] * 8)
    assert outcome.reward[0] == pytest.approx(1.0 - 5e-4 * 2.25)
    outcome = judge("ant-goal-contact", {"goal": (1.0, 0.0)}, before, after, [0.0] * 8)
    assert outcome.reward[0] == pytest.approx(-1.0 - 5e-4 * 2.25)
    seen = native("ant-dir-contact").observe(after)[0]
    assert list(seen[27 + 18 : 27 + 21]) == [0.5, 1.0, -1.0]  # the fourth body, the world not counted


def test_ant_goal_reward_by_hand() -> None:
    """From (0.5, -1) to the goal (2, 1) it is 1.5 + 2 m; one action of 0.5 costs 0.1 * 0.25."""
    outcome = judge("ant-goal", {"goal": (2.0, 1.0)}, ant_at(0.0, 0.0), ant_at(0.5, -1.0), [0.5, *[0.0] * 7])
    assert outcome.reward[0] == pytest.approx(-3.5 - 0.025)
    assert outcome.terminated is None


def test_standing_still_in_ant_goal_costs_about_509() -> None:
    """A disc of radius 3 m lies 3 * 2/3 * 4/pi = 2.546 m away on average, by the sum of coordinates."""
    goals = np.array([task.parameters["goal"] for task in registry.load("ant-goal").tasks("train")])
    assert 200 * np.abs(goals).sum(axis=1).mean() == pytest.approx(509.0, rel=0.05)
    outside = np.array([task.parameters["goal"] for task in registry.load("ant-goal").tasks("ood")])
    radii = np.hypot(*outside.T)
    assert radii.min() >= 3.05 and radii.max() <= 4.0


def test_the_ant_falls_below_20_cm_and_above_1_m() -> None:
    for z, down in ((0.19, True), (0.2, False), (1.0, False), (1.01, True)):
        outcome = judge("ant-dir", {"angle": 0.0}, ant_at(0.0, 0.0), ant_at(0.0, 0.0, z), [0.0] * 8)
        assert outcome.terminated is not None and bool(outcome.terminated[0]) == down
        assert outcome.reward[0] == pytest.approx(1.0)  # also at the last step


def humanoid_at(x: float, y: float, z: float = 1.4) -> State:
    """A humanoid whose centre of mass is at (x, y); where its root is makes no difference to its speed."""
    qpos = np.array([HUMANOID.rest])
    qpos[0, 2] = z
    com = np.zeros((1, 14, 3))
    com[0, 0, :2] = x, y
    return State(qpos, np.zeros((1, 23)), {"subtree_com": com})


def test_humanoid_dir_reward_by_hand() -> None:
    """0.03 m in 0.015 s is 2 m/s; five actions of 1 are controls of 0.4, which cost 0.1 * 5 * 0.16 = 0.08."""
    action = [1.0] * 5 + [0.0] * 12
    before, after = humanoid_at(0.0, 0.0), humanoid_at(0.0, 0.03)
    outcome = judge("humanoid-dir", {"angle": math.pi / 2}, before, after, action)
    assert outcome.reward[0] == pytest.approx(1.25 * 2.0 - 0.08 + 5.0)
    assert judge("humanoid-dir", {"angle": 0.0}, before, after, action).reward[0] == pytest.approx(4.92)
    for z, down in ((0.99, True), (1.0, False), (2.0, False), (2.01, True)):
        outcome = judge("humanoid-dir", {"angle": 0.0}, before, humanoid_at(0.0, 0.0, z), action)
        assert outcome.terminated is not None and bool(outcome.terminated[0]) == down


def test_humanoid_contact_cost_is_capped() -> None:
    state = humanoid_at(0.0, 0.0)
    for force, cost in ((1000.0, 0.5), (1e6, 10.0)):
        forces = np.zeros((1, 14, 6))
        forces[0, 6, 5] = force
        after = State(state.qpos, state.qvel, {**state.derived, "cfrc_ext": forces})
        outcome = judge("humanoid-dir-contact", {"angle": 0.0}, state, after, [0.0] * 17)
        assert outcome.reward[0] == pytest.approx(5.0 - cost)


def planar(values: dict[int, float], size: int) -> State:
    qpos = np.zeros((1, size))
    qpos[0, 1] = 1.25
    for index, value in values.items():
        qpos[0, index] = value
    return State(qpos, np.zeros((1, size)))


@pytest.mark.parametrize(("name", "size"), [("walker-params", 9), ("hopper-params", 6)])
def test_planar_runner_reward_by_hand(name: str, size: int) -> None:
    """0.032 m in 0.016 s is 2 m/s; being up gives 1; two actions of 1 cost 0.002."""
    family = native(name)
    action = [1.0, -1.0, *[0.0] * (family.action_dim - 2)]
    outcome = judge(name, neutral(family), planar({}, size), planar({0: 0.032}, size), action)
    assert outcome.reward[0] == pytest.approx(2.0 + 1.0 - 0.002)


@pytest.mark.parametrize(
    ("name", "size", "values", "down"),
    [
        ("walker-params", 9, {1: 0.8}, True),
        ("walker-params", 9, {1: 0.81, 2: -0.99}, False),
        ("walker-params", 9, {1: 2.0}, True),
        ("walker-params", 9, {2: -1.0}, True),
        ("hopper-params", 6, {1: 0.7}, True),
        ("hopper-params", 6, {1: 0.71, 2: 0.19}, False),
        ("hopper-params", 6, {1: 5.0}, False),
        ("hopper-params", 6, {2: -0.2}, True),
        ("hopper-params", 6, {4: -100.0}, True),
    ],
)
def test_when_a_planar_runner_has_fallen(name: str, size: int, values: dict[int, float], down: bool) -> None:
    family = native(name)
    outcome = judge(name, neutral(family), planar({}, size), planar(values, size), [0.0] * family.action_dim)
    assert outcome.terminated is not None and bool(outcome.terminated[0]) == down


@pytest.mark.parametrize("name", FAMILIES)
def test_a_state_of_nan_is_worth_nan_and_has_not_ended(name: str) -> None:
    family = native(name)
    task = family.tasks("train")[0]
    model = compiled_model(str(family.robot.path))
    qpos, qvel = np.full((1, model.nq), np.nan), np.full((1, model.nv), np.nan)
    lost = State(qpos, qvel, {key: np.full((1, 14, 3), np.nan) for key in family.derived})
    values = {key: np.array([value]) for key, value in task.parameters.items()}
    outcome = family.outcome(lost, lost, np.zeros((1, family.action_dim)), values)
    assert np.isnan(outcome.reward[0])
    assert outcome.terminated is None or not outcome.terminated[0]


def test_velocities_are_seen_up_to_10() -> None:
    family = native("walker-params")
    state = State(np.zeros((1, 9)), np.linspace(-40.0, 40.0, 9)[None])
    assert list(family.observe(state)[0, 8:]) == [-10.0, -10.0, -10.0, -10.0, 0.0, 10.0, 10.0, 10.0, 10.0]


def test_legacy_observations() -> None:
    """ant-goal: 29 and 84 zeros; cheetah: 17 and the torso's place; ant-dir: the same."""
    short, long = native("ant-goal"), native("ant-goal-legacy")
    state = ant_at(0.3, 0.4)
    seen = long.observe(state)
    assert np.array_equal(seen[:, :29], short.observe(state)) and not seen[:, 29:].any()
    assert list(seen[0, :2]) == [0.3, 0.4]
    assert np.array_equal(native("ant-dir-legacy").observe(state), native("ant-dir").observe(state))
    for name in ("cheetah-vel", "cheetah-dir"):
        body = State(np.linspace(0.1, 0.9, 9)[None], np.ones((1, 9)))
        seen = native(f"{name}-legacy").observe(body)
        assert np.array_equal(seen[:, :17], native(name).observe(body))
        np.testing.assert_allclose(seen[0, 17:], [0.1, 0.0, 0.7 + 0.2])


def test_humanoid_legacy_layout() -> None:
    """22 positions, 23 velocities, 140 inertias, 84 velocities, 23 motor forces, 84 zeros; rewards are the same."""
    plain, legacy = native("humanoid-dir"), native("humanoid-dir-legacy")
    task, old = plain.task({"angle": 1.0}), legacy.task({"angle": 1.0})
    ours, theirs = plain.make(task), legacy.make(old)
    first, _ = ours.reset(seed=3)
    seen, _ = theirs.reset(seed=3)
    assert np.array_equal(seen[:45], first) and not seen[45 + 224 :].any()  # no motor acts before the first step
    action = np.linspace(-1.0, 1.0, 17).astype(np.float32)
    obs, reward, *_ = ours.step(action)
    seen, old_reward, *_ = theirs.step(action)
    assert np.array_equal(seen[:45], obs) and reward == old_reward
    forces = seen[45 + 224 : 45 + 247]
    gears = {actuator.joint: actuator.gear for actuator in HUMANOID.actuators}
    motors = [actuator.joint for actuator in HUMANOID.actuators]
    right = [0.4 * action[motors.index(joint)] * gears[joint] for joint in HUMANOID.joints[1:]]
    np.testing.assert_allclose(forces, [0.0] * 6 + right, rtol=1e-6)
    assert not seen[-84:].any() and not seen[45:55].any()  # contact; the world's inertia
    ours.close()
    theirs.close()


def test_derived_quantities_are_those_of_a_full_forward_pass() -> None:
    model = compiled_model(str(HUMANOID.path))
    rng = np.random.default_rng(0)
    rows, names = 4, sorted(FROM_STATE)
    qpos = np.array(HUMANOID.rest) + rng.uniform(-0.3, 0.3, (rows, model.nq))
    qvel, control = rng.standard_normal((rows, model.nv)), rng.uniform(-0.4, 0.4, (rows, model.nu))
    out = empty(names, model, rows)
    states = Layout(model).start([model] * rows, PhysicsState(qpos, qvel, ctrl=control))
    Deriver(names, [model] * rows).derive(*states, out)
    for row in range(rows):
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:], data.ctrl[:] = qpos[row], qvel[row], control[row]
        mujoco.mj_forward(model, data)
        for name in names:
            assert np.array_equal(out[name][row], getattr(data, name)), name
        centre = model.body_mass @ data.xipos / model.body_mass.sum()
        np.testing.assert_allclose(out["subtree_com"][row, 0], centre, atol=1e-12)
    with pytest.raises(ValueError, match="do not follow from the state"):
        Deriver(["cfrc_ext"], [model])
