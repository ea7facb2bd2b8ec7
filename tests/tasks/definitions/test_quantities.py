"""Names of a model as expressions say them: other characters become '_', and what is not clear is refused."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
from lab_definitions import MJCF, PYTHON, REWARD, SUCCESS, YAML, write_parallel

from mql.errors import UserError
from mql.robots import registry
from mql.tasks import from_file
from mql.tasks.definitions.quantities import LiveQuantities, chosen, plain_name, quantities_of

pytestmark = pytest.mark.newest

ODD = """<mujoco><worldbody><body name="1st body">
  <joint name="z-axis" type="slide" axis="0 0 1"/><geom size="0.1"/>
  <site name="robot0:grip" pos="1 2 3"/><site name="a:b"/><site name="a_b"/><site name="größe"/>
</body></worldbody><sensor><accelerometer name="felt.here" site="a:b"/></sensor></mujoco>"""


@pytest.mark.parametrize(
    ("name", "said"),
    [("robot0:grip", "robot0_grip"), ("z-axis 1.2", "z_axis_1_2"), ("plain_1", "plain_1"), ("1st", "1st")],
)
def test_other_characters_than_letters_and_digits_are_written_as_underlines(name: str, said: str) -> None:
    assert plain_name(name) == said


@pytest.mark.parametrize("name", ["größe", "ﬁnger", "x²", "½", "手"])
def test_what_is_said_is_what_python_reads(name: str) -> None:
    """Python brings names into a normal form of its own."""
    said = f"site_{plain_name(name)}"
    scope: dict[str, int] = {}
    exec(f"{said} = 1", {}, scope)
    assert list(scope) == [said]


def test_quantities_of_odd_names_are_where_the_model_has_them() -> None:
    model = mujoco.MjModel.from_xml_string(ODD)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = 0.5, -0.25
    mujoco.mj_forward(model, data)
    known = quantities_of(model)
    names = ("joint_z_axis", "speed_z_axis", "site_robot0_grip", "body_1st_body", "site_größe")
    values = LiveQuantities(chosen(known, names, where="here"), data).read()
    assert (values["joint_z_axis"], values["speed_z_axis"]) == (0.5, -0.25)
    np.testing.assert_allclose(values["site_robot0_grip"], [1.0, 2.0, 3.5])
    np.testing.assert_allclose(values["body_1st_body"], [0.0, 0.0, 0.5])


@pytest.mark.needs_extra
def test_the_grip_of_fetch_can_be_said() -> None:
    assert "site_robot0_grip" in quantities_of(registry.load("fetch").compile())


def test_a_name_of_two_things_is_refused_with_both() -> None:
    known = quantities_of(mujoco.MjModel.from_xml_string(ODD))
    with pytest.raises(UserError) as caught:
        chosen(known, ["site_a_b"], where="lab.yaml:7 env.observe")
    said = str(caught.value)
    assert said.startswith("'site_a_b' could be site 'a:b' or site 'a_b' of the model (lab.yaml:7 env.observe): give")
    with pytest.raises(UserError, match="site 'a:b' or site 'a_b'"):
        LiveQuantities({"site_a_b": known["site_a_b"]}, mujoco.MjData(mujoco.MjModel.from_xml_string(ODD)))


def cart(folder: Path, name: str, *, tip: str = "arm:tip", more: str = "") -> Path:
    """Write the cart with a site called `tip`, and a reward that reads info.`name`."""
    reward = REWARD.replace("-abs(info.joint_rail - task.goal)", f"-abs(info.{name}[0] - task.goal)")
    path = write_parallel(folder, reward=reward, success="", env=f", observe: [site_{name.partition('_')[2]}]")
    model = MJCF.replace('<site name="tip"', f'{more}<site name="{tip}"').replace('site="tip"', f'site="{tip}"')
    (folder / "cart.xml").write_text(model, encoding="utf-8")
    return path


def test_a_definition_says_odd_names_in_rewards_and_observations(tmp_path: Path) -> None:
    family = from_file(cart(tmp_path, "site_arm_tip"))
    assert family.obs_dim == 3
    environment = family.make(family.tasks("train")[0])
    start, _ = environment.reset(seed=0)
    np.testing.assert_allclose(start, [0.1, 0.0, 0.3], atol=0.011)
    environment.close()


def test_a_definition_that_uses_an_unclear_name_is_one_line(tmp_path: Path) -> None:
    path = cart(tmp_path, "site_arm_tip", more='<site name="arm-tip"/>')
    with pytest.raises(UserError, match=r"site 'arm-tip' or site 'arm:tip' of the model \(.*cart.yaml:5 env.observe"):
        from_file(path)
    path.write_text(path.read_text(encoding="utf-8").replace(", observe: [site_arm_tip]", ""), encoding="utf-8")
    with pytest.raises(
        UserError, match=r"site 'arm-tip' or site 'arm:tip' of the model \(.*cart.yaml:11 reward.terms.near.expr"
    ):
        from_file(path)
    path.write_text(path.read_text(encoding="utf-8").replace("site_arm_tip[0]", "joint_rail"), encoding="utf-8")
    assert from_file(path).obs_dim == 4  # what nobody uses may be unclear


def test_a_python_definition_that_uses_an_unclear_name_is_one_line(tmp_path: Path) -> None:
    model = MJCF.replace('<site name="tip"', '<site name="a b"/><site name="a-b"/><site name="tip"')
    (tmp_path / "cart.xml").write_text(model, encoding="utf-8")
    (tmp_path / "cart.py").write_text(PYTHON.format(marker=str(tmp_path / "ran")), encoding="utf-8")
    success = SUCCESS.replace("info.joint_rail", "info.site_a_b[0]")
    text = YAML.format(python="python: cart.py:CartTask, ", env="", parameters="", reward="", success=success)
    (tmp_path / "cart.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="'site_a_b' could be site 'a b' or site 'a-b' of the model"):
        from_file(tmp_path / "cart.yaml", trust=True)


@pytest.mark.parametrize(("name", "offered"), [("site_tip", "site_arm_tip"), ("site_arm_tipp", "site_arm_tip")])
def test_a_wrong_name_offers_the_nearest_as_it_is_said(tmp_path: Path, name: str, offered: str) -> None:
    path = cart(tmp_path, name)
    path.write_text(path.read_text(encoding="utf-8").replace(f", observe: [{name}]", ""), encoding="utf-8")
    with pytest.raises(UserError, match=f"info has no {name!r} .*did you mean .*{offered!r}"):
        from_file(path)


def test_the_models_own_spelling_offers_what_is_said(tmp_path: Path) -> None:
    path = cart(tmp_path, "site_arm_tip")
    text = path.read_text(encoding="utf-8").replace("observe: [site_arm_tip]", 'observe: ["site_arm:tip"]')
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"the model has no 'site_arm:tip' .*did you mean 'site_arm_tip'"):
        from_file(path)
