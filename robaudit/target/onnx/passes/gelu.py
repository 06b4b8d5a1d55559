"""The formula of gelu."""

from __future__ import annotations

from robaudit.target.onnx import fusion
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.passes.workspace import Workspace, is_default


def recognise_gelu(work: Workspace, node: Node) -> Node | None:
    """The formula becomes the operator."""
    if not is_default(node, "Mul"):
        return None
    x = fusion.gelu_input(fusion.Producers(work.producer, work.uses, work.constants), node)
    return None if x is None else fusion.gelu(node, x)
