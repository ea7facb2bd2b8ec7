"""Of every key of a spec it is known what follows it; the others are said by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_robots import verdicts, write_robot

from mql.robots import registry
from mql.robots.acting import ACTS, not_simulated
from mql.tasks.definitions.editor_schemas import robot_schema


def leaves(schema: dict[str, Any], part: dict[str, Any], key: str) -> Iterator[str]:
    """Yield the dotted keys that a spec may have, * for a name."""
    for choice in part.get("anyOf", [part]):
        whole = schema["$defs"][choice["$ref"].rpartition("/")[2]] if "$ref" in choice else choice
        if "properties" in whole:
            for name, inner in whole["properties"].items():
                yield from leaves(schema, inner, f"{key}.{name}" if key else name)
        elif isinstance(whole.get("additionalProperties"), dict):
            yield from leaves(schema, whole["additionalProperties"], f"{key}.*")
        elif whole.get("type") != "null":
            yield key


def test_every_key_of_a_spec_is_in_the_list() -> None:
    schema = robot_schema()
    keys = set(leaves(schema, schema, ""))
    for key in keys:
        known = [each for each in ACTS if key == each or key.startswith(f"{each.removesuffix('.*')}.")]
        assert known, f"nobody knows what follows {key}"
    for key in ACTS:
        stem = key.removesuffix(".*")
        assert any(each == stem or each.startswith(f"{stem}.") for each in keys), f"there is no key {key}"


def test_what_nothing_simulates_is_said_with_its_line(tmp_path: Path) -> None:
    path = write_robot(tmp_path)
    assert not_simulated(registry.load(str(path))) == [] and verdicts(path)["stated"].message.startswith(
        "all that is stated"
    )
    stated = path.read_text() + "\nsafety: {contact_force_n: 30.0}\n"
    path.write_text(stated)
    assert not_simulated(registry.load(str(path))) == ["safety.contact_force_n"]
    line = stated[: stated.index("contact_force_n")].count("\n") + 1
    assert (
        f"lift.yaml:{line} safety.contact_force_n is stated, but nothing simulates it"
        in verdicts(path)["stated"].message
    )


def test_a_payload_is_held_against_the_motors(tmp_path: Path) -> None:
    path = write_robot(tmp_path)
    text = path.read_text() + "\nsafety: {payload_kg: %s}\n"
    path.write_text(text % 0.1)
    assert "payload" not in verdicts(path)["limits"].message
    path.write_text(text % 1000)
    assert "is 1000 kg: holding it at home takes" in verdicts(path)["limits"].message
