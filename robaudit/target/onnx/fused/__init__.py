"""Rewriting a recorded program: formulas become the operators that they mean, detours are left out.

Here shapes are known and the exporters' ways of saying the same have become one. What a rewrite changes is
rounding and no more. Weights are changed earlier, in ``passes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, fx

from robaudit.target.onnx.fused import activations, attention, layer_norm, slices, views
from robaudit.target.onnx.fused.program import Program, name_of

Rule = Callable[[Program, fx.Node], fx.Node | None]

_RULES: dict[str, tuple[Rule, ...]] = {
    "reshape": (views.reshape,),
    "permute": (views.permute,),
    "transpose": (views.transpose,),
    "unsqueeze": (views.as_reshape,),
    "squeeze": (views.as_reshape,),
    "broadcast_to": (views.same_shape,),
    "getitem": (slices.part, slices.whole),
    "select": (slices.part,),
    "index_select": (slices.run,),
    "cat": (slices.roll,),
    "clamp": (activations.hard_sigmoid, activations.bounded),
    "mul": (activations.product, layer_norm.quotient, layer_norm.scale),
    "div": (activations.sigmoid, activations.product, layer_norm.quotient),
    "reciprocal": (activations.sigmoid,),
    "add": (layer_norm.shift,),
    "matmul": (attention.attend,),
}


def simplify(graph: fx.Graph, constants: Mapping[str, Tensor]) -> None:
    """Rewrite a graph whose nodes carry ``meta["val"]``, in place; constants by attribute name."""
    program = Program(graph, constants)
    for node in list(graph.nodes):
        current: fx.Node | None = node
        while current is not None and current not in program.gone and isinstance(current.meta.get("val"), Tensor):
            current = _rewritten(program, current)


def _rewritten(program: Program, node: fx.Node) -> fx.Node | None:
    """What replaces a node, or None."""
    for rule in _RULES.get(name_of(node), ()):
        with program.graph.inserting_before(node):
            found = rule(program, node)
        if found is not None and found is not node:
            node.replace_all_uses_with(found)
            program.erase(node)
            return found
    return None
