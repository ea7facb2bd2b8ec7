"""The check `stated`: keys of a definition that nothing simulates, each found from the file and its model alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from lab_definitions import REWARD, SUCCESS, write_parallel, write_python
from lab_robots import write_robot

from mql import tasks
from mql.tasks import registry
from mql.tasks.checks.effort import QUICK
from mql.tasks.checks.idle_changes import why_idle
from mql.tasks.checks.inspection import Inspection
from mql.tasks.checks.run import run_check
from mql.tasks.definitions.new.skeleton import new_skeleton
from mql.tasks.physics.fields import Change

BALL = """<mujoco>
  <option timestep="0.01" {option}/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1" friction="{floor}"/>
    <body name="post" pos="1 0 0"><geom name="post" size="0.1" contype="0" conaffinity="0" mass="1"/></body>
    <body name="ball" pos="0 0 0.1">
      <joint name="roll" type="slide" axis="1 0 0"/>
      <geom name="ball" size="0.1" mass="1" friction="0.2" {ball}/>
    </body>
  </worldbody>
</mujoco>
"""


def verdict_of(path: Path) -> Any:
    return run_check(Inspection(lambda: tasks.from_file(path, trust=True), QUICK), "stated")


def reasons(values: list[Any], *, option: str = "", floor: float = 0.8, ball: str = "", **change: Any) -> list[str]:
    model = mujoco.MjModel.from_xml_string(BALL.format(option=option, floor=floor, ball=ball))
    return list(why_idle(model, Change(**change), np.array(values, float)))


def test_geoms_of_a_body_and_targets_of_other_kinds() -> None:
    friction: dict[str, Any] = {"field": "geom_friction", "op": "set"}
    assert reasons([1.0, 3.0], body=("ball",), **friction) == []
    (told,) = reasons([1.0, 3.0], body=("post",), **friction)
    assert told.startswith("geom_friction of body 'post': it touches nothing")
    assert reasons([1.0, 3.0], field="tendon_damping", tendon=("cord",), op="set") == []


def test_a_sound_definition_and_families_of_other_kinds_pass(tmp_path: Path) -> None:
    assert verdict_of(write_parallel(tmp_path / "yaml", success=SUCCESS)).result == "pass"
    assert verdict_of(write_python(tmp_path / "python")).result == "pass"
    native = run_check(Inspection(lambda: registry.build("point-robot"), QUICK), "stated")
    assert native.result == "pass" and "only definitions" in native.message


@pytest.mark.parametrize(
    ("changed", "key", "text"),
    [
        (
            {"parameters": "  colour: {value: {dist: uniform, low: 0, high: 1}}\n"},
            "parameters.colour",
            "read task.colour",
        ),
        (
            {"reward": REWARD + '    vain: {expr: "info.joint_rail", weight: 0}\n'},
            "reward.terms.vain.weight",
            "delete the term",
        ),
        (
            {
                "parameters": "  loss: {value: {dist: uniform, low: 1, high: 2}, "
                "apply: [{field: dof_frictionloss, joint: rail, op: scale}]}\n"
            },
            "parameters.loss.apply.0",
            "any factor of 0 is 0",
        ),
    ],
)
def test_a_key_that_nothing_simulates_fails_with_its_line(
    tmp_path: Path, changed: dict[str, str], key: str, text: str
) -> None:
    path = write_parallel(tmp_path, **changed)
    verdict = verdict_of(path)
    assert verdict.result == "fail" and text in verdict.message, verdict
    assert verdict.message.startswith(f"{path}:") and f" {key}: " in verdict.message


def test_what_a_class_may_read_is_not_judged(tmp_path: Path) -> None:
    assert (
        verdict_of(write_python(tmp_path, parameters="  colour: {value: {dist: uniform, low: 0, high: 1}}\n")).result
        == "pass"
    )


def test_a_parameter_that_is_seen_or_named_acts(tmp_path: Path) -> None:
    seen = "  colour: {value: {dist: uniform, low: 0, high: 1}, hidden: false}\n"
    assert verdict_of(write_parallel(tmp_path, parameters=seen)).result == "pass"


def test_the_mass_of_what_is_fixed_moves_nothing() -> None:
    (reason,) = reasons([1.0, 2.0], field="body_mass", body=("post",), op="scale")
    assert "fixed to the world" in reason and "'post'" in reason
    assert not reasons([1.0, 2.0], field="body_mass", body=("ball",), op="scale")


def test_friction_acts_where_it_is_the_larger_one_of_two_that_touch() -> None:
    """With a floor of 0.8, a ball of 0.2 times 3 rolls as before; times 5 it does not."""
    change = {"field": "geom_friction", "geom": ("ball",), "op": "scale"}
    (reason,) = reasons([0.5, 3.0], **change)
    assert "friction of 0.8 and more" in reason
    assert not reasons([0.5, 5.0], **change)
    assert not reasons([0.5, 3.0], floor=0.3, **change)
    assert not reasons([0.5, 3.0], ball='priority="1"', **change)
    (reason,) = reasons([0.5, 3.0], **{**change, "geom": ("post",)})
    assert "touches nothing" in reason


def test_a_factor_on_zero_and_wind_without_a_medium() -> None:
    assert "is 0 in the model" in reasons([0.5, 2.0], field="dof_damping", joint=("roll",), op="scale")[0]
    assert not reasons([0.5, 2.0], field="dof_damping", joint=("roll",), op="set")
    assert "no spring" in reasons([0.5, 2.0], field="qpos_spring", joint=("roll",), op="set")[0]
    wind = {"field": "wind", "index": 0, "op": "set"}
    assert "without a medium" in reasons([0.5, 2.0], **wind)[0]
    assert not reasons([0.5, 2.0], option='density="1.2"', **wind)


def test_friction_that_is_said_to_be_idle_changes_nothing_in_mujoco() -> None:
    """The reference: the ball is pushed along both floors by plain MuJoCo, with its friction changed in the file."""

    def slid(floor: float, own: float) -> float:
        text = BALL.format(option="", floor=floor, ball="").replace('friction="0.2"', f'friction="{own}"')
        text = text.replace(
            "</worldbody>", '</worldbody><actuator><motor joint="roll" ctrlrange="-9 9"/></actuator>'
        ).replace(
            '<joint name="roll" type="slide" axis="1 0 0"/>',
            '<joint name="roll" type="slide" axis="1 0 0"/><joint type="slide" axis="0 0 1"/>',
        )
        model = mujoco.MjModel.from_xml_string(text)
        data = mujoco.MjData(model)
        data.ctrl[:] = 6.0
        mujoco.mj_step(model, data, 100)
        return float(data.qpos[0])

    assert slid(0.8, 0.1) == slid(0.8, 0.6)
    assert abs(slid(0.3, 0.1) - slid(0.3, 0.6)) > 0.05


def test_what_can_touch_is_what_mujoco_brings_into_contact() -> None:
    """A pole on a cart never touches the cart that carries it; with <exclude> two others do not either."""
    text = """<mujoco><worldbody>
      <body name="cart"><joint type="slide" axis="1 0 0"/><geom name="cart" size="0.2" mass="1"/>
        <body name="pole" pos="0.1 0 0"><joint/><geom name="pole" size="0.2" mass="1"/></body></body>
      <body name="ball" pos="-0.3 0 0"><freejoint/><geom name="ball" size="0.2" mass="1"/></body>
    </worldbody><contact>{}</contact></mujoco>"""
    for excluded, touching in (("", {("cart", "ball")}), ('<exclude body1="cart" body2="ball"/>', set())):
        model = mujoco.MjModel.from_xml_string(text.format(excluded))
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        found = {
            tuple(sorted((model.geom(c.geom1).name, model.geom(c.geom2).name), reverse=True)) for c in data.contact
        }
        assert {pair for pair in found if "ball" in pair and "cart" in pair} == touching
        assert ("pole", "cart") not in found
        for name in ("cart", "pole"):
            change = Change(field="geom_friction", geom=(name,), op="scale")
            idle = "touches nothing" in " ".join(why_idle(model, change, np.array([1.0, 3.0])))
            assert idle == (name == "cart" and not touching)


def test_what_a_robot_s_spec_says_and_nothing_simulates_is_remarked(tmp_path: Path) -> None:
    more = "randomise: {body_mass: {low: 0.8, high: 1.2, of: [rod]}}\nsafety: {contact_force_n: 2.0}\nmasses:"
    write_robot(tmp_path, spec=("masses:", more))
    for name, data in new_skeleton("mine", str(tmp_path / "lift.yaml")).files.items():
        (tmp_path / name).write_bytes(data)
    verdict = verdict_of(tmp_path / "mine.yaml")
    assert verdict.result == "warn" and "randomise: nothing simulates it" in verdict.message, verdict
    assert "safety.contact_force_n" in verdict.message and "lift.yaml:" in verdict.message
