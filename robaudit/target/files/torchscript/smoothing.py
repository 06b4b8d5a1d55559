"""A smooth backward for the code of a TorchScript module; its values stay what they are.

Into a copy of the graph goes, behind each operator that hides the gradient, one that hands its value on with the
gradient of its stand-in (:mod:`robaudit.target.running.standins`). The module itself is not touched: the copy reads and
writes the module's attributes, which it is given as its first argument. Code that a graph holds in a closure (``fork``)
keeps its own backward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from robaudit.errors import reason
from robaudit.target.files.torchscript.smooth_ops import NAMESPACE
from robaudit.target.running.smooth import Smooth

__all__ = ["Rough", "smoothed"]


class Rough(Exception):  # noqa: N818
    """There is no smooth backward; the text says why, as a clause."""


def smoothed(function: Callable[..., Any], smooth: Smooth) -> Callable[..., Any]:
    """A module, or a function of a graph, with the same values and a smooth backward.

    Raises:
        Rough: nothing in it hides the gradient, or it cannot be changed.
    """
    module = isinstance(function, torch.jit.ScriptModule)
    try:
        source: Any = function
        graph: Any = source.inlined_graph.copy() if module else source.graph.copy()
        writer = _Writer(graph, smooth)
        for node in list(_nodes(graph)):
            writer.rewrite(node)
        torch._C._jit_pass_lint(graph)
        made: Callable[..., Any] = torch._C._create_function_from_graph("smooth", graph)
    except Exception as error:  # odd code breaks these internals in many ways
        raise Rough(f"its code cannot be given one ({reason(error)})") from error
    if not writer.count:
        raise Rough("no operator of its code has a smooth backward")
    return (lambda *values: made(function, *values)) if module else made


def _nodes(block: Any) -> Iterator[Any]:
    """Nodes of a graph and of the blocks in it, not of the closures, which a copy of the graph shares."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


@dataclass
class _Writer:
    """Changes a graph.

    Args:
        graph: changed in place.
        smooth: how smooth the backward is.
        count: operators that got one so far.
        truths: by the name of a truth value, how true it is, as a value of the graph.
    """

    graph: Any
    smooth: Smooth
    count: int = 0
    truths: dict[str, Any] = field(default_factory=dict)

    def rewrite(self, node: Any) -> None:
        """Give a node's result another gradient, if it is to have one."""
        namespace, _, name = node.kind().partition("::")
        in_place = name.endswith("_") and name[:-1] in _IN_PLACE
        rule = _RULES.get(name[:-1] if in_place else name)
        given = list(node.inputs())
        if namespace != "aten" or rule is None or not _is_tensor(given[0]):
            return
        found = rule(self, node, given)
        if found is None:
            return
        kind, inputs = found
        self.count += 1
        value = next(iter(node.outputs()))
        if not in_place:
            new = self.insert(node, kind, [value, *inputs])
            value.replaceAllUsesWith(new)
            new.node().replaceInput(0, value)
            return
        alone = _is_alone(given[0], node)
        still = self.insert(node, "aten::detach", [given[0]])  # what is written to may not be kept for the way back
        plain = self.insert(still.node(), f"aten::{name[:-1]}", [still, *given[1:]])
        new = self.insert(plain.node(), kind, [plain, *inputs])
        if not alone:  # others see what is written
            new = self.insert(new.node(), "aten::copy_", [given[0], new, False])
        value.replaceAllUsesWith(new)
        node.destroy()

    def insert(self, node: Any, kind: str, inputs: Sequence[Any]) -> Any:
        """The result of a new node after another; Python's numbers become constants."""
        with self.graph.insert_point_guard(node):
            values = [v if isinstance(v, torch._C.Value) else self.graph.insertConstant(v) for v in inputs]
        new = self.graph.create(kind if "::" in kind else f"{NAMESPACE}::{kind}", values, 1)
        new.insertAfter(node)
        if new.schema() == "(no schema)":
            raise ValueError(f"{kind} does not take what {node.kind()} does")
        return new.output()

    def tensor(self, node: Any, value: Any) -> Any:
        """A number as a tensor, for what comes after a node."""
        if _is_tensor(value):
            return value
        new = self.graph.create("prim::NumToTensor", [value], 1)
        new.insertBefore(node)
        return new.output()

    def truth(self, value: Any) -> Any | None:
        """How true a truth value is, between 0 and 1; None where it is not known to be one, or from where."""
        name = value.debugName()
        if name not in self.truths:
            self.truths[name] = self._truth(value)
        return self.truths[name]

    def _truth(self, value: Any) -> Any | None:
        node = value.node()
        name, given = node.kind().removeprefix("aten::"), list(node.inputs())
        if not given or not _is_tensor(value) or not _is_tensor(given[0]):
            return None
        if name in _COMPARISONS:
            a, b = (given[0], self.tensor(node, given[1]))[:: _COMPARISONS[name]]
            return self.insert(node, "exceeds", [value, a, b, self.smooth.width])
        if name in _LOGIC:
            return self._joined(node, _LOGIC[name], given)
        inner = self.truth(given[0])
        if inner is None:
            return None
        if name in _NOT:
            return self.insert(node, "negated", [inner])
        if name in _MOVES:
            return self.insert(node, node.kind(), [inner, *given[1:]])
        return inner if name in _NUMBERS else None

    def _joined(self, node: Any, kind: str, given: Sequence[Any]) -> Any | None:
        truths = [self.truth(one) for one in given]
        if all(truth is None for truth in truths):
            return None
        for place, truth in enumerate(truths):
            if truth is None:
                truths[place] = self.graph.create(f"{NAMESPACE}::known", [given[place]], 1).insertBefore(node).output()
        return self.insert(node, kind, truths)


_Found = tuple[str, list[Any]] | None
_Rule = Callable[[_Writer, Any, list[Any]], _Found]


def _is_tensor(value: Any) -> bool:
    return bool(value.type().kind() == "TensorType")


def _is_alone(value: Any, reader: Any) -> bool:
    """Whether a value that a node writes into is seen by nobody else: made anew, each time, for this use."""
    node = value.node()
    name = node.kind().removeprefix("aten::")
    if len(value.uses()) != 1 or node.owningBlock() != reader.owningBlock():  # a loop would see it again
        return False
    return name in _FRESH or (name.endswith("_") and name[:-1] in _FRESH and _is_alone(next(iter(node.inputs())), node))


def _alone(kind: str) -> _Rule:
    return lambda writer, node, given: (kind, [given[0], writer.smooth.width])


def _ramp(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    return "ramp", [given[0], given[1] if len(given) > 1 else 0.0, writer.smooth.width]


def _clip(places: tuple[int | None, int | None]) -> _Rule:
    def rule(writer: _Writer, node: Any, given: list[Any]) -> _Found:
        ends = [None if place is None else given[place] for place in places]
        if all(end is None or end.type().kind() == "NoneType" for end in ends):
            return None
        tensors = any(end is not None and _is_tensor(end) for end in ends)
        return "clipped_to" if tensors else "clipped", [given[0], *ends, writer.smooth.width]

    return rule


def _relu6(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    return "clipped", [given[0], 0.0, 6.0, writer.smooth.width]


def _extreme(largest: bool) -> _Rule:  # noqa: FBT001
    def rule(writer: _Writer, node: Any, given: list[Any]) -> _Found:
        """Of two tensors, not of one along a dimension."""
        two = len(given) == 2 and _is_tensor(given[1])
        return ("extreme", [*given, writer.smooth.width, largest]) if two else None

    return rule


def _pool(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    return ("pooled", [*given, writer.smooth.pool]) if writer.smooth.pool else None


def _pool_to(places: int) -> _Rule:
    def rule(writer: _Writer, node: Any, given: list[Any]) -> _Found:
        return ("pooled_to", [given[0], writer.smooth.pool, places]) if writer.smooth.pool else None

    return rule


def _number(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    truth = writer.truth(given[0])
    return None if truth is None else ("number", [truth])


def _times(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    if not _is_tensor(given[1]):
        return None
    for mask, other in (given, given[::-1]):
        if (truth := writer.truth(mask)) is not None and writer.truth(other) is None:
            return "times", [mask, truth, other]
    return None


def _where(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    truth = writer.truth(given[0]) if len(given) == 3 else None
    return None if truth is None else ("choice", [truth, *(writer.tensor(node, one) for one in given[1:])])


def _masked(writer: _Writer, node: Any, given: list[Any]) -> _Found:
    truth = writer.truth(given[1])
    return None if truth is None else ("choice", [truth, writer.tensor(node, given[2]), given[0]])


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("relu", "leaky_relu"), _ramp),
    "relu6": _relu6,
    **dict.fromkeys(("hardtanh", "clamp", "clip"), _clip((1, 2))),
    "clamp_min": _clip((1, None)),
    "clamp_max": _clip((None, 1)),
    "hardsigmoid": _alone("hard_sigmoid"),
    "hardswish": _alone("hard_swish"),
    **dict.fromkeys(("abs", "absolute"), _alone("absolute")),
    "sign": _alone("sign"),
    **dict.fromkeys(("max", "maximum"), _extreme(largest=True)),
    **dict.fromkeys(("min", "minimum"), _extreme(largest=False)),
    **{f"max_pool{rank}d{end}": _pool for rank in (1, 2, 3) for end in ("", "_with_indices")},
    **{f"adaptive_max_pool{rank}d": _pool_to(rank) for rank in (1, 2, 3)},
    **dict.fromkeys(("to", "type_as", "float", "double", "_cast_Float"), _number),
    "mul": _times,
    "where": _where,
    "masked_fill": _masked,
}
"""Operators of ``aten`` whose result has another gradient: which operator goes behind, and what it is given."""
_IN_PLACE = {
    *("relu", "leaky_relu", "relu6", "hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "hardsigmoid", "hardswish"),
    *("abs", "absolute", "sign"),
}
_COMPARISONS = {
    **dict.fromkeys(("gt", "ge", "greater", "greater_equal"), 1),
    **dict.fromkeys(("lt", "le", "less", "less_equal"), -1),
}
"""In which order their operands are subtracted."""
_LOGIC = {
    **dict.fromkeys(("logical_and", "bitwise_and", "__and__"), "both"),
    **dict.fromkeys(("logical_or", "bitwise_or", "__or__"), "either"),
}
_NOT = {"logical_not", "bitwise_not"}
_MOVES = {
    "unsqueeze",
    "squeeze",
    "view",
    "reshape",
    "flatten",
    "expand",
    "transpose",
    "permute",
    "contiguous",
    "select",
}
_NUMBERS = {"to", "type_as", "float", "double", "_cast_Float"}
_FRESH = {
    *(
        "conv1d",
        "conv2d",
        "conv3d",
        "_convolution",
        "linear",
        "addmm",
        "matmul",
        "mm",
        "bmm",
        "batch_norm",
        "group_norm",
    ),
    *("layer_norm", "instance_norm", "add", "sub", "mul", "div", "cat"),
}
"""Operators that make a tensor of their own, whatever they are given."""
