"""``touching_A_B`` and ``force_A_B``: which geoms are meant, and what is refused because it isn't clear or never is."""

from __future__ import annotations

import mujoco
import pytest

from mql.errors import UserError
from mql.tasks.definitions.quantities import Quantity, chosen, named_in, quantities_of

pytestmark = pytest.mark.newest

HAND = """<mujoco><worldbody>
  <geom name="table" type="plane" size="1 1 0.1"/><geom name="table:top" size="0.1" pos="0 0 1"/>
  <geom name="wall" size="0.1" pos="3 0 0" contype="0" conaffinity="0"/>
  <body name="left_hand"><freejoint/><geom name="thumb" size="0.1"/><geom size="0.1" pos="0 0 0.3"/>
    <body name="ring" pos="0 0 1"><joint/><geom name="ring" size="0.1"/></body>
  </body>
  <body name="left"><freejoint/><geom name="hand_box" size="0.1"/></body>
  <body name="box"><freejoint/><geom name="top_box" size="0.1"/><geom name="lid" size="0.1"/></body>
  <body name="empty"><freejoint/><inertial pos="0 0 0" mass="1" diaginertia="1 1 1"/></body>
  <body name="foot"><freejoint/><geom name="foot" size="0.1"/><geom name="toe" size="0.1"/></body>
  <body name="a"><freejoint/><geom name="p-q" size="0.1"/><geom name="p.q" size="0.1"/></body>
</worldbody><contact><exclude body1="foot" body2="a"/></contact></mujoco>"""


def quantity(name: str) -> Quantity:
    return chosen(quantities_of(mujoco.MjModel.from_xml_string(HAND)), [name], where="lab.yaml:5 env.observe")[name]


def error_of(name: str) -> str:
    with pytest.raises(UserError) as caught:
        quantity(name)
    message = str(caught.value)
    assert "\n" not in message and "(lab.yaml:5 env.observe)" in message
    return message


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("touching_thumb_box", "geom 'thumb' and body 'box'"),
        ("touching_left_hand_box", None),  # left and hand_box, or left_hand and box
        ("force_left_hand_top_box", "body 'left_hand' and geom 'top_box'"),
        ("touching_ring_table", "geom 'ring' and geom 'table'"),  # the body has this geom alone, so it is the same
        ("touching_table_top_lid", "geom 'table:top' and geom 'lid'"),
        ("touching_toe_geom_thumb", "geom 'toe' and geom 'thumb'"),
        ("touching_geom_foot_body_box", "geom 'foot' and body 'box'"),
        ("touching_body_foot_box", "body 'foot' and body 'box'"),
        ("touching_world_box", "body 'world' and body 'box'"),
    ],
)
def test_names_are_divided_where_they_can_be(name: str, owner: str | None) -> None:
    if owner is not None:
        assert quantity(name).owner == owner and quantity(name).is_number


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "touching_left_hand_box",
            (
                "could be body 'left' and geom 'hand_box' or body 'left_hand' and body 'box'",
                "write touching_body_left_geom_hand_box or touching_body_left_hand_body_box",
            ),
        ),
        ("touching_foot_box", ("geom 'foot' and body 'box'", "write touching_geom_foot_body_box")),
        ("force_p_q_box", ("geom 'p-q'", "geom 'p.q'", "give one of them another name in the MJCF")),
        ("touching_thumb_bix", ("'bix' is no geom", "did you mean 'box'")),
        ("touching_thmb_box", ("'thmb' is no geom", "did you mean 'thumb'")),
        ("touching_thumb_empty", ("'empty' is no geom of the model, nor a body with geoms",)),
        ("touching_thumb", ("'thumb' is no geom of the model", "write touching_A_B")),
        ("touching_thumb_wall", ("geom 'thumb' and geom 'wall' never touch", "contype")),
        ("force_toe_a", ("never touch",)),  # excluded
        ("touching_ring_left_hand", ("never touch",)),  # parent and child
        ("touching_table_table_top", ("never touch",)),  # neither moves
        ("touching_thumb_left_hand", ("never touch",)),  # one body
    ],
)
def test_what_is_not_clear_or_never_is_is_one_line(name: str, parts: tuple[str, ...]) -> None:
    message = error_of(name)
    for part in parts:
        assert part in message, message


def test_a_body_and_a_site_of_one_name_are_told_apart() -> None:
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body name="tip"><geom size="1"/><site name="tip"/><site name="grip"/></body>'
        '<body name="site_grip"><geom size="1"/></body></worldbody></mujoco>'
    )
    known = quantities_of(model)
    for name, mend in (
        ("quat_tip", "write quat_site_tip or quat_body_tip"),
        ("zaxis_site_grip", "give one of them another name"),
    ):
        with pytest.raises(UserError, match=f"'{name}' could be site .* or body .*: {mend}"):
            chosen(known, [name], where="here")
    found = chosen(known, ["quat_site_tip", "quat_body_tip", "quat_grip", "quat_body_site_grip"], where="here")
    assert [each.owner for each in found.values()] == ["site 'tip'", "body 'tip'", "site 'grip'", "body 'site_grip'"]


def test_other_names_below_info_are_left_to_others() -> None:
    known = quantities_of(mujoco.MjModel.from_xml_string(HAND))
    assert named_in({"x_velocity", "quat_left", "time"}, known, where=str).keys() == {"quat_left", "time"}
    with pytest.raises(UserError, match="never touch"):
        named_in({"touching_thumb_wall"}, known, where=str)


def test_a_pair_that_the_mjcf_asks_for_touches_whatever_its_bits_say() -> None:
    pair = '<contact><pair geom1="thumb" geom2="wall"/>'
    model = mujoco.MjModel.from_xml_string(HAND.replace("<contact>", pair))
    assert named_in({"force_thumb_wall"}, quantities_of(model), where=str).keys() == {"force_thumb_wall"}
