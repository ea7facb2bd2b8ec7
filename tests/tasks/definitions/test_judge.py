"""What a definition says about an episode: the step before, stages, early ends and success, in all kinds alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from lab_definitions import LENGTH, MJCF, PYTHON, REWARD, TASK, load_cart

from mql import tasks
from mql.errors import UserError
from mql.tasks.wrapped.gymnasium_family import GymnasiumFamily

pytestmark = pytest.mark.newest

RICH = """reward:
  terms:
    smooth: {expr: "-sum((action - last.action) ** 2)", weight: 0.1}
    progress: {expr: "abs(last.info.joint_rail - task.goal) - abs(info.joint_rail - task.goal)"}
    upright: {expr: "tolerance(angle_between(info.site_tip - info.body_pole, [1, 0, 2]), 0, 0.1, 0.5)"}
  stages:
    - {name: go, until: "info.joint_rail > 0.05", terms: {fast: {expr: "info.speed_rail"}}, bonus: 2.0}
    - {name: stop, until: "abs(info.speed_rail) < 0.1", terms: {slow: {expr: "-abs(info.speed_rail)", weight: 0.5}}}
    - name: back
      until: "info.joint_rail < last.info.joint_rail - 0.005"
      terms: {moved: {expr: "info.stage - last.info.stage"}, far: {expr: "norm(obs - last.obs)"}}
      bonus: -1.5
"""
ENDS = """success: {expr: "info.stage >= 2", hold: 3}
terminate:
  - {expr: "info.joint_rail > 0.4", after: 3}
  - {expr: "info.joint_rail < -0.05"}
"""


def driven(name: str) -> Iterator[float]:
    """Actions of an episode; the cart rests at -1/2."""
    for t in range(LENGTH):
        match name:
            case "there and back":
                yield 0.5 if t < 12 else -1.0 if t < 45 else -0.5
            case "too far":
                yield 1.0
            case "the other way":
                yield -1.0
            case _:
                yield 0.3 * np.sin(t) - 0.5


NAMES = ("there and back", "too far", "the other way", "about")


def by_hand(actions: list[float], start: np.ndarray) -> list[dict[str, Any]]:
    """The episode by plain MuJoCo, and what `RICH` and `ENDS` say about it, written afresh."""
    model = mujoco.MjModel.from_xml_string(MJCF)
    data = mujoco.MjData(model)
    data.qpos[:] = start
    before, last, obs, stage, held, far, steps = start[0], 0.0, np.array([*start, 0, 0]), 0, 0, 0, []
    for action in actions:
        data.ctrl[:] = 0.5 + action
        mujoco.mj_step(model, data, 2)
        mujoco.mj_forward(model, data)
        x, v = data.qpos[0], data.qvel[0]
        now = np.array([*data.qpos, *data.qvel])
        was, over = stage, (x > 0.05, abs(v) < 0.1, x < before - 0.005, False)
        stage += bool(over[stage])
        leans = data.site("tip").xpos - data.body("pole").xpos
        cosine = leans @ [1, 0, 2] / np.linalg.norm(leans) / np.sqrt(5)
        away = max(np.arccos(cosine) - 0.1, 0.0)
        info = {
            "reward_smooth": -0.1 * (action - last) ** 2,
            "reward_progress": abs(before - 0.3) - abs(x - 0.3),
            "reward_upright": 0.1 ** ((away / 0.5) ** 2),
            "reward_go_fast": v if stage == 0 else 0.0,
            "reward_go_bonus": 2.0 if (was, stage) == (0, 1) else 0.0,
            "reward_stop_slow": -0.5 * abs(v) if stage == 1 else 0.0,
            "reward_back_moved": float(stage - was) if stage >= 2 else 0.0,
            "reward_back_far": np.linalg.norm(now - obs) if stage >= 2 else 0.0,
            "reward_back_bonus": -1.5 if (was, stage) == (2, 3) else 0.0,
            "stage": float(stage),
        }
        held = held + 1 if stage >= 2 else 0
        info["success"] = bool(held >= 3 or (steps and steps[-1]["info"]["success"]))
        far = far + 1 if x > 0.4 else 0
        ended = far >= 3 or x < -0.05
        reward = sum(value for name, value in info.items() if name.startswith("reward_"))
        steps.append({"info": info, "reward": reward, "terminated": ended})
        if ended:
            break
        before, last, obs = x, action, now
    return steps


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_episodes_are_judged_as_by_hand(tmp_path: Path, kind: str) -> None:
    family = load_cart(tmp_path, kind, reward=RICH, ends=ENDS)
    env = family.make(family.task(TASK))
    reached, lengths = set(), []
    for seed, name in enumerate(NAMES):  # one environment: nothing of an episode is left in the next one
        actions = [float(np.float32(action)) for action in driven(name)]
        first, _ = env.reset(seed=seed)
        expected = by_hand(actions, np.float64(first[:2]))
        for t, step in enumerate(expected):
            _, reward, terminated, truncated, info = env.step(np.array([actions[t]]))
            assert info == pytest.approx(step["info"], abs=2e-6)
            assert reward == pytest.approx(step["reward"], abs=1e-5)
            assert terminated == step["terminated"] and truncated == (t == LENGTH - 1 and not terminated)
            reached.add(info["stage"])
        lengths.append(t + 1)
        assert terminated or truncated
    env.close()
    assert reached == {0.0, 1.0, 2.0, 3.0} and lengths[0] == LENGTH and max(lengths[1:3]) < LENGTH


def test_side_by_side_is_what_each_is_alone(tmp_path: Path) -> None:
    family = load_cart(tmp_path, "parallel", reward=RICH, ends=ENDS)
    listed = [family.task(TASK | {"mass": mass}) for mass in (0.5, 1.0, 1.5, 2.0)]
    actions = np.array([list(driven(name)) for name in NAMES], np.float32).T[:, :, None]
    batch = family.make_batch(listed, threads=2)
    batch.reset(range(4))
    steps = [batch.step(action) for action in actions]
    for row, task in enumerate(listed):
        env = family.make(task)
        env.reset(seed=row)
        for t, step in enumerate(steps):
            _, reward, terminated, truncated, info = env.step(actions[t, row])
            assert (reward, terminated, truncated) == (step.reward[row], step.terminated[row], step.truncated[row])
            assert info == {name: values[row] for name, values in step.info.items()}
            if terminated or truncated:
                break
        assert t == LENGTH - 1 or not any(later.reward[row] for later in steps[t + 1 :])
    batch.close()


@pytest.mark.parametrize("kind", ["parallel", "python"])
def test_time_runs_from_the_episode_s_start(tmp_path: Path, kind: str) -> None:
    reward = 'reward: {terms: {clock: {expr: "info.time + 10 * last.info.time"}}}\n'
    family = load_cart(tmp_path, kind, reward=reward, ends="terminate: {expr: 'info.time > 0.07'}\n")
    env = family.make(family.task(TASK))
    for _ in range(2):
        env.reset(seed=0)
        for t in (1, 2, 3, 4):
            _, reward_now, terminated, *_ = env.step(np.zeros(1))
            assert reward_now == pytest.approx(0.02 * t + 0.2 * (t - 1)) and terminated == (t == 4)
    env.close()


FALL = """<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <geom name="floor" type="plane" size="1 1 1"/>
    <body name="ball" pos="0 0 0.3"><freejoint name="free"/><geom name="ball" size="0.1" mass="1"/></body>
    <body name="arm" pos="1 0 1"><joint name="turn" axis="0 0 1"/><geom size="0.01 0.1" type="capsule" mass="1"/></body>
  </worldbody>
  <actuator><motor name="turn" joint="turn" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


def test_a_fall_ends_an_episode_a_step_after_the_first_contact(tmp_path: Path) -> None:
    """0.2 m take 0.2 s: ten steps of 0.02 s."""
    (tmp_path / "fall.xml").write_text(FALL)
    path = tmp_path / "fall.yaml"
    path.write_text(
        """schema: mql.task_family/1
name: fall
version: 1
description: Fall.
env: {mjcf: fall.xml, episode_length: 30, frame_skip: 2}
parameters: {mass: {value: {dist: uniform, low: 1, high: 2}, apply: [{field: body_mass, body: ball, op: scale}]}}
reward: {terms: {touch: {expr: "info.touching_ball_floor + 10 * last.info.touching_ball_floor"}}}
terminate: {expr: "info.touching_ball_floor and last.info.touching_ball_floor"}
splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}
"""
    )
    family = tasks.from_file(path)
    batch = family.make_batch(family.tasks("train"))
    batch.reset([0, 1, 2])
    steps = [batch.step(np.zeros((3, 1))) for _ in range(30)]
    first = next(t for t, step in enumerate(steps) if step.reward[0] > 0)
    assert 9 <= first <= 11
    assert [step.reward.tolist() for step in steps[first : first + 3]] == [[1.0] * 3, [11.0] * 3, [0.0] * 3]
    assert not steps[first].terminated.any() and steps[first + 1].terminated.all()
    assert not any(step.truncated.any() for step in steps)
    batch.close()


ID = """schema: mql.task_family/1
name: cheetah-parts
version: 1
description: Parts of an episode around a registered environment.
env: {id: HalfCheetah-v5, episode_length: 30}
parameters:
  speed: {value: {dist: uniform, low: 0.0, high: 1.0}}
reward:
  terms:
    smooth: {expr: "-norm(action - last.action)"}
    moved: {expr: "info.x_position - last.info.x_position"}
    seen: {expr: "obs[2] - last.obs[2]"}
    clock: {expr: "info.time + 10 * last.info.time"}
  stages:
    - {name: wait, until: "info.time > 0.12", bonus: 1}
    - {name: run, terms: {own: {expr: "info.reward + last.info.reward"}}}
success: {expr: "info.stage == 1", hold: 2, at: end}
terminate: {expr: "info.x_position < last.info.x_position", after: 5}
splits: {train: {n: 3, seed: 1}, test: {n: 3, seed: 2}}
"""


def test_around_a_registered_environment(tmp_path: Path) -> None:
    path = tmp_path / "cheetah.yaml"
    path.write_text(ID)
    family = tasks.from_file(path)
    assert isinstance(family, GymnasiumFamily)
    env, plain = family.make(family.tasks("train")[0]), gymnasium.make("HalfCheetah-v5")
    rng, ends = np.random.default_rng(0), set()
    for seed in range(4):
        obs, _ = env.reset(seed=seed)
        _, begun = plain.reset(seed=seed)
        last_action, last_obs, last, last_own, back, t = np.zeros(6), obs, begun, 0.0, 0, 0
        terminated = truncated = False
        while not (terminated or truncated):
            action, t = rng.uniform(-1, 1, 6).astype(np.float32), t + 1
            obs, reward, terminated, truncated, info = env.step(action)
            _, own, _, _, told = plain.step(action)
            own, stage = float(own), int(t >= 3)  # 0.15 s
            expected = {
                "reward_smooth": -np.linalg.norm(action - last_action),
                "reward_moved": told["x_position"] - last["x_position"],
                "reward_seen": obs[2] - last_obs[2],
                "reward_clock": 0.05 * t + 10 * 0.05 * (t - 1),
                "reward_wait_bonus": float(t == 3),
                "reward_run_own": (own + last_own) * stage,
                "stage": stage,
            }
            back = back + 1 if told["x_position"] < last["x_position"] else 0
            assert info == pytest.approx(expected | {"success": t >= 4 and (terminated or truncated)}, abs=1e-5)
            assert reward == pytest.approx(sum(v for k, v in expected.items() if k != "stage"), abs=1e-5)
            assert terminated == (back == 5) and truncated == (t == 30 and not terminated)
            last_action, last_obs, last, last_own = action, obs, told, own
        ends.add("terminated" if terminated else "truncated")
    assert ends == {"terminated", "truncated"}
    env.close()


def test_an_environment_s_own_end_counts_beside_the_definition_s(tmp_path: Path) -> None:
    code = PYTHON.replace(
        "    def probe",
        "    def terminated(self, model, data):\n        return data.qpos[self.rail] > 0.1\n\n    def probe",
    )
    ends = "success: {hold: 1}\nterminate: {expr: 'info.joint_rail < -0.1'}\n"
    family = load_cart(tmp_path, "python", reward="", ends=ends, code=code)
    for action in (1.0, -1.0):
        env = family.make(family.task(TASK))
        env.reset(seed=0)
        ended = [env.step(np.array([action]))[2:4] for _ in range(20)]
        assert (True, False) in ended and (False, True) not in ended
        env.close()


def changed(old: str, new: str) -> tuple[str, str]:
    assert old in RICH
    return RICH.replace(old, new), ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed('until: "abs(info.speed_rail) < 0.1", ', ""), "the stage 'stop' has no end (KEY:16 reward.stages.1)"),
        (changed("name: stop", "name: go"), "two stages are called 'go' (KEY:16 reward.stages.1.name)"),
        (changed("name: stop", "name: s t"), "'s t' is not a name (KEY:16 reward.stages.1.name)"),
        (changed("stop, until", "stop, untill"), "(KEY:16 reward.stages.1.untill): did you mean 'until'?"),
        (changed("smooth:", "go_fast:"), "'fast' of the stage 'go' and the term 'go_fast' are both reported as"),
        (changed("terms: {fast", "terms: {bonus"), "reported as reward_go_bonus (KEY:15 reward.stages.0)"),
        (changed("speed_rail) <", "stage) <"), "info has no 'stage' (column 5) (KEY:16 reward.stages.1.until)"),
        (changed('until: "info.joint_rail < last.info.joint_rail - 0.005"', "weigh: 3"), "reward.stages.2.weigh)"),
        (
            changed('      until: "info.joint_rail < last.info.joint_rail - 0.005"\n', ""),
            "has a bonus but no end ('until') at which it is given (KEY:19",
        ),
        (changed('"info.speed_rail"', '"info.speed_rial"'), "(KEY:15 reward.stages.0.terms.fast.expr): did you mean"),
        ((REWARD, "success: {expr: 'info.stage > 0'}"), "info has no 'stage' (column 1) (KEY:13 success.expr)"),
        (
            (REWARD, "success: {expr: 'obs[0] > 0', at: never}"),
            "at is 'never' (KEY:13 success.at): it must be 'any' or",
        ),
        ((REWARD, "terminate: {expr: 'info.joint_rial > 0'}"), "(KEY:13 terminate.expr): did you mean 'joint_rail'"),
        ((REWARD, "terminate:\n- {expr: 'obs[0] > 0'}\n- {expr: 'open(1)'}"), "expressions (KEY:15 terminate.1.expr)"),
        ((REWARD, "terminate: [{expr: 'obs[9] > 0'}]"), "obs has no [9] (column 1) (KEY:13 terminate.0.expr)"),
        ((REWARD, "terminate: {expr: 'obs[0] > 0', after: 0}"), "after is 0 (KEY:13 terminate.after)"),
        ((REWARD, "terminate: {expr: 'obs[0] > 0', afer: 2}"), "unknown key 'afer' (KEY:13 terminate.afer): did you"),
        ((REWARD, "terminate: {after: 2}"), "expr is missing (KEY:13 terminate.expr)"),
        ((REWARD, "terminate: 3"), "terminate is 3 (KEY:13 terminate)"),
        ((REWARD, "terminate: {expr: 'obs > 0'}"), "the value is a vector of 4 components (KEY:13 terminate.expr)"),
    ],
)
def test_mistakes_are_one_line_with_the_place(tmp_path: Path, text: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        load_cart(tmp_path, "parallel", reward=text[0], ends=text[1] + "\n")
    message = str(caught.value)
    assert "\n" not in message
    assert said.replace("KEY", str(tmp_path / "parallel" / "cart.yaml")) in message
