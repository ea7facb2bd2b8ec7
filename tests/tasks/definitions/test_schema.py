"""The schema of definitions: a line of text for every field, and the JSON schema that editors complete and check by."""

from __future__ import annotations

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
