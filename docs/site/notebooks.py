"""Pages of the site that are the executed notebooks: text, code, printed lines and pictures, as they were kept."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

SUFFIXES = {"image/png": "png", "image/gif": "gif"}


def names(folder: Path) -> list[Path]:
    """Return the executed notebooks, in the order in which they are read."""
    return sorted(folder.glob("[0-9][0-9]_*.ipynb"))


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return the page of one notebook, and its pictures by name; they belong beside the page."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    pictures: dict[str, bytes] = {}
    parts = []
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_with_equations(text))
            continue
        parts.append(_fenced(text, "python"))
        for output in cell["outputs"]:
            parts += _shown(output, path.stem, pictures)
    source = f"[{path.stem}.py]({path.stem}.py)"
    told = f"*This page is an executed notebook, `notebooks/{path.name}`; its source is {source}.*"
    return "\n\n".join([parts[0], told, *parts[1:]]) + "\n", pictures


def _shown(output: dict[str, Any], stem: str, pictures: dict[str, bytes]) -> list[str]:
    if "text" in output:
        return [_fenced("".join(output["text"]).rstrip(), "text")]
    for kind, data in output["data"].items():
        if kind in SUFFIXES:
            name = f"{stem}-{len(pictures) + 1}.{SUFFIXES[kind]}"
            pictures[name] = base64.b64decode("".join(data))
            return [f"![A picture that this cell has drawn]({name})"]
    return [_fenced("".join(output["data"]["text/plain"]), "text")]


def _with_equations(text: str) -> str:
    """Return text whose equations are MathML, which browsers draw by themselves, not the TeX that Jupyter reads."""
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: f"<div>{_equation(found[1], 'block')}</div>", text, flags=re.DOTALL)
    return re.sub(r"\$([^$\n]+)\$", lambda found: _equation(found[1], "inline"), text)


def _equation(tex: str, display: str) -> str:
    return str(convert(" ".join(tex.split()), display=display))


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text}\n````"
