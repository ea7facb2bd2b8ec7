"""What the checks of a robot remark on in a model of a new user: units, names, control ranges and the home."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_robots import MJCF, not_passed, verdicts, write_robot

KEYFRAME = '<keyframe><key name="home" qpos="-1.6 0.05"/></keyframe>\n  <actuator>'


def bare(folder: Path, *changes: tuple[str, str]) -> Path:
    """A model of which nothing is stated, with texts exchanged."""
    text = MJCF
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "lift.xml"
    path.write_text(text, encoding="utf-8")
    return path


def test_radians_that_were_read_as_degrees(tmp_path: Path) -> None:
    """-1.5 to 1.5 degrees are 3 in all; the slide's 0.1 m is no angle."""
    said = verdicts(bare(tmp_path, (' angle="radian"', "")))["limits"]
    assert said.result == "warn" and "reach" not in said.message.split(";")[0]
    assert said.message.startswith("joint 'swing' moves only 3 degrees in all: MuJoCo reads ranges in degrees unless")


@pytest.mark.parametrize(("width", "result"), [("0.17", "warn"), ("0.18", "pass")])
def test_ten_degrees_are_enough(tmp_path: Path, width: str, result: str) -> None:
    found = verdicts(bare(tmp_path, ('"-1.5 1.5"', f'"0 {width}"')))
    assert found["limits"].result == result


def test_whose_home_is_beyond_a_limit(tmp_path: Path) -> None:
    beyond = "joint 'swing' is -1.6, outside of [-1.5, 1.5]: choose a value within"
    keyframe = verdicts(bare(tmp_path, ("<actuator>", KEYFRAME)))["home"]
    assert keyframe.message == f"home is outside the joint's range (keyframe home): {beyond}"
    start = ('range="-1.5 1.5" damping', 'range="0.5 1.5" damping')
    assert "joint 'swing', where the model starts, is 0, outside" in verdicts(bare(tmp_path, start))["home"].message
    path = write_robot(tmp_path, spec=("swing: 0.2, ", ""), mjcf=start)
    assert "joint 'swing', which home leaves out, is 0, outside of [0.5, 1.5]" in verdicts(path)["home"].message


def test_an_actuator_without_a_control_range(tmp_path: Path) -> None:
    path = bare(tmp_path, (' ctrlrange="-1.5 1.5"', ""))
    assert not_passed(path) == {"facts": "warn", "actuators": "warn"}
    text = '1 actuator has no control range, and tasks refuse that (swing): give each ctrlrange="LOW HIGH"'
    assert verdicts(path)["actuators"].message == text


def test_a_joint_without_a_name(tmp_path: Path) -> None:
    extra = '<joint axis="0 0 1" range="-1 1" damping="1" armature="0.01"/>\n        <geom name="link"'
    said = verdicts(bare(tmp_path, ('<geom name="link"', extra)))["facts"].message
    assert "nothing is stated about 2 joints: swing, reach;" in said
    assert "1 joint has no name, so nothing can refer to it: add name='NAME' in the MJCF" in said
