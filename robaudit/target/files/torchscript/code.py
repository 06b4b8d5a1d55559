"""Looks at the code of a TorchScript archive before PyTorch does: loading runs some of it.

The code is text in the syntax of Python, printed by PyTorch in one style. It is parsed, and everything that is not
understood is refused: each call must name in full an operator of the closed list, a function or class of the archive
itself, or a method that cannot stand for any other operator.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from robaudit.target.files.torchscript.operators import BUILT_IN, CLASSES, is_allowed, is_method_allowed

__all__ = ["CodeError", "check_code"]

TOKEN = re.compile(
    r"""[ \n]+|[A-Za-z_]\w*(?!["'\w])|"(?:[^"\\\n]|\\[^\n])*"(?!["'A-Za-z_])"""
    r"""|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?j?(?![\w.])|->|//|\*\*|<<|>>|[-+*/%@&|^<>=!]=?|[~()\[\]{},:.;]""",
    re.ASCII,
)
"""What both parsers cut in the same way: no comments, no prefixes of strings, no continued lines, no other letters."""
NODES = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AnnAssign),
    *(ast.AugAssign, ast.Delete, ast.For, ast.While, ast.If, ast.With, ast.withitem, ast.Assert, ast.Raise, ast.Pass),
    *(ast.Break, ast.Continue, ast.Expr, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call),
    *(ast.keyword, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Starred, ast.Name, ast.List, ast.Tuple),
    *(ast.Dict, ast.expr_context, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
ROOTS = frozenset({"torch", "ops", "__torch__", "CONSTANTS"})
TYPES = frozenset(
    """
    Any AnyClassType AnyEnumType AnyListType AnyTupleType Await Capsule Complex Device Dict Enum Final Future
    Generator InferredType Interface List Module ModuleInterface NamedTuple NoneType Optional QScheme RRef Stream
    Tensor Tuple Union ellipsis number Scalar Storage Layout ScalarType MemoryFormat Exception
    """.split()  # noqa: SIM905
)
BY_TEXT = ("getattr", "hasattr")
COMPILED_CLASS = re.compile(r"(?:^|\.)torch\.classes(?:\.|$)")


class CodeError(Exception):
    """The code may do more than compute; the text is a clause that begins with a verb."""


def check_code(texts: Mapping[str, bytes]) -> dict[str, ast.Module]:
    """The code of an archive, parsed; code is refused that is not known to compute from its inputs alone.

    Args:
        texts: of the archive, by the module that each defines, such as ``__torch__.torch.nn.functional``.

    Raises:
        CodeError: it is not.
    """
    trees = {module: _parsed(text) for module, text in texts.items()}
    known = frozenset(
        f"{module}.{part.name}"
        for module, tree in trees.items()
        for part in tree.body
        if isinstance(part, ast.ClassDef | ast.FunctionDef)
    )
    for tree in trees.values():
        for part in tree.body:
            _check_top(part, known)
    return trees


def _parsed(raw: bytes) -> ast.Module:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise CodeError("holds code with letters that PyTorch does not write") from error
    place = 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None:
            line = text.count("\n", 0, place) + 1
            raise CodeError(f"holds code that is not as PyTorch writes it ({text[place : place + 20]!r}, line {line})")
        place = match.end()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CodeError(f"holds code that cannot be understood ({error})") from error
    for node in ast.walk(tree):
        if not isinstance(node, NODES):
            raise CodeError(f"holds code that PyTorch does not write ({type(node).__name__})")
    return tree


def _check_top(part: ast.stmt, known: frozenset[str]) -> None:
    if isinstance(part, ast.ClassDef):
        fields = frozenset(_fields(part))
        for base in (*part.bases, *part.keywords, *part.decorator_list):
            _Checker(known, frozenset()).check(base)
        for inner in part.body:
            if isinstance(inner, ast.FunctionDef):
                _check_function(inner, known, fields)
            else:
                _check_field(inner, known)
    elif isinstance(part, ast.FunctionDef):
        _check_function(part, known, frozenset())
    else:
        _check_field(part, known)


def _check_field(part: ast.stmt, known: frozenset[str]) -> None:
    """A line of a class that is no method: an attribute, or a list of them."""
    if not isinstance(part, ast.Assign | ast.AnnAssign | ast.Pass | ast.Expr):
        raise CodeError(f"holds code that PyTorch does not write ({type(part).__name__} outside of a function)")
    _Checker(known, frozenset(_stored(part)) | {"__annotations__"}).check(part)


def _fields(part: ast.ClassDef) -> Iterator[str]:
    """Attributes and methods that a class declares."""
    for inner in part.body:
        if isinstance(inner, ast.FunctionDef):
            yield inner.name
        elif isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
            yield inner.target.id
        elif isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Subscript):
            index = inner.targets[0].slice
            if isinstance(index, ast.Constant) and isinstance(index.value, str):
                yield index.value


def _check_function(part: ast.FunctionDef, known: frozenset[str], fields: frozenset[str]) -> None:
    own = part.args.args[0].arg if fields and part.args.args else ""
    stored = list(_stored(part))
    if stored.count(own) != 1:  # as an argument; given another value it may be of another type
        own = ""
    taken = frozenset(stored) & ROOTS
    if taken:
        raise CodeError(f"gives another meaning to the name {min(taken)!r}")
    _Checker(known, frozenset(stored), own, fields, part.name, _optional(part, stored)).check(part)


def _optional(part: ast.FunctionDef, stored: list[str]) -> dict[str, str]:
    """Variables that are None or of one type wherever they are given a value, and which type that is."""
    told: list[tuple[str, str]] = []
    copied: list[tuple[str, str]] = []
    for node in ast.walk(part):
        if isinstance(node, ast.arg) and node.annotation is not None:
            told.append((node.arg, ast.unparse(node.annotation)))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told.append((node.target.id, ast.unparse(node.annotation)))
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and len(node.targets) == 1:
            copied += [(to.id, node.value.id) for to in node.targets if isinstance(to, ast.Name)]
    found: dict[str, str] = {}
    for _ in range(2):  # first those that are told alone, then those that are copies of them as well
        for name in {name for name, _ in told}:
            kinds = [words for one, words in told if one == name]
            copies = [f"Optional[{found[of]}]" for one, of in copied if one == name and of in found]
            same = len(kinds) + len(copies) == stored.count(name) and len({*kinds, *copies}) == 1
            if same and kinds[0].startswith("Optional[") and kinds[0].endswith("]"):
                found[name] = kinds[0][len("Optional[") : -1]
    return found


def _stored(part: ast.AST) -> Iterator[str]:
    """Names that a statement gives a value."""
    for node in ast.walk(part):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node is not part:
            yield node.name


class _Checker:
    """Looks at one function or line.

    Args:
        known: functions and classes of the archive.
        names: variables.
        own: the variable that holds the object of a method, and ``fields`` what its class declares.
        function: the name of the function.
        optional: variables that may be None, and of which type they are otherwise.
    """

    def __init__(
        self,
        known: frozenset[str],
        names: frozenset[str],
        own: str = "",
        fields: frozenset[str] = frozenset(),
        function: str = "",
        optional: Mapping[str, str] | None = None,
    ) -> None:
        self.known, self.names, self.own, self.fields, self.function = known, names, own, fields, function
        self.optional = optional or {}

    def check(self, root: ast.AST) -> None:
        """Raise :class:`CodeError` for what is not known."""
        waiting = [root]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Attribute):
                chain = _chain(node)
                if chain is None or chain[0] not in ROOTS:
                    self._method(node)
                    waiting.append(node.value)
                else:
                    self._named(chain)
                continue
            if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
                self._name(node.id)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in BY_TEXT:
                    waiting += self._by_text(node)
                    continue
                if node.func.id == "unchecked_cast":
                    self._cast(node)
            waiting += ast.iter_child_nodes(node)

    def _name(self, name: str) -> None:
        if name in ROOTS:
            raise CodeError(f"hides what it calls: it uses {name!r} without the name of an operator")
        if name not in self.names and name not in BUILT_IN and name not in TYPES:
            raise CodeError(f"uses the unknown name {name!r}")

    def _method(self, node: ast.Attribute) -> None:
        mine = isinstance(node.value, ast.Name) and node.value.id == self.own and node.attr in self.fields
        if not mine:
            _check_method(node.attr)

    def _by_text(self, node: ast.Call) -> Iterable[ast.AST]:
        """``getattr(x, "name")``: what else is to be looked at."""
        name = node.args[1] if len(node.args) > 1 else None
        if node.keywords or not isinstance(name, ast.Constant) or not isinstance(name.value, str):
            raise CodeError("hides what it calls: it uses getattr without a name in quotes")
        base = node.args[0]
        if not (isinstance(base, ast.Name) and base.id == self.own and name.value in self.fields):
            _check_method(name.value)
        return [base, *node.args[2:]]

    def _cast(self, node: ast.Call) -> None:
        """A cast, which PyTorch does not check: parts of a tuple or of an object would be taken where there are none.

        It writes them where a value is known not to be None: then it is a variable that may be.
        """
        if len(node.args) != 2 or node.keywords:
            raise CodeError("casts in an odd way")
        kind = ast.unparse(node.args[0])
        if "Tuple" not in kind and "__torch__" not in kind:
            return
        given = node.args[1].id if isinstance(node.args[1], ast.Name) else ""
        if self.optional.get(given) != kind:
            raise CodeError(f"casts a value to {kind} without a check")

    def _named(self, chain: list[str]) -> None:
        """A chain of names that begins with one of PyTorch's: it must be known as a whole."""
        root, names = chain[0], chain[1:]
        if root == "CONSTANTS" and len(names) == 1:
            return
        if root == "torch":
            names = names[1:] if names[0] == "autograd" else names
            if len(names) == 1 and is_allowed(f"aten::{names[0]}", self.function):
                return
            raise CodeError(f"calls aten::{'.'.join(names)}" if len(names) == 1 else f"uses {'.'.join(chain)}")
        if root == "ops" and len(names) == 2:
            if not is_allowed("::".join(names), self.function):
                raise CodeError(f"calls {'::'.join(names)}")
            return
        if root == "__torch__" and self._in_archive(chain):
            return
        raise CodeError(f"uses {'.'.join(chain)}")

    def _in_archive(self, chain: list[str]) -> bool:
        """Whether a chain names a function or class of the archive, or a part of one."""
        path = ".".join(chain)
        if COMPILED_CLASS.search(path):
            return path in CLASSES
        for end in range(len(chain), 1, -1):
            if ".".join(chain[:end]) in self.known:
                for name in chain[end:]:
                    _check_method(name)
                return True
        return False


def _check_method(name: str) -> None:
    if not is_method_allowed(name):
        raise CodeError(f"calls aten::{name}, or a method of that name")


def _chain(node: ast.Attribute) -> list[str] | None:
    """The names of ``a.b.c``; None where it does not begin with a name."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return [value.id, *reversed(names)] if isinstance(value, ast.Name) else None
