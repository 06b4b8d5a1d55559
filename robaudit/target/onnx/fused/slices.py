"""Slices that together make a whole."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import fx

from robaudit.target.onnx.fused.program import Program, argument, integers, is_call, source


@dataclass(frozen=True)
class Part:
    """``x[..., start:stop, ...]`` along one axis; ``taken``: a single index, its axis dropped."""

    axis: int
    start: int
    stop: int
    taken: bool


def part_of(program: Program, node: fx.Node) -> Part | None:
    """What a node takes from its input, if that is one run of one axis."""
    x = source(node)
    if x is None or not isinstance(x.meta.get("val"), torch.Tensor):
        return None
    shape = program.shape(x)
    if is_call(node, "select"):
        axis, index = argument(node, 1, "dim"), argument(node, 2, "index")
        if not isinstance(axis, int) or not isinstance(index, int):
            return None
        start = index % shape[axis]
        return Part(axis % len(shape), start, start + 1, True)
    if not is_call(node, "getitem"):
        return None
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    found = None
    for axis, step in enumerate(index):
        if not isinstance(step, slice) or any(isinstance(v, fx.Node) for v in (step.start, step.stop, step.step)):
            return None
        start, stop, stride = step.indices(shape[axis])
        if (start, stop, stride) == (0, shape[axis], 1):
            continue
        if stride != 1 or found is not None:
            return None
        found = Part(axis, start, stop, False)
    return found


def whole(program: Program, node: fx.Node) -> fx.Node | None:
    """A slice of everything."""
    x = source(node)
    if x is None or not isinstance(x.meta.get("val"), torch.Tensor):
        return None
    index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
    if program.shape(x) != program.shape(node):
        return None
    return x if all(isinstance(s, slice) and s.step in (None, 1) for s in index) else None


def part(program: Program, node: fx.Node) -> fx.Node | None:
    """All of a tensor read in parts along one axis is one split.

    Its gradient is one concatenation; each slice alone pads its own with zeros, and all are added.
    """
    own, x = part_of(program, node), source(node)
    if own is None or x is None:
        return None
    found = [(part_of(program, user), user) for user in x.users]
    parts = sorted(((p.start, p.stop, user) for p, user in found if p is not None), key=lambda entry: entry[:2])
    same = all(p is not None and (p.axis, p.taken) == (own.axis, own.taken) for p, _ in found)
    bounds = [(start, stop) for start, stop, _ in parts]
    size = program.shape(x)[own.axis]
    ends = [0, *(stop for _, stop in bounds)]
    if not same or len(parts) < 2 or [start for start, _ in bounds] != ends[:-1] or ends[-1] != size:
        return None
    if own.taken:
        pieces = program.call(torch.unbind, x, own.axis)
    else:
        pieces = program.call(torch.split, x, [stop - start for start, stop in bounds], own.axis)
    made = {user: program.call(operator.getitem, pieces, i) for i, (_, _, user) in enumerate(parts)}
    for user, replacement in made.items():
        if user is not node:
            user.replace_all_uses_with(replacement)
            program.erase(user)
    return made[node]


def run(program: Program, node: fx.Node) -> fx.Node | None:
    """Rows picked one after the other are a slice, or all there is."""
    x, axis, index = (argument(node, i, name) for i, name in enumerate(("input", "dim", "index")))
    known = program.known(index) if isinstance(index, fx.Node) else None
    if known is None or known.dim() != 1 or not known.numel() or not isinstance(x, fx.Node):
        return None
    start, count = int(known[0]), known.numel()
    if start < 0 or not torch.equal(known, torch.arange(start, start + count, dtype=known.dtype)):
        return None
    if count == program.shape(x)[axis]:
        return x
    return program.call(torch.narrow, x, axis, start, count)


def roll(program: Program, node: fx.Node) -> fx.Node | None:
    """``cat([x[k:], x[:k]])`` is a roll; a concatenation of one tensor is that tensor."""
    given, axis = argument(node, 0, "tensors"), argument(node, 1, "dim", 0)
    values = [v for v in given if isinstance(v, fx.Node)] if isinstance(given, (list, tuple)) else []
    if not values or len(values) != len(given):
        return None
    if len(values) == 1:
        return values[0]
    if len(values) != 2 or not isinstance(axis, int):
        return None
    axis %= len(program.shape(node))
    pieces = [_piece(program, v) for v in values]
    if pieces[0] is None or pieces[1] is None:
        return None
    (tail, x), (head, y) = pieces[0], pieces[1]
    size = program.shape(x)[axis] if x is y else -1
    along = (tail.axis, head.axis, tail.taken, head.taken) == (axis, axis, False, False)
    if not along or (head.start, tail.stop) != (0, size) or head.stop != tail.start:
        return None
    return program.call(torch.roll, x, -head.stop, axis)


def _piece(program: Program, node: fx.Node) -> tuple[Part, fx.Node] | None:
    """A slice, or what has become of it in :func:`part`: an element of a split."""
    whole = source(node)
    if whole is None:
        return None
    number = node.args[1] if is_call(node, "getitem") else None
    if is_call(whole, "split", "split_with_sizes") and isinstance(number, int):
        x, sizes, axis = source(whole), integers(argument(whole, 1, "split_size")), argument(whole, 2, "dim", 0)
        if x is None or sizes is None or len(sizes) <= number or not isinstance(axis, int):
            return None
        start = sum(sizes[:number])
        return Part(axis % len(program.shape(x)), start, start + sizes[number], False), x
    found = part_of(program, node)
    return None if found is None else (found, whole)
