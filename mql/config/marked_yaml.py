"""A YAML file as plain values with the line of every key.

What YAML offers beyond values in lists and mappings is refused where it could hide something: duplicate keys, merge
keys, tags, dates, aliases that stand for more than a person would write, numbers of hundreds of digits, and characters
that do not show. Experiments, definitions of task families and robots are all read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mql.config.findings import shown
from mql.errors import UserError, told
from mql.plain_text import first_hidden

_MOST_BYTES = 1_000_000
_MOST_VALUES = 20_000
_DEEPEST = 20
_LONGEST_NUMBER = 400  # characters; the largest number of 64 bits has 309 digits
_LONGEST_KEY = 200
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.1 calls 1e-3 a text, and everybody means a number


class Wanted(NamedTuple):
    """What a file should be, for the messages about one that is not.

    Args:
        kind: such as ``robot's spec``.
        line: one that such a file holds.
        name: what could be given in place of a file, such as ``a robot's name``; "" for nothing.
    """

    kind: str
    line: str
    name: str = ""


@dataclass(frozen=True)
class MarkedYaml:
    """The values of one YAML file, and where they stand.

    Args:
        file: the path as it is shown to the user.
        data: mappings, lists, texts, numbers, truth values and None.
        lines: dotted key, such as ``splits.train.n`` or ``parameters.mass.apply.0.field`` -> line, from 1.
        alias: the first key whose value stands in the file once only, but at another key too; None where there is none.
    """

    file: str
    data: dict[str, Any]
    lines: Mapping[str, int]
    alias: str | None = None

    def where(self, key: str) -> str:
        """Say where a dotted key stands: its line, or that of the nearest key above it."""
        return place(self.file, self.lines, key)

    def check_schema(self, schema: str, owner: str) -> None:
        """Check what the file says of itself under ``schema``; messages call it `owner`, such as ``a column map``.

        Raises:
            UserError: it says something else, or nothing.
        """
        given = self.data.get("schema")
        if given != schema:
            what = f"schema is {shown(given)}" if "schema" in self.data else "the key 'schema' is missing"
            raise UserError(what, where=self.where("schema"), mend=f"{owner} says 'schema: {schema}'")


def place(file: str, lines: Mapping[str, int], key: str) -> str:
    """Write ``file:line key``, with the line of the nearest key above where the key itself isn't there."""
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        line = lines.get(".".join(parts[:n]))
        if line is not None:
            return f"{file}:{line} {key}"
    return f"{file}:1 {key}" if key else f"{file}:1"


def read_marked(path: Path, wanted: Wanted) -> MarkedYaml:
    """Read a YAML file that holds one mapping.

    Raises:
        UserError: it can't be read, is too large or not UTF-8, no valid YAML, or holds what is refused.
    """
    return parse_marked(read_yaml(path, wanted), str(path), wanted)


def parse_marked(text: str, file: str, wanted: Wanted) -> MarkedYaml:
    """Read YAML text that is one mapping; `file` is what messages call it. Raises UserError as `read_marked` does."""
    loader = None
    try:
        loader = _Loader(text, file)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            what = "the file is empty" if node is None else "not a mapping"
            line = 1 if node is None else node.start_mark.line + 1
            raise UserError(what, where=f"{file}:{line}", mend=f"write lines such as '{wanted.line}'")
        reader = _Reader(loader, file)
        data = reader.value(node, "", 0)
        return MarkedYaml(file, data, reader.lines, reader.alias)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        problem = error.problem or error.context or "cannot be parsed"
        raise UserError(f"not valid YAML: {problem}", where=where, mend="fix the syntax of that line") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"it holds a character {chr(error.character).encode('unicode_escape').decode()!r} that does not show"
        raise UserError(f"not valid YAML: {problem}", where=f"{file}:{line}", mend="delete it") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"not valid YAML: {told(error)}", where=file, mend="fix the syntax") from None
    except RecursionError:
        raise _too_deep(file) from None
    finally:
        if loader is not None:
            loader.dispose()


def read_yaml(path: Path, wanted: Wanted) -> str:
    """Return a file's text. Raises UserError as `read_marked` does."""
    instead = f" or {wanted.name}" if wanted.name else ""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        mend = "check the path" + (f", or give {wanted.name}" if wanted.name else "")
        raise UserError("no such file", where=str(path), mend=mend) from None
    except IsADirectoryError:
        raise UserError("this is a directory", where=str(path), mend=f"give a YAML file{instead}") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the file ({error})", where=str(path), mend="check the path and its permissions"
        ) from None
    if len(data) > _MOST_BYTES:
        what = f"the {wanted.kind} is larger than 1 MB"
        raise UserError(what, where=str(path), mend="give a smaller file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"byte {error.start} is not UTF-8 text", where=str(path), mend="save it as UTF-8") from None


class _Loader(yaml.SafeLoader):
    """Reads nodes one by one, and no more of them than a file may have: a large file would take minutes."""

    def __init__(self, text: str, file: str) -> None:
        super().__init__(text)
        self._file = file
        self._nodes = self._depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Read the next node, with all that is in it."""
        self._nodes += 1
        self._depth += 1
        if self._nodes > 2 * _MOST_VALUES or self._depth > _DEEPEST + 2:  # keys are nodes, too
            where = f"{self._file}:{self.line + 1}"
            raise _too_many(where) if self._nodes > 2 * _MOST_VALUES else _too_deep(where)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Turns YAML nodes into plain values and notes their lines."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self._loader, self._file = loader, file
        self._seen: set[int] = set()  # nodes, by identity: an alias is the same node once more
        self._values = 0
        self.lines: dict[str, int] = {}
        self.alias: str | None = None

    def value(self, node: yaml.Node, key: str, depth: int) -> Any:
        """Return what a node says; `key` is its dotted key."""
        where = place(self._file, self.lines, key)
        self._values += 1
        if self._values > _MOST_VALUES:  # aliases of aliases: a few lines that stand for billions
            raise _too_many(where)
        if depth > _DEEPEST:
            raise _too_deep(where)
        if id(node) in self._seen and self.alias is None:
            self.alias = key
        self._seen.add(id(node))
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN:
            problem = f"could not determine a constructor for the tag {node.tag!r}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return {name: self.value(inner, below, depth + 1) for name, inner, below in self._entries(node, key)}
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, f"{key}.{n}", depth) for n, item in enumerate(node.value)]
        return self._scalar(node, key, where)

    def _item(self, node: yaml.Node, key: str, depth: int) -> Any:
        self.lines.setdefault(key, node.start_mark.line + 1)
        return self.value(node, key, depth + 1)

    def _entries(self, node: yaml.MappingNode, above: str) -> Iterator[tuple[str, yaml.Node, str]]:
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            name = str(key_node.value)
            key = f"{above}.{name}" if above else name
            where = f"{self._file}:{line} {key}"
            if not isinstance(key_node, yaml.ScalarNode) or len(name) > _LONGEST_KEY:
                raise UserError("a key is not a word", where=f"{self._file}:{line}", mend="write 'key: value'")
            _check_shows(name, f"{self._file}:{line}")
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise UserError("merge keys (<<) are not read", where=where, mend="write the values out")
            if name in seen:
                mend = f"it is already on line {seen[name]}; delete one of them"
                raise UserError(f"the key {name!r} appears twice", where=where, mend=mend)
            seen[name] = line
            self.lines.setdefault(key, line)
            yield name, value, key

    def _scalar(self, node: yaml.Node, key: str, where: str) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise UserError(f"a number of {len(node.value):,} characters", where=where, mend="write a shorter one")
        try:
            value = self._loader.construct_object(node, deep=True)
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError):  # a tag that lies, no such date
            what = f"not valid YAML: {str(node.value)[:40]!r} can't be read"
            raise UserError(what, where=where, mend="put it in quotes") from None
        if isinstance(value, str):
            _check_shows(value, where)
            plain = isinstance(node, yaml.ScalarNode) and node.style is None
            return float(value) if plain and _NUMBER.fullmatch(value) else value
        if value is None or isinstance(value, bool | int | float):
            return value
        given = f"{key.rpartition('.')[2]} is {repr(value)[:60]}"
        what = f"{given}, a {type(value).__name__} instead of text or a number"
        raise UserError(what, where=where, mend="put it in quotes")


def _check_shows(text: str, where: str) -> None:
    """Refuse a text that would do something to a terminal, or that no file can hold."""
    if (found := first_hidden(text)) is not None:
        what = f"the text holds a character {found!r}, which does not show"
        raise UserError(what, where=where, mend="delete it")


def _too_many(where: str) -> UserError:
    return UserError(f"more than {_MOST_VALUES:,} values", where=where, mend="write fewer; aliases count in full")


def _too_deep(where: str) -> UserError:
    return UserError("not valid YAML: nested too deeply", where=where, mend=f"use at most {_DEEPEST} levels")
