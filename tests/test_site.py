"""The documentation site: what stands in it, and the pages made from the code. `make docs` checks its links."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml

import mql
from mql.cli.app import app

ROOT = Path(__file__).parents[1]
TROUBLES = ROOT / "docs" / "troubleshooting.md"


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """docs/site/pages.py, which is part of no package."""
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        return importlib.import_module("pages")
    finally:
        sys.path.pop(0)


def named(nav: object) -> set[str]:
    """The files that a navigation names."""
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav
    assert not isinstance(parts, (str, type(None)))
    return {name for part in parts for name in named(part)}  # type: ignore[attr-defined]


def test_every_document_stands_in_the_navigation() -> None:
    nav = named(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert {path.name for path in (ROOT / "docs").glob("*.md")} == {
        name for name in nav if "/" not in name and name not in ("index.md", "contributing.md", "changelog.md")
    }


def test_every_notebook_stands_in_the_navigation_in_order() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    (listed,) = (part["Notebooks"] for part in nav if "Notebooks" in part)
    told = [name for entry in listed for name in entry.values()]
    assert told == [f"notebooks/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]


def test_the_page_of_a_notebook_has_its_text_code_output_and_pictures(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "docs" / "site"))
    try:
        page = importlib.import_module("notebooks").page
    finally:
        sys.path.pop(0)
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]},
        {"output_type": "display_data", "data": {"image/png": "AAEC\n", "text/plain": "<Figure>"}, "metadata": {}},
        {"output_type": "execute_result", "data": {"text/plain": ["3"]}, "metadata": {}},
    ]
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "The state $z_t$ of [it](02_b.ipynb).\n", "$$a$$"]},
        {"cell_type": "code", "source": "1 + 2", "outputs": outputs},
    ]
    path = tmp_path / "01_a.ipynb"
    path.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    text, pictures = page(path)
    assert pictures == {"01_a-1.png": b"\x00\x01\x02"}
    assert "![A picture that this cell has drawn](01_a-1.png)" in text and "<Figure>" not in text
    assert "````python\n1 + 2\n````" in text and "````text\none\ntwo\n````" in text and "````text\n3\n````" in text
    assert "$" not in text and "<msub><mi>z</mi><mi>t</mi></msub>" in text and 'display="block"' in text


def test_every_command_option_and_public_name_has_its_place(pages: ModuleType) -> None:
    text = pages.commands()
    options = 0
    for name, command in pages._commands(typer.main.get_command(app), "mql"):
        (part,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
        for option in (p for p in command.params if p.param_type_name == "option"):
            options += 1
            assert all(f"`{opt}`" in part for opt in option.opts), (name, option.opts)
    assert options > 100
    assert all(f"## mql.{name}\n" in pages.python() for name in mql.__all__ if name != "__version__")


def test_errors_are_told_as_the_code_says_them(pages: ModuleType) -> None:
    text = pages.errors()
    assert "| `package {package} is missing` | `install it with {installation(package)}` |" in text
    # One whose parts are named before it is raised:
    assert "wait until it ends, stop it, or choose another {option}" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 700
    assert sum(line.startswith("| `{what}`") for line in rows) < 10


def test_the_page_of_troubles_quotes_real_messages(pages: ModuleType) -> None:
    said = pages.errors() + (ROOT / "mql" / "training" / "divergence.py").read_text(encoding="utf-8")
    quoted = re.findall(r"^\*\*`([^`]+)`", TROUBLES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(quoted) >= 4
    for message in quoted:
        pattern = message.replace("metaworld", "{package}").replace("this run", "this {of}")
        assert pattern in said or message.startswith("kept"), message
