"""Which names a message offers for one that does not exist, checked by hand."""

from __future__ import annotations

import pytest

from mql.errors import close_names, nearest

FAMILIES = ("ant-goal", "arm-push", "arm-reach", "cheetah-dir", "cheetah-vel", "hopper-params", "walker-params")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cheetahvel", ["cheetah-vel"]),
        ("Cheetah_Vel", ["cheetah-vel"]),
        ("cheetah-vle", ["cheetah-vel"]),
        ("cheeta-vell", ["cheetah-vel"]),
        ("arm-rech", ["arm-reach"]),
        ("ant-gaol", ["ant-goal"]),
        ("arm", ["arm-push", "arm-reach"]),
        ("reach", ["arm-reach"]),
        ("vel-cheetah", ["cheetah-vel"]),
        ("hop", ["hopper-params"]),
        ("arm-push-hidden", ["arm-push"]),
        ("cheetah-goal", []),
        ("ant-dir", []),
        ("humanoid", []),
        ("kuka", []),
        ("a", []),
        ("", []),
        ("-", []),
        ("x" * 100_000, []),
    ],
)
def test_only_names_that_may_be_meant_are_offered(written: str, meant: list[str]) -> None:
    assert close_names(written, FAMILIES) == meant


def test_a_short_name_is_not_taken_for_another() -> None:
    assert close_names("lr", ["tr", "q", "lrs"]) == ["lrs"]
    assert close_names("sac", ["mql", "td3", "rl2"]) == []


def test_without_a_close_name_they_are_listed_and_the_command_is_named_where_there_are_many() -> None:
    many = [f"robot{number:02d}" for number in range(25)]
    assert nearest("kuka", FAMILIES[:2], listed_by="'mql x'") == "choose one of ant-goal, arm-push"
    said = nearest("kuka", many, listed_by="'mql x'")
    assert said == f"choose one of {', '.join(many[:20])}, ... (25 in all; 'mql x' lists all)"
    assert nearest("kuka", many).endswith("robot19, ... (25 in all)")


def test_others_are_offered_where_none_of_the_first_is_close() -> None:
    assert nearest("hoper-v5", FAMILIES, others=["Hopper-v4", "Hopper-v5"]) == "did you mean 'Hopper-v5'?"
    assert nearest("arm-rech", FAMILIES, others=["arm-rexh"]) == "did you mean 'arm-reach'?"
