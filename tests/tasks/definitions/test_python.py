"""Definitions with a Python class: examples/lab-drawer, a cart, and what goes wrong in a lab's code."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_definitions import PYTHON, write_python

from mql import tasks
from mql.agent.agent import Agent
from mql.collecting.exploration import random_actions
from mql.collecting.rollout import collect
from mql.config.schema import AgentConfig
from mql.errors import UserError
from mql.tasks.definitions.python import TaskValues
from mql.tasks.family import TaskFamily
from mql.tasks.fault import EpisodeFault
from mql.tasks.stepping.advance import stepper

pytestmark = pytest.mark.newest

DRAWER = Path(__file__).parents[3] / "examples" / "lab-drawer" / "lab-drawer.yaml"


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        tasks.from_file(path, trust=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def drawer() -> TaskFamily:
    return tasks.from_file(DRAWER, trust=True)


def test_lab_drawer_is_what_the_file_says(drawer: TaskFamily) -> None:
    assert (drawer.name, drawer.obs_dim, drawer.action_dim, drawer.episode_length) == ("lab-drawer", 6, 2, 150)
    assert drawer.control_timestep == pytest.approx(0.02)
    assert drawer.has_success and drawer.probe is not None and not drawer.native
    assert list(drawer.parameters) == ["opening", "mass", "damping"]
    assert drawer.parameters["damping"].bounds[0] == 0.0  # no physics has a negative damping
    with pytest.raises(UserError, match="can't be -1"):
        drawer.task({"opening": 0.1, "mass": 1.0, "damping": -1.0})


def test_pushing_to_the_goal_succeeds_and_stopping_short_does_not(drawer: TaskFamily) -> None:
    def push_to(x: float) -> bool:
        """Push slowly until the fingertip is at x (m); its range is 0.08 to 0.66 m."""
        env = drawer.make(drawer.task({"opening": 0.1, "mass": 1.0, "damping": 20.0}))
        env.reset(seed=0)
        done = []
        for step in range(150):
            target = max(x, 0.4 - 0.004 * step)
            done.append(env.step(np.array([(target - 0.37) / 0.29, 0.0]))[4]["success"])
        env.close()
        return any(done)

    assert push_to(0.168)  # fingertip and handle are 6.8 cm before the front: at 0.1 m, within a centimetre
    assert not push_to(0.22)


def test_episodes_in_workers_are_reproducible(drawer: TaskFamily) -> None:
    config = AgentConfig.model_validate({"hidden_sizes": (8,), "context_dim": 4})
    agent = Agent(drawer.obs_dim, drawer.action_dim, config, seed=0)
    chosen = drawer.tasks("train")[:3]
    runs = [
        collect(
            agent,
            drawer,
            chosen,
            [7, 8, 9],
            explorer=random_actions(drawer),
            rng=np.random.default_rng(1),
            workers=workers,
        )
        for workers in (1, 2)
    ]
    for one, other in zip(*runs, strict=True):
        assert one.length == 150 and not one.success
        assert np.array_equal(one.obs, other.obs) and np.array_equal(one.reward, other.reward)
        assert one.final_info.keys() == {"reward_opening", "reward_reach"}


def test_the_step_equals_plain_mujoco_and_leaves_no_stale_places() -> None:
    """The three calls of a control step give the motion of mj_step bit for bit, and places of the new state."""
    model = mujoco.MjModel.from_xml_path(str(DRAWER.with_name("drawer.xml")))
    ours, plain, fresh = (mujoco.MjData(model) for _ in range(3))
    for data in (ours, plain):
        data.qpos[:] = 0.22, 0.4, 0.1
        mujoco.mj_forward(model, data)
    advance = stepper(model, ours, 10)
    rng = np.random.default_rng(0)
    for _ in range(100):
        ours.ctrl[:] = plain.ctrl[:] = rng.uniform(*model.actuator_ctrlrange.T)
        advance()
        mujoco.mj_step(model, plain, 10)
        assert np.array_equal(ours.qpos, plain.qpos) and np.array_equal(ours.qvel, plain.qvel)
        fresh.qpos[:] = ours.qpos
        mujoco.mj_kinematics(model, fresh)
        assert np.array_equal(ours.site_xpos, fresh.site_xpos)


def test_a_cart_s_terms_success_and_seed(tmp_path: Path) -> None:
    family = tasks.from_file(write_python(tmp_path), trust=True)
    env = family.make(family.task({"goal": 0.3, "mass": 1.0}))
    first, again = (env.reset(seed=4)[0] for _ in range(2))
    assert np.array_equal(first, again) and not np.array_equal(first, env.reset(seed=5)[0])
    obs, reward, terminated, _, info = env.step(np.array([0.5]))
    assert info["reward_calm"] == pytest.approx(-0.025) and not terminated
    assert reward == pytest.approx(info["reward_near"] + info["reward_calm"])
    assert info["reward_near"] == pytest.approx(-abs(obs[0] - 0.3), abs=1e-6)


def test_yaml_terms_add_to_the_class_or_replace_its_own(tmp_path: Path) -> None:
    terms = 'terms: {site: {expr: "info.site_tip[0]"}, own: {expr: "info.reward", weight: 0.5}}'
    rewards = {}
    for mode in ("add", "replace"):
        path = write_python(tmp_path / mode, reward=f"reward: {{mode: {mode}, {terms}}}\n")
        family = tasks.from_file(path, trust=True)
        env = family.make(family.task({"goal": 0.3, "mass": 1.0}))
        env.reset(seed=4)
        rewards[mode] = env.step(np.array([0.5]))
    obs, reward, _, _, info = rewards["add"]
    own = info["reward_near"] + info["reward_calm"]
    assert info["reward_site"] == pytest.approx(obs[0] + 0.1, abs=1e-6)  # the site is 0.1 m before the cart's middle
    assert reward == pytest.approx(own + info["reward_site"] + 0.5 * own)
    assert rewards["replace"][4].keys() == {"reward_site", "reward_own", "success"}
    assert rewards["replace"][1] == pytest.approx(reward - own)


def test_a_visible_parameter_stands_at_the_end_of_the_observation(tmp_path: Path) -> None:
    seen = "  seen: {value: {dist: uniform, low: 1.0, high: 2.0, size: 2}, hidden: false}\n"
    family = tasks.from_file(write_python(tmp_path, parameters=seen), trust=True)
    assert family.obs_dim == 4 + 2
    env = family.make(family.task({"goal": 0.3, "mass": 1.0, "seen": [1.25, 1.5]}))
    assert env.reset(seed=0)[0][4:].tolist() == [1.25, 1.5]
    oracle = family.as_oracle()
    obs, _ = oracle.make(oracle.task({"goal": 0.25, "mass": 1.0, "seen": [1.25, 1.5]})).reset(seed=0)
    assert obs[4:].tolist() == [1.25, 1.5, 0.25, 1.0, 1.25, 1.5]


def test_task_values_are_a_mapping_with_attributes() -> None:
    values = TaskValues({"mass": 2.0, "goal": (1.0, 3.0)})
    assert values["mass"] == values.mass == 2.0 and values.goal.tolist() == [1.0, 3.0]
    assert list(values) == ["mass", "goal"] and len(values) == 2
    with pytest.raises(AttributeError, match="did you mean 'mass'"):
        _ = values.mas
    with pytest.raises(KeyError, match="did you mean 'goal'"):
        _ = values["gaol"]


def test_a_simulation_that_blows_up_is_a_fault_of_its_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = PYTHON.replace("data.qpos[self.rail] =", "data.qvel[0] = 1e12 * (task.goal > 0.49)\n        data.qpos[0] =")
    family = tasks.from_file(write_python(tmp_path, code=code), trust=True)
    env = family.make(family.task({"goal": 0.495, "mass": 1.0}))
    with pytest.raises(EpisodeFault, match="the physics diverged"):
        env.reset(seed=0)
        for _ in range(5):
            env.step(np.array([1.0]))
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("class CartTask", "class CartTsk", ("has no class 'CartTask'", "did you mean 'CartTsk'")),
        ("def observe", "def obsrve", ("no method 'observe'", "did you mean 'obsrve'")),
        ("def success", "def finished", ("no method 'success'", "success(model, data, task)")),
        ("import numpy as np", "import numpi", ("ModuleNotFoundError", "fix cart_task.py:3")),
        ("import numpy as np", "import numpy as np (", ("SyntaxError", "fix cart_task.py:3")),
        ("import numpy as np", "raise SystemExit('bye\\n\\n')", ("raised SystemExit: bye (", "fix cart_task.py:3")),
        ("import numpy as np", "raise GeneratorExit", ("raised GeneratorExit (", "fix cart_task.py:3")),
        ('model.joint("rail")', "exit()", ("CartTask.bind raised SystemExit", "cart_task.py:11")),
        ("return [*data.qpos", "raise SystemExit; return [*data.qpos", ("raised SystemExit", "cart_task.py:17")),
        ('model.joint("rail")', 'model.joint("rial")', ("CartTask.bind raised KeyError", "cart_task.py:11")),
        ("return [*data.qpos", "return [*dat.qpos", ("NameError", "cart_task.py:17")),
        ("- task.goal", "- task.gaol", ("AttributeError", "did you mean 'goal'", "cart_task.py:21")),
        ('return {{"near"', 'return 1.0 or {{"near"', ("TypeError: reward returned 1.0, which is no {term: value}",)),
        ("return [*data.qpos", "return [np.nan, *data.qpos", ("observation of the first step is not finite",)),
    ],
)
def test_mistakes_in_the_code_are_one_line(tmp_path: Path, old: str, new: str, messages: tuple[str, ...]) -> None:
    assert old in PYTHON
    message = error_of(write_python(tmp_path, code=PYTHON.replace(old, new)))
    assert "cart.yaml:" in message
    for part in messages:
        assert part in message


def test_a_class_sees_what_it_sees(tmp_path: Path) -> None:
    path = write_python(tmp_path)
    text = path.read_text()
    for value, said in (
        ("observe: [joint_rail]", "observe says what is seen, and so does the class"),
        ("scaling: {qpos: {per: 2}}", "'qpos' is not observed"),
    ):
        path.write_text(text.replace("frame_skip: 2", f"frame_skip: 2, {value}"))
        assert said in error_of(path)


def test_an_actuator_without_a_range_is_refused(tmp_path: Path) -> None:
    path = write_python(tmp_path)
    model = tmp_path / "cart.xml"
    model.write_text(model.read_text().replace('ctrlrange="-0.5 1.5"', ""))
    assert "actuator 'push' has no control range" in error_of(path)
    model.write_text(model.read_text().replace("<actuator>", "<!--").replace("</actuator>", "-->"))
    assert "no actuators" in error_of(path)


def test_a_name_of_two_things_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = write_python(tmp_path, success="success: {expr: 'info.zaxis_tip[2] > 0', hold: 2}\n")
    mjcf = tmp_path / "cart.xml"
    mjcf.write_text(mjcf.read_text().replace('body name="pole"', 'body name="tip"'))
    message = error_of(path)
    assert "'zaxis_tip' could be" in message and "cart.yaml:9 success.expr" in message
