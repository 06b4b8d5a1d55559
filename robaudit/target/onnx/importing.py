"""From a model's protobuf to its torch twin: read, prepare, refuse what has no translation."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from robaudit.errors import UnsupportedOperatorError
from robaudit.target.onnx import exact, half, passes, straight_through
from robaudit.target.onnx.control_flow import without_known_branches
from robaudit.target.onnx.graph import Graph
from robaudit.target.onnx.module import OnnxModule
from robaudit.target.onnx.nchwc import to_plain
from robaudit.target.onnx.randomness import anchored
from robaudit.target.onnx.reading import read
from robaudit.target.onnx.registry import find
from robaudit.target.onnx.tracing import MisfitError

__all__ = ["coverage", "import_onnx"]


def import_onnx(
    model: onnx.ModelProto,
    output: str | None = None,
    backward: Mapping[str, str] | None = None,
    *,
    rewritten: bool = True,
) -> OnnxModule:
    """Translate a model into a differentiable module.

    Args:
        model: with its external data loaded.
        output: the one value that the module returns, an output of the file or any value inside; None for all
            outputs.
        backward: what stands for the derivative of steps (rounding, quantisers), by operator or node name; see
            straight_through.py for the rules and :attr:`OnnxModule.cuts` for what was chosen.
        rewritten: multiply batch norms and factors into the weights before them, which is faster, or leave the file's
            operators as they are.

    Raises:
        UnsupportedOperatorError: the first operator on the way to the outputs that has no translation.
        UsageError: an operator has no such backward rule.
        ValueError: there is no value of that name.
    """
    graph = _live(model, output)
    missing = _missing(graph)
    if missing:
        raise UnsupportedOperatorError(*missing[0])
    graph = half.marked(graph, [value.name for value in model.graph.output])
    graph = passes.prepare(graph) if rewritten else passes.fold_constants(graph)
    return OnnxModule(straight_through.resolved(graph, backward), output)


def coverage(model: onnx.ModelProto, output: str | None = None) -> list[str]:
    """The operators that keep a model from being imported (``domain::Op-opset``); empty when none does."""
    missing = sorted({name for name, _ in _missing(_live(model, output))})
    if missing:
        return missing
    try:
        import_onnx(model, output).try_declared_shape()
    except UnsupportedOperatorError as error:  # a known operator in a variant that is not translated
        return [error.operator]
    except MisfitError as error:
        return [str(error)]
    return []


def _live(model: onnx.ModelProto, output: str | None) -> Graph:
    """The graph without what no output reads and branches that are never taken."""
    graph = passes.fold_constants(passes.use_integers(exact.marked(anchored(to_plain(read(model, output))))))
    while (reduced := without_known_branches(graph)) is not None:
        graph = passes.fold_constants(reduced)
    return graph


def _missing(graph: Graph) -> list[tuple[str, str]]:
    return [(node.qualified, node.name) for node in graph.walk() if find(node.domain, node.op) is None]
