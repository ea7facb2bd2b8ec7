"""The notebooks: each runs whole in a fresh kernel, and its executed copy is of this source."""

from __future__ import annotations

import ast
import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "notebooks"
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
# What docs/python.md names beside `mql.NAME`.
PUBLIC = {"mql", "mql.films.film", "mql.tasks", "mql.evaluation.statistics"}

each = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem[:2])


@pytest.fixture(scope="module")
def executing() -> ModuleType:
    """notebooks/execute.py, which is part of no package."""
    sys.path.insert(0, str(FOLDER))
    try:
        return importlib.import_module("execute")
    finally:
        sys.path.pop(0)


def test_there_are_five_and_the_command_makes_all(executing: ModuleType) -> None:
    assert [path.stem[:2] for path in SOURCES] == ["01", "02", "03", "04", "05"]
    assert executing.sources() == SOURCES
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == [path.stem for path in SOURCES]


@each
def test_the_executed_copy_is_of_this_source(source: Path, executing: ModuleType) -> None:
    copy = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(copy)
    expected = [(cell.cell_type, cell.source) for cell in executing.notebook_of(source).cells]
    assert [(cell.cell_type, cell.source) for cell in copy.cells] == expected, "run: make notebooks"


@each
def test_the_executed_copy_is_whole_small_and_of_no_machine(source: Path) -> None:
    text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert len(text) < 600_000
    assert not re.search(r"/(home|root|tmp|work|Users)/|execution_timing|shell\.execute_reply", text)
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = sum(cell.source.count("plt.show()") + cell.source.count("display(") for cell in cells)
    assert sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in outputs) == shown > 0


@each
def test_it_runs_whole_at_reduced_size(
    source: Path, executing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`execute` raises on an exception in a cell, and on a warning."""
    monkeypatch.setenv("MQL_NOTEBOOK_SIZE", "small")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    folder = tmp_path / "here"  # a notebook may write where it stands
    folder.mkdir()
    executed = executing.execute(executing.notebook_of(source), folder)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")


@each
def test_it_uses_only_what_is_public(source: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.split(".")[0] == "mql"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mql":
            module = str(node.module)
            found |= {module if module in PUBLIC - {"mql"} else f"{module}.{name.name}" for name in node.names}
    assert "mql" in found and found <= PUBLIC
    told = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert all(name in told for name in found)


@each
def test_its_links_lead_somewhere(source: Path, executing: ModuleType) -> None:
    texts = [cell.source for cell in executing.notebook_of(source).cells if cell.cell_type == "markdown"]
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", "\n".join(texts))
    assert any(link.startswith("../docs/") for link in links)
    for link in links:
        assert (FOLDER / link).exists(), link


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("import warnings; warnings.warn('beware')", "beware"),
        ("import os; print(os.getcwd())", "names a folder of this machine"),
        ("raise ArithmeticError('no')", "ArithmeticError"),
    ],
)
def test_what_must_not_be_published_is_refused(cell: str, message: str, executing: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "00_bad.py"
    source.write_text(f"# %%\n{cell}\n", encoding="utf-8")
    with pytest.raises(Exception, match=message):
        executing.execute(executing.notebook_of(source), tmp_path)
