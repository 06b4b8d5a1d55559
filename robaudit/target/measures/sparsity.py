"""How many of a file's weights are zero, layer by layer, as the file holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from robaudit.target.files.model_file import ModelFile
from robaudit.target.files.torchscript.module import TorchScriptFile
from robaudit.target.outputs.wiring import Wiring

__all__ = ["zero_weights"]

PLACES: dict[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "FusedConv": (1,),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "RNN": (1, 2),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "ConvInteger": (1,),
    "MatMulInteger": (0, 1),
    "QLinearConv": (3,),
    "QLinearMatMul": (0, 3),
}
"""Where operators take weights; a product of matrices on either side."""
ZERO_POINTS = {
    ("ConvInteger", 1): 3,
    ("MatMulInteger", 0): 2,
    ("MatMulInteger", 1): 3,
    ("QLinearConv", 3): 5,
    ("QLinearMatMul", 0): 2,
    ("QLinearMatMul", 3): 5,
}
"""Where they take the whole number that stands for 0."""
PASSING = ("Cast", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")
"""Operators after which a weight is the same numbers."""
FARTHEST = 8
"""Operators between a weight and its layer that are looked through."""


def zero_weights(file: ModelFile) -> dict[str, tuple[int, int]]:
    """(zeros, all) of the weights of each layer, in the file's order; empty where none can be read.

    Weights are the constant matrices and filters that layers multiply with: a weight that is used twice counts once,
    biases and norms do not count. Of whole numbers those are zero that stand for 0. Of a TorchScript or exported file
    all parameters with two dimensions and more count, each by its name.

    Args:
        file: loaded.
    """
    if (wiring := file.wiring) is not None:
        return _of_graph(wiring)
    if isinstance(file, TorchScriptFile):
        return _of_module(file)
    return {}


def _of_module(file: TorchScriptFile) -> dict[str, tuple[int, int]]:
    named: list[tuple[str, torch.Tensor]]
    named = [(name, value) for name, value in file.module.named_parameters() if value.dim() >= 2]
    if not named:  # a frozen module has its weights in its code
        named = [(f"constant {place}", value) for place, value in enumerate(file.weights) if value.dim() >= 2]
    return {name: (int((value == 0).sum()), value.numel()) for name, value in named}


def _of_graph(wiring: Wiring) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    sparse = {held.values.name: held for held in wiring.model.graph.sparse_initializer}
    for node in wiring.model.graph.node:
        for place in PLACES.get(node.op_type, ()):
            name, zero = _weight(wiring, node, place)
            if name in found or not name:
                continue
            if name in sparse:
                found[name] = _of_sparse(sparse[name])
            elif (value := wiring.constant(name)) is not None and value.ndim >= 2 and value.size > 0:
                found[name] = int(np.count_nonzero(_is_zero(value, zero))), value.size
    return found


def _of_sparse(held: onnx.SparseTensorProto) -> tuple[int, int]:
    size = int(np.prod(list(held.dims), dtype=np.int64))
    return size - int(np.count_nonzero(onnx.numpy_helper.to_array(held.values))), size


def _weight(wiring: Wiring, node: onnx.NodeProto, place: int) -> tuple[str, NDArray[Any] | None]:
    """The name of the constant behind an input, and what stands for 0 in it."""
    name, point = _input(node, place), ZERO_POINTS.get((node.op_type, place))
    zero = None if point is None else _zero_point(wiring, node, point)
    for maker in _upwards(wiring, name):
        name = _input(maker, 0)
        if maker.op_type == "DequantizeLinear":
            zero = _zero_point(wiring, maker, 2)
    return name, zero


def _upwards(wiring: Wiring, name: str) -> Iterator[onnx.NodeProto]:
    """The operators that a weight passes through on its way to its layer, the last first."""
    for _ in range(FARTHEST):
        maker = wiring.maker(name)
        if maker is None or maker.op_type not in (*PASSING, "DequantizeLinear"):
            return
        yield maker
        name = _input(maker, 0)


def _input(node: onnx.NodeProto, place: int) -> str:
    names: Sequence[str] = node.input
    return names[place] if place < len(names) else ""


def _zero_point(wiring: Wiring, node: onnx.NodeProto, place: int) -> NDArray[Any] | None:
    name = _input(node, place)
    return wiring.constant(name) if name else None


def _is_zero(value: NDArray[Any], zero: NDArray[Any] | None) -> NDArray[Any]:
    if zero is None or zero.size == 0:
        return np.asarray(value == 0)
    if zero.size > 1:  # one for each channel, along whichever axis has as many
        axis = next((axis for axis, size in enumerate(value.shape) if size == zero.size), None)
        zero = zero.reshape([-1 if i == axis else 1 for i in range(value.ndim)]) if axis is not None else zero[:1]
    return np.asarray(value == zero)
