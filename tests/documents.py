"""Blocks of code in the documents, as the tests of documents read them."""

from __future__ import annotations

import re
from pathlib import Path


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page that are marked with `language`; "" for those without a mark."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [block for mark, block in found if mark == language]
