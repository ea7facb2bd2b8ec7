"""What an expression may say: Python's syntax tree checked against a whitelist and rewritten into plain calls.

The rewritten tree reads from a mapping called ``scope`` and calls the functions of
`mql.tasks.definitions.expressions.functions`; nothing in it can reach an attribute, a builtin or a name of this
program.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from mql.errors import UserError, nearest
from mql.tasks.definitions.expressions.functions import ARGUMENTS, CONSTANTS

ROOTS = ("info", "task", "obs", "action", "last")
_BEFORE = ("action", "info", "obs")  # what `last` has: each as it was before the step
_NAMED = ("info", "task", "last.info")  # roots that are nothing by themselves
MOST_NESTED = 50
_SCOPE = "scope"
_DIRECT = (ast.Add, ast.Sub, ast.Mult)  # these raise no error of the domain, so they stay operators
_CALLED = {ast.Div: "_divide", ast.FloorDiv: "_floor_divide", ast.Mod: "_remainder", ast.Pow: "_power"}
_COMPARED = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
_ALLOWED = (
    "numbers, [x, y, z], info.NAME, task.NAME, obs[3], action[0:2], last.info.NAME, last.action, + - * / // % **,"
    " comparisons, and, or, not, 'a if c else b', pi, inf"
    f" and the functions {', '.join(ARGUMENTS)} are allowed"
)


@dataclass(frozen=True)
class Use:
    """One place where an expression reads something: ``root`` or ``root.name``, whole, [start] or [start:stop].

    A root is "info", "task", "obs" or "action", or "last.info", "last.obs" or "last.action".
    """

    root: str
    name: str
    column: int
    index: int | None = None
    part: tuple[int | None, int | None] | None = None

    @property
    def held_in(self) -> str:
        """Where the scope holds it: under the root, but observations by their names stand beside the flat ones."""
        return held_in(self.root, self.name)

    @property
    def label(self) -> str:
        """What is read, as it was written."""
        return f"{self.root}.{self.name}" if self.name else self.root

    @property
    def brackets(self) -> str:
        """What stands in the brackets, with them."""
        if self.part is not None:
            return "[" + ":".join("" if end is None else str(end) for end in self.part) + "]"
        return f"[{self.index}]"

    def fits(self, size: int) -> bool:
        """Tell whether the components exist in a vector of `size`."""
        if self.index is not None:
            return -size <= self.index < size
        if self.part is not None:
            ends = [end for end in self.part if end is not None]
            return bool(range(size)[slice(*self.part)]) and all(-size <= end <= size for end in ends)
        return True


def held_in(root: str, name: str) -> str:
    """Return the scope's key of what is read: "obs.NAME" maps names to the parts of "obs", and "last.obs" likewise."""
    return f"{root}.NAME" if name and root in ("obs", "last.obs") else root


def translate(
    tree: ast.expr, text: str, where: str, names: Mapping[str, Sequence[str]]
) -> tuple[ast.Expression, tuple[Use, ...]]:
    """Check an expression's tree and rewrite it as ``lambda scope: ...``; say what it reads.

    Args:
        names: the names that a task parameter chooses from; the scope holds the place of one.

    Raises:
        UserError: something outside the whitelist, with what stands there and what is allowed.
    """
    translator = _Translator(text, where, names)
    body = translator.value(tree, 1)
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg(_SCOPE)], kwonlyargs=[], kw_defaults=[], defaults=[])
    whole = ast.Expression(ast.Lambda(arguments, body))
    return ast.fix_missing_locations(whole), tuple(translator.uses)


class _Translator:
    """Rewrites node by node, and notes what is read.

    A node is a number or a truth value, and which one is known from its form: what the scope holds is always a number.
    """

    def __init__(self, text: str, where: str, names: Mapping[str, Sequence[str]]) -> None:
        self._text, self._where, self._names = text, where, names
        self.uses: list[Use] = []

    def value(self, node: ast.expr, depth: int) -> ast.expr:
        """Rewrite a node of either kind."""
        if depth > MOST_NESTED:
            self._refuse(node, "is nested too deeply", f"at most {MOST_NESTED} levels; split it into several terms")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name(id=name) if name in CONSTANTS:
                return ast.Call(ast.Name("_load", ast.Load()), [ast.Name(name, ast.Load())], [])
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._read(node)
            case ast.List(elts=[_, *_] as elements):
                return _call("_list", *(self._number(element, depth) for element in elements))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ast.Compare(self._truth(operand, depth), [ast.Eq()], [ast.Constant(False)])
            case ast.UnaryOp(op=ast.USub() as op, operand=operand):
                return ast.UnaryOp(op, self._number(operand, depth))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self._number(operand, depth)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _DIRECT):
                return ast.BinOp(self._number(left, depth), op, self._number(right, depth))
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=2)):
                return _call("_square", self._number(left, depth))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALLED:
                return _call(_CALLED[type(op)], self._number(left, depth), self._number(right, depth))
            case ast.BoolOp(op=op, values=values):
                return self._all_or_any(op, values, depth)
            case ast.Compare():
                return self._compare(node, depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice((test, body, orelse), depth)
            case ast.Call():
                return self._call(node, depth)
        self._refuse(node, "is not allowed in an expression", _ALLOWED)

    def _number(self, node: ast.expr, depth: int) -> ast.expr:
        value = self.value(node, depth + 1)
        return _call("_number", value) if _asks(node) else value

    def _truth(self, node: ast.expr, depth: int) -> ast.expr:
        value = self.value(node, depth + 1)
        return value if _asks(node) else ast.Compare(value, [ast.NotEq()], [ast.Constant(0.0)])

    def _constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, bool):
            return ast.Constant(node.value)
        try:
            number = float(node.value) if isinstance(node.value, int | float) else None
        except OverflowError:
            number = math.inf
        if number is None:
            self._refuse(node, "is not a number", _ALLOWED)
        if not math.isfinite(number):
            self._refuse(node, "is too large", "write a number below 1e308")
        return ast.Constant(number)

    def _all_or_any(self, op: ast.boolop, values: list[ast.expr], depth: int) -> ast.expr:
        first, *rest = (self._truth(value, depth + len(values) - 1) for value in values)
        joined: ast.operator = ast.BitAnd() if isinstance(op, ast.And) else ast.BitOr()
        for value in rest:
            first = ast.BinOp(first, joined, value)
        return first

    def _compare(self, node: ast.Compare, depth: int) -> ast.expr:
        for op in node.ops:
            if type(op) not in _COMPARED:
                self._refuse(node, "is not a comparison of numbers", "compare with < <= > >= == or !=")
        sides = (node.left, *node.comparators)
        if any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides):
            return self._compare_name(node, sides)
        values = [self._number(value, depth) for value in (node.left, *node.comparators)]
        if len(node.ops) == 1:
            return ast.Compare(values[0], node.ops, values[1:])
        names: list[ast.expr] = [ast.Constant(_COMPARED[type(op)]) for op in node.ops]
        return _call("_chain", ast.Tuple(names, ast.Load()), ast.Tuple(values, ast.Load()))

    def _compare_name(self, node: ast.Compare, sides: tuple[ast.expr, ...]) -> ast.expr:
        """Rewrite ``task.object == 'bowl'`` as a comparison of the name's place."""
        match sorted(sides, key=lambda side: isinstance(side, ast.Constant)), node.ops:
            case [
                [
                    ast.Attribute(value=ast.Name(id="task"), attr=name) as read,
                    ast.Constant(value=str() as text) as said,
                ],
                [ast.Eq() | ast.NotEq()],
            ] if name in self._names:
                if text not in self._names[name]:
                    self._refuse(said, f"is no name of task.{name}", nearest(text, self._names[name]))
                self.uses.append(Use("task", name, read.col_offset + 1))
                held = _item(_item(ast.Name(_SCOPE, ast.Load()), "task"), name)
                place = float(list(self._names[name]).index(text))
                return ast.Compare(_call("_load", held), node.ops, [ast.Constant(place)])
        mend = "compare a parameter of names with one of them, as in task.object == 'bowl'"
        self._refuse(node, "compares a text with something else", mend)

    def _choice(self, parts: tuple[ast.expr, ast.expr, ast.expr], depth: int) -> ast.expr:
        test, *branches = parts
        read = self.value if all(map(_asks, branches)) else self._number
        return _call("where", self._truth(test, depth), *(read(branch, depth + 1) for branch in branches))

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        if not isinstance(node.func, ast.Name):
            self._refuse(node.func, "can't be called", f"the functions are {', '.join(ARGUMENTS)}")
        name = node.func.id
        if name not in ARGUMENTS:
            self._refuse(node.func, "is not a function of expressions", nearest(name, ARGUMENTS))
        if node.keywords:
            self._refuse(node, "names an argument", "give arguments by their place")
        least, most = ARGUMENTS[name]
        if not least <= len(node.args) <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            self._refuse(node, f"has {len(node.args)} arguments", f"{name} takes {wanted}")
        if name == "where":
            return self._choice((node.args[0], node.args[1], node.args[2]), depth)
        if name == "tolerance":
            self._check_tolerance(node)
        return _call(name, *(self._number(argument, depth) for argument in node.args))

    def _check_tolerance(self, node: ast.Call) -> None:
        lower, upper, margin = (_plain_number(argument) for argument in (*node.args[1:], ast.Constant(0))[:3])
        if lower is not None and upper is not None and lower > upper:
            self._refuse(node, "has bounds out of order", "write tolerance(x, lower, upper, margin)")
        if margin is not None and margin < 0.0:
            self._refuse(node, "has a negative margin", "a margin is how far beyond the bounds the value is still 0.1")

    def _read(self, node: ast.Name | ast.Attribute | ast.Subscript) -> ast.expr:
        """Rewrite ``info.x`` as ``_load(scope["info"]["x"])``, and components likewise."""
        column = node.col_offset + 1
        if not isinstance(node, ast.Subscript):
            root, name, held = self._held(node)
            self.uses.append(Use(root, name, column))
            return _call("_load", held)
        root, name, held = self._held(node.value)
        if isinstance(node.slice, ast.Slice):
            if node.slice.step is not None:
                self._refuse(node, "has a step", "write [start:stop]")
            start, stop = self._index(node.slice.lower), self._index(node.slice.upper)
            self.uses.append(Use(root, name, column, part=(start, stop)))
            return _call("_part", held, ast.Constant(start), ast.Constant(stop))
        index = self._index(node.slice)
        self.uses.append(Use(root, name, column, index=index))
        return _call("_component", held, ast.Constant(index))

    def _held(self, node: ast.expr) -> tuple[str, str, ast.expr]:
        """Return root, name ("" for the root itself) and what the scope holds there."""
        match node:
            case ast.Name(id=root) if root not in ROOTS:
                written = f"a quantity of the model is written info.{root}, a task parameter task.{root}"
                mend = f"{root} is a function: call it, {root}(...)" if root in ARGUMENTS else written
                self._refuse(node, "is not a name of expressions", mend)
            case ast.Attribute(value=ast.Name(id=root)) if root not in ROOTS:
                self._refuse(node, "is not a name of expressions", nearest(root, ROOTS))
        whole = self._root(node)
        if whole is not None:
            if whole in _NAMED:
                self._refuse(node, "needs a name", f"write {whole}.NAME")
            return whole, "", _item(ast.Name(_SCOPE, ast.Load()), whole)
        match node:
            case ast.Attribute(value=owner, attr=name) if (of := self._root(owner)) and not of.endswith("action"):
                if name.startswith("_"):
                    self._refuse(node, "is not allowed in an expression", "a name starts with a letter")
                if of == "task" and name in self._names:
                    self._refuse(node, "is a name, no number", f"compare it: task.{name} == '{self._names[name][0]}'")
                return of, name, _item(_item(ast.Name(_SCOPE, ast.Load()), held_in(of, name)), name)
        self._refuse(node, "is not allowed in an expression", _ALLOWED)

    def _root(self, node: ast.expr) -> str | None:
        """Return the root that a node is, such as "info" or "last.info"; None where it is something else."""
        match node:
            case ast.Name(id="last"):
                self._refuse(node, "needs a name", "write last.action, last.info.NAME or last.obs")
            case ast.Name(id=root) if root in ROOTS:
                return root
            case ast.Attribute(value=ast.Name(id="last"), attr=name):
                if name not in _BEFORE:
                    self._refuse(node, "is not known", "write last.action, last.info.NAME or last.obs")
                return f"last.{name}"
        return None

    def _index(self, node: ast.expr | None) -> int | None:
        match node:
            case None:
                return None
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)) if not isinstance(value, bool):
                return -value
        self._refuse(node, "is not an index", "write a whole number, such as obs[3], or action[0:2]")

    def _refuse(self, node: ast.AST, what: str, mend: str) -> NoReturn:
        said = ast.get_source_segment(self._text, node) or ast.unparse(node)
        said = said if len(said) <= 60 else said[:57] + "..."
        column = getattr(node, "col_offset", 0) + 1
        raise UserError(f"{said!r} (column {column}) {what}", where=self._where, mend=mend)


def _asks(node: ast.expr) -> bool:
    """Tell whether a node is a truth value by its form."""
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Constant(value=value):
            return isinstance(value, bool)
        case ast.IfExp(body=body, orelse=orelse):
            return _asks(body) and _asks(orelse)
        case ast.Call(func=ast.Name(id="where"), args=[_, yes, no]):
            return _asks(yes) and _asks(no)
    return False


def _plain_number(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name) if name in CONSTANTS:
            return CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            number = _plain_number(operand)
            return None if number is None else -number
    return None


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _item(container: ast.expr, key: str) -> ast.Subscript:
    return ast.Subscript(container, ast.Constant(key), ast.Load())
