"""The notebooks run from the first cell to the last, at reduced size, in a fresh kernel."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


def test_there_is_a_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_first_adaptation"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_draws(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is what is kept; it becomes a notebook here, as `jupytext --to ipynb` makes it, and is executed."""
    monkeypatch.setenv("MQL_NOTEBOOK_SIZE", "small")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # the kernel runs elsewhere: a notebook may write where it stands
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))
    copy = tmp_path / f"{path.stem}.ipynb"
    jupytext.write(jupytext.read(path), copy)
    notebook = nbformat.read(copy, as_version=4)
    assert notebook.metadata["kernelspec"]["name"] == "python3"

    # An exception in a cell raises here, with the cell.
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    warnings = [output.text for output in outputs if output.get("name") == "stderr"]
    assert len(pictures) == sum(cell.source.count("plt.show()") for cell in notebook.cells) > 0
    assert warnings == []
