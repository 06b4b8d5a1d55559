"""A number's bits read as another type."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from robaudit.target.onnx.graph import DTYPES, Node
from robaudit.target.onnx.registry import operator

# Integers of the same width; uint16 and wider are carried by the next signed type.
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_UNSIGNED: dict[int, int] = {onnx.TensorProto.UINT16: 16, onnx.TensorProto.UINT32: 32}


@operator("BitCast", flat=(0,))
def _bit_cast(node: Node, x: Tensor) -> Tensor:
    code = node.integer("to", 0)
    if code not in DTYPES:
        raise node.unsupported(f"type {code}")
    width = _UNSIGNED.get(code, DTYPES[code].itemsize * 8) // 8
    if x.itemsize > width:
        x = x.to(_BITS[width])  # the bits of an unsigned number in a wider carrier
    if x.itemsize != width:
        raise node.unsupported("from a narrower type")
    if code in _UNSIGNED:
        return torch.bitwise_and(x.view(_BITS[width]).to(DTYPES[code]), (1 << _UNSIGNED[code]) - 1)
    return x.view(DTYPES[code])
