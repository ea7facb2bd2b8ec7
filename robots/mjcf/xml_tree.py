"""XML as MuJoCo reads it: a tree of elements that remember their lines, and the way back to a text.

MuJoCo's reader takes more than the standard allows: ``--`` within comments, a bare ``&``, bytes of another encoding,
something after the last element. What it takes, this takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from mql.errors import UserError

_DECLARATION = re.compile(r"\A\s*<\?xml.*?\?>", re.DOTALL)
_BARE = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#[0-9]+|#x[0-9A-Fa-f]+);)")
_DEEPEST = 400  # MuJoCo's own reader stops not far from there
_MOST_BYTES = 30_000_000  # of a file
_MOST_ATTRIBUTES = 200  # of an element; MuJoCo's own have some sixty, and its reader takes the square of their number
_OPENS, _CLOSES = "<!--", "-->"
_AFTER_THE_END = expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]


@dataclass(slots=True)
class Element:
    """One element; `file` and `line` say where it stands."""

    tag: str
    attributes: dict[str, str]
    file: Path
    line: int
    children: list[Element] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The place, for messages."""
        return f"{self.file}:{self.line} {self.tag}"

    def walk(self) -> Iterator[Element]:
        """Yield this element and all below it, in their order."""
        left = [self]
        while left:
            element = left.pop()
            yield element
            left.extend(reversed(element.children))


class Written(NamedTuple):
    """A tree as text; `elements` holds the element of each line, the first line's first."""

    text: str
    elements: tuple[Element, ...]


def parse(path: Path, most: int) -> Element:
    """Read a file.

    Args:
        path: the file.
        most: elements that it may have.

    Raises:
        UserError: it can't be read, is no XML, has too many elements, or holds a DOCTYPE; one line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the file ({error})", where=str(path), mend="check path and permissions") from None
    if len(data) > _MOST_BYTES:
        what, mend = (
            f"the XML has more than {_MOST_BYTES / 1e6:.0f} MB",
            "put the numbers of meshes into files of their own",
        )
        raise UserError(what, where=str(path), mend=mend)
    text = data.decode("utf-8-sig", errors="replace")  # whatever the file says of its encoding
    text = _without_comments(_DECLARATION.sub(_lines_only, text))
    parser = expat.ParserCreate("utf-8")
    top: list[Element] = []
    above: list[Element] = []
    count = 0

    def refuse(*_: object) -> None:
        where = f"{path}:{parser.CurrentLineNumber}"
        raise UserError("a DOCTYPE or ENTITY", where=where, mend="delete it; MJCF needs none")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        element = Element(tag, attributes, path, parser.CurrentLineNumber)
        if count > most:
            raise too_many(most, element.where)
        if len(attributes) > _MOST_ATTRIBUTES:
            what = f"the element has {len(attributes):,} attributes"
            raise UserError(what, where=element.where, mend=f"no element of a model has more than {_MOST_ATTRIBUTES}")
        if len(above) >= _DEEPEST:
            mend = f"at most {_DEEPEST} elements within each other"
            raise UserError("elements are nested too deeply", where=element.where, mend=mend)
        (above[-1].children if above else top).append(element)
        above.append(element)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda tag: above.pop()
    try:
        parser.Parse(_BARE.sub("&amp;", text).encode(errors="replace"), True)
    except expat.ExpatError as error:
        if not (error.code == _AFTER_THE_END and top):
            what = f"not valid XML: {expat.errors.messages[error.code]}"
            raise UserError(what, where=f"{path}:{error.lineno}", mend="fix the syntax of that line") from None
    return top[0]


def too_many(most: int, where: str) -> UserError:
    """Return the error of a model that is too large."""
    what = f"the model has more than {most:,} elements"
    return UserError(what, where=where, mend="make it smaller; no simulation of that size would learn")


def write(root: Element) -> Written:
    """Write a tree, each element on a line of its own: so a line that MuJoCo names leads back to the element."""
    lines: list[str] = []
    elements: list[Element] = []
    left: list[Element | str] = [root]
    while left:
        each = left.pop()
        if isinstance(each, str):
            lines[-1] += each
            continue
        said = "".join(f" {key}={quoteattr(value)}" for key, value in each.attributes.items())
        lines.append(f"<{each.tag}{said}{'' if each.children else '/'}>")
        elements.append(each)
        if each.children:
            left += [f"</{each.tag}>", *reversed(each.children)]
    return Written("\n".join(lines) + "\n", tuple(elements))


def _without_comments(text: str) -> str:
    """Return the text with each comment's line breaks only, in one pass; one that does not end is for the parser."""
    parts, at = [], 0
    while (begin := text.find(_OPENS, at)) >= 0 and (end := text.find(_CLOSES, begin + len(_OPENS))) >= 0:
        parts += [text[at:begin], "\n" * text.count("\n", begin, end)]
        at = end + len(_CLOSES)
    return "".join(parts) + text[at:]


def _lines_only(found: re.Match[str]) -> str:
    return "\n" * found.group().count("\n")
