"""Make the executed copies of the notebooks: `make notebooks`, or `python notebooks/execute.py 02` for one of them.

``NN_name.py`` is the source (jupytext's percent format). ``NN_name.ipynb`` beside it has the same cells with what they
printed and drew. A copy names no machine and no folder, and holds no times: made again, only its figures may differ.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

FOLDER = Path(__file__).parent
LARGEST = 600_000  # bytes of a copy
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def sources() -> list[Path]:
    """Return the notebooks' sources, in the order in which they are read."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def notebook_of(source: Path) -> nbformat.NotebookNode:
    """Return a source as a notebook that nobody has executed; equal sources give equal notebooks."""
    notebook = nbformat.from_dict(jupytext.read(source))
    for place, cell in enumerate(notebook.cells):
        cell.id = f"cell-{place}"  # jupytext draws them at random
        cell.metadata = {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: nbformat.NotebookNode, folder: Path, *, timeout: int = 900) -> nbformat.NotebookNode:
    """Run all cells in a new kernel whose working directory is `folder`; the notebook gets their outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an exception.
        ValueError: a cell warned, or an output names a folder of this machine.
    """
    client = nbclient.NotebookClient(
        notebook, timeout=timeout, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    notebook.metadata.language_info = {"name": "python"}  # without the version of this machine's Python
    places = {str(folder), str(FOLDER.parent), str(Path.home()), sys.prefix}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise ValueError(f"a cell wrote on standard error: {output.text}")
            if "text" in output:
                output.text = COLOURS.sub("", output.text)
            told = str({key: value for key, value in output.items() if key != "data"})
            told += str({kind: data for kind, data in output.get("data", {}).items() if not kind.startswith("image/")})
            for place in places:
                if place in told:
                    raise ValueError(f"an output names a folder of this machine, {place}: {told[:300]}")
            output.get("data", {}).pop("text/plain", None) if "image/png" in output.get("data", {}) else None
    return notebook


def main(wanted: list[str]) -> None:
    """Execute the notebooks whose names begin with one of `wanted`, or all of them, one after the other."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(FOLDER.parent), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:  # one for all: 03 goes on with the run that 02 has trained
        for source in sources():
            if wanted and not source.stem.startswith(tuple(wanted)):
                continue
            written = nbformat.writes(execute(notebook_of(source), Path(folder))) + "\n"
            if len(written) > LARGEST:
                raise ValueError(f"{source.stem} would have {len(written)} bytes, at most {LARGEST} are allowed")
            source.with_suffix(".ipynb").write_text(written, encoding="utf-8")
            print(f"written: notebooks/{source.stem}.ipynb, {len(written) // 1000} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
