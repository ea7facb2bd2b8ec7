"""Pages of the site that are made from the code, so that they match it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import mql
from mql.cli.app import app

ROOT = Path(__file__).parents[2]
CODE = ("mql", "tasks", "robots")


def commands() -> str:
    """Return the page of all commands with their arguments and options."""
    lines = ["# Commands", "", "Made from the command line itself: `mql COMMAND --help` shows the same.", ""]
    for name, command in _commands(typer.main.get_command(app), "mql"):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join([name, *map(_value, arguments), "[OPTIONS]"])
        lines += [f"## {name}", "", str(command.help or "").strip(), "", f"```\n{usage}\n```", ""]
        rows = [(f"`{_value(p)}`", p) for p in arguments]
        rows += [
            (" ".join(f"`{opt}`" for opt in [*p.opts, *p.secondary_opts]) + ("" if p.is_flag else f" `{_value(p)}`"), p)
            for p in options
        ]
        lines += ["| | |", "| --- | --- |"] + [f"| {told} | {_help(p)} |" for told, p in rows] + [""]
    return "\n".join(lines)


def python() -> str:
    """Return the page of the public names, which mkdocstrings fills from their docstrings."""
    homes = mql._HOMES  # where each public name is read from
    lines = ["# Python", "", "The public names of `mql`; [From Python](../python.md) shows them in use.", ""]
    for name in mql.__all__:
        if name in homes:
            module, attribute = homes[name]
            lines += [
                f"## mql.{name}",
                "",
                f"::: {module}.{attribute}",
                "    options:",
                "      show_root_heading: false",
                "",
            ]
    return "\n".join(lines)


def errors() -> str:
    """Return the page of the errors that users can fix, by the file that raises them."""
    lines = [
        "# Errors",
        "",
        "Each error is one line: what is wrong, where in brackets, and after a colon how to fix it; the command ends",
        "with status 2. The code raises no others. Parts in braces are filled in.",
        "",
    ]
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_symlink() or any(parent.is_symlink() for parent in path.parents):
                continue
            found = dict.fromkeys(_errors_in(ast.parse(path.read_text(encoding="utf-8"))))
            if found:
                lines += [f"## {path.relative_to(ROOT)}", "", "| what | how to fix it |", "| --- | --- |"]
                lines += [f"| {what} | {mend} |" for what, mend in found] + [""]
    return "\n".join(lines)


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if commands := getattr(command, "commands", None):
        for part, below in commands.items():
            yield from _commands(below, f"{name} {part}")
    else:
        yield name, command


def _value(parameter: Any) -> str:
    return str(parameter.metavar or parameter.type.name.upper())


def _help(parameter: Any) -> str:
    told = " ".join(str(parameter.help or "").split())
    shown = parameter.default not in (None, False, (), []) and not callable(parameter.default)
    return f"{told} Default: `{parameter.default}`." if shown else told


def _errors_in(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (what, how to fix it) of each error that a file raises."""
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for function in functions:
        texts = _texts(function)
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "UserError"
                and node.args
            ):
                mend = next((keyword.value for keyword in node.keywords if keyword.arg == "mend"), None)
                for what in _filled(node.args[0], texts):
                    yield what, " or ".join(_filled(mend, texts)) if mend is not None else ""


def _texts(function: ast.AST) -> dict[str, list[ast.expr]]:
    """Return the texts that each name of a function may stand for."""
    texts: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for name, value in pairs:
                if isinstance(name, ast.Name) and isinstance(value, (ast.Constant, ast.JoinedStr, ast.IfExp)):
                    texts.setdefault(name.id, []).append(value)
    return texts


def _filled(node: ast.expr, texts: dict[str, list[ast.expr]]) -> list[str]:
    """Return what an expression may say, for cells of a table."""
    if isinstance(node, ast.Name) and node.id in texts:
        return [told for value in texts[node.id] for told in _filled(value, {})]
    if isinstance(node, ast.IfExp):
        return [*_filled(node.body, texts), *_filled(node.orelse, texts)]
    if isinstance(node, ast.Constant):
        told = str(node.value)
    elif isinstance(node, ast.JoinedStr):
        told = "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"  # type: ignore[attr-defined]
            for part in node.values
        )
    else:
        told = "{" + ast.unparse(node) + "}"
    return ["`" + " ".join(told.split()).replace("|", "\\|").replace("`", "'") + "`"]
