"""The JSON schemas of definitions and of robots, as files of this package: editors complete and check YAML by them.

``python -m mql.tasks.definitions.editor_schemas`` writes them anew; a test compares them with what the program reads.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from mql.robots.spec import SCHEMA, RobotSpec
from mql.tasks.definitions.schema import json_schema

TASK_FILE, ROBOT_FILE = "task_family.schema.json", "robot.schema.json"
TASK_PACKAGE, ROBOT_PACKAGE = "mql.tasks.definitions", "mql.robots"  # whose folders they stand in


def robot_schema() -> dict[str, Any]:
    """Return the JSON schema of a robot's spec."""
    schema: dict[str, Any] = RobotSpec.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **schema,
        "title": "A robot of mql",
    }


def schema_paths() -> dict[str, Path]:
    """Return where the package's schema files are: what they describe -> path."""
    tasks, robots = (Path(str(resources.files(package))) for package in (TASK_PACKAGE, ROBOT_PACKAGE))
    return {"task family": tasks / TASK_FILE, "robot": robots / ROBOT_FILE}


def schema_texts() -> dict[str, str]:
    """Return what must stand in them."""
    schemas = {"task family": json_schema(), "robot": robot_schema()}
    return {what: json.dumps(schema, indent=1) + "\n" for what, schema in schemas.items()}


if __name__ == "__main__":
    for what, text in schema_texts().items():
        schema_paths()[what].write_text(text, encoding="utf-8")
        print(f"written: {schema_paths()[what]}", file=sys.stderr)
