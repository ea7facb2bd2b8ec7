"""What the site has beyond docs/: pages made from the code, the README as the first one, and files of the repository.

A page may link to any file of the repository, as it does where the documents are read as files: what it links to is
copied to ``repository/`` of the site, and a folder is a list of what it holds. MkDocs calls the ``on_`` functions.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))  # the hook's own folder is no package

import pages  # noqa: E402

import notebooks  # noqa: E402

LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s]+)(\))")
CODE = re.compile(r"(^(`{3,}).*?^\2$)", flags=re.MULTILINE | re.DOTALL)  # in which a[i](b) is no link
TEXTS = {".yaml": "yaml", ".py": "python", ".xml": "xml", ".toml": "toml", "": "text"}
# Where the repository's own pages stand in the site.
HOMES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and all that pages link to outside of docs/."""
    made = {
        **{home: _read(ROOT / name) for name, home in HOMES.items()},
        "reference/commands.md": pages.commands(),
        "reference/python.md": pages.python(),
        "reference/errors.md": pages.errors(),
    }
    for path in notebooks.names(ROOT / "notebooks"):
        made[f"notebooks/{path.stem}.md"], pictures = notebooks.page(path)
        for name, picture in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=picture))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for file in files.documentation_pages():
        _add_linked(files, config, file)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links that leave docs/ to where their files are in the site."""
    name = page.file.src_uri

    def moved(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        path, anchor = _of_repository(name, target)
        if path is None:
            return str(found.group())
        there = _in_site(path)
        up = "../" * name.count("/")
        return f"{before}{up}{there}{anchor}{after}"

    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in _parts(markdown))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _parts(markdown: str) -> list[str]:
    """Return a page in parts, of which those that begin with a fence are code."""
    parts = CODE.split(markdown)
    del parts[2::3]  # the fences themselves
    return parts


def _add_linked(files: Files, config: MkDocsConfig, page: File) -> None:
    text = "".join(part for part in _parts(page.content_string) if not part.startswith("```"))
    for _, target, _ in LINK.findall(text):
        path, _ = _of_repository(page.src_uri, target)
        if path is not None and _in_site(path).startswith("repository/"):
            _add(files, config, path)


def _of_repository(name: str, target: str) -> tuple[Path | None, str]:
    """Return the file that a link of a page leads to, where it is not one of docs/ to another, and its anchor."""
    folder = _folder_of(name)
    if folder is None or "://" in target or target.startswith(("#", "mailto:")):
        return None, ""
    path, _, anchor = target.partition("#")
    whole = (folder / path).resolve()
    if not whole.is_relative_to(ROOT) or (folder == ROOT / "docs" and whole.is_relative_to(folder)):
        return None, ""
    return whole.relative_to(ROOT), f"#{anchor}" if anchor else ""


def _folder_of(name: str) -> Path | None:
    """Return the folder that a page's links are written for; None: it is written for the site."""
    if name in HOMES.values():
        return ROOT
    if name.startswith("notebooks/"):
        return ROOT / "notebooks"
    if name.startswith("repository/"):
        there = (ROOT / name.removeprefix("repository/")).parent
        return there if (ROOT / name.removeprefix("repository/")).is_file() else None
    return None if name.startswith("reference/") else ROOT / "docs"


def _in_site(path: Path) -> str:
    """Return where a file of the repository stands in the site."""
    if path.parts[0] == "docs":
        return path.relative_to("docs").as_posix()
    if path.as_posix() in HOMES:
        return HOMES[path.as_posix()]
    if path.parts[0] == "notebooks" and path.suffix in (".ipynb", ".png", ".gif"):
        return (path.with_suffix(".md") if path.suffix == ".ipynb" else path).as_posix()
    there = f"repository/{path.as_posix()}"
    if (ROOT / path).is_dir():
        return f"{there}/index.md"
    return f"{there}.md" if path.suffix in TEXTS else there


def _add(files: Files, config: MkDocsConfig, path: Path) -> None:
    there, whole = _in_site(path), ROOT / path
    if files.get_file_from_path(there) is not None:
        return
    if whole.is_dir():
        held = sorted(item for item in whole.iterdir() if not item.name.startswith((".", "__")))
        rows = [f"- [{item.name}]({_beside(path, item)})" for item in held]
        files.append(File.generated(config, there, content="\n".join([f"# {path}", "", *rows, ""])))
        for item in held:
            _add(files, config, item.relative_to(ROOT))
    elif path.suffix in TEXTS:
        text = f"# {path}\n\n````{TEXTS[path.suffix]}\n{_read(whole)}````\n"
        files.append(File.generated(config, there, content=text))
    else:
        file = File.generated(config, there, abs_src_path=str(whole))
        files.append(file)
        if path.suffix == ".md":
            _add_linked(files, config, file)


def _beside(folder: Path, item: Path) -> str:
    return _in_site(item.relative_to(ROOT)).removeprefix(f"repository/{folder.as_posix()}/")
