"""What of a file is in training mode, where dropout draws at random and batch norm looks at the batch.

A deployment that loads a file and runs it runs it so; hence it is judged so, and every report says it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from robaudit.target.outputs.wiring import Wiring, attribute, told

__all__ = ["exported_training", "onnx_training", "script_training"]

FLAGS = ("train", "training", "use_input_stats")
"""Arguments of torch's operators that switch training mode on."""
CALLS = ("prim::CallMethod", "prim::CallFunction")


def script_training(module: Any) -> tuple[str, ...]:
    """Parts of a TorchScript module that behave as in training, when it is loaded: submodules and operators.

    Submodules whose flag is on and read by the code, and operators that a trace has switched on for good. A flag that
    no code reads changes nothing, and is left out.
    """
    try:
        graph = module.inlined_graph
    except Exception:  # no graph that can be looked at: the flag itself is all there is
        return ("the module",) if bool(getattr(module, "training", False)) else ()
    found: dict[str, None] = {}
    for node in _nodes(graph):
        if node.kind() == "prim::GetAttr" and node.s("name") == "training":
            path = _path(next(iter(node.inputs())))
            if bool(getattr(_part(module, path), "training", False)):
                found[".".join(path) or "the module"] = None
        elif node.kind() in CALLS and bool(getattr(module, "training", False)):
            found["the module"] = None  # what it calls is not looked into
        elif _switched_on(node):
            found[node.kind().rpartition("::")[2]] = None
    return tuple(found)


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _path(value: Any) -> list[str]:
    """Names of the attributes that lead from the module to one of its parts."""
    node = value.node()
    if node.kind() != "prim::GetAttr":
        return []
    return [*_path(next(iter(node.inputs()))), node.s("name")]


def _part(module: Any, path: list[str]) -> Any:
    for name in path:
        module = getattr(module, name, None)
    return module


def _switched_on(node: Any) -> bool:
    """Whether an operator is told by a constant to behave as in training, and that matters."""
    if not node.kind().startswith("aten::") or node.schema() == "(no schema)":
        return False
    names = [argument.name for argument in torch._C.parse_schema(node.schema()).arguments]
    values = {name: _constant(value) for name, value in zip(names, node.inputs(), strict=False)}
    return _trains(node.kind().rpartition("::")[2], values)


def _trains(op: str, values: dict[str, Any]) -> bool:
    if "instance_norm" in op:
        return False  # it looks at one input alone, in training as well
    if values.get("p") == 0 or values.get("dropout") == 0:
        return False  # a dropout that drops nothing
    if op == "scaled_dot_product_attention":
        return bool(values.get("dropout_p"))
    return any(values.get(name) is True for name in FLAGS)


def _constant(value: Any) -> Any:
    node = value.node()
    return value.toIValue() if node.kind() == "prim::Constant" else None


def exported_training(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Operators of an exported program that behave as in training."""
    found: dict[str, None] = {}
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if node.op != "call_function" or schema is None:
            continue
        names = [argument.name for argument in schema.arguments]
        values = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        op = schema.name.rpartition("::")[2]
        if _trains(op, values):
            found[op] = None
    return tuple(found)


def onnx_training(wiring: Wiring) -> tuple[str, ...]:
    """Nodes of an ONNX graph that behave as in training, as ``Op (name)``."""
    found = []
    for node in wiring.model.graph.node:
        if node.op_type == "BatchNormalization":
            on = bool(attribute(node, "training_mode", 0)) if wiring.opset >= 14 else _outputs(node) > 1
        elif node.op_type == "Dropout" and wiring.opset >= 12 and len(node.input) > 2 and node.input[2]:
            mode = wiring.constant(node.input[2])
            on = mode is not None and bool(mode.any()) and wiring.number(node.input[1]) != 0
        else:
            continue
        if on:
            found.append(told(node))
    return tuple(found)


def _outputs(node: Any) -> int:
    return sum(bool(name) for name in node.output)
