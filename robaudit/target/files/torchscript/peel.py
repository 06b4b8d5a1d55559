"""The end of a TorchScript graph, left out where it is a softmax, a sigmoid or a decision."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from robaudit.target.outputs.peel import COLUMNS_OF, Decision, Ending, Tail

__all__ = ["end_of", "ending_at", "find_script_tail"]

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
LAST = 2**63 - 1
"""What a trace writes for the end of a whole axis."""
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
        value = _output(graph, place)
        if value is None:
            return None
        tail, value = _walked(name, value)
        if (tail.ending == "none" and tail.decision == "none") or (
            tail.column is not None and tail.ending not in COLUMNS_OF
        ):
            return None
        function = ending_at(graph, value, "peeled")
    except Exception:  # odd graphs break these internals in many ways; then the end stays where it is
        return None
    return tail, function


def ending_at(graph: Any, value: Any, name: str) -> Callable[..., Any]:
    """The graph of a frozen module, which is changed, as a function that ends at a value of it."""
    for _ in list(graph.outputs()):
        graph.eraseOutput(0)
    graph.registerOutput(value)
    torch._C._jit_pass_dce(graph)
    graph.eraseInput(0)  # the module itself, whose weights freezing has put into the graph
    function: Callable[..., Any] = torch._C._create_function_from_graph(name, graph)
    return function


def end_of(graph: Any, name: str, place: int | None, *, peeled: bool) -> Any:
    """The value of a graph that is differentiated.

    Args:
        graph: of a frozen module.
        name: of the output; ``place``: see :func:`find_script_tail`.
        place: of the output.
        peeled: the end is left out.

    Raises:
        ValueError: the output is not written out in the graph.
    """
    value = _output(graph, place)
    if value is None:
        raise ValueError("its outputs are not told apart in its code")
    return _walked(name, value)[1] if peeled else value


def _output(graph: Any, place: int | None) -> Any | None:
    value = next(iter(graph.outputs()))
    if place is None:
        return value
    return list(value.node().inputs())[place] if value.node().kind() == "prim::TupleConstruct" else None


def _walked(name: str, value: Any) -> tuple[Tail, Any]:
    """The tail on the way back from a value, and the value that it is made of."""
    ending: Ending = "none"
    decision: Decision = "none"
    column: int | None = None
    path = []
    while ending == "none":
        node = value.node()
        kind = node.kind()
        second = (
            kind == "aten::max"
            and len(list(node.outputs())) > 1
            and value.debugName() != next(iter(node.outputs())).debugName()
        )
        if kind in PASSES or _takes_all(node):
            pass
        elif (picked := _picked(node)) is not None and column is None and decision == "none":
            column = picked
        elif decision == "none" and (kind in DECISIONS or second):
            decision = DECISIONS.get(kind, "argmax")
        elif kind in ENDINGS:
            ending = ENDINGS[kind]
        else:
            break
        path.append(kind)
        value = next(iter(node.inputs()))
    if decision != "none":
        column = None  # taken out of the decision, where there is one number
    return Tail(name, ending, decision, through=tuple(path), column=column), value


def _constants(node: Any) -> list[Any]:
    """What a node is given besides its tensor; None for what is computed."""
    return [value.toIValue() for value in list(node.inputs())[1:]]


def _takes_all(node: Any) -> bool:
    """Whether a slice leaves nothing out."""
    return node.kind() == "aten::slice" and _constants(node)[1:] in ([0, LAST, 1], [None, None, 1], [0, None, 1])


def _picked(node: Any) -> int | None:
    """Which column a node takes out; None where it does something else."""
    if node.kind() == "aten::select":
        dim, index = _constants(node)
        return int(index) if dim in (1, -1) and index is not None else None
    if node.kind() == "aten::slice":
        dim, start, end, step = _constants(node)
        single = start is not None and end is not None and (end - start == 1 or (start == -1 and end == LAST))
        return int(start) if dim in (1, -1) and single and step == 1 else None
    return None
