"""The simulation against Gymnasium's own, rewards by hand, and the masking of ended episodes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from mql.tasks import registry
from mql.tasks.families.locomotion.planar_runner import PlanarRunner
from mql.tasks.families.small.point_robot import PointRobot, point_robot
from mql.tasks.families.small.reacher_goal import fingertip
from mql.tasks.family import Array, Task
from mql.tasks.stepping.parallel import ParallelBatch, ParallelFamily
from mql.tasks.stepping.physics_state import PhysicsState
from mql.tasks.stepping.rollout import MujocoDynamics, MujocoFamily
from mql.tasks.stepping.state import Outcome, State

pytestmark = pytest.mark.newest


def native(name: str) -> ParallelFamily:
    family = registry.load(name)
    assert isinstance(family, ParallelFamily)
    return family


def ones(name: str) -> dict[str, object]:
    """Multipliers that leave a robot as it is."""
    return {key: (1.0,) * parameter.width for key, parameter in native(name).parameters.items()}


@pytest.mark.parametrize(
    ("env_id", "name", "parameters", "tolerance"),
    [
        ("HalfCheetah-v5", "cheetah-vel", {"velocity": 1.0}, 1e-6),
        ("Reacher-v5", "reacher-goal", {"target": (0.1, 0.05)}, 1e-6),
        ("Ant-v5", "ant-goal", {"goal": (1.0, 1.0)}, 1e-6),
        ("Humanoid-v5", "humanoid-dir", {"angle": 1.0}, 1e-5),
        ("Walker2d-v5", "walker-params-v5", ones("walker-params"), 1e-6),
        ("Hopper-v5", "hopper-params-v5", ones("hopper-params"), 1e-6),
    ],
)
def test_one_control_step_agrees_with_gymnasium(
    env_id: str, name: str, parameters: dict[str, object], tolerance: float
) -> None:
    """From 100 states on Gymnasium's own random episodes (which keep the solver's warm start), in qpos and qvel."""
    env = gymnasium.make(env_id)
    data = env.unwrapped.data  # type: ignore[attr-defined]
    limit = env.action_space.high  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    rows: list[tuple[Array, ...]] = []
    env.reset(seed=0)
    while len(rows) < 100:
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        start = (data.qpos.copy(), data.qvel.copy())
        _, _, terminated, truncated, _ = env.step(limit * action)
        rows.append((*start, action.astype(np.float64), data.qpos.copy(), data.qvel.copy()))
        if terminated or truncated:
            env.reset(seed=len(rows))
    env.close()
    qpos, qvel, actions, next_qpos, next_qvel = (np.stack(column) for column in zip(*rows, strict=True))
    family = native(name)
    dynamics = family.dynamics([family.task(parameters)] * len(rows), threads=2)
    dynamics.place(PhysicsState(qpos, qvel))
    before, after = dynamics.advance(actions)
    assert np.array_equal(before.qpos, qpos) and np.array_equal(before.qvel, qvel)
    np.testing.assert_allclose(after.qpos, next_qpos, rtol=0, atol=tolerance)
    np.testing.assert_allclose(after.qvel, next_qvel, rtol=0, atol=tolerance)
    dynamics.close()


def test_half_cheetah_starts_observes_and_moves_as_in_gymnasium() -> None:
    """Same seed, same first state; then the reward is Gymnasium's speed and half its effort."""
    theirs = gymnasium.make("HalfCheetah-v5")
    family = registry.load("cheetah-vel")
    ours = family.make(family.task({"velocity": 1.0}))
    rng = np.random.default_rng(0)
    for seed in range(3):
        obs, _ = ours.reset(seed=seed)
        their_obs, _ = theirs.reset(seed=seed)
        assert np.array_equal(obs, their_obs.astype(np.float32))
        action = rng.uniform(-1.0, 1.0, 6).astype(np.float32)
        obs, reward, _, _, info = ours.step(action)
        their_obs, _, _, _, their_info = theirs.step(action)
        np.testing.assert_allclose(obs, their_obs, rtol=1e-6, atol=1e-6)
        assert info["x_velocity"] == pytest.approx(their_info["x_velocity"], abs=1e-6)
        assert info["control_cost"] == pytest.approx(-0.5 * their_info["reward_ctrl"], abs=1e-6)
        assert reward == pytest.approx(-abs(their_info["x_velocity"] - 1.0) + 0.5 * their_info["reward_ctrl"], abs=1e-5)
    ours.close()
    theirs.close()


def test_reacher_starts_as_gymnasium_arm_and_finds_its_fingertip() -> None:
    """The arm's first angles are those of Gymnasium with the same seed; the fingertip is where MuJoCo has it."""
    theirs = gymnasium.make("Reacher-v5")
    data = theirs.unwrapped.data  # type: ignore[attr-defined]
    family = native("reacher-goal")
    env = family.make(family.task({"target": (0.1, -0.1)}))
    obs, _ = env.reset(seed=5)
    their_obs, _ = theirs.reset(seed=5)
    np.testing.assert_allclose(obs[:4], their_obs[:4], rtol=1e-6)
    tip = fingertip(State(data.qpos[None], data.qvel[None]))
    np.testing.assert_allclose(tip[0], data.body("fingertip").xpos[:2], atol=1e-12)
    np.testing.assert_allclose(obs[6:], tip[0], rtol=1e-6)
    env.close()
    theirs.close()


def state(qpos: list[float], qvel: list[float]) -> State:
    return State(np.array([qpos]), np.array([qvel]))


def judge(name: str, parameters: dict[str, object], before: State, after: State, action: list[float]) -> Outcome:
    family = native(name)
    values = {key: np.array([value]) for key, value in family.task(parameters).parameters.items()}
    return family.outcome(before, after, np.array([action]), values)


def test_cheetah_rewards_by_hand() -> None:
    """0.1 m in 0.05 s is 2 m/s; actions 1, 1 and -0.5 cost 0.05 * 2.25 = 0.1125."""
    before, after = state([1.0] + [0.0] * 8, [0.0] * 9), state([1.1] + [0.0] * 8, [0.0] * 9)
    action = [1.0, 1.0, -0.5, 0.0, 0.0, 0.0]
    outcome = judge("cheetah-vel", {"velocity": 0.5}, before, after, action)
    assert outcome.reward[0] == pytest.approx(-1.5 - 0.1125)
    assert outcome.info["x_velocity"][0] == pytest.approx(2.0)
    assert judge("cheetah-vel", {"velocity": 2.5}, before, after, action).reward[0] == pytest.approx(-0.6125)
    assert judge("cheetah-dir", {"direction": 1}, before, after, action).reward[0] == pytest.approx(1.8875)
    assert judge("cheetah-dir", {"direction": -1}, before, after, action).reward[0] == pytest.approx(-2.1125)


def test_reacher_reward_by_hand() -> None:
    """Upper arm along x, forearm along y: the fingertip is at (0.1, 0.11)."""
    bent = state([0.0, np.pi / 2, 0.0, 0.0], [0.0] * 4)
    outcome = judge("reacher-goal", {"target": (0.1, 0.06)}, bent, bent, [1.0, -0.5])
    assert outcome.reward[0] == pytest.approx(-0.05 - 0.125)
    assert outcome.info["distance"][0] == pytest.approx(0.05)
    assert outcome.at_goal is not None and not outcome.at_goal[0]
    near = judge("reacher-goal", {"target": (0.1, 0.095)}, bent, bent, [0.0, 0.0])
    assert near.at_goal is not None and near.at_goal[0]


def test_point_robot_by_hand() -> None:
    family = point_robot()
    env = family.make_batch([family.task({"goal": (0.4, 0.3)})])
    env.set_state([[0.1, 0.0]], np.zeros((1, 0)))
    step = env.step([[-2.0, 0.0]])  # clipped to -1
    np.testing.assert_allclose(step.obs, [[0.0, 0.0]], atol=1e-7)
    assert step.reward[0] == pytest.approx(-0.5)
    step = env.step([[0.5, 1.0]])
    np.testing.assert_allclose(step.obs, [[0.05, 0.1]], atol=1e-7)


def reach(actions: dict[int, list[float]]) -> list[bool]:
    """Start on the target with the arm straight and at rest; return the success flag of each step."""
    family = native("reacher-goal")
    batch = family.make_batch([family.task({"target": (0.21, 0.0)})])
    batch.set_state([[0.0, 0.0, 0.21, 0.0]], [[0.0] * 4])
    flags = [bool(batch.step([actions.get(t, [0.0, 0.0])]).info["success"][0]) for t in range(family.episode_length)]
    batch.close()
    return flags


def test_reacher_succeeds_when_the_last_ten_steps_stay_at_the_target() -> None:
    assert reach({}) == [False] * 49 + [True]
    assert not any(reach({0: [1.0, 0.0]}))
    assert not any(reach({47: [1.0, 1.0]}))


@dataclass(frozen=True, kw_only=True, eq=False)
class Cliff(PointRobot):
    """A point-robot that falls where x > 0.5; for the masking of ended episodes."""

    def outcome(self, before: State, after: State, action: Array, parameters: Mapping[str, Array]) -> Outcome:
        outcome = super().outcome(before, after, action, parameters)
        return replace(outcome, terminated=after.qpos[:, 0] > 0.5)


def test_ended_tasks_are_masked() -> None:
    """Task 0 falls at step 3 and keeps its last observation, flags and info; task 1 goes on to the end."""
    family = Cliff(**{name: getattr(point_robot(), name) for name in point_robot().__dataclass_fields__})
    batch = family.make_batch([family.task({"goal": (0.0, 0.0)})] * 2)
    assert isinstance(batch, ParallelBatch)
    batch.set_state([[0.25, 0.0], [-2.0, 0.0]], np.zeros((2, 0)))
    steps = [batch.step(np.ones((2, 2))) for _ in range(family.episode_length + 2)]
    fallen = steps[2]
    np.testing.assert_allclose(fallen.obs[0], [0.55, 0.3], atol=1e-7)
    assert fallen.reward[0] != 0.0
    assert [bool(step.terminated[0]) for step in steps[:4]] == [False, False, True, True]
    for step in steps[3:]:
        assert np.array_equal(step.obs[0], fallen.obs[0])
        assert step.reward[0] == 0.0
        assert step.terminated[0] and not step.truncated[0]
        assert step.info["distance"][0] == fallen.info["distance"][0]
    last = steps[family.episode_length - 1]
    assert last.truncated[1] and not last.terminated[1] and last.reward[1] != 0.0
    assert not steps[family.episode_length - 2].truncated[1]
    for step in steps[family.episode_length :]:
        assert np.array_equal(step.obs[1], last.obs[1]) and step.reward[1] == 0.0 and step.truncated[1]
    batch.reset([0, 1])
    assert not batch.step(np.zeros((2, 2))).truncated.any()


def test_steps_are_the_callers_to_change() -> None:
    family = registry.load("point-robot")
    tasks = family.tasks("train")[:2]
    spoilt, clean = family.make_batch(tasks), family.make_batch(tasks)
    spoilt.reset([0, 1])[:] = 9.0
    clean.reset([0, 1])
    for _ in range(family.episode_length + 2):
        step, right = spoilt.step(np.ones((2, 2))), clean.step(np.ones((2, 2)))
        assert np.array_equal(step.obs, right.obs) and np.array_equal(step.reward, right.reward)
        assert np.array_equal(step.truncated, right.truncated)
        assert np.array_equal(step.info["distance"], right.info["distance"])
        step.obs[:], step.reward[:], step.truncated[:] = 9.0, 9.0, True
        step.info["distance"][:] = 9.0


@pytest.mark.parametrize("name", ["cheetah-vel", "ant-dir-angles", "ant-dir-angles-contact", "humanoid-dir-legacy"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_task_that_diverges_becomes_nan_and_the_others_go_on(
    name: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Task 1 blows up at the first step; the others' numbers are those of a batch in which nothing does."""
    monkeypatch.chdir(tmp_path)
    family = native(name)
    tasks = family.tasks("train")[:5]
    drawn = [family.initial_state(np.random.default_rng(row), tasks[row].parameters) for row in range(5)]
    qpos, qvel = (np.stack(column) for column in zip(*drawn, strict=True))
    broken = qvel.copy()
    broken[1] = 1e12
    actions = np.random.default_rng(0).uniform(-1.0, 1.0, (12, 5, family.action_dim))
    well, ill = family.make_batch(tasks, threads=threads), family.make_batch(tasks, threads=threads)
    well.set_state(qpos, qvel)
    ill.set_state(qpos, broken)
    others = [0, 2, 3, 4]
    for action in actions:
        right, step = well.step(action), ill.step(action)
        assert np.isnan(step.obs[1]).any() and np.isnan(step.reward[1]) and not step.terminated[1]
        for values, expected in ((step.obs, right.obs), (step.reward, right.reward)):
            assert np.array_equal(values[others], expected[others])
            assert np.isfinite(values[others]).all()
    ill.set_state(qpos, qvel)  # a new episode heals the task
    well.set_state(qpos, qvel)
    assert np.array_equal(ill.step(actions[0]).obs, well.step(actions[0]).obs)
    for batch in (well, ill):
        batch.close()
    said = capfd.readouterr()  # the warning is told, but not among results, and no log is left behind
    assert "MuJoCo warns" in said.err and not said.out and not list(tmp_path.iterdir())


def test_a_task_with_a_finer_clock_of_its_own_is_not_lost() -> None:
    """Task 1's model has half the timestep, so its steps are half as long; both fall freely, at a speed of g t."""
    family = native("cheetah-vel")
    assert isinstance(family, MujocoFamily)
    coarse = family.model(family.tasks("train")[0])
    fine = copy.deepcopy(coarse)
    fine.opt.timestep = coarse.opt.timestep / 2.0
    dynamics = MujocoDynamics([coarse, fine], family.robot.frame_skip, threads=1)
    qpos = np.zeros((2, coarse.nq))
    qpos[:, 1] = 10.0  # m, far above the floor
    dynamics.place(PhysicsState(qpos, np.zeros((2, coarse.nv))))
    _, after = dynamics.advance(np.zeros((2, coarse.nu)))
    seconds = family.robot.control_timestep * np.array([1.0, 0.5])
    np.testing.assert_allclose(after.qvel[:, 1], -9.81 * seconds, rtol=0.02)
    dynamics.close()


def test_a_tasks_model_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Task] = []
    build = PlanarRunner.model

    def model(self: PlanarRunner, task: Task) -> mujoco.MjModel:
        built.append(task)
        return build(self, task)

    monkeypatch.setattr(PlanarRunner, "model", model)
    family = registry.load("hopper-params")
    first, second, *_ = family.tasks("ood")
    for tasks in ([first, second], [second, first, second], [first]):
        family.make_batch(tasks).close()
    assert built == [first, second]


def test_a_single_environment_that_diverges_names_its_task() -> None:
    family = native("cheetah-vel")
    env = family.make(family.task({"velocity": 1.5}))
    env.set_state(np.zeros(9), np.full(9, 1e12))  # type: ignore[attr-defined]
    with pytest.raises(FloatingPointError, match=r"cheetah-vel: .*'velocity': 1\.5.* diverged"):
        env.step(np.zeros(6, np.float32))
    env.close()
