"""The JSON schema of a study's file, as a file of this package: editors complete and check YAML by it.

``python -m mql.study.editor_schema`` writes it anew; a test compares it with what the program reads.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from mql.config.methods import METHODS
from mql.study.file import SCHEMA, Spec


def schema_path() -> Path:
    """Return where it is."""
    return Path(str(resources.files("mql.study"))) / "study.schema.json"


def schema_text() -> str:
    """Return what must stand in it."""
    schema: dict[str, Any] = Spec.model_json_schema(by_alias=True)
    schema["properties"]["methods"]["anyOf"] = [
        {"enum": list(METHODS)},
        {"type": "array", "items": {"enum": list(METHODS)}, "minItems": 1},
    ]
    first = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA}
    required = ["schema", *schema["required"]]
    return json.dumps({**first, **schema, "title": "A study of mql", "required": required}, indent=1) + "\n"


if __name__ == "__main__":
    schema_path().write_text(schema_text(), encoding="utf-8")
    print(f"written: {schema_path()}", file=sys.stderr)
