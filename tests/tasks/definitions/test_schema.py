"""The schema of definitions: a line of text for every field, and the JSON schema that editors complete and check by."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest

from mql.config.parts import Part
from mql.tasks.definitions.schema import Definition, json_schema
from mql.tasks.distributions import KINDS, from_spec, to_spec
from mql.tasks.physics.fields import FIELDS, Change


def test_every_field_has_a_line_of_text() -> None:
    assert {Definition, Change} <= set(Part.__subclasses__())
    for part in Part.__subclasses__():
        assert part.__doc__
        for name, field in part.model_fields.items():
            assert field.description and field.description.endswith("."), f"{part.__name__}.{name}"


def test_the_json_schema_describes_distributions_and_fields() -> None:
    schema = json_schema()
    assert schema["$id"] == "mql.task_family/1" and "schema" in schema["properties"]
    assert schema["$defs"]["Change"]["properties"]["field"]["enum"] == list(FIELDS)
    kinds = schema["$defs"]["ParameterSpec"]["properties"]["value"]["oneOf"]
    examples = {"low": 1.0, "high": 2.0, "mean": 0.0, "std": 1.0, "options": [1.0], "radius": 1.0, "value": 1.0}
    for kind in kinds:
        needed = {name: examples[name] for name in kind["required"] if name != "dist"}
        distribution = from_spec({"dist": kind["title"], **needed})
        assert set(to_spec(distribution)) <= set(kind["properties"])
    assert len(kinds) == len(KINDS)
    assert set(schema["$defs"]["Change"]["properties"]) >= {"body", "joint", "geom", "actuator", "site", "index", "op"}


WHOLE: dict[str, Any] = {
    "schema": "mql.task_family/1",
    "name": "parts",
    "version": 1,
    "description": "Parts.",
    "env": {"mjcf": "a.xml", "frame_skip": 2, "episode_length": 9},
    "parameters": {"place": {"value": {"dist": "uniform", "low": [0.1, 0.2], "high": 1}}},
    "reward": {
        "terms": {"a": {"expr": "1"}},
        "stages": [
            {"name": "go", "until": "info.time > 1", "bonus": 2},
            {"name": "stay", "terms": {"b": {"expr": "2"}}},
        ],
    },
    "success": {"expr": "info.stage == 1", "hold": 3, "at": "end"},
    "terminate": {"expr": "info.time > 2", "after": 2},
    "splits": {"train": {"n": 1, "seed": 1}, "test": {"n": 1, "seed": 2}},
}


def test_editors_take_what_the_program_takes() -> None:
    listed = copy.deepcopy(WHOLE) | {"terminate": [WHOLE["terminate"], {"expr": "info.time > 3"}]}
    for definition in (WHOLE, listed):
        jsonschema.validate(definition, json_schema())
        read = Definition.model_validate(definition)
        assert [ending.after for ending in read.terminate] == [2, 1][: len(read.terminate)]
        assert {"reward.stages.0.until", "terminate.0.expr", "success.expr"} <= read.expressions().keys()
    for key, wrong in (("terminate", 3), ("terminate", [{"after": 2}]), ("success", {"at": "now"})):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(WHOLE | {key: wrong}, json_schema())
