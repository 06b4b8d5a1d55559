"""Operators that are harmless in one use and not in another: what their arguments are decides.

Where PyTorch believes what it is given, memory that is not the model's own would be read or written: a list that is
sorted by a comparison that contradicts itself, a packed sequence without a step, numbers of less than a byte.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch

from robaudit.target.files.torchscript.graph import all_nodes

__all__ = ["doubtful_at_load", "doubtful_use"]

RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
TYPE_AT = {"quantize_per_tensor": 3, "quantize_per_channel": 4, "quantize_per_tensor_dynamic": 1}
"""Which argument is the type of the numbers."""
WHOLE = frozenset({12, 13, 14})
"""Quantised types of whole bytes, as PyTorch numbers them: qint8, quint8, qint32."""
BY_USE = RECURRENT | TYPE_AT.keys() | {"sort"}
RUN_AT_LOAD = frozenset({"__setstate__", "__init__"})


def doubtful_at_load(trees: Mapping[str, ast.Module]) -> str | None:
    """An operator that loading may run before its arguments can be looked at; None where there is none.

    Args:
        trees: code of an archive, parsed. Functions are told apart by their last name alone.
    """
    functions: dict[str, list[ast.FunctionDef]] = {}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                functions.setdefault(node.name, []).append(node)
    defaults = [one for parts in functions.values() for part in parts for one in _defaults(part)]
    waiting: list[ast.AST] = [*defaults, *(part for name in RUN_AT_LOAD for part in functions.pop(name, []))]
    while waiting:
        for name in _names(waiting.pop()):
            if name in BY_USE:
                return name
            waiting += functions.pop(name, [])
    return None


def _defaults(part: ast.FunctionDef) -> Iterator[ast.AST]:
    yield from part.args.defaults
    yield from (one for one in part.args.kw_defaults if one is not None)


def _names(root: ast.AST) -> Iterator[str]:
    """Names and texts (of ``getattr``), any of which may be called."""
    for node in ast.walk(root):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def doubtful_use(graphs: Iterable[Any], module: torch.jit.ScriptModule, *, confined: bool) -> str | None:
    """A call in the graphs of a module that is not known to be harmless; None where there is none.

    Args:
        graphs: of all its functions and methods.
        module: as loaded, not yet run.
        confined: recurrent layers are allowed, of whose states and weights PyTorch does not check the sizes.
    """
    nodes = [node for graph in graphs for node in all_nodes(graph)]
    changed = {node.s("name") for node in nodes if node.kind() == "prim::SetAttr"}
    for node in nodes:
        name = node.kind().removeprefix("aten::")
        if name == "sort" and next(iter(node.inputs())).type().kind() == "ListType":
            return "aten::sort of a list"
        if name in TYPE_AT and not _is_whole(list(node.inputs())[TYPE_AT[name]], module, changed):
            return f"aten::{name} with a type that is not known to be of whole bytes"
    reached = list(all_nodes(module.inlined_graph))
    if any(node.kind() in ("prim::CallMethod", "prim::CallFunction") for node in reached):
        reached = nodes  # through an interface: any method may be meant
    for node in reached:
        if node.kind().removeprefix("aten::") not in RECURRENT:
            continue
        if ".data(" in node.schema():
            return f"{node.kind()} of a packed sequence"
        if not confined:
            return f"{node.kind()}, which believes the sizes of its weights, outside of the sandbox"
    return None


def _is_whole(value: Any, module: torch.jit.ScriptModule, changed: set[str]) -> bool:
    """Whether a number is one of the quantised types of whole bytes: a constant, or an attribute that none changes."""
    node = value.node()
    if node.kind() == "prim::Constant":
        return value.toIValue() in WHOLE
    if node.kind() != "prim::GetAttr" or node.s("name") in changed:
        return False
    name, owner = node.s("name"), str(next(iter(node.inputs())).type())
    parts: list[Any] = [part._c for part in module.modules() if getattr(part, "_c", None) is not None]
    owners = [part for part in parts if str(part._type()) == owner]
    return bool(owners) and all(part.getattr(name) in WHOLE for part in owners)
