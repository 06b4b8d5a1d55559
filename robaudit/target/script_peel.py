"""The end of a TorchScript graph, left out where it is a softmax, a sigmoid or a decision."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from robaudit.target.peel import Decision, Ending, Tail

__all__ = ["find_script_tail"]

PASSES = {
    "aten::flatten", "aten::squeeze", "aten::unsqueeze", "aten::view", "aten::reshape", "aten::to", "aten::contiguous",
    "aten::dropout", "aten::float", "aten::type_as", "aten::clone",
    "aten::mean",
}  # fmt: skip
ENDINGS: dict[str, Ending] = {
    "aten::softmax": "softmax",
    "aten::_softmax": "softmax",
    "aten::log_softmax": "log-softmax",
    "aten::_log_softmax": "log-softmax",
    "aten::sigmoid": "sigmoid",
    "aten::exp": "exp",
}
DECISIONS: dict[str, Decision] = {"aten::argmax": "argmax", "aten::argmin": "argmin"}


def find_script_tail(
    module: torch.jit.ScriptModule, name: str, place: int | None
) -> tuple[Tail, Callable[..., Any]] | None:
    """The tail of a module, and the function that ends before it; None where there is nothing to leave out.

    Args:
        module: in evaluation mode.
        name: of the output, for the tail.
        place: of the output in a tuple; None: the module returns one tensor.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            frozen = torch.jit.freeze(module)
        graph: Any = frozen.graph.copy()
        value = next(iter(graph.outputs()))
        if place is not None:
            if value.node().kind() != "prim::TupleConstruct":
                return None
            value = list(value.node().inputs())[place]
        ending: Ending = "none"
        decision: Decision = "none"
        path = []
        while True:
            node = value.node()
            kind = node.kind()
            second = (
                kind == "aten::max"
                and len(list(node.outputs())) > 1
                and value.debugName() != next(iter(node.outputs())).debugName()
            )
            if kind in PASSES:
                path.append(kind)
            elif decision == "none" and ending == "none" and (kind in DECISIONS or second):
                decision = DECISIONS.get(kind, "argmax")
                path.append(kind)
            elif kind in ENDINGS and ending == "none":
                ending = ENDINGS[kind]
                path.append(kind)
                value = next(iter(node.inputs()))
                break
            else:
                break
            value = next(iter(node.inputs()))
        if ending == "none" and decision == "none":
            return None
        for _ in list(graph.outputs()):
            graph.eraseOutput(0)
        graph.registerOutput(value)
        torch._C._jit_pass_dce(graph)
        graph.eraseInput(0)  # the module itself, whose weights freezing has put into the graph
        function: Any = torch._C._create_function_from_graph("peeled", graph)
    except Exception:  # odd graphs break these internals in many ways; then the end stays where it is
        return None
    return Tail(name, ending, decision, through=tuple(path)), function
